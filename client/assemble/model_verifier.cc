#include "client/assemble/model_verifier.h"

#include <algorithm>
#include <atomic>
#include <optional>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/types/span.h"
#include "client/assemble/output_layout.h"
#include "client/assemble/shard_copier.h"
#include "client/cache/shard_decoder.h"
#include "client/format/byte_source.h"
#include "client/sdk/pages.h"
#include "client/sdk/pieces.h"
#include "storage/base/error_info.h"
#include "storage/base/md5.h"
#include "storage/base/mutex.h"
#include "storage/base/quote.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

using ReadRange = absl::FunctionRef<absl::Status(int64_t offset, absl::Span<char> out)>;

// Buffers of all shards that are read at once take at most this much.
constexpr uint64_t kMaxVerifyBufferBytes = uint64_t{256} << 20;

class Verification {
 public:
  Verification(Client& client, const ObjectStoreRegistry& stores, const VerifyOptions& options)
      : client_(client), stores_(stores), options_(options) {}

  absl::StatusOr<VerifySummary> Run() {
    MUSTER_RETURN_IF_ERROR(Describe());
    if (options_.on_plan) options_.on_plan(PlannedBytes());
    const size_t count = shards_.size() + companions_.size();
    MUSTER_RETURN_IF_ERROR(RunInParallel(
        count, Jobs(), options_.stop, [this](size_t item, const std::stop_token& stop) {
          return item < shards_.size() ? CheckShard(item, stop)
                                       : CheckCompanion(item - shards_.size(), stop);
        }));
    return Summary();
  }

 private:
  // One copy of the bytes of `shard`.
  struct Copy {
    size_t item = 0;
    std::string what;
    std::string where;
  };

  absl::Status Describe() {
    CallOptions call;
    call.stop = options_.stop;
    v1::GetModelVersionRequest request;
    request.set_name(options_.model_version);
    MUSTER_ASSIGN_OR_RETURN(const auto response, client_.GetModelVersion(request, call));
    MUSTER_ASSIGN_OR_RETURN(shards_, ListAllShards(client_, options_.model_version, call));
    if (!options_.directory.empty()) {
      MUSTER_ASSIGN_OR_RETURN(layout_, LayOutModel(response.model_version(), shards_));
    }
    // A cache holds no companions.
    if (options_.cache != nullptr) return absl::OkStatus();
    MUSTER_ASSIGN_OR_RETURN(companions_, ListAllCompanions(client_, options_.model_version, call));
    if (options_.directory.empty()) return absl::OkStatus();
    return CheckCompanionPaths(layout_, companions_);
  }

  int64_t PlannedBytes() const {
    int64_t bytes = 0;
    const bool everywhere = options_.directory.empty() && options_.cache == nullptr;
    for (const v1::Shard& shard : shards_) {
      bytes += static_cast<int64_t>(shard.size_bytes()) * (everywhere ? shard.locations_size() : 1);
    }
    return bytes;
  }

  // As many as asked for whose buffers fit.
  size_t Jobs() const {
    uint64_t largest = 1;
    for (const v1::Shard& shard : shards_) largest = std::max(largest, shard.piece_size_bytes());
    const auto fitting = static_cast<size_t>(kMaxVerifyBufferBytes / largest);
    return std::clamp<size_t>(options_.jobs, 1, std::max<size_t>(1, fitting));
  }

  absl::Status CheckShard(size_t i, const std::stop_token& stop) {
    CallOptions call;
    call.stop = stop;
    PullShard pull{shards_[i], {}};
    MUSTER_ASSIGN_OR_RETURN(pull.pieces, FetchPieces(client_, pull.shard, call));
    MUSTER_ASSIGN_OR_RETURN(const CheckedShard shard, CheckedShard::Make(pull));
    const std::string what = absl::StrCat("shard ", i);
    if (options_.cache != nullptr) return CheckCached(i, shard, stop);
    if (!options_.directory.empty()) {
      const OutputLayout::Place& place = layout_.shards[i];
      const OutputLayout::File& file = layout_.files[place.file];
      const Copy copy{i, what, absl::StrCat(options_.directory, "/", file.path)};
      const absl::StatusOr<CheckedShard> content =
          shard.is_encoded() ? ContentOf(shard, stop) : absl::StatusOr<CheckedShard>(shard);
      if (content.ok()) {
        return CheckFile(copy, *content, place.offset_bytes, file.size_bytes, stop);
      }
      ++objects_;
      return Fault(copy, content.status());
    }
    for (const v1::Location& location : pull.shard.locations()) {
      MUSTER_RETURN_IF_ERROR(CheckLocation({i, what, location.uri()}, shard, stop));
    }
    return absl::OkStatus();
  }

