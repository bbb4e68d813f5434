#include "client/assemble/assembler.h"

#include <filesystem>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/assemble/model_files.h"
#include "client/assemble/output_layout.h"
#include "client/assemble/shard_copier.h"
#include "client/assemble/tensor_proof.h"
#include "client/sdk/pages.h"
#include "storage/base/error_info.h"
#include "storage/base/mutex.h"
#include "storage/base/quote.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"
#include "storage/files/directories.h"
#include "storage/files/disk_room.h"
#include "storage/files/staged_file.h"

namespace muster {
namespace {

namespace fs = std::filesystem;

class Assembly {
 public:
  Assembly(Client& client, Puller& puller, const AssembleOptions& options)
      : client_(client),
        options_(options),
        puller_(puller),
        proof_(client, options.model_version, Call()) {}

  absl::StatusOr<AssembleSummary> Run() {
    const std::string out = WithoutTrailingSlashes(options_.out);
    RemoveAbandoned(ParentOf(out),
                    [name = fs::path(out).filename().string()](absl::string_view final_name) {
                      return final_name == name;
                    });
    MUSTER_ASSIGN_OR_RETURN(StagedDirectory directory, StagedDirectory::Create(options_.out));
    staging_ = directory.staging_path();
    copier_.emplace(
        client_, puller_,
        ShardCopier::Options{options_.caches, Call(), options_.warn, options_.keys, staging_});
    MUSTER_RETURN_IF_ERROR(Describe());
    MUSTER_RETURN_IF_ERROR(CheckDiskRoom({layout_.total_bytes, FreeBytesAt(staging_)}, staging_));
    if (options_.on_plan) options_.on_plan(layout_.total_bytes);
    MUSTER_RETURN_IF_ERROR(CopyShards());
    MUSTER_RETURN_IF_ERROR(CopyCompanions(*copier_, companions_, {}, staging_, options_.stop));
    MUSTER_RETURN_IF_ERROR(Prove());
    MUSTER_RETURN_IF_ERROR(SyncTree(staging_));
    if (options_.stop.stop_requested()) return absl::CancelledError("interrupted");
    MUSTER_RETURN_IF_ERROR(directory.Commit());
    return Summary();
  }

 private:
  // A file whose shards are under way; it is whole when none is missing any more.
  struct OpenFile {
    std::optional<StagedFile> file;
    size_t missing = 0;
  };

  CallOptions Call() const { return {.timeout = std::nullopt, .stop = options_.stop}; }
  std::string PathOf(const std::string& relative) const {
    return absl::StrCat(staging_, "/", relative);
  }

  absl::Status Describe() {
    v1::GetModelVersionRequest request;
    request.set_name(options_.model_version);
    MUSTER_ASSIGN_OR_RETURN(const auto response, client_.GetModelVersion(request, Call()));
    version_ = response.model_version();
    MUSTER_ASSIGN_OR_RETURN(shards_, ListAllShards(client_, options_.model_version, Call()));
    MUSTER_ASSIGN_OR_RETURN(layout_, LayOutModel(version_, shards_));
    MUSTER_ASSIGN_OR_RETURN(companions_,
                            ListAllCompanions(client_, options_.model_version, Call()));
    MUSTER_RETURN_IF_ERROR(CheckCompanionPaths(layout_, companions_));
    return options_.allow_code ? absl::OkStatus() : CheckNoCode(layout_, companions_);
  }

  absl::Status CopyShards() {
    open_.resize(layout_.files.size());
    for (const OutputLayout::Place& place : layout_.shards) ++open_[place.file].missing;
    return RunInParallel(
        shards_.size(), options_.jobs, options_.stop,
        [this](size_t shard, const std::stop_token& stop) { return CopyShard(shard, stop); });
  }

