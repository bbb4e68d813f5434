// How a source becomes a checkpoint, in an order that matters:
//
// 1. A directory is listed and its sets of weight files are chosen (weight_sets.h); a file stands
//    for itself.
// 2. The files of the chosen sets are opened. A zip archive is a PyTorch file and is given a
//    safetensors form; anything else must be safetensors, or is refused by the name of its format.
//    An index must agree with its files both ways: no tensor that a file lacks, none that it does
//    not list.
// 3. Companions that are halves of what is not chosen are left out. The others are checked, and no two paths may differ in letter case only.
// 4. Files are sorted by component, rank, part and path. Tensors are collected in that order, so
//    that those of a component are one run, which cut_plan.cc builds on.
// 5. A name may appear once for each component and rank; the further names of tied tensors count,
//    too. Then the names are checked again as the catalogue has them, with their folders in front.
// 6. Metadata are merged by component: a key that two files have must have one value. Only now can
//    it be seen that a name is a tie in one file and a tensor of its own in another; then it is a
//    tensor.
//
// Raw checkpoints need only 1 and 3: their files are bytes, and indexes are companions.
#include "client/checkpoint/checkpoint_reader.h"

#include <algorithm>
#include <iterator>
#include <tuple>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/types/span.h"
#include "client/checkpoint/model_halves.h"
#include "client/checkpoint/tied_tensors.h"
#include "client/format/file_names.h"
#include "client/format/index_json.h"
#include "client/torch/torch_file.h"
#include "storage/base/error_info.h"
#include "storage/base/limits.h"
#include "storage/base/quote.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

constexpr absl::string_view kRawAdvice =
    "publish it with --strategy raw, which cuts any file as bytes";

// Says what a file that holds no tensors for us looks like; "" if nothing is recognised.
absl::StatusOr<std::string> RecogniseFormat(const ByteSource& source) {
  char bytes[8] = {};
  const auto size = std::min<int64_t>(source.size_bytes(), sizeof bytes);
  MUSTER_RETURN_IF_ERROR(source.Read(0, absl::MakeSpan(bytes, static_cast<size_t>(size))));
  const absl::string_view head(bytes, sizeof bytes);
  if (absl::StartsWith(head, "GGUF")) return "a GGUF file";
  if (absl::StartsWith(head, "\x89HDF")) return "an HDF5 file";
  if (head[0] == '\x80' && head[1] >= 2 && head[1] <= 5)
    return "a bare pickle, as torch before 1.6 writes; load it and save it again with torch to "
           "make "
           "it readable";
  return "";
}

absl::Status CheckFormat(const SourceFile& file) {
  MUSTER_ASSIGN_OR_RETURN(const bool safetensors, LooksLikeSafetensors(*file.bytes));
  if (safetensors) return absl::OkStatus();
  MUSTER_ASSIGN_OR_RETURN(const std::string format, RecogniseFormat(*file.bytes));
  // A damaged safetensors file gets its own, more precise error from the header's reader.
  if (format.empty() && IsSafetensorsPath(file.relative_path)) return absl::OkStatus();
  return MakeError(
      absl::StatusCode::kInvalidArgument, reasons::kOtherFormat,
      absl::StrCat(QuoteForMessage(file.bytes->name()), ": is ",
                   format.empty() ? "of a format that Muster can't read tensors from" : format,
                   ", not a safetensors or PyTorch file; ", kRawAdvice));
}

absl::StatusOr<SourceFile> OpenSourceFile(const SourceFiles& files, std::string relative_path,
                                          const std::string& path) {
  SourceFile file;
  file.relative_path = std::move(relative_path);
  MUSTER_ASSIGN_OR_RETURN(file.bytes, files.Open(path));
  file.content = file.bytes;
  return file;
}

// Makes `file` one with a safetensors file's content.
absl::Status ConvertTorchFile(const CheckpointOptions& options, SourceFile& file,
                              std::vector<std::string>& warnings) {
  absl::StatusOr<TorchFile> torch = OpenTorchFile(file.bytes, {options.untie});
  if (absl::IsInvalidArgument(torch.status())) {
    const absl::Status& status = torch.status();
    return WithDetail(
        absl::Status(status.code(), absl::StrCat(status.message(), "; or ", kRawAdvice)),
        DetailOf(status));
  }
  MUSTER_RETURN_IF_ERROR(torch.status());
  file.content = std::move(torch->safetensors);
  std::move(torch->notes.begin(), torch->notes.end(), std::back_inserter(warnings));
  return absl::OkStatus();
}

