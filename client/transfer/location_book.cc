// What a location goes through during one pull:
//
// 1. Locations are sorted once, by `tier`; the order never changes afterwards. Candidates lists
//    those that have not failed, then those that have, each group in that order: a failure sinks a
//    location for the rest of the pull, so that later pieces begin with one that works. Those of one
//    tier take turns: each piece begins with another one, and each node at another one.
// 2. `open`: with a gate, a location whose readers are bounded stays closed until the server has
//    granted a place (Admit), and is closed again when the place is given back. Closed ones are
//    skipped.
// 3. A location that `failed` (Record) stays a candidate of last resort. One that is `dropped`,
//    because no piece can ever be read there, is not.
// 4. The first read opens a location: it asks the store for size and version, with no lock held.
//    Readers that come meanwhile wait for the answer. A good answer is kept for the whole pull, so
//    that all pieces are read from one version of the object. An error is given to those who
//    waited, and the next one to come asks again; but if the asking thread was stopped, its error
//    says nothing about the location, and one of the waiting threads asks.
// 5. Being overtaken by a second read (step_race.h) counts as a failure from the second time on.
// 6. Reports draws the sum: wrong or absent bytes outweigh everything, since the server must find
//    out even if other pieces were right; bytes that were verified outweigh any other failure,
//    which a retry has mended.
//
// Locks: Entry::mutex guards a location's answer from the store, mutex_ all flags and failures. No
// thread holds both, and none holds either while it calls the store.
#include "client/transfer/location_book.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "storage/base/status_macros.h"

namespace muster {

using muster::v1::LocationReport;
using muster::v1::ShardFailure;

namespace {

// One slow read may be anything; from the second one on the location is to blame.
constexpr int kOvertakenMax = 2;
// How often a thread that waits for a location to be opened looks whether it is to stop.
constexpr absl::Duration kGateStopLookInterval = absl::Milliseconds(20);

// What lies from `begin` on begins with another one for each `turn`.
void TakeTurns(std::vector<size_t>& candidates, size_t begin, uint64_t turn) {
  const auto first = candidates.begin() + static_cast<std::ptrdiff_t>(begin);
  const auto count = static_cast<uint64_t>(candidates.end() - first);
  if (count > 1)
    std::rotate(first, first + static_cast<std::ptrdiff_t>(turn % count), candidates.end());
}

}  // namespace

struct LocationBook::Entry {
  std::string uri;
  // What the store called it when it was registered; "" where nothing is known.
  std::string version;
  // Smaller is better: (suspect, in another zone, priority).
  std::tuple<bool, bool, uint32_t> tier;
  bool bounded = false;
  bool suspect = false;

  // The store is asked once, by one thread, however many threads want to read.
  Mutex mutex;
  CondVar opened;
  bool opening MUSTER_GUARDED_BY(mutex) = false;
  std::optional<Source> source MUSTER_GUARDED_BY(mutex);
  absl::Status error MUSTER_GUARDED_BY(mutex);

