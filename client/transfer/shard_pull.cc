// How a step finds its bytes:
//  1. It tries the locations in the book's order. What is read is verified in the step's own buffer.
//  2. A location that can't work (absent, another size, replaced, not allowed, unknown scheme) is
//     dropped for the whole pull. One that gave wrong bytes or an error sinks behind the others, and
//     this step does not ask it again.
//  3. One that asks for a retry (kUnavailable, kDeadlineExceeded) sinks too, and stays a candidate
//     for the next round; but not one that is too slow, since it was given time enough.
//  4. Rounds end when no candidate asked for a retry, or after the given number of attempts.
//  5. While a second read of the step is under way (step_race.h), a failure of the first one waits
//     for its end: a step never has more than two reads.
// A shard without pieces is one step: ranges go to the sink, which holds them back, and into one
// MD5. A range that fails after good ones is tried again where it failed, because another location
// would start from the first byte.
#include "client/transfer/shard_pull.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

using muster::v1::ShardFailure;

// What is read at once from a shard without pieces.
constexpr int64_t kRangeBytes = int64_t{8} << 20;

bool MayRetry(absl::StatusCode code) {
  return code == absl::StatusCode::kUnavailable || code == absl::StatusCode::kDeadlineExceeded;
}
bool MayRetry(const absl::Status& status) {
  return MayRetry(status.code()) && ReasonOf(status) != reasons::kStorageSlow;
}

// Whether the location is of no use for the shard's other pieces either.
bool IsHopeless(const PullFailure& failure) {
  switch (failure.status_code) {
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kUnimplemented:
    case absl::StatusCode::kInvalidArgument:
      return true;
    case absl::StatusCode::kDataLoss:
      // Another size than registered, or replaced; wrong bytes in one piece say nothing about the
      // others.
      return failure.found_md5.empty();
    default:
      return false;
  }
}

// Which of several failures explains most: wrong bytes before absent ones, those before unreadable
// ones.
int Weight(const PullFailure& failure) {
  switch (failure.code) {
    case ShardFailure::CORRUPT:
      return failure.found_md5.empty() ? 3 : 4;
    case ShardFailure::MISSING:
      return 2;
    default:
      return MayRetry(failure.status_code) ? 1 : 0;
  }
}

const PullFailure* Heaviest(const std::vector<PullFailure>& failures) {
  const auto it = std::max_element(
      failures.begin(), failures.end(),
      [](const PullFailure& a, const PullFailure& b) { return Weight(a) < Weight(b); });
  return it == failures.end() ? nullptr : &*it;
}

}  // namespace

ShardPull::ShardPull(const Environment& environment, const CheckedShard& shard, PieceSink& sink,
                     const PullProgress& progress)
    : environment_(environment),
      shard_(shard),
      sink_(sink),
      progress_(progress),
      book_(environment.stores, shard, environment.zone, environment.gate != nullptr,
            environment.random.Next64()),
      admission_(book_, environment.gate),
      race_(environment.clock, environment.hedge),
      done_(sink.Present()) {
  done_.resize(step_count(), false);
  int64_t present_bytes = 0;
  for (size_t step = 0; step < done_.size(); ++step) {
    if (done_[step]) present_bytes += shard_.PieceLength(step);
  }
  if (present_bytes > 0) Progress(present_bytes, /*from_start=*/false);
}

bool ShardPull::IsDone() const {
  MutexLock lock(mutex_);
  return std::find(done_.begin(), done_.end(), false) == done_.end();
}

size_t ShardPull::step_count() const { return shard_.has_pieces() ? shard_.piece_count() : 1; }

int64_t ShardPull::step_memory_bytes() const {
  if (shard_.has_pieces() && !MemoryOf(0).empty()) return 0;
  return std::min(shard_.size_bytes(),
                  shard_.has_pieces() ? shard_.piece_size_bytes() : kRangeBytes);
}

std::string ShardPull::NextUri(size_t step) const {
  const std::vector<size_t> candidates = book_.Candidates(step);
  return candidates.empty() ? "" : book_.uri(candidates.front());
}

std::optional<PullFailure> ShardPull::RunStep(size_t step, const StepMeans& means) {
  {
    MutexLock lock(mutex_);
    if (done_[step]) return std::nullopt;
  }
  const std::stop_token stop = race_.Begin(step, means.stop);
  std::optional<PullFailure> failure =
      Attempt(step, {.buffer = means.buffer, .connection = means.connection, .stop = stop});
  race_.End(step);
  if (failure.has_value()) return failure;
  MutexLock lock(mutex_);
  done_[step] = true;
  return std::nullopt;
}

std::optional<PullFailure> ShardPull::Attempt(size_t step, const StepMeans& means) {
  if (!shard_.has_pieces()) {
    return FromSomeLocation(
        step, [&](size_t location) { return FetchWhole(location, means); }, means);
  }
  const absl::Span<char> memory = MemoryOf(step);
  const absl::Span<char> piece =
      memory.empty() ? means.buffer.first(static_cast<size_t>(shard_.PieceLength(step))) : memory;
  std::optional<PullFailure> failure = FromSomeLocation(
      step,
      [&](size_t location) { return FetchPiece(step, location, piece, means, /*second=*/false); },
      means);
  if (failure.has_value() || !race_.Win(step, /*second=*/false)) return failure;
  return HandOn(step, piece, /*in_place=*/!memory.empty());
}