// Adds what the user should know to `warnings`.
absl::StatusOr<SourceFile> OpenTensorFile(std::string relative_path, const std::string& path,
                                          const CheckpointOptions& options,
                                          std::vector<std::string>& warnings) {
  MUSTER_ASSIGN_OR_RETURN(SourceFile file,
                          OpenSourceFile(*options.files, std::move(relative_path), path));
  MUSTER_ASSIGN_OR_RETURN(const bool zip, LooksLikeZip(*file.bytes));
  if (zip) {
    MUSTER_RETURN_IF_ERROR(ConvertTorchFile(options, file, warnings));
  } else {
    MUSTER_RETURN_IF_ERROR(CheckFormat(file));
  }
  MUSTER_ASSIGN_OR_RETURN(file.header, ReadSafetensorsHeader(*file.content));
  if (zip) file.tied_names = TiedNames(file.header.Metadata());
  return file;
}

absl::Status MergeMetadata(Checkpoint& checkpoint) {
  absl::flat_hash_map<std::pair<uint32_t, std::string>, size_t> owners;
  for (size_t i = 0; i < checkpoint.files.size(); ++i) {
    const SourceFile& file = checkpoint.files[i];
    std::map<std::string, std::string>& merged = checkpoint.components[file.component].metadata;
    for (auto& [key, value] : file.header.Metadata()) {
      const auto [there, added] = merged.emplace(key, value);
      if (added) {
        owners[{file.component, key}] = i;
      } else if (there->second != value) {
        const SourceFile& owner = checkpoint.files[owners[{file.component, key}]];
        return absl::InvalidArgumentError(absl::StrCat(
            "__metadata__ key ", QuoteForMessage(key), " has two values: ",
            QuoteForMessage(there->second), " in ", QuoteForMessage(owner.bytes->name()), " and ",
            QuoteForMessage(value), " in ", QuoteForMessage(file.bytes->name()),
            "; make them equal, or publish the files as separate models"));
      }
    }
  }
  return absl::OkStatus();
}

// What must differ between tensors, with the file that has it: component, rank and name.
using TensorKey = std::tuple<uint32_t, int64_t, absl::string_view>;

TensorKey KeyOf(const SourceFile& file, absl::string_view name) {
  return {file.component, file.rank.has_value() ? int64_t{*file.rank} : -1, name};
}

absl::Status NamedTwice(absl::string_view name, const SourceFile& a, const SourceFile& b) {
  return absl::InvalidArgumentError(absl::StrCat(
      "tensor ", QuoteForMessage(name), " is in two files, ", QuoteForMessage(a.bytes->name()),
      " and ", QuoteForMessage(b.bytes->name()),
      "; leave one of them out with --exclude, or add an index that says which files belong to the "
      "model"));
}

absl::Status CollectTensors(Checkpoint& checkpoint) {
  size_t count = 0;
  for (const SourceFile& file : checkpoint.files) count += file.header.tensor_count();
  checkpoint.tensors.reserve(count);
  absl::flat_hash_map<TensorKey, uint32_t> owners;
  owners.reserve(count);
  for (uint32_t i = 0; i < checkpoint.files.size(); ++i) {
    const SafetensorsHeader& header = checkpoint.files[i].header;
    for (size_t k = 0; k < header.tensor_count(); ++k) {
      TensorInfo info = header.tensor(k);
      const auto [owner, added] = owners.emplace(KeyOf(checkpoint.files[i], info.name), i);
      if (!added) {
        return NamedTwice(info.name, checkpoint.files[owner->second], checkpoint.files[i]);
      }
      checkpoint.tensors.push_back({info.name, info.dtype, std::move(info.shape), i,
                                    header.data_begin_bytes() + info.begin_bytes,
                                    info.end_bytes - info.begin_bytes});
    }
    for (const auto& [name, tensor] : checkpoint.files[i].tied_names) {
      const auto [owner, added] = owners.emplace(KeyOf(checkpoint.files[i], name), i);
      if (!added) return NamedTwice(name, checkpoint.files[owner->second], checkpoint.files[i]);
    }
  }
  return absl::OkStatus();
}

