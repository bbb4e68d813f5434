#include "client/checkpoint/checkpoint_reader.h"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/checkpoint/index_json.h"
#include "client/checkpoint/utf8.h"
#include "storage/base/error_info.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

namespace fs = std::filesystem;

constexpr absl::string_view kIndexName = "model.safetensors.index.json";
constexpr absl::string_view kRawAdvice =
    "publish it with --strategy raw, which cuts any file as bytes";

// Says what a file that is no safetensors file looks like; "" if nothing is recognised.
absl::StatusOr<std::string> RecogniseFormat(const ByteSource& source) {
  char bytes[8] = {};
  const auto size = std::min<int64_t>(source.size_bytes(), sizeof bytes);
  MUSTER_RETURN_IF_ERROR(source.Read(0, absl::MakeSpan(bytes, static_cast<size_t>(size))));
  const absl::string_view head(bytes, sizeof bytes);
  if (absl::StartsWith(head, "PK\x03\x04"))
    return "a zip archive, as PyTorch writes .pt, .pth and .bin files";
  if (absl::StartsWith(head, "GGUF")) return "a GGUF file";
  if (absl::StartsWith(head, "\x89HDF")) return "an HDF5 file";
  if (head[0] == '\x80' && head[1] >= 2 && head[1] <= 5)
    return "a pickle, as old PyTorch versions write";
  return "";
}

absl::Status CheckFormat(const SourceFile& file) {
  MUSTER_ASSIGN_OR_RETURN(const bool safetensors, LooksLikeSafetensors(*file.bytes));
  if (safetensors) return absl::OkStatus();
  MUSTER_ASSIGN_OR_RETURN(const std::string format, RecogniseFormat(*file.bytes));
  // A damaged safetensors file gets its own, more precise error from the header's reader.
  if (format.empty() && IsSafetensorsPath(file.relative_path)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(QuoteForMessage(file.bytes->name()), ": is ",
                   format.empty() ? "of a format that Muster can't read tensors from" : format,
                   ", not a safetensors file; ", kRawAdvice));
}

absl::StatusOr<SourceFile> OpenSourceFile(std::string relative_path, const std::string& path) {
  SourceFile file;
  file.relative_path = std::move(relative_path);
  MUSTER_ASSIGN_OR_RETURN(file.bytes, OpenFileByteSource(path));
  return file;
}

absl::StatusOr<SourceFile> OpenTensorFile(std::string relative_path, const std::string& path) {
  MUSTER_ASSIGN_OR_RETURN(SourceFile file, OpenSourceFile(std::move(relative_path), path));
  MUSTER_RETURN_IF_ERROR(CheckFormat(file));
  MUSTER_ASSIGN_OR_RETURN(file.header, ReadSafetensorsHeader(*file.bytes));
  return file;
}

absl::Status MergeMetadata(Checkpoint& checkpoint) {
  absl::flat_hash_map<std::string, size_t> owners;
  for (size_t i = 0; i < checkpoint.files.size(); ++i) {
    for (auto& [key, value] : checkpoint.files[i].header.Metadata()) {
      const auto [merged, added] = checkpoint.metadata.emplace(key, value);
      if (added) {
        owners[key] = i;
      } else if (merged->second != value) {
        return absl::InvalidArgumentError(absl::StrCat(
            "__metadata__ key ", QuoteForMessage(key),
            " has two values: ", QuoteForMessage(merged->second), " in ",
            QuoteForMessage(checkpoint.files[owners[key]].bytes->name()), " and ",
            QuoteForMessage(value), " in ", QuoteForMessage(checkpoint.files[i].bytes->name()),
            "; make them equal, or publish the files as separate models"));
      }
    }
  }
  return absl::OkStatus();
}