  // The digests of the content lie in the stored object alone. The last location's error is
  // returned.
  absl::StatusOr<CheckedShard> ContentOf(const CheckedShard& shard, const std::stop_token& stop) {
    absl::Status status = absl::NotFoundError("it has no location");
    for (const v1::Location& location : shard.locations()) {
      const auto object = stores_.Open(location.uri());
      status = object.status();
      if (!status.ok()) continue;
      const auto decoder = ShardDecoder::Open(
          shard,
          [&](int64_t offset, absl::Span<char> out) {
            return object->store->Read(object->key, offset, out, {.stop = stop});
          },
          options_.keys.get(), stop);
      if (decoder.ok()) return decoder->content();
      status = decoder.status();
    }
    return status;
  }

  absl::Status CheckCompanion(size_t i, const std::stop_token& stop) {
    const v1::Companion& companion = companions_[i];
    const size_t item = shards_.size() + i;
    const std::string what = absl::StrCat("companion ", companion.path());
    // Nothing to compare; an empty file is not worth a look.
    if (companion.size_bytes() == 0) return absl::OkStatus();
    PullShard pull;
    pull.shard.set_name(companion.path());
    pull.shard.set_size_bytes(companion.size_bytes());
    pull.shard.set_md5(companion.md5());
    MUSTER_ASSIGN_OR_RETURN(const CheckedShard shard, CheckedShard::Make(pull));
    if (!options_.directory.empty()) {
      return CheckFile({item, what, absl::StrCat(options_.directory, "/", companion.path())}, shard,
                       0, shard.size_bytes(), stop);
    }
    for (const v1::Location& location : companion.locations()) {
      MUSTER_RETURN_IF_ERROR(CheckLocation({item, what, location.uri()}, shard, stop));
    }
    return absl::OkStatus();
  }

  absl::Status CheckLocation(const Copy& copy, const CheckedShard& shard,
                             const std::stop_token& stop) {
    ++objects_;
    const auto object = stores_.Open(copy.where);
    if (!object.ok()) return Fault(copy, object.status());
    const auto info = object->store->Stat(object->key, stop);
    if (!info.ok()) return Fault(copy, info.status());
    if (info->size_bytes != shard.size_bytes()) {
      return Fault(copy, absl::DataLossError(absl::StrCat(
                             "has ", info->size_bytes, " bytes instead of ", shard.size_bytes())));
    }
    return Check(copy, shard, stop, [&](int64_t offset, absl::Span<char> out) {
      return object->store->Read(object->key, offset, out, {.stop = stop});
    });
  }

  absl::Status CheckFile(const Copy& copy, const CheckedShard& shard, int64_t base_offset,
                         int64_t file_size, const std::stop_token& stop) {
    ++objects_;
    const auto source = OpenFileByteSource(copy.where);
    if (!source.ok()) return Fault(copy, source.status());
    if ((*source)->size_bytes() != file_size) {
      return Fault(copy, absl::DataLossError(absl::StrCat("has ", (*source)->size_bytes(),
                                                          " bytes instead of ", file_size)));
    }
    return Check(copy, shard, stop, [&](int64_t offset, absl::Span<char> out) {
      return (*source)->Read(base_offset + offset, out);
    });
  }