// A name that is a tensor of its own is never another tensor's, whatever the files say.
void UntieTensors(Checkpoint& checkpoint) {
  std::vector<bool> has_tied;
  for (const SourceComponent& component : checkpoint.components) {
    has_tied.push_back(HasTiedNames(component.metadata));
  }
  for (const SourceTensor& tensor : checkpoint.tensors) {
    const uint32_t component = checkpoint.files[tensor.file].component;
    if (has_tied[component]) Untie(tensor.name, checkpoint.components[component].metadata);
  }
}

// With folders before them names may get too long, and two may become one: "a" with "b/c", and
// "a/b" with "c".
absl::Status CheckNamesWithFolders(const Checkpoint& checkpoint) {
  absl::flat_hash_map<std::string, const SourceTensor*> owners;
  for (const SourceTensor& tensor : checkpoint.tensors) {
    const SourceFile& file = checkpoint.files[tensor.file];
    if (checkpoint.components.size() == 1 && checkpoint.components[0].folder.empty()) break;
    std::string name = checkpoint.NameInCatalogue(tensor);
    if (name.size() > kMaxTensorNameBytes) {
      return absl::InvalidArgumentError(
          absl::StrCat(QuoteForMessage(file.bytes->name()), ": tensor ", QuoteForMessage(name),
                       " has a name of ", name.size(), " bytes with its folder, at most ",
                       kMaxTensorNameBytes, " are possible"));
    }
    if (file.rank.has_value()) absl::StrAppend(&name, "\n", *file.rank);
    const auto [owner, added] = owners.emplace(std::move(name), &tensor);
    if (added) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "tensor ", QuoteForMessage(checkpoint.NameInCatalogue(tensor)), " is in two files, ",
        QuoteForMessage(checkpoint.files[owner->second->file].bytes->name()), " and ",
        QuoteForMessage(file.bytes->name()), ", when their folders are put before the names"));
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
  MUSTER_RETURN_IF_ERROR(CheckNamesWithFolders(checkpoint));
  MUSTER_RETURN_IF_ERROR(MergeMetadata(checkpoint));
  UntieTensors(checkpoint);
  return CheckDtypes(checkpoint, options);
}

// The files and the index must agree about which tensors they hold. `files` are those of the index,
// in its order.
absl::Status CheckAgainstIndex(const IndexJson& index, absl::string_view index_name,
                               absl::Span<const SourceFile> files) {
  std::vector<size_t> listed(files.size(), 0);
  for (size_t i = 0; i < index.tensor_count(); ++i) {
    const uint32_t file = index.tensor_file(i);
    ++listed[file];
    const std::string name(index.tensor_name(i));
    if (!files[file].header.Find(name).has_value() && !files[file].tied_names.contains(name)) {
      return absl::InvalidArgumentError(absl::StrCat(
          QuoteForMessage(index_name), ": says that tensor ", QuoteForMessage(name), " is in ",
          QuoteForMessage(files[file].relative_path), ", but that file lacks it"));
    }
  }
  for (size_t file = 0; file < listed.size(); ++file) {
    const SafetensorsHeader& header = files[file].header;
    if (header.tensor_count() + files[file].tied_names.size() == listed[file]) continue;
    absl::flat_hash_set<absl::string_view> names;
    for (size_t i = 0; i < index.tensor_count(); ++i) {
      if (index.tensor_file(i) == file) names.insert(index.tensor_name(i));
    }
    for (size_t k = 0; k < header.tensor_count(); ++k) {
      if (names.contains(header.tensor_name(k))) continue;
      return absl::InvalidArgumentError(
          absl::StrCat(QuoteForMessage(files[file].bytes->name()), ": holds tensor ",
                       QuoteForMessage(header.tensor_name(k)), ", which ",
                       QuoteForMessage(index_name), " does not list"));
    }
  }
  return absl::OkStatus();
}

// Engines look for these names, so that a file of the top level keeps them; others become
// "model".
std::string StemFor(const WeightSet& set) {
  constexpr absl::string_view kKnown[] = {"adapter_model", "diffusion_pytorch_model",
                                          "open_clip_model"};
  const bool keeps = set.index.has_value() || !set.folder.empty() ||
                     std::find(std::begin(kKnown), std::end(kKnown), set.stem) != std::end(kKnown);
  return keeps && !set.stem.empty() ? set.stem : "model";
}

// The number of the component that holds `folder`; a folder has one, whatever --include takes of
// it.
uint32_t ComponentOf(const WeightSet& set, Checkpoint& checkpoint) {
  auto& components = checkpoint.components;
  for (uint32_t i = 0; i < components.size(); ++i) {
    if (components[i].folder == set.folder) return i;
  }
  components.push_back({set.folder, StemFor(set), {}});
  return static_cast<uint32_t>(components.size() - 1);
}

