#include "client/tune/tuner.h"

#include <fcntl.h>

#include <algorithm>
#include <filesystem>
#include <limits>
#include <memory>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/checkpoint/shard_stream.h"
#include "client/hash/hash_queue.h"
#include "client/publish/shard_upload.h"
#include "client/transfer/puller.h"
#include "storage/base/error_info.h"
#include "storage/base/md5.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"
#include "storage/files/file_error.h"
#include "storage/files/unique_fd.h"
#include "storage/object/uri.h"

namespace muster {
namespace {

// Pieces of this size are measured first, so that what a short time allows is about the usual.
constexpr int64_t kUsualPieceBytes = int64_t{8} << 20;
constexpr int64_t kPrimeBytes = int64_t{8} << 20;

// Where `uri` is on this machine; "" where it is not.
std::string LocalPath(const std::string& uri) {
  const absl::StatusOr<Uri> parsed = ParseUri(uri);
  return parsed.ok() && parsed->scheme == "file" ? "/" + parsed->path : "";
}

// Written objects are synced, so all of their pages can go.
void DropFromPageCache(const std::string& uri) {
  const std::string path = LocalPath(uri);
  if (path.empty()) return;
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (fd.valid()) posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED);
}

class Tuning {
 public:
  Tuning(const ObjectStoreRegistry& stores, Clock& clock, Random& random, const TuneSample& sample,
         const TuneOptions& options)
      : stores_(stores),
        clock_(clock),
        random_(random),
        sample_(sample),
        options_(options),
        end_(clock.Monotonic() + options.max_time),
        forward_(options.stop, [this] { stop_.request_stop(); }) {}

  absl::StatusOr<TuneResults> Run() {
    MUSTER_RETURN_IF_ERROR(Plan());
    absl::Status status = Prime();
    for (int round = 0; status.ok() && round < options_.rounds; ++round) status = Round(round);
    const absl::Status cleaned = CleanUp();
    const bool interrupted = options_.stop.stop_requested();
    if (interrupted) status = absl::CancelledError("interrupted");
    // Otherwise it was the time that ended the work, and what was measured counts.
    if (!status.ok() && (interrupted || !absl::IsCancelled(status))) {
      return cleaned.ok() ? status : Annotate(status, cleaned.message());
    }
    if (!cleaned.ok()) results_.notes.emplace_back(cleaned.message());
    if (results_.load.empty()) {
      return MakeError(
          absl::StatusCode::kFailedPrecondition, reasons::kNotMeasured,
          absl::StrCat("nothing could be measured within ", absl::FormatDuration(options_.max_time),
                       "; give it more time, or a smaller sample"));
    }
    if (!results_.complete) {
      results_.notes.emplace_back("the time was over before everything was measured");
    }
    return std::move(results_);
  }

 private:
  struct Stored {
    std::vector<PullShard> shards;
    std::vector<std::string> uris;
  };

  absl::Status Plan();
  absl::Status Prime();
  absl::Status Round(int round);
  absl::Status Combination(const std::string& folder, uint32_t shards, int64_t piece);
  absl::StatusOr<Stored> Publish(const std::string& folder, const CutPlan& cuts, int64_t piece);
  absl::Status Load(const Stored& stored, size_t connections, int64_t piece);
  absl::Status DeleteObjects();
  absl::Status CleanUp();

  // Counts, and looks at the clock: there are no other moments when the work can end.
  void Done(int64_t bytes) {
    if (options_.on_bytes) options_.on_bytes(bytes);
    if (clock_.Monotonic() > end_) stop_.request_stop();
  }

