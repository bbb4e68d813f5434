#include "client/assemble/shard_files.h"

#include <errno.h>
#include <unistd.h>

#include <filesystem>
#include <set>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/assemble/shard_copier.h"
#include "client/format/byte_source.h"
#include "client/sdk/pages.h"
#include "client/sdk/pieces.h"
#include "storage/base/error_info.h"
#include "storage/base/quote.h"
#include "storage/base/reasons.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"
#include "storage/files/directories.h"
#include "storage/files/file_error.h"
#include "storage/files/staged_file.h"

namespace muster {
namespace {

// Whether the file at `path` is known to hold the content of `shard`.
absl::StatusOr<bool> Holds(Client& client, const v1::Shard& shard, const std::string& path,
                           HashQueue& hashes, const std::stop_token& stop) {
  if (!shard.encoding().empty()) return false;
  const auto file = OpenFileByteSource(path);
  if (!file.ok() || (*file)->size_bytes() != static_cast<int64_t>(shard.size_bytes())) return false;
  PullShard pull{shard, {}};
  CallOptions call;
  call.stop = stop;
  MUSTER_ASSIGN_OR_RETURN(pull.pieces, FetchPieces(client, shard, call));
  MUSTER_ASSIGN_OR_RETURN(const CheckedShard checked, CheckedShard::Make(pull));
  const absl::Status status = ReadAndCheck(
      checked, /*check_whole=*/false, hashes, stop,
      [&](int64_t offset, absl::Span<char> out) { return (*file)->Read(offset, out); },
      [&](const CheckedPart& part) {
        return part.matches ? absl::OkStatus() : absl::DataLossError("differs");
      });
  if (absl::IsCancelled(status)) return status;
  return status.ok();
}

std::vector<PulledFile> FilesOf(const std::vector<v1::Shard>& shards, const std::string& out) {
  std::vector<PulledFile> files;
  for (const v1::Shard& shard : shards) {
    const bool raw = shard.tensor_count() == 0;
    files.push_back(
        {shard.index(),
         absl::StrFormat("%s/shard-%05d.%s", out, shard.index(), raw ? "bin" : "safetensors"),
         ContentBytesOf(shard)});
  }
  return files;
}

// A file of the right size is taken for right: whether it is costs a read of all of it.
DiskRoom RoomFor(const std::vector<PulledFile>& files, const std::string& out) {
  DiskRoom room{0, FreeBytesAt(out)};
  for (const PulledFile& file : files) {
    std::error_code error;
    const uintmax_t there = std::filesystem::file_size(file.path, error);
    const bool whole = !error && there == static_cast<uintmax_t>(file.size_bytes);
    if (!whole) room.needed_bytes += file.size_bytes;
  }
  return room;
}

// What killed pulls of these files left; it may be as big as they are.
void RemoveLeftovers(const std::vector<PulledFile>& files, const std::string& out) {
  std::set<std::string> names;
  for (const PulledFile& file : files) {
    names.insert(std::filesystem::path(file.path).filename().string());
  }
  RemoveAbandoned(out, [&names](absl::string_view final_name) {
    return names.contains(std::string(final_name));
  });
}

}  // namespace

absl::StatusOr<std::vector<v1::Shard>> ChooseShards(
    Client& client, const std::string& model_version,
    const std::optional<std::vector<uint32_t>>& indices, const CallOptions& call) {
  if (!indices.has_value()) return ListAllShards(client, model_version, call);
  v1::GetModelVersionRequest get;
  get.set_name(model_version);
  MUSTER_ASSIGN_OR_RETURN(const auto version, client.GetModelVersion(get, call));
  const uint32_t count = version.model_version().shard_count();
  std::vector<v1::Shard> shards;
  for (const uint32_t index : *indices) {
    if (index >= count) {
      return MakeError(
          absl::StatusCode::kInvalidArgument, reasons::kShardOutOfRange,
          absl::StrCat(ShortModelVersionName(model_version), " has ", count, " shards, from 0 to ",
                       count - 1, "; there is no shard ", index),
          {{"shards", absl::StrCat(index)}, {"shard_count", absl::StrCat(count)}});
    }
    v1::GetShardRequest request;
    request.set_name(absl::StrCat(model_version, "/shards/", index));
    MUSTER_ASSIGN_OR_RETURN(auto response, client.GetShard(request, call));
    shards.push_back(std::move(*response.mutable_shard()));
  }
  return shards;
}

absl::StatusOr<ShardFilesRoom> RoomForShardFiles(Client& client, const PullFilesOptions& options) {
  CallOptions call;
  call.stop = options.stop;
  MUSTER_ASSIGN_OR_RETURN(const std::vector<v1::Shard> shards,
                          ChooseShards(client, options.model_version, options.shards, call));
  return ShardFilesRoom{shards.size(), RoomFor(FilesOf(shards, options.out), options.out)};
}

absl::StatusOr<std::vector<PulledFile>> PullShardFiles(Client& client, Puller& puller,
                                                       const PullFilesOptions& options) {
  CallOptions call;
  call.stop = options.stop;
  MUSTER_ASSIGN_OR_RETURN(const std::vector<v1::Shard> shards,
                          ChooseShards(client, options.model_version, options.shards, call));
  std::vector<PulledFile> files = FilesOf(shards, options.out);
  RemoveLeftovers(files, options.out);
  MUSTER_RETURN_IF_ERROR(CheckDiskRoom(RoomFor(files, options.out), options.out));
  MUSTER_RETURN_IF_ERROR(MakeDirectories(options.out, QuoteForMessage(options.out)).status());
  int64_t total = 0;
  for (const PulledFile& file : files) total += file.size_bytes;
  if (options.on_plan) options.on_plan(total);
  ShardCopier copier(client, puller,
                     {options.caches, call, options.warn, options.keys, options.out});
  HashQueue hashes;
  // By one thread each.
  std::vector<char> made(files.size(), 0);
  const absl::Status status = RunInParallel(
      shards.size(), options.jobs, options.stop,
      [&](size_t i, const std::stop_token& stop) -> absl::Status {
        MUSTER_ASSIGN_OR_RETURN(files[i].kept,
                                Holds(client, shards[i], files[i].path, hashes, stop));
        if (files[i].kept) {
          if (options.on_bytes) options.on_bytes(files[i].size_bytes);
          return absl::OkStatus();
        }
        MUSTER_ASSIGN_OR_RETURN(StagedFile file, StagedFile::Create(files[i].path));
        StagedFileSink sink(file, 0);
        const absl::Status copied = copier.Copy(shards[i], sink, stop, options.on_bytes);
        if (!copied.ok()) return Annotate(copied, absl::StrCat("shard ", shards[i].index()));
        MUSTER_RETURN_IF_ERROR(file.Commit());
        made[i] = 1;
        return absl::OkStatus();
      });
  if (status.ok()) return files;
  if (options.discard.stop_requested()) {
    for (size_t i = 0; i < files.size(); ++i) {
      if (made[i] != 0) unlink(files[i].path.c_str());
    }
  }
  return status;
}

absl::StatusOr<std::vector<PulledFile>> RemoveShardFiles(Client& client,
                                                         const PullFilesOptions& options) {
  CallOptions call;
  call.stop = options.stop;
  MUSTER_ASSIGN_OR_RETURN(const std::vector<v1::Shard> shards,
                          ChooseShards(client, options.model_version, options.shards, call));
  std::vector<PulledFile> files = FilesOf(shards, options.out);
  RemoveLeftovers(files, options.out);
  HashQueue hashes;
  std::vector<PulledFile> there;
  for (size_t i = 0; i < files.size(); ++i) {
    if (access(files[i].path.c_str(), F_OK) != 0) continue;
    MUSTER_ASSIGN_OR_RETURN(const bool ours,
                            Holds(client, shards[i], files[i].path, hashes, options.stop));
    files[i].kept = !ours;
    if (ours && unlink(files[i].path.c_str()) != 0) {
      return PathError(errno, "remove it", QuoteForMessage(files[i].path));
    }
    there.push_back(files[i]);
  }
  return there;
}

}  // namespace muster
