#include "client/checkpoint/output_layout.h"

#include <algorithm>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/checkpoint/index_json.h"
#include "client/checkpoint/utf8.h"
#include "client/transfer/pull_shard.h"
#include "storage/base/error_info.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

absl::Status BadDescription(const v1::ModelVersion& version, absl::string_view what) {
  return MakeError(absl::StatusCode::kDataLoss, "DESCRIPTION_BROKEN",
                   absl::StrCat(ShortModelVersionName(version.name()), ": ", what,
                                "; the server's description of it can't be used"));
}

absl::Status CheckPath(absl::string_view path) {
  if (IsSafeRelativePath(path)) return absl::OkStatus();
  return MakeError(absl::StatusCode::kInvalidArgument, "UNSAFE_PATH",
                   absl::StrCat("the server names a file ", QuoteForMessage(path),
                                ", which is no path inside the output directory"));
}

absl::Status CheckShards(const v1::ModelVersion& version, const std::vector<v1::Shard>& shards) {
  if (version.state() != v1::ModelVersion::COMMITTED) {
    return MakeError(absl::StatusCode::kFailedPrecondition, "VERSION_NOT_COMMITTED",
                     absl::StrCat(ShortModelVersionName(version.name()),
                                  " is not committed: it is still being published"),
                     {{"state", v1::ModelVersion::State_Name(version.state())}});
  }
  if (shards.empty() || shards.size() != version.shard_count()) {
    return BadDescription(version, absl::StrCat("it has ", version.shard_count(), " shards and ",
                                                shards.size(), " are listed"));
  }
  for (size_t i = 0; i < shards.size(); ++i) {
    const v1::Shard& shard = shards[i];
    if (shard.index() != i) {
      return BadDescription(version, absl::StrCat("shard ", i, " is listed as ", shard.index()));
    }
    if (shard.size_bytes() < 1 || shard.size_bytes() > static_cast<uint64_t>(kMaxShardSizeBytes)) {
      return BadDescription(version, absl::StrCat("shard ", i, " has ", shard.size_bytes(),
                                                  " bytes, which is not possible"));
    }
    if (!shard.encoding().empty()) {
      return absl::UnimplementedError(absl::StrCat(
          ShortModelVersionName(version.name()), ": shard ", i, " is encoded as ",
          QuoteForMessage(shard.encoding()), ", which this program can't decode; update it"));
    }
  }
  return absl::OkStatus();
}

OutputLayout LayOutTensorFiles(const std::vector<v1::Shard>& shards) {
  OutputLayout layout;
  for (size_t i = 0; i < shards.size(); ++i) {
    const auto size = static_cast<int64_t>(shards[i].size_bytes());
    layout.files.push_back({shards.size() == 1 ? "model.safetensors"
                                               : absl::StrFormat("model-%05d-of-%05d.safetensors",
                                                                 i + 1, shards.size()),
                            size});
    layout.shards.push_back({i, 0});
    layout.total_bytes += size;
  }
  return layout;
}

absl::StatusOr<OutputLayout> LayOutRawFiles(const v1::ModelVersion& version,
                                            const std::vector<v1::Shard>& shards) {
  OutputLayout layout;
  layout.raw = true;
  layout.shards.resize(shards.size());
  std::map<std::string, std::vector<const v1::Shard*>> by_file;
  for (const v1::Shard& shard : shards) by_file[shard.source_path()].push_back(&shard);
  for (auto& [path, ranges] : by_file) {
    MUSTER_RETURN_IF_ERROR(CheckPath(path));
    std::sort(ranges.begin(), ranges.end(), [](const v1::Shard* a, const v1::Shard* b) {
      return a->source_offset_bytes() < b->source_offset_bytes();
    });
    int64_t end = 0;
    for (const v1::Shard* range : ranges) {
      if (range->source_offset_bytes() != static_cast<uint64_t>(end)) {
        return BadDescription(
            version, absl::StrCat(QuoteForMessage(path), " has a gap or an overlap: shard ",
                                  range->index(), " begins at ", range->source_offset_bytes(),
                                  " and what comes before it ends at ", end));
      }
      layout.shards[range->index()] = {layout.files.size(), end};
      end += static_cast<int64_t>(range->size_bytes());
    }
    layout.files.push_back({path, end});
    layout.total_bytes += end;
  }
  return layout;
}

}  // namespace

absl::StatusOr<OutputLayout> LayOutModel(const v1::ModelVersion& version,
                                         const std::vector<v1::Shard>& shards) {
  MUSTER_RETURN_IF_ERROR(CheckShards(version, shards));
  const auto raw = std::count_if(shards.begin(), shards.end(), [](const v1::Shard& shard) {
    return !shard.source_path().empty();
  });
  if (raw == 0 && version.tensor_count() == 0) {
    return BadDescription(version, "its shards have neither tensors nor a place in a source file");
  }
  if (raw == 0) return LayOutTensorFiles(shards);
  if (static_cast<size_t>(raw) != shards.size()) {
    return BadDescription(version, "some of its shards are cut raw and others are not");
  }
  MUSTER_ASSIGN_OR_RETURN(OutputLayout layout, LayOutRawFiles(version, shards));
  // The files of a raw model must not be folders of one another either.
  MUSTER_RETURN_IF_ERROR(CheckCompanionPaths(layout, {}));
  return layout;
}

absl::Status CheckCompanionPaths(const OutputLayout& layout,
                                 const std::vector<v1::Companion>& companions) {
  std::set<std::string> taken;
  for (const OutputLayout::File& file : layout.files) taken.insert(file.path);
  if (!layout.raw && layout.files.size() > 1) taken.insert(kIndexFile);
  for (const v1::Companion& companion : companions) {
    MUSTER_RETURN_IF_ERROR(CheckPath(companion.path()));
    if (!taken.insert(companion.path()).second) {
      return MakeError(
          absl::StatusCode::kInvalidArgument, "UNSAFE_PATH",
          absl::StrCat("the server names the file ", QuoteForMessage(companion.path()), " twice"));
    }
  }
  for (const std::string& path : taken) {
    for (size_t slash = path.find('/'); slash != std::string::npos;
         slash = path.find('/', slash + 1)) {
      if (!taken.contains(path.substr(0, slash))) continue;
      return MakeError(absl::StatusCode::kInvalidArgument, "UNSAFE_PATH",
                       absl::StrCat("the server names ", QuoteForMessage(path.substr(0, slash)),
                                    " as a file and as a folder"));
    }
  }
  return absl::OkStatus();
}

}  // namespace muster