absl::Status OpenSet(const WeightSet& set, const CheckpointOptions& options,
                     Checkpoint& checkpoint) {
  const uint32_t component = ComponentOf(set, checkpoint);
  std::vector<SourceFile> files;
  for (const FoundFile& found : set.files) {
    MUSTER_ASSIGN_OR_RETURN(SourceFile file, OpenTensorFile(found.relative_path, found.path,
                                                            options, checkpoint.warnings));
    file.component = component;
    file.sha256 = found.sha256;
    if (set.kind == WeightSet::Kind::kRanked) {
      file.rank = ParseRankFile(BaseNameOf(found.relative_path))->rank;
    }
    files.push_back(std::move(file));
  }
  if (set.index.has_value()) {
    MUSTER_RETURN_IF_ERROR(CheckAgainstIndex(*set.index, set.index_path, files));
  }
  std::move(files.begin(), files.end(), std::back_inserter(checkpoint.files));
  return absl::OkStatus();
}

void SortFiles(std::vector<SourceFile>& files) {
  const auto key = [](const SourceFile& file) {
    const auto rank = ParseRankFile(BaseNameOf(file.relative_path)).value_or(RankFile{});
    return std::make_tuple(file.component, rank.rank, rank.part, file.relative_path);
  };
  std::sort(files.begin(), files.end(),
            [&](const SourceFile& a, const SourceFile& b) { return key(a) < key(b); });
}

// File systems that don't distinguish letter case would make one file of two.
absl::Status CheckFoldedPaths(const Checkpoint& checkpoint) {
  absl::flat_hash_map<std::string, std::string> seen;
  const auto check = [&](const std::string& path) {
    const auto [other, added] = seen.emplace(FoldCase(path), path);
    if (added) return absl::OkStatus();
    return MakeError(
        absl::StatusCode::kInvalidArgument, reasons::kPathsDifferInCase,
        absl::StrCat(QuoteForMessage(other->second), " and ", QuoteForMessage(path),
                     " differ in letter case only, so a directory on many file systems can't hold "
                     "both; leave one of them out with --exclude"),
        {{"path", path}, {"other", other->second}});
  };
  for (const SourceFile& file : checkpoint.files) {
    MUSTER_RETURN_IF_ERROR(check(file.relative_path));
  }
  for (const FoundFile& file : checkpoint.companions) {
    MUSTER_RETURN_IF_ERROR(check(file.relative_path));
  }
  return absl::OkStatus();
}

// A config's "auto_map" names modules of the model's own, as "modeling_x.Class" or
// "org/name--modeling_x.Class". Without them an engine can't open the model.
absl::Status WarnOfMissingCode(const SourceFiles& files, Checkpoint& checkpoint) {
  constexpr int64_t kMaxConfigBytes = int64_t{1} << 20;
  for (const FoundFile& config : checkpoint.companions) {
    if (!absl::EndsWith(config.relative_path, "config.json") ||
        config.size_bytes > kMaxConfigBytes) {
      continue;
    }
    MUSTER_ASSIGN_OR_RETURN(const auto source, files.Open(config.path));
    std::string text(static_cast<size_t>(std::min(source->size_bytes(), kMaxConfigBytes)), '\0');
    MUSTER_RETURN_IF_ERROR(source->Read(0, absl::MakeSpan(text)));
    if (!absl::StrContains(text, "\"auto_map\"")) continue;
    for (const LeftOut& file : checkpoint.left_out) {
      if (!absl::EndsWith(file.path, ".py") ||
          FolderOf(file.path) != FolderOf(config.relative_path)) {
        continue;
      }
      absl::string_view module = BaseNameOf(file.path);
      module.remove_suffix(3);
      if (!absl::StrContains(text, absl::StrCat("\"", module, ".")) &&
          !absl::StrContains(text, absl::StrCat("--", module, "."))) {
        continue;
      }
      checkpoint.warnings.push_back(absl::StrCat(
          QuoteForMessage(config.relative_path), ": its auto_map names ",
          QuoteForMessage(file.path), ", which is code and left out, so engines can't open the ",
          "model with it; publish with --allow-code if you trust it"));
    }
  }
  return absl::OkStatus();
}