absl::Status CollectTensors(Checkpoint& checkpoint) {
  size_t count = 0;
  for (const SourceFile& file : checkpoint.files) count += file.header.tensor_count();
  checkpoint.tensors.reserve(count);
  absl::flat_hash_map<absl::string_view, uint32_t> owners;
  owners.reserve(count);
  for (uint32_t i = 0; i < checkpoint.files.size(); ++i) {
    const SafetensorsHeader& header = checkpoint.files[i].header;
    for (size_t k = 0; k < header.tensor_count(); ++k) {
      TensorInfo info = header.tensor(k);
      const auto [owner, added] = owners.emplace(info.name, i);
      if (!added) {
        return absl::InvalidArgumentError(absl::StrCat(
            "tensor ", QuoteForMessage(info.name), " is in two files, ",
            QuoteForMessage(checkpoint.files[owner->second].bytes->name()), " and ",
            QuoteForMessage(checkpoint.files[i].bytes->name()),
            "; keep one of them, or add an index that says which files belong to the model"));
      }
      checkpoint.tensors.push_back({info.name, info.dtype, std::move(info.shape), i,
                                    header.data_begin_bytes() + info.begin_bytes,
                                    info.end_bytes - info.begin_bytes});
    }
  }
  return absl::OkStatus();
}

absl::Status CheckDtypes(Checkpoint& checkpoint, const CheckpointOptions& options) {
  for (const SourceFile& file : checkpoint.files) {
    const std::vector<std::string> unknown = file.header.UnknownDtypes();
    if (!unknown.empty()) {
      std::vector<std::string> quoted;
      for (const std::string& dtype : unknown) quoted.push_back(QuoteForMessage(dtype));
      const std::string what = absl::StrCat(QuoteForMessage(file.bytes->name()), ": unknown dtype ",
                                            absl::StrJoin(quoted, ", "));
      if (options.strict) {
        return absl::InvalidArgumentError(
            absl::StrCat(what, "; without --strict such tensors are copied unchanged"));
      }
      checkpoint.warnings.push_back(
          absl::StrCat(what, "; its tensors are copied unchanged, their sizes can't be checked"));
    }
    if (const int64_t ignored = file.header.ignored_field_count(); ignored > 0) {
      checkpoint.warnings.push_back(
          absl::StrCat(QuoteForMessage(file.bytes->name()), ": ", ignored,
                       " fields that the format doesn't define are dropped"));
    }
  }
  return absl::OkStatus();
}

// Everything after the files were opened.
absl::Status FinishTensors(Checkpoint& checkpoint, const CheckpointOptions& options) {
  MUSTER_RETURN_IF_ERROR(CollectTensors(checkpoint));
  MUSTER_RETURN_IF_ERROR(MergeMetadata(checkpoint));
  return CheckDtypes(checkpoint, options);
}

// The index that rules the directory's top level, if there is one.
absl::StatusOr<std::optional<FoundFile>> ChooseIndex(const DirectoryContent& content) {
  std::vector<FoundFile> top;
  for (const FoundFile& index : content.indexes) {
    if (index.relative_path == kIndexName) return std::optional<FoundFile>(index);
    if (!absl::StrContains(index.relative_path, '/')) top.push_back(index);
  }
  if (top.empty()) return std::optional<FoundFile>();
  if (top.size() == 1) return std::optional<FoundFile>(top.front());
  return absl::InvalidArgumentError(
      absl::StrCat("there are two indexes, ", QuoteForMessage(top[0].path), " and ",
                   QuoteForMessage(top[1].path), "; keep the one of the model to publish"));
}