  absl::Status CopyShard(size_t shard, const std::stop_token& stop) {
    const OutputLayout::Place& place = layout_.shards[shard];
    const std::string& name = layout_.files[place.file].path;
    MUSTER_ASSIGN_OR_RETURN(StagedFile* const file, FileFor(place.file));
    StagedFileSink sink(*file, place.offset_bytes);
    const absl::Status copied = copier_->Copy(shards_[shard], sink, stop, options_.on_bytes);
    if (!copied.ok()) return Annotate(copied, absl::StrCat("shard ", shard));
    if (!IsLastOf(place.file)) return absl::OkStatus();
    MUSTER_RETURN_IF_ERROR(file->Commit());
    if (layout_.raw) return absl::OkStatus();
    return proof_.CheckFile(shards_[shard], PathOf(name), name);
  }

  absl::StatusOr<StagedFile*> FileFor(size_t index) {
    MutexLock lock(mutex_);
    OpenFile& open = open_[index];
    if (!open.file.has_value()) {
      const std::string path = PathOf(layout_.files[index].path);
      MUSTER_RETURN_IF_ERROR(MakeFolderOf(path));
      MUSTER_ASSIGN_OR_RETURN(StagedFile file, StagedFile::Create(path));
      open.file.emplace(std::move(file));
    }
    return &*open.file;
  }

  bool IsLastOf(size_t index) {
    MutexLock lock(mutex_);
    return --open_[index].missing == 0;
  }

  // Tensor files were compared with the catalogue one by one; what is left is that together they
  // are the whole. Raw files must have the sizes that the layout says.
  absl::Status Prove() {
    for (const OutputLayout::File& file : layout_.files) {
      std::error_code error;
      const auto size = fs::file_size(PathOf(file.path), error);
      if (!error && size == static_cast<uint64_t>(file.size_bytes)) continue;
      return absl::DataLossError(absl::StrCat(QuoteForMessage(file.path), ": has ", size,
                                              " bytes instead of ", file.size_bytes));
    }
    if (layout_.raw) return absl::OkStatus();
    MUSTER_RETURN_IF_ERROR(proof_.CheckWhole(version_.tensor_count()));
    MUSTER_ASSIGN_OR_RETURN(const std::vector<TiedFile> tied,
                            proof_.WriteTied(companions_, staging_, layout_));
    for (const TiedFile& file : tied) tied_count_ += file.tensors.size();
    tensor_count_ = proof_.tensor_count();
    content_bytes_ = proof_.tensor_bytes();
    for (const OutputLayout::Index& index : layout_.indexes) {
      MUSTER_RETURN_IF_ERROR(
          WriteWholeFile(PathOf(index.path), proof_.IndexJsonFor(layout_, index)));
    }
    return absl::OkStatus();
  }

  AssembleSummary Summary() const {
    AssembleSummary summary;
    summary.model_version = version_;
    summary.tensor_count = tensor_count_;
    summary.tied_count = tied_count_;
    summary.content_bytes = layout_.raw ? layout_.total_bytes : content_bytes_;
    for (const OutputLayout::File& file : layout_.files) summary.files.push_back(file.path);
    summary.companion_count = static_cast<uint32_t>(companions_.size());
    summary.shards_from_cache = copier_->from_cache();
    summary.shards_from_locations = copier_->from_locations();
    return summary;
  }

  Client& client_;
  const AssembleOptions& options_;
  Puller& puller_;
  // Spools in the staging directory.
  std::optional<ShardCopier> copier_;
  TensorProof proof_;
  std::string staging_;
  v1::ModelVersion version_;
  std::vector<v1::Shard> shards_;
  std::vector<v1::Companion> companions_;
  OutputLayout layout_;
  uint64_t tensor_count_ = 0;
  uint64_t tied_count_ = 0;
  int64_t content_bytes_ = 0;
  Mutex mutex_;
  std::vector<OpenFile> open_ MUSTER_GUARDED_BY(mutex_);
};

}  // namespace

absl::StatusOr<AssembleSummary> AssembleModel(Client& client, Puller& puller,
                                              const AssembleOptions& options) {
  return Assembly(client, puller, options).Run();
}

}  // namespace muster