// What all checkpoints that are directories need after their files are opened.
absl::Status FinishDirectory(const SourceFiles& files, DirectoryContent content, WeightSets sets,
                             Checkpoint& checkpoint) {
  MUSTER_RETURN_IF_ERROR(CheckCompanions(content.companions));
  for (const FoundFile& file : content.companions) {
    MUSTER_RETURN_IF_ERROR(files.CheckReadable(file.path));
  }
  checkpoint.companions = std::move(content.companions);
  checkpoint.left_out = std::move(content.left_out);
  checkpoint.snapshot = std::move(content.snapshot);
  checkpoint.sets = std::move(sets.sets);
  for (WeightSet& set : checkpoint.sets) set.index.reset();
  std::move(sets.warnings.begin(), sets.warnings.end(), std::back_inserter(checkpoint.warnings));
  MUSTER_RETURN_IF_ERROR(CheckFoldedPaths(checkpoint));
  return WarnOfMissingCode(files, checkpoint);
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

std::string Checkpoint::NameInCatalogue(const SourceTensor& tensor) const {
  return CatalogueTensorName(components[files[tensor.file].component].folder, tensor.name);
}

absl::StatusOr<Checkpoint> OpenTensorCheckpoint(absl::string_view src,
                                                const CheckpointOptions& options) {
  Checkpoint checkpoint;
  const SourceFiles& files = *options.files;
  MUSTER_ASSIGN_OR_RETURN(const SourceFiles::Kind kind, files.Look(src));
  if (!kind.is_folder) {
    MUSTER_ASSIGN_OR_RETURN(
        SourceFile file, OpenTensorFile(kind.name, std::string(src), options, checkpoint.warnings));
    checkpoint.files.push_back(std::move(file));
    checkpoint.components.push_back({"", "model", {}});
  } else {
    MUSTER_ASSIGN_OR_RETURN(DirectoryContent content, files.List(src, options.walk));
    MUSTER_ASSIGN_OR_RETURN(
        WeightSets sets,
        ChooseWeightSets(src, content, {options.include, options.take_ranked, &files}));
    for (const WeightSet& set : sets.sets) {
      if (set.chosen) MUSTER_RETURN_IF_ERROR(OpenSet(set, options, checkpoint));
    }
    LeaveOutHalves(sets.sets, content);
    MUSTER_RETURN_IF_ERROR(FinishDirectory(files, std::move(content), std::move(sets), checkpoint));
  }
  SortFiles(checkpoint.files);
  MUSTER_RETURN_IF_ERROR(FinishTensors(checkpoint, options));
  return checkpoint;
}

absl::StatusOr<Checkpoint> OpenRawCheckpoint(absl::string_view src,
                                             const CheckpointOptions& options) {
  Checkpoint checkpoint;
  const SourceFiles& files = *options.files;
  MUSTER_ASSIGN_OR_RETURN(const SourceFiles::Kind kind, files.Look(src));
  if (!kind.is_folder) {
    MUSTER_ASSIGN_OR_RETURN(SourceFile file, OpenSourceFile(files, kind.name, std::string(src)));
    checkpoint.files.push_back(std::move(file));
    return checkpoint;
  }
  MUSTER_ASSIGN_OR_RETURN(DirectoryContent content, files.List(src, options.walk));
  MUSTER_ASSIGN_OR_RETURN(WeightSets sets, AllWeightSets(src, content, {options.include}));
  size_t chosen = 0;
  for (const WeightSet& set : sets.sets) {
    if (!set.chosen) continue;
    ++chosen;
    for (const FoundFile& found : set.files) {
      MUSTER_ASSIGN_OR_RETURN(SourceFile file,
                              OpenSourceFile(files, found.relative_path, found.path));
      file.sha256 = found.sha256;
      checkpoint.files.push_back(std::move(file));
    }
  }
  if (chosen > 1) {
    sets.warnings.push_back(absl::StrCat("all ", chosen,
                                         " sets of weight files are published, as raw takes every ",
                                         "weight file; --include and --exclude choose"));
  }
  SortFiles(checkpoint.files);
  std::vector<FoundFile> companions;
  std::merge(
      content.companions.begin(), content.companions.end(), content.indexes.begin(),
      content.indexes.end(), std::back_inserter(companions),
      [](const FoundFile& a, const FoundFile& b) { return a.relative_path < b.relative_path; });
  content.companions = std::move(companions);
  MUSTER_RETURN_IF_ERROR(FinishDirectory(files, std::move(content), std::move(sets), checkpoint));
  return checkpoint;
}

}  // namespace muster