// Two readers of a step must not write to the same memory.
absl::Span<char> ShardPull::MemoryOf(size_t piece) const {
  if (may_read_twice()) return {};
  return sink_.MemoryOf(shard_.PieceOffset(piece), shard_.PieceLength(piece));
}

std::optional<PullFailure> ShardPull::HandOn(size_t piece, absl::Span<const char> bytes,
                                             bool in_place) {
  if (!in_place) {
    const absl::Status status =
        sink_.Write(shard_.PieceOffset(piece), absl::string_view(bytes.data(), bytes.size()));
    if (!status.ok()) return NodeFailure(status);
  }
  Progress(static_cast<int64_t>(bytes.size()), /*from_start=*/false);
  return std::nullopt;
}

std::optional<ShardPull::SecondRead> ShardPull::NextSecondRead(const std::stop_token& stop) {
  if (!may_read_twice()) return std::nullopt;
  for (const StepRace::Slow& slow : race_.FindSlow()) {
    for (const size_t location : book_.Candidates(slow.step)) {
      if (location == slow.location) continue;
      if (!environment_.hedge_budget.Take(slow.bytes)) return std::nullopt;
      const auto own_stop = race_.BeginSecond(slow.step, stop);
      if (!own_stop.has_value()) break;
      return SecondRead{slow.step, slow.location, location, *own_stop};
    }
  }
  return std::nullopt;
}

std::optional<PullFailure> ShardPull::RunSecondRead(const SecondRead& read,
                                                    const StepMeans& means) {
  const auto size = static_cast<size_t>(shard_.PieceLength(read.step));
  if (means.buffer.size() < size) {
    race_.EndSecond(read.step);
    return std::nullopt;
  }
  const absl::Span<char> piece = means.buffer.first(size);
  std::optional<PullFailure> failure =
      FetchPiece(read.step, read.location, piece, means, /*second=*/true);
  if (!failure.has_value()) {
    book_.Verified(read.location);
    if (race_.Win(read.step, /*second=*/true)) {
      book_.Overtaken(read.overtaken);
      failure = HandOn(read.step, piece, /*in_place=*/false);
    }
  } else {
    // A read that was stopped because the first one came says nothing about its location.
    if (!means.stop.stop_requested()) book_.Record(read.location, *failure, IsHopeless(*failure));
    failure.reset();
  }
  race_.EndSecond(read.step);
  return failure;
}

std::optional<PullFailure> ShardPull::FromSomeLocation(size_t piece, const Fetch& fetch,
                                                       const StepMeans& means) {
  const std::stop_token& stop = means.stop;
  std::set<size_t> done_with;
  std::vector<PullFailure> failures;
  Backoff backoff(environment_.random, environment_.retry.backoff);
  for (int attempt = 1; attempt <= environment_.retry.attempts; ++attempt) {
    bool retry = false;
    for (const size_t location : book_.Candidates(piece)) {
      if (done_with.contains(location)) continue;
      if (stop.stop_requested()) return Stopped(piece);
      if (!means.connection.Take(book_.uri(location), stop)) return Stopped(piece);
      std::optional<PullFailure> failure = fetch(location);
      if (!failure.has_value()) book_.Verified(location);
      if (!failure.has_value()) return failure;
      if (stop.stop_requested()) return Stopped(piece);
      if (IsOfNode(*failure)) return failure;
      if (race_.LostAfterFailure(piece)) return std::nullopt;
      book_.Record(location, *failure, IsHopeless(*failure));
      if (MayRetry(failure->status_code) && !failure->too_slow) {
        retry = true;
      } else {
        done_with.insert(location);
      }
      failures.push_back(*std::move(failure));
    }
    if (!retry || attempt == environment_.retry.attempts) break;
    SleepUnlessStopped(environment_.clock, backoff.Next(), stop);
  }
  if (stop.stop_requested()) return Stopped(piece);
  const PullFailure* heaviest = Heaviest(failures);
  PullFailure failure = heaviest != nullptr ? *heaviest : NoLocationLeft();
  if (book_.size() > 1) {
    absl::StrAppend(&failure.message, "; none of its ", book_.size(), " locations worked");
  }
  failure.message = absl::StrCat(shard_.name(), ": ", failure.message);
  failure.shard = shard_.name();
  return failure;
}