// The file and the index must agree about which tensors it holds.
absl::Status CheckAgainstIndex(const IndexJson& index, absl::string_view index_name,
                               const Checkpoint& checkpoint) {
  std::vector<size_t> listed(checkpoint.files.size(), 0);
  for (size_t i = 0; i < index.tensor_count(); ++i) {
    const uint32_t file = index.tensor_file(i);
    ++listed[file];
    if (!checkpoint.files[file].header.Find(index.tensor_name(i)).has_value()) {
      return absl::InvalidArgumentError(absl::StrCat(
          QuoteForMessage(index_name), ": says that tensor ", QuoteForMessage(index.tensor_name(i)),
          " is in ", QuoteForMessage(checkpoint.files[file].relative_path),
          ", but that file lacks it"));
    }
  }
  for (size_t file = 0; file < listed.size(); ++file) {
    const SafetensorsHeader& header = checkpoint.files[file].header;
    if (header.tensor_count() == listed[file]) continue;
    absl::flat_hash_set<absl::string_view> names;
    for (size_t i = 0; i < index.tensor_count(); ++i) {
      if (index.tensor_file(i) == file) names.insert(index.tensor_name(i));
    }
    for (size_t k = 0; k < header.tensor_count(); ++k) {
      if (names.contains(header.tensor_name(k))) continue;
      return absl::InvalidArgumentError(
          absl::StrCat(QuoteForMessage(checkpoint.files[file].bytes->name()), ": holds tensor ",
                       QuoteForMessage(header.tensor_name(k)), ", which ",
                       QuoteForMessage(index_name), " does not list"));
    }
  }
  return absl::OkStatus();
}

absl::Status OpenIndexed(const FoundFile& index_file, const DirectoryContent& content,
                         Checkpoint& checkpoint) {
  MUSTER_ASSIGN_OR_RETURN(const auto index_bytes, OpenFileByteSource(index_file.path));
  MUSTER_ASSIGN_OR_RETURN(const IndexJson index, ReadIndexJson(*index_bytes));
  if (index.tensor_count() == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(QuoteForMessage(index_file.path), ": lists no tensor"));
  }
  absl::flat_hash_map<absl::string_view, const FoundFile*> found;
  for (const FoundFile& file : content.weights) found.emplace(file.relative_path, &file);
  const absl::flat_hash_set<absl::string_view> skipped(content.skipped.begin(),
                                                       content.skipped.end());
  for (const std::string& wanted : index.files()) {
    const auto file = found.find(wanted);
    if (file == found.end()) {
      return absl::NotFoundError(absl::StrCat(
          QuoteForMessage(index_file.path), ": names file ", QuoteForMessage(wanted), ", which ",
          skipped.contains(wanted)
              ? "is a link out of the directory or no regular file; copy it there"
              : "is missing; download it, or correct the index"));
    }
    MUSTER_ASSIGN_OR_RETURN(SourceFile source, OpenTensorFile(wanted, file->second->path));
    checkpoint.files.push_back(std::move(source));
  }
  return CheckAgainstIndex(index, index_file.path, checkpoint);
}

absl::Status OpenUnindexed(absl::string_view src, const DirectoryContent& content,
                           Checkpoint& checkpoint) {
  for (const FoundFile& file : content.weights) {
    if (!IsSafetensorsPath(file.relative_path) || absl::StrContains(file.relative_path, '/'))
      continue;
    MUSTER_ASSIGN_OR_RETURN(SourceFile source, OpenTensorFile(file.relative_path, file.path));
    checkpoint.files.push_back(std::move(source));
  }
  if (!checkpoint.files.empty()) return absl::OkStatus();
  if (content.weights.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(QuoteForMessage(src), ": holds no weight files"));
  }
  return absl::InvalidArgumentError(
      absl::StrCat(QuoteForMessage(src), ": holds no safetensors files at its top level, but ",
                   QuoteForMessage(content.weights.front().relative_path), "; ", kRawAdvice));
}

// Weight files that don't become part of the model are named, never dropped silently.
void WarnOfLeftOut(const DirectoryContent& content, Checkpoint& checkpoint) {
  absl::flat_hash_set<absl::string_view> used;
  for (const SourceFile& file : checkpoint.files) used.insert(file.relative_path);
  for (const FoundFile& file : content.weights) {
    if (used.contains(file.relative_path)) continue;
    checkpoint.warnings.push_back(
        absl::StrCat("left out: ", QuoteForMessage(file.relative_path),
                     ", a weight file that is not part of this checkpoint"));
  }
  for (const std::string& path : content.skipped) {
    checkpoint.warnings.push_back(absl::StrCat("left out: ", QuoteForMessage(path),
                                               ", a link out of the directory or no regular file"));
  }
}