  // Guarded by LocationBook::mutex_.
  bool failed = false;
  bool dropped = false;
  bool open = true;
  bool verified = false;
  int overtaken = 0;
};

LocationBook::LocationBook(const ObjectStoreRegistry& stores, const CheckedShard& shard,
                           absl::string_view zone, bool gated, uint64_t spread)
    : stores_(stores), shard_(shard), spread_(spread) {
  for (const muster::v1::Location& location : shard.locations()) {
    auto entry = std::make_unique<Entry>();
    entry->uri = location.uri();
    entry->version = location.version();
    const bool same_zone = !zone.empty() && location.zone() == zone;
    entry->tier = {location.suspect(), !same_zone, location.priority()};
    entry->bounded = location.max_readers() > 0;
    entry->suspect = location.suspect();
    entry->open = !gated || !entry->bounded;
    entries_.push_back(std::move(entry));
  }
  std::stable_sort(entries_.begin(), entries_.end(),
                   [](const auto& a, const auto& b) { return a->tier < b->tier; });
}

LocationBook::~LocationBook() = default;

const std::string& LocationBook::uri(size_t location) const { return entries_[location]->uri; }

bool LocationBook::bounded(size_t location) const { return entries_[location]->bounded; }

bool LocationBook::suspect(size_t location) const { return entries_[location]->suspect; }

void LocationBook::Admit(size_t location) {
  MutexLock lock(mutex_);
  entries_[location]->open = true;
}

void LocationBook::Close(size_t location) {
  MutexLock lock(mutex_);
  entries_[location]->open = false;
}

void LocationBook::Overtaken(size_t location) {
  PullFailure failure{
      .code = ShardFailure::SLOW,
      .message = absl::StrCat(uri(location), ": so slow that another location overtook it"),
      .location = uri(location),
      .status_code = absl::StatusCode::kDeadlineExceeded};
  {
    MutexLock lock(mutex_);
    if (++entries_[location]->overtaken < kOvertakenMax) return;
  }
  Record(location, failure, /*drop=*/false);
}

void LocationBook::Verified(size_t location) {
  MutexLock lock(mutex_);
  entries_[location]->verified = true;
}

std::vector<LocationReport> LocationBook::Reports() const {
  MutexLock lock(mutex_);
  std::vector<LocationReport> reports;
  for (const auto& entry : entries_) {
    std::optional<ShardFailure::Code> found;
    if (entry->verified) found = ShardFailure::CODE_UNSPECIFIED;
    for (const PullFailure& failure : failures_) {
      if (failure.location != entry->uri) continue;
      // A read that went well when it was tried again is not a complaint; wrong bytes always are.
      const bool wrong =
          failure.code == ShardFailure::CORRUPT || failure.code == ShardFailure::MISSING;
      if (wrong || !found.has_value()) found = failure.code;
      if (wrong) break;
    }
    // What this node may not read says nothing about the location.
    if (!found.has_value() || *found == ShardFailure::NOT_ALLOWED) continue;
    LocationReport& report = reports.emplace_back();
    report.set_uri(entry->uri);
    report.set_code(*found);
  }
  return reports;
}

std::vector<size_t> LocationBook::Candidates(size_t piece) const {
  MutexLock lock(mutex_);
  std::vector<size_t> candidates;
  for (const bool failed : {false, true}) {
    size_t tier_begin = candidates.size();
    for (size_t i = 0; i < entries_.size(); ++i) {
      const Entry& entry = *entries_[i];
      if (!entry.open || entry.dropped || entry.failed != failed) continue;
      if (tier_begin < candidates.size() && entries_[candidates.back()]->tier != entry.tier) {
        TakeTurns(candidates, tier_begin, spread_ + piece);
        tier_begin = candidates.size();
      }
      candidates.push_back(i);
    }
    TakeTurns(candidates, tier_begin, spread_ + piece);
  }
  return candidates;
}

absl::Status LocationBook::CheckSize(const Entry& entry, const ObjectInfo& info) const {
  if (info.size_bytes == shard_.size_bytes()) return absl::OkStatus();
  const std::string message = absl::StrCat(entry.uri, ": has ", info.size_bytes,
                                           " bytes, registered are ", shard_.size_bytes());
  return info.size_bytes < shard_.size_bytes() ? absl::NotFoundError(message)
                                               : absl::DataLossError(message);
}

// An object that was registered where it lay, and is another one now: its bytes need not be read to
// know that they are wrong.
absl::Status LocationBook::CheckVersion(const Entry& entry, const ObjectInfo& info) const {
  if (entry.version.empty() || info.version.empty() || entry.version == info.version) {
    return absl::OkStatus();
  }
  return absl::DataLossError(
      absl::StrCat(entry.uri, ": was replaced since it was registered: its version was ",
                   absl::Utf8SafeCEscape(entry.version), " and is ",
                   absl::Utf8SafeCEscape(info.version), "; publish the model again"));
}

absl::StatusOr<LocationBook::Source> LocationBook::Open(size_t location,
                                                        const std::stop_token& stop) {
  Entry& entry = *entries_[location];
  {
    MutexLock lock(entry.mutex);
    const bool waits = entry.opening;
    while (entry.opening && !stop.stop_requested()) {
      entry.opened.WaitFor(entry.mutex, kGateStopLookInterval);
    }
    if (entry.source.has_value()) return *entry.source;
    if (entry.opening) return absl::CancelledError(absl::StrCat(entry.uri, ": cancelled"));
    // The answer that was waited for, unless it only says that whoever asked was stopped.
    if (waits && !absl::IsCancelled(entry.error)) return entry.error;
    entry.opening = true;
  }
  absl::StatusOr<Source> source = AskStore(entry, stop);
  MutexLock lock(entry.mutex);
  entry.opening = false;
  entry.opened.NotifyAll();
  if (source.ok()) entry.source = *source;
  entry.error = source.status();
  return source;
}

absl::StatusOr<LocationBook::Source> LocationBook::AskStore(const Entry& entry,
                                                            const std::stop_token& stop) const {
  MUSTER_ASSIGN_OR_RETURN(ObjectRef ref, stores_.Open(entry.uri));
  MUSTER_ASSIGN_OR_RETURN(const ObjectInfo info, ref.store->Stat(ref.key, stop));
  MUSTER_RETURN_IF_ERROR(CheckSize(entry, info));
  MUSTER_RETURN_IF_ERROR(CheckVersion(entry, info));
  return Source{.store = std::move(ref.store),
                .key = std::move(ref.key),
                .version = info.version,
                .uri = entry.uri};
}

void LocationBook::Record(size_t location, const PullFailure& failure, bool drop) {
  MutexLock lock(mutex_);
  Entry& entry = *entries_[location];
  entry.failed = true;
  entry.dropped = entry.dropped || drop;
  const bool known = std::any_of(failures_.begin(), failures_.end(), [&](const PullFailure& other) {
    return other.location == failure.location && other.code == failure.code;
  });
  if (!known) failures_.push_back(failure);
}

std::vector<PullFailure> LocationBook::failures() const {
  MutexLock lock(mutex_);
  return failures_;
}

}  // namespace muster
