#include "client/assemble/output_layout.h"

#include <algorithm>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cache/checked_shard.h"
#include "client/encoding/encoding_name.h"
#include "client/format/file_names.h"
#include "client/format/index_json.h"
#include "storage/base/error_info.h"
#include "storage/base/limits.h"
#include "storage/base/quote.h"
#include "storage/base/reasons.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// In one message.
constexpr size_t kMaxCodeNamed = 5;

absl::Status BadDescription(const v1::ModelVersion& version, absl::string_view what) {
  return MakeError(absl::StatusCode::kDataLoss, reasons::kDescriptionBroken,
                   absl::StrCat(ShortModelVersionName(version.name()), ": ", what,
                                "; the server's description of it can't be used"));
}

absl::Status CheckPath(absl::string_view path) {
  if (IsSafeRelativePath(path)) return absl::OkStatus();
  return MakeError(absl::StatusCode::kInvalidArgument, reasons::kUnsafePath,
                   absl::StrCat("the server names a file ", QuoteForMessage(path),
                                ", which is not a path inside the output directory"));
}

absl::Status CheckShards(const v1::ModelVersion& version, const std::vector<v1::Shard>& shards) {
  if (version.state() != v1::ModelVersion::COMMITTED) {
    return MakeError(absl::StatusCode::kFailedPrecondition, reasons::kVersionNotCommitted,
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
    const int64_t size = ContentBytesOf(shard);
    if (shard.size_bytes() < 1 || size < 1 || size > kMaxShardSizeBytes) {
      return BadDescription(
          version, absl::StrCat("shard ", i, " has ", size, " bytes, which is not possible"));
    }
    const absl::Status known = ParseEncoding(shard.encoding()).status();
    if (!known.ok()) {
      return Annotate(known, absl::StrCat(ShortModelVersionName(version.name()), ": shard ", i));
    }
  }
  return absl::OkStatus();
}

// An index for every folder that holds several files, or one that is called like one of several:
// engines find such a model by its index. Files that were cut by rank have none, because a name may
// be in all of them.
std::vector<OutputLayout::Index> LayOutIndexes(const std::vector<v1::Shard>& shards,
                                               const OutputLayout& layout) {
  std::map<std::string, std::vector<size_t>> folders;
  for (size_t i = 0; i < shards.size(); ++i) {
    if (!shards[i].has_rank()) {
      folders[std::string(FolderOf(layout.files[i].path))].push_back(i);
    }
  }
  std::vector<OutputLayout::Index> indexes;
  for (auto& [folder, files] : folders) {
    const absl::string_view first = BaseNameOf(layout.files[files.front()].path);
    std::string stem = StemOf(first);
    if (files.size() < 2 && (!IsSafetensorsPath(first) || WeightFileName(stem, 0, 1) == first)) {
      continue;
    }
    for (const size_t file : files) {
      if (StemOf(BaseNameOf(layout.files[file].path)) != stem) stem = "model";
    }
    indexes.push_back({InFolder(folder, IndexFileName(stem)), std::move(files)});
  }
  return indexes;
}

absl::StatusOr<OutputLayout> LayOutTensorFiles(const std::vector<v1::Shard>& shards) {
  OutputLayout layout;
  for (size_t i = 0; i < shards.size(); ++i) {
    const int64_t size = ContentBytesOf(shards[i]);
    std::string path = shards[i].source_path();
    if (path.empty()) path = WeightFileName("model", i, shards.size());
    MUSTER_RETURN_IF_ERROR(CheckPath(path));
    layout.files.push_back({std::move(path), size});
    layout.shards.push_back({i, 0});
    layout.total_bytes += size;
  }
  layout.indexes = LayOutIndexes(shards, layout);
  MUSTER_RETURN_IF_ERROR(CheckCompanionPaths(layout, {}));
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
      end += ContentBytesOf(*range);
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
  if (version.tensor_count() > 0) return LayOutTensorFiles(shards);
  for (const v1::Shard& shard : shards) {
    if (!shard.source_path().empty()) continue;
    return BadDescription(
        version,
        absl::StrCat("shard ", shard.index(), " has neither tensors nor a place in a source file"));
  }
  MUSTER_ASSIGN_OR_RETURN(OutputLayout layout, LayOutRawFiles(version, shards));
  // The files of a raw model must not be folders of one another either.
  MUSTER_RETURN_IF_ERROR(CheckCompanionPaths(layout, {}));
  return layout;
}

absl::Status CheckCompanionPaths(const OutputLayout& layout,
                                 const std::vector<v1::Companion>& companions) {
  std::set<std::string> taken;
  const auto take = [&taken](const std::string& path) {
    if (taken.insert(path).second) return absl::OkStatus();
    return MakeError(absl::StatusCode::kInvalidArgument, reasons::kUnsafePath,
                     absl::StrCat("the server names the file ", QuoteForMessage(path), " twice"));
  };
  for (const OutputLayout::File& file : layout.files) MUSTER_RETURN_IF_ERROR(take(file.path));
  for (const OutputLayout::Index& index : layout.indexes) MUSTER_RETURN_IF_ERROR(take(index.path));
  for (const v1::Companion& companion : companions) {
    MUSTER_RETURN_IF_ERROR(CheckPath(companion.path()));
    MUSTER_RETURN_IF_ERROR(take(companion.path()));
  }
  for (const std::string& path : taken) {
    for (size_t slash = path.find('/'); slash != std::string::npos;
         slash = path.find('/', slash + 1)) {
      if (!taken.contains(path.substr(0, slash))) continue;
      return MakeError(absl::StatusCode::kInvalidArgument, reasons::kUnsafePath,
                       absl::StrCat("the server names ", QuoteForMessage(path.substr(0, slash)),
                                    " as a file and as a folder"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckNoCode(const OutputLayout& layout, const std::vector<v1::Companion>& companions) {
  std::vector<std::string> code;
  for (const OutputLayout::File& file : layout.files) {
    if (IsCodePath(file.path)) code.push_back(file.path);
  }
  for (const v1::Companion& companion : companions) {
    if (IsCodePath(companion.path())) code.push_back(companion.path());
  }
  if (code.empty()) return absl::OkStatus();
  const size_t count = code.size();
  code.resize(std::min(count, kMaxCodeNamed));
  std::string named = absl::StrJoin(code, ", ");
  if (count > code.size()) absl::StrAppend(&named, ", …");
  return MakeError(absl::StatusCode::kPermissionDenied, reasons::kCodeNotAllowed,
                   absl::StrCat("the model has ", count, count == 1 ? " file" : " files",
                                " that an engine may run: ", QuoteForMessage(named),
                                "; look at them, and use --allow-code if you trust them"),
                   {{"files", named}});
}

}  // namespace muster