std::optional<PullFailure> ShardPull::FetchPiece(size_t piece, size_t location,
                                                 absl::Span<char> out, const StepMeans& means,
                                                 bool second) {
  if (!second) race_.ReadFrom(piece, location, static_cast<int64_t>(out.size()));
  const absl::StatusOr<LocationBook::Source> source = book_.Open(location, means.stop);
  absl::Status status = source.status();
  if (status.ok()) status = ReadRange(*source, shard_.PieceOffset(piece), out, means);
  if (!status.ok()) return LocationFailure(status, book_.uri(location));
  // In this order: the next read on the connection does not count as time of this one.
  if (!second) race_.ReadDone(piece);
  means.connection.GiveBack();
  return Compare(shard_.piece_digest(piece),
                 environment_.hashes.Hash(absl::string_view(out.data(), out.size())),
                 absl::StrCat("piece ", piece), location);
}

std::optional<PullFailure> ShardPull::FetchWhole(size_t location, const StepMeans& means) {
  const absl::StatusOr<LocationBook::Source> source = book_.Open(location, means.stop);
  if (!source.ok()) return LocationFailure(source.status(), book_.uri(location));
  Md5LaneStream stream;
  Progress(0, /*from_start=*/true);
  const auto longest = static_cast<int64_t>(means.buffer.size());
  for (int64_t offset = 0; offset < shard_.size_bytes(); offset += longest) {
    if (means.stop.stop_requested()) return Cancelled();
    const int64_t length = std::min(longest, shard_.size_bytes() - offset);
    const absl::Span<char> range = means.buffer.first(static_cast<size_t>(length));
    const absl::Status status = offset == 0 ? ReadRange(*source, offset, range, means)
                                            : ReadRangeWithRetries(*source, offset, range, means);
    if (!status.ok()) return LocationFailure(status, book_.uri(location));
    means.connection.GiveBack();
    const absl::string_view bytes(range.data(), range.size());
    const HashQueue::Part part{&stream, bytes};
    environment_.hashes.Update({part});
    if (const absl::Status written = sink_.Write(offset, bytes); !written.ok()) {
      return NodeFailure(written);
    }
    Progress(length, /*from_start=*/false);
  }
  return Compare(*shard_.whole_md5(), stream.Finish(), "the object", location);
}

absl::Status ShardPull::ReadRange(const LocationBook::Source& source, int64_t offset,
                                  absl::Span<char> out, const StepMeans& means) {
  if (!means.connection.Take(source.uri, means.stop)) {
    return absl::CancelledError(absl::StrCat(source.uri, ": cancelled"));
  }
  const absl::Status status = source.store->Read(source.key, offset, out,
                                                 {.if_version = source.version,
                                                  .stop = means.stop,
                                                  .limit = environment_.limit,
                                                  .pace = environment_.pace});
  MUSTER_RETURN_IF_ERROR(status);
  MutexLock lock(mutex_);
  fetched_bytes_ += static_cast<int64_t>(out.size());
  return absl::OkStatus();
}

absl::Status ShardPull::ReadRangeWithRetries(const LocationBook::Source& source, int64_t offset,
                                             absl::Span<char> out, const StepMeans& means) {
  Backoff backoff(environment_.random, environment_.retry.backoff);
  for (int attempt = 1;; ++attempt) {
    absl::Status status = ReadRange(source, offset, out, means);
    if (!MayRetry(status) || attempt >= environment_.retry.attempts) return status;
    if (!SleepUnlessStopped(environment_.clock, backoff.Next(), means.stop)) return status;
  }
}

std::optional<PullFailure> ShardPull::Compare(const Md5Digest& expected, const Md5Digest& found,
                                              const std::string& what, size_t location) const {
  if (found == expected) return std::nullopt;
  const std::string& uri = book_.uri(location);
  return PullFailure{.code = ShardFailure::CORRUPT,
                     .message = absl::StrCat(uri, ": ", what, " has MD5 ", Md5ToHex(found),
                                             ", expected ", Md5ToHex(expected)),
                     .location = uri,
                     .expected_md5 = Md5ToHex(expected),
                     .found_md5 = Md5ToHex(found),
                     .status_code = absl::StatusCode::kDataLoss};
}

// Other steps dropped all locations before this one could try any: theirs is the reason.
PullFailure ShardPull::NoLocationLeft() const {
  const std::vector<PullFailure> failures = book_.failures();
  if (const PullFailure* heaviest = Heaviest(failures)) return *heaviest;
  return PullFailure{.code = ShardFailure::MISSING,
                     .message = "no location is registered; add one with AddLocations",
                     .status_code = absl::StatusCode::kNotFound};
}

// Either the pull was cancelled, or a second read was faster, which is not a failure.
std::optional<PullFailure> ShardPull::Stopped(size_t step) {
  if (race_.LostAfterFailure(step)) return std::nullopt;
  return Cancelled();
}

PullFailure ShardPull::Cancelled() const {
  return NodeFailure(absl::CancelledError(absl::StrCat(shard_.name(), ": the pull was cancelled")));
}

void ShardPull::Progress(int64_t done_bytes, bool from_start) {
  MutexLock lock(mutex_);
  done_bytes_ = from_start ? 0 : done_bytes_ + done_bytes;
  if (progress_) progress_(done_bytes_);
}

int64_t ShardPull::fetched_bytes() const {
  MutexLock lock(mutex_);
  return fetched_bytes_;
}

}  // namespace muster