  absl::Status CheckCached(size_t i, const CheckedShard& shard, const std::stop_token& stop) {
    Copy copy{i, absl::StrCat("shard ", i), "the cache"};
    absl::StatusOr<CachedShard> entry = options_.cache->Lookup(shard, stop);
    if (absl::IsNotFound(entry.status()) && shard.is_encoded()) {
      entry = options_.cache->Lookup(shard.Stored(), stop);
    }
    if (absl::IsNotFound(entry.status())) {
      ++absent_;
      return absl::OkStatus();
    }
    ++objects_;
    if (!entry.ok()) return Fault(copy, entry.status());
    copy.where = entry->path();
    return Check(copy, entry->content(), stop,
                 [&](int64_t offset, absl::Span<char> out) { return entry->Read(offset, out); });
  }

  absl::Status Check(const Copy& copy, const CheckedShard& shard, const std::stop_token& stop,
                     ReadRange read) {
    const auto on_part = [&](const CheckedPart& part) {
      const auto size = static_cast<int64_t>(part.bytes.size());
      checked_bytes_ += size;
      if (options_.on_bytes) options_.on_bytes(size);
      if (!part.matches) FaultyPart(copy, part);
      return absl::OkStatus();
    };
    const absl::Status status = ReadAndCheck(shard, options_.whole, hashes_, stop, read, on_part);
    return status.ok() ? status : Fault(copy, status);
  }

  void FaultyPart(const Copy& copy, const CheckedPart& part) {
    std::string message = "the whole has another MD5";
    if (!part.is_whole) {
      message = absl::StrCat("piece ", part.piece, " (bytes ", part.offset_bytes, " to ",
                             part.offset_bytes + static_cast<int64_t>(part.bytes.size()) - 1,
                             ") has another MD5");
    }
    Record(copy, {"", "", std::move(message), Md5ToHex(part.expected), Md5ToHex(part.found)});
  }

  // A copy that can't be read is a fault; only an interruption ends everything.
  absl::Status Fault(const Copy& copy, const absl::Status& status) {
    if (absl::IsCancelled(status)) return status;
    const ErrorDetail detail = DetailOf(status);
    const auto value = [&](const char* key) {
      const auto it = detail.metadata.find(key);
      return it == detail.metadata.end() ? std::string() : it->second;
    };
    Record(copy,
           {"", "", std::string(status.message()), value("expected_md5"), value("found_md5")});
    return absl::OkStatus();
  }

  void Record(const Copy& copy, VerifyFault fault) {
    fault.what = copy.what;
    fault.where = copy.where;
    MutexLock lock(mutex_);
    ++fault_count_;
    // Room for every job, so that the first ones by order survive the cut.
    if (faults_.size() < 2 * kMaxVerifyFaults) faults_.emplace_back(copy.item, std::move(fault));
  }

  VerifySummary Summary() {
    MutexLock lock(mutex_);
    std::stable_sort(faults_.begin(), faults_.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    VerifySummary summary;
    summary.checked_bytes = checked_bytes_;
    summary.objects = objects_;
    summary.absent = absent_;
    summary.fault_count = fault_count_;
    for (auto& [item, fault] : faults_) {
      if (summary.faults.size() == kMaxVerifyFaults) break;
      summary.faults.push_back(std::move(fault));
    }
    return summary;
  }

  Client& client_;
  const ObjectStoreRegistry& stores_;
  const VerifyOptions& options_;
  std::vector<v1::Shard> shards_;
  std::vector<v1::Companion> companions_;
  OutputLayout layout_;
  // Shared by the shards that are looked at at once.
  HashQueue hashes_;
  std::atomic<int64_t> checked_bytes_ = 0;
  std::atomic<uint32_t> objects_ = 0;
  std::atomic<uint32_t> absent_ = 0;
  Mutex mutex_;
  std::vector<std::pair<size_t, VerifyFault>> faults_ MUSTER_GUARDED_BY(mutex_);
  uint64_t fault_count_ MUSTER_GUARDED_BY(mutex_) = 0;
};

}  // namespace

absl::StatusOr<VerifySummary> VerifyModel(Client& client, const ObjectStoreRegistry& stores,
                                          const VerifyOptions& options) {
  return Verification(client, stores, options).Run();
}

}  // namespace muster