  const ObjectStoreRegistry& stores_;
  Clock& clock_;
  Random& random_;
  const TuneSample& sample_;
  const TuneOptions& options_;
  const absl::Duration end_;
  // Requested by the user's stop and when the time is over.
  std::stop_source stop_;
  const std::stop_callback<std::function<void()>> forward_;
  std::string scratch_;
  std::vector<uint32_t> shard_counts_;
  std::vector<int64_t> piece_sizes_;
  // Objects that may be there.
  std::vector<std::string> left_;
  HashQueue hashes_;
  TuneResults results_;
};

absl::Status Tuning::Plan() {
  results_.sample_bytes = sample_.sample_bytes;
  results_.source_bytes = sample_.source_bytes;
  for (const uint32_t count : options_.shard_counts) {
    if (count <= sample_.max_shards) shard_counts_.push_back(count);
  }
  if (shard_counts_.size() < options_.shard_counts.size()) {
    results_.notes.push_back(
        absl::StrCat("the sample can't be cut into more than ", sample_.max_shards, " shards"));
  }
  if (shard_counts_.empty()) shard_counts_.push_back(sample_.max_shards);
  piece_sizes_ = options_.piece_sizes_bytes;
  std::stable_partition(piece_sizes_.begin(), piece_sizes_.end(),
                        [](int64_t piece) { return piece == kUsualPieceBytes; });
  MUSTER_ASSIGN_OR_RETURN(
      scratch_, JoinUri(options_.destination, kTunePrefix + random_.NextId().substr(0, 12)));
  MUSTER_RETURN_IF_ERROR(stores_.Open(scratch_).status());
  if (options_.on_plan) {
    const size_t times = shard_counts_.size() * piece_sizes_.size() *
                         (1 + options_.connections.size()) * static_cast<size_t>(options_.rounds);
    options_.on_plan(sample_.sample_bytes * static_cast<int64_t>(times));
  }
  return absl::OkStatus();
}

// So that no combination has the source to itself from memory.
absl::Status Tuning::Prime() {
  MUSTER_ASSIGN_OR_RETURN(const CutPlan whole, CutSample(sample_, 1, kUsualPieceBytes));
  std::vector<char> buffer(static_cast<size_t>(kPrimeBytes));
  for (const ShardCut& cut : whole.shards) {
    MUSTER_ASSIGN_OR_RETURN(const ShardStream stream, ShardStream::Open(sample_.checkpoint, cut));
    for (int64_t offset = 0; offset < stream.size_bytes();) {
      if (stop_.stop_requested()) return absl::CancelledError("interrupted");
      const int64_t length = std::min(kPrimeBytes, stream.size_bytes() - offset);
      MUSTER_RETURN_IF_ERROR(
          stream.Read(offset, absl::MakeSpan(buffer.data(), static_cast<size_t>(length))));
      offset += length;
      Done(0);
    }
  }
  return absl::OkStatus();
}

absl::Status Tuning::Round(int round) {
  for (const int64_t piece : piece_sizes_) {
    for (const uint32_t shards : shard_counts_) {
      const std::string folder =
          absl::StrFormat("%s/round%d-shards%d-pieces%d", scratch_, round, shards, piece);
      MUSTER_RETURN_IF_ERROR(Combination(folder, shards, piece));
    }
  }
  results_.complete = true;
  return absl::OkStatus();
}

absl::Status Tuning::Combination(const std::string& folder, uint32_t shards, int64_t piece) {
  MUSTER_ASSIGN_OR_RETURN(const CutPlan cuts, CutSample(sample_, shards, piece));
  MUSTER_ASSIGN_OR_RETURN(const Stored stored, Publish(folder, cuts, piece));
  for (const size_t connections : options_.connections) {
    MUSTER_RETURN_IF_ERROR(Load(stored, connections, piece));
  }
  return DeleteObjects();
}

absl::StatusOr<Tuning::Stored> Tuning::Publish(const std::string& folder, const CutPlan& cuts,
                                               int64_t piece) {
  Stored stored;
  stored.shards.resize(cuts.shards.size());
  for (size_t i = 0; i < cuts.shards.size(); ++i) {
    MUSTER_ASSIGN_OR_RETURN(stored.uris.emplace_back(),
                            JoinUri(folder, absl::StrFormat("shard-%05d", i)));
  }
  left_ = stored.uris;
  const absl::Duration begin = clock_.Monotonic();
  const ByteProgress done = [this](int64_t bytes) { Done(bytes); };
  MUSTER_RETURN_IF_ERROR(RunInParallel(
      cuts.shards.size(), options_.publish_jobs, stop_.get_token(),
      [&](size_t i, const std::stop_token& stop) -> absl::Status {
        MUSTER_ASSIGN_OR_RETURN(const ShardStream stream,
                                ShardStream::Open(sample_.checkpoint, cuts.shards[i]));
        MUSTER_ASSIGN_OR_RETURN(
            const ShardDigests digests,
            UploadShard(stores_, stored.uris[i], stream, {piece, hashes_, stop, done, ""},
                        /*replace=*/false));
        v1::Shard& shard = stored.shards[i].shard;
        shard.set_size_bytes(static_cast<uint64_t>(digests.size_bytes));
        shard.set_md5(Md5ToHex(digests.md5));
        shard.set_root(Md5ToHex(digests.root));
        shard.set_piece_size_bytes(static_cast<uint64_t>(piece));
        shard.set_piece_count(static_cast<uint32_t>(digests.pieces.size()));
        shard.add_locations()->set_uri(stored.uris[i]);
        stored.shards[i].pieces = digests.pieces;
        return absl::OkStatus();
      }));
  results_.Add(
      PublishTime{static_cast<uint32_t>(cuts.shards.size()), piece, clock_.Monotonic() - begin});
  return stored;
}

absl::Status Tuning::Load(const Stored& stored, size_t connections, int64_t piece) {
  for (const std::string& uri : stored.uris) DropFromPageCache(uri);
  PullerOptions puller_options;
  puller_options.connections = connections;
  Puller puller(stores_, clock_, random_, puller_options);
  // Kept until the clock was looked at.
  std::vector<MemoryPullResult> loaded(stored.shards.size());
  const absl::Duration begin = clock_.Monotonic();
  MUSTER_RETURN_IF_ERROR(RunInParallel(
      stored.shards.size(), options_.load_jobs, stop_.get_token(),
      [&](size_t i, const std::stop_token& stop) {
        int64_t last = 0;
        loaded[i] =
            puller.PullToMemory(stored.shards[i], std::numeric_limits<int64_t>::max(), stop,
                                [&](int64_t done) { Done(done - std::exchange(last, done)); });
        return loaded[i].pull.status;
      }));
  results_.Add(LoadTime{static_cast<uint32_t>(stored.shards.size()), piece, connections,
                        clock_.Monotonic() - begin});
  return absl::OkStatus();
}

// As many as it can; returns the first error.
absl::Status Tuning::DeleteObjects() {
  absl::Status first;
  for (const std::string& uri : left_) {
    const absl::StatusOr<ObjectRef> object = stores_.Open(uri);
    const absl::Status status = object.ok() ? object->store->Delete(object->key) : object.status();
    if (first.ok()) first = status;
  }
  if (first.ok()) left_.clear();
  return first;
}

absl::Status Tuning::CleanUp() {
  absl::Status status = DeleteObjects();
  if (const std::string path = LocalPath(scratch_); !path.empty()) {
    std::error_code error;
    std::filesystem::remove_all(path, error);
    if (error && status.ok()) status = PathError(error.value(), "remove it", path);
  }
  return Annotate(status, absl::StrCat("scratch objects are left at ", scratch_));
}

}  // namespace

absl::StatusOr<TuneResults> Tune(const ObjectStoreRegistry& stores, Clock& clock, Random& random,
                                 const TuneSample& sample, const TuneOptions& options) {
  return Tuning(stores, clock, random, sample, options).Run();
}

}  // namespace muster