absl::StatusOr<bool> IsDirectory(absl::string_view src) {
  std::error_code error;
  const bool directory = fs::is_directory(fs::path(std::string(src)), error);
  if (!error || error == std::errc::no_such_file_or_directory ||
      error == std::errc::not_a_directory) {
    return directory;
  }
  const std::string message =
      absl::StrCat(QuoteForMessage(src), ": can't be read: ", error.message());
  if (error == std::errc::permission_denied) return absl::PermissionDeniedError(message);
  return absl::InvalidArgumentError(message);
}

std::string FileNameOf(absl::string_view src) {
  return fs::path(std::string(src)).filename().string();
}

}  // namespace

int64_t Checkpoint::TotalBytes() const {
  int64_t total = 0;
  if (tensors.empty()) {
    for (const SourceFile& file : files) total += file.bytes->size_bytes();
  }
  for (const SourceTensor& tensor : tensors) total += tensor.size_bytes;
  return total;
}

absl::Status Checkpoint::CheckUnchanged() const {
  for (const SourceFile& file : files) MUSTER_RETURN_IF_ERROR(file.bytes->CheckUnchanged());
  return absl::OkStatus();
}

absl::StatusOr<Checkpoint> OpenTensorCheckpoint(absl::string_view src,
                                                const CheckpointOptions& options) {
  Checkpoint checkpoint;
  MUSTER_ASSIGN_OR_RETURN(const bool directory, IsDirectory(src));
  if (!directory) {
    MUSTER_ASSIGN_OR_RETURN(SourceFile file, OpenTensorFile(FileNameOf(src), std::string(src)));
    checkpoint.files.push_back(std::move(file));
  } else {
    MUSTER_ASSIGN_OR_RETURN(DirectoryContent content, WalkCheckpointDirectory(src));
    MUSTER_ASSIGN_OR_RETURN(const std::optional<FoundFile> index, ChooseIndex(content));
    MUSTER_RETURN_IF_ERROR(index.has_value() ? OpenIndexed(*index, content, checkpoint)
                                             : OpenUnindexed(src, content, checkpoint));
    MUSTER_RETURN_IF_ERROR(CheckCompanions(content.companions));
    WarnOfLeftOut(content, checkpoint);
    checkpoint.companions = std::move(content.companions);
  }
  MUSTER_RETURN_IF_ERROR(FinishTensors(checkpoint, options));
  return checkpoint;
}

absl::StatusOr<Checkpoint> OpenRawCheckpoint(absl::string_view src) {
  Checkpoint checkpoint;
  MUSTER_ASSIGN_OR_RETURN(const bool directory, IsDirectory(src));
  if (!directory) {
    MUSTER_ASSIGN_OR_RETURN(SourceFile file, OpenSourceFile(FileNameOf(src), std::string(src)));
    checkpoint.files.push_back(std::move(file));
    return checkpoint;
  }
  MUSTER_ASSIGN_OR_RETURN(DirectoryContent content, WalkCheckpointDirectory(src));
  for (const FoundFile& found : content.weights) {
    MUSTER_ASSIGN_OR_RETURN(SourceFile file, OpenSourceFile(found.relative_path, found.path));
    checkpoint.files.push_back(std::move(file));
  }
  if (checkpoint.files.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(QuoteForMessage(src), ": holds no weight files"));
  }
  std::vector<FoundFile> companions;
  std::merge(
      content.companions.begin(), content.companions.end(), content.indexes.begin(),
      content.indexes.end(), std::back_inserter(companions),
      [](const FoundFile& a, const FoundFile& b) { return a.relative_path < b.relative_path; });
  MUSTER_RETURN_IF_ERROR(CheckCompanions(companions));
  WarnOfLeftOut(content, checkpoint);
  checkpoint.companions = std::move(companions);
  return checkpoint;
}

}  // namespace muster
