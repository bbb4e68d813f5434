// How a directory's weight files become the model:
//
// 1. With --include, what it names is all that counts; the rest is kept only to be listed.
// 2. Files that an index names are one set. One index rules the files of its format in a folder:
//    "model" if it is there, else the shortest name, of which the others must be variants. An index
//    that is broken, or that names a file which is missing, is not an error yet: it matters only if
//    its folder turns out to be the model, so the error is put aside, by folder (`broken_`). That
//    of a PyTorch index is kept apart (`broken_torch_`): it never matters beside a chosen
//    safetensors set.
// 3. The other files are sorted into sets by their names alone: cut by rank, consolidated, a
//    variant of a set beside it, plain, PyTorch, other. This comes after 2, because "X.fp16" is a
//    variant only where "X" is a set or a file.
// 4. In each folder the first set in order of WeightSet::Kind is chosen. The others get a reason
//    why not. With --include every set of a usable format is chosen, and that is the end: 5 to 7
//    are skipped, and an index that 2 could not use is forgotten, since the files were named one by
//    one.
// 5. A diffusers pipeline: if a folder that model_index.json names has a chosen set, the sets of
//    all other folders are dropped. If none has, the file decides nothing.
// 6. Elsewhere the top level is the model, with the folders that modules.json names. Where the top
//    level has neither a chosen set nor a broken index, every folder with a chosen set counts,
//    except `original`, the makers' own copy, if there is another. Before that, where any folder
//    but `original` has a safetensors set, PyTorch sets of folders without one are dropped as a
//    second copy, unless modules.json names the folder. Later would be too late: a top level that
//    holds only the copy would have won over the folders that hold the model.
// 7. What 5 or 6 dropped takes its broken index with it. If an error is left, it is the answer.
//
// At the end a set either is `chosen` or has a reason in `why`, never both: `muster inspect` shows
// them. For cuts by bytes (TakeAll) there are only 1 and 3, and every set is chosen.
#include "client/checkpoint/weight_sets.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/format/byte_source.h"
#include "client/format/file_names.h"
#include "client/format/json_reader.h"
#include "storage/base/error_info.h"
#include "storage/base/limits.h"
#include "storage/base/quote.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

constexpr absl::string_view kPipelineIndex = "model_index.json";
constexpr absl::string_view kModulesList = "modules.json";
// Both files are a few hundred bytes; a bigger one is something else.
constexpr int64_t kMaxListBytes = int64_t{1} << 20;
constexpr absl::string_view kListRawAdvice =
    "publish it with --strategy raw, which cuts any file as bytes";

// "model" for "model.safetensors.index.json", "model.fp16" for both ways to write its variant's.
std::string StemOfIndex(absl::string_view file) {
  const absl::string_view mark = IsTorchIndexPath(file) ? ".bin.index." : ".safetensors.index.";
  const size_t at = file.find(mark);
  std::string stem(file.substr(0, at));
  absl::string_view rest = file.substr(at + mark.size());
  if (rest != "json") absl::StrAppend(&stem, ".", rest.substr(0, rest.size() - 5));
  return stem;
}

// What libraries call their PyTorch files, and the safetensors files with the same content.
struct TorchStem {
  absl::string_view torch;
  absl::string_view safetensors;
};
constexpr TorchStem kTorchStems[] = {
    {"pytorch_model", "model"},
    {"diffusion_pytorch_model", "diffusion_pytorch_model"},
    {"adapter_model", "adapter_model"},
    {"open_clip_pytorch_model", "open_clip_model"},
};

// "" where no library uses this name.
absl::string_view ConvertedStem(absl::string_view stem) {
  for (const TorchStem& known : kTorchStems) {
    if (known.torch == stem) return known.safetensors;
  }
  return "";
}

bool IsTrainingState(absl::string_view file) {
  constexpr absl::string_view kStems[] = {"optimizer", "scheduler", "scaler", "training_args"};
  return absl::StartsWith(file, "rng_state") ||
         std::find(std::begin(kStems), std::end(kStems), StemOf(file)) != std::end(kStems);
}

bool IsTorch(const WeightSet& set) {
  return set.kind == WeightSet::Kind::kTorch || set.kind == WeightSet::Kind::kTorchFiles;
}

std::string SuffixOf(absl::string_view file) {
  return std::string(file.substr(std::min(file.rfind('.'), file.size())));
}

// The keys of model_index.json that name components: those that don't begin with "_".
absl::StatusOr<std::set<std::string>> ReadPipeline(const SourceFiles& files,
                                                   const FoundFile& file) {
  std::set<std::string> names;
  MUSTER_ASSIGN_OR_RETURN(const auto source, files.Open(file.path));
  if (source->size_bytes() > kMaxListBytes) return names;
  JsonReader reader(*source, 0, source->size_bytes());
  MUSTER_RETURN_IF_ERROR(reader.Expect('{'));
  for (bool first = true;;) {
    MUSTER_ASSIGN_OR_RETURN(const bool more, reader.NextElement('}', first));
    if (!more) return names;
    std::string key;
    MUSTER_RETURN_IF_ERROR(reader.AppendString(kMaxPathBytes, key));
    MUSTER_RETURN_IF_ERROR(reader.Expect(':'));
    MUSTER_RETURN_IF_ERROR(reader.SkipValue());
    if (!absl::StartsWith(key, "_")) names.insert(std::move(key));
  }
}

// The "path" of every module in modules.json.
absl::StatusOr<std::set<std::string>> ReadModules(const SourceFiles& files, const FoundFile& file) {
  std::set<std::string> paths;
  MUSTER_ASSIGN_OR_RETURN(const auto source, files.Open(file.path));
  if (source->size_bytes() > kMaxListBytes) return paths;
  JsonReader reader(*source, 0, source->size_bytes());
  MUSTER_RETURN_IF_ERROR(reader.Expect('['));
  for (bool first = true;;) {
    MUSTER_ASSIGN_OR_RETURN(const bool more, reader.NextElement(']', first));
    if (!more) return paths;
    MUSTER_RETURN_IF_ERROR(reader.Expect('{'));
    for (bool first_field = true;;) {
      MUSTER_ASSIGN_OR_RETURN(const bool another, reader.NextElement('}', first_field));
      if (!another) break;
      std::string key;
      MUSTER_RETURN_IF_ERROR(reader.AppendString(kMaxPathBytes, key));
      MUSTER_RETURN_IF_ERROR(reader.Expect(':'));
      if (key != "path") {
        MUSTER_RETURN_IF_ERROR(reader.SkipValue());
        continue;
      }
      std::string path;
      MUSTER_RETURN_IF_ERROR(reader.AppendString(kMaxPathBytes, path));
      paths.insert(std::move(path));
    }
  }
}

int Rank(WeightSet::Kind kind) { return static_cast<int>(kind); }

// Sorts one directory's weight files into sets, and chooses.
class SetChoice {
 public:
  SetChoice(absl::string_view src, const DirectoryContent& content, const SetOptions& options)
      : src_(src), content_(content), options_(options) {}

  absl::StatusOr<WeightSets> Choose() {
    MUSTER_RETURN_IF_ERROR(TakeFiles());
    FindIndexed(/*torch=*/false, broken_);
    FindIndexed(/*torch=*/true, broken_torch_);
    FindOthers();
    for (auto& [folder, sets] : folders_) ChooseInFolder(sets);
    if (options_.include.empty()) MUSTER_RETURN_IF_ERROR(ChooseFolders());
    return Finish();
  }

  absl::StatusOr<WeightSets> TakeAll() {
    MUSTER_RETURN_IF_ERROR(TakeFiles());
    FindOthers();
    for (auto& [folder, sets] : folders_) {
      for (WeightSet& set : sets) set.chosen = set.why.empty();
    }
    return Finish();
  }

 private:
  // What --include names, and the rest.
  absl::Status TakeFiles() {
    for (const std::string& glob : options_.include) {
      const bool found = std::any_of(
          content_.weights.begin(), content_.weights.end(),
          [&](const FoundFile& file) { return MatchesAny(file.relative_path, {glob}); });
      if (!found) {
        return MakeError(
            absl::StatusCode::kInvalidArgument, reasons::kIncludeMatchesNothing,
            absl::StrCat("--include ", QuoteForMessage(glob), " matches no weight file of ",
                         QuoteForMessage(src_), "; `muster inspect` lists them"),
            {{"include", glob}});
      }
    }
    for (const FoundFile& file : content_.weights) {
      if (options_.include.empty() || MatchesAny(file.relative_path, options_.include)) {
        left_.emplace(file.relative_path, &file);
      } else {
        not_included_.push_back(&file);
      }
    }
    return absl::OkStatus();
  }

  // One index rules the files of its format in a folder; those that it names are its set.
  void FindIndexed(bool torch, std::map<std::string, absl::Status>& broken) {
    std::map<std::string, std::vector<const FoundFile*>> by_folder;
    for (const FoundFile& file : content_.indexes) {
      if (IsTorchIndexPath(file.relative_path) != torch) continue;
      by_folder[std::string(FolderOf(file.relative_path))].push_back(&file);
    }
    for (const auto& [folder, indexes] : by_folder) {
      const absl::StatusOr<const FoundFile*> index = ChooseIndex(indexes);
      absl::Status status = index.status();
      if (status.ok()) status = AddIndexed(folder, **index);
      // Whether it matters is seen when the folders are chosen.
      if (!status.ok()) broken.emplace(folder, status);
    }
  }

  static absl::StatusOr<const FoundFile*> ChooseIndex(const std::vector<const FoundFile*>& found) {
    const FoundFile* shortest = found.front();
    for (const FoundFile* index : found) {
      if (BaseNameOf(index->relative_path) == IndexFileName("model")) return index;
      if (index->relative_path.size() < shortest->relative_path.size()) shortest = index;
    }
    // The others may be variants of it: "X.fp16" of "X".
    const std::string stem = StemOfIndex(BaseNameOf(shortest->relative_path));
    for (const FoundFile* index : found) {
      if (index == shortest || absl::StartsWith(StemOfIndex(BaseNameOf(index->relative_path)),
                                                absl::StrCat(stem, "."))) {
        continue;
      }
      return absl::InvalidArgumentError(
          absl::StrCat("there are two indexes, ", QuoteForMessage(shortest->path), " and ",
                       QuoteForMessage(index->path), "; leave one of them out with --exclude"));
    }
    return shortest;
  }

  absl::Status AddIndexed(const std::string& folder, const FoundFile& file) {
    MUSTER_ASSIGN_OR_RETURN(const auto bytes, options_.files->Open(file.path));
    MUSTER_ASSIGN_OR_RETURN(IndexJson index, ReadIndexJson(*bytes));
    if (index.tensor_count() == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat(QuoteForMessage(file.path), ": lists no tensor"));
    }
    WeightSet set;
    set.folder = folder;
    set.stem = StemOfIndex(BaseNameOf(file.relative_path));
    if (IsTorchIndexPath(file.relative_path)) {
      set.kind = WeightSet::Kind::kTorch;
      set.name = absl::StrCat(set.stem, "*.bin");
      set.stem = std::string(ConvertedStem(set.stem));
    } else {
      set.kind = WeightSet::Kind::kIndexed;
      set.name = absl::StrCat(set.stem, "*.safetensors");
    }
    set.index_path = file.path;
    for (const std::string& named : index.files()) {
      const auto found = left_.find(InFolder(folder, named));
      if (found == left_.end()) {
        // With --include the files count, and the index only where it is about just those.
        if (!options_.include.empty()) return absl::OkStatus();
        return Missing(file, InFolder(folder, named), named);
      }
      set.files.push_back(*found->second);
    }
    for (const FoundFile& used : set.files) left_.erase(used.relative_path);
    set.index = std::move(index);
    folders_[folder].push_back(std::move(set));
    return absl::OkStatus();
  }

  absl::Status Missing(const FoundFile& index, const std::string& path,
                       const std::string& named) const {
    std::string why = "is missing; download it, or correct the index";
    for (const LeftOut& left_out : content_.left_out) {
      if (left_out.path == path) why = absl::StrCat("is left out: ", left_out.why);
    }
    return absl::NotFoundError(absl::StrCat(QuoteForMessage(index.path), ": names file ",
                                            QuoteForMessage(named), ", which ", why));
  }

  // Everything that no index names.
  void FindOthers() {
    absl::flat_hash_set<std::string> stems;
    for (const auto& [path, file] : left_) {
      if (IsSafetensorsPath(path)) stems.insert(InFolder(FolderOf(path), StemOf(BaseNameOf(path))));
    }
    for (const auto& [folder, sets] : folders_) {
      for (const WeightSet& set : sets) stems.insert(InFolder(folder, set.stem));
    }
    for (const auto& [path, file] : left_) AddTo(path, *file, stems, "");
    for (const FoundFile* file : not_included_) {
      AddTo(file->relative_path, *file, stems, "--include names others");
    }
  }

  void AddTo(const std::string& path, const FoundFile& file,
             const absl::flat_hash_set<std::string>& stems, absl::string_view why) {
    const std::string folder(FolderOf(path));
    const absl::string_view base = BaseNameOf(path);
    WeightSet wanted;
    wanted.folder = folder;
    wanted.why = std::string(why);
    if (!IsSafetensorsPath(path)) {
      NameOther(base, wanted);
    } else if (ParseRankFile(base).has_value()) {
      wanted.kind = WeightSet::Kind::kRanked;
      wanted.name = "model-rank-*.safetensors";
    } else if (absl::StartsWith(base, "consolidated")) {
      wanted.kind = WeightSet::Kind::kConsolidated;
      wanted.name = "consolidated*.safetensors";
      wanted.stem = "consolidated";
    } else {
      wanted.stem = StemOf(base);
      const size_t dot = wanted.stem.rfind('.');
      const bool variant =
          dot != std::string::npos && stems.contains(InFolder(folder, wanted.stem.substr(0, dot)));
      wanted.kind = variant ? WeightSet::Kind::kVariant : WeightSet::Kind::kFiles;
      wanted.name = variant ? absl::StrCat(wanted.stem, "*.safetensors") : "*.safetensors";
    }
    std::vector<WeightSet>& sets = folders_[folder];
    const auto same = std::find_if(sets.begin(), sets.end(), [&](const WeightSet& set) {
      return !set.index.has_value() && std::tie(set.kind, set.name, set.why) ==
                                           std::tie(wanted.kind, wanted.name, wanted.why);
    });
    WeightSet& set = same == sets.end() ? sets.emplace_back(std::move(wanted)) : *same;
    // Files of several stems have none in common.
    if (set.kind == WeightSet::Kind::kFiles && set.stem != StemOf(base)) set.stem = "model";
    set.files.push_back(file);
  }

  // Files that are not safetensors files.
  static void NameOther(absl::string_view base, WeightSet& set) {
    set.kind = WeightSet::Kind::kOther;
    set.name = absl::StrCat("*", SuffixOf(base));
    if (!IsTorchPath(base)) return;
    const std::string stem = StemOf(base);
    const absl::string_view converted = ConvertedStem(stem);
    if (IsTrainingState(base)) {
      set.kind = WeightSet::Kind::kTrainingState;
      set.name = "training state";
    } else if (converted.empty()) {
      set.kind = WeightSet::Kind::kTorchFiles;
    } else {
      set.kind = WeightSet::Kind::kTorch;
      set.name = absl::StrCat(stem, "*", SuffixOf(base));
      set.stem = std::string(converted);
    }
  }

  // The first set by kind is the folder's; with --include all that it names are.
  void ChooseInFolder(std::vector<WeightSet>& sets) const {
    std::stable_sort(sets.begin(), sets.end(), [](const WeightSet& a, const WeightSet& b) {
      return std::make_tuple(!a.why.empty(), Rank(a.kind)) <
             std::make_tuple(!b.why.empty(), Rank(b.kind));
    });
    const WeightSet* winner = nullptr;
    for (WeightSet& set : sets) {
      if (!set.why.empty()) continue;
      if (set.kind == WeightSet::Kind::kOther) {
        set.why = "of another format than safetensors";
      } else if (set.kind == WeightSet::Kind::kTrainingState) {
        set.why = "of a training run, not weights";
      } else if (set.kind == WeightSet::Kind::kRanked && !options_.take_ranked) {
        set.why = "cut by rank; --in-place publishes such files";
      } else if (winner != nullptr && options_.include.empty()) {
        set.why =
            absl::StrCat(winner->name, winner->index.has_value() ? ", which has an index," : "",
                         " is the model's");
      } else {
        set.chosen = true;
        winner = &set;
      }
    }
  }

  bool HasChosen(const std::string& folder) const {
    const auto sets = folders_.find(folder);
    return sets != folders_.end() && std::any_of(sets->second.begin(), sets->second.end(),
                                                 [](const WeightSet& set) { return set.chosen; });
  }

  bool HasSafetensors(const std::vector<WeightSet>& sets) const {
    return std::any_of(sets.begin(), sets.end(),
                       [](const WeightSet& set) { return set.chosen && !IsTorch(set); });
  }

  void Drop(std::vector<WeightSet>& sets, absl::string_view why) {
    for (WeightSet& set : sets) {
      if (!set.chosen) continue;
      set.chosen = false;
      set.why = std::string(why);
    }
  }

  const FoundFile* FindCompanion(absl::string_view path) const {
    const auto found =
        std::find_if(content_.companions.begin(), content_.companions.end(),
                     [&](const FoundFile& file) { return file.relative_path == path; });
    return found == content_.companions.end() ? nullptr : &*found;
  }

  // A broken index of PyTorch files matters where nothing else is there.
  void CountBrokenTorch() {
    for (const auto& [folder, status] : broken_torch_) {
      const auto sets = folders_.find(folder);
      if (sets == folders_.end() || !HasSafetensors(sets->second)) broken_.emplace(folder, status);
    }
  }

  // Beside safetensors files, in whatever folder, PyTorch files are another copy of the model, or of
  // something else.
  void DropTorchBesideSafetensors(const std::set<std::string>& modules) {
    if (std::none_of(folders_.begin(), folders_.end(), [this](const auto& entry) {
          return !IsOriginal(entry.first) && HasSafetensors(entry.second);
        })) {
      return;
    }
    for (auto& [folder, sets] : folders_) {
      if (modules.contains(folder) || HasSafetensors(sets)) continue;
      Drop(sets, "of another format than safetensors; --include takes it");
      const auto torch = broken_torch_.find(folder);
      const auto any = broken_.find(folder);
      if (torch != broken_torch_.end() && any != broken_.end() && any->second == torch->second) {
        broken_.erase(any);
      }
    }
  }

  absl::Status ChooseFolders() {
    CountBrokenTorch();
    if (const FoundFile* pipeline = FindCompanion(kPipelineIndex); pipeline != nullptr) {
      const auto components = ReadPipeline(*options_.files, *pipeline);
      if (!components.ok()) return Annotate(components.status(), QuoteForMessage(pipeline->path));
      if (ChooseComponents(*components)) return CheckIndexes();
    }
    std::set<std::string> modules;
    if (const FoundFile* list = FindCompanion(kModulesList); list != nullptr) {
      auto paths = ReadModules(*options_.files, *list);
      if (!paths.ok()) return Annotate(paths.status(), QuoteForMessage(list->path));
      modules = *std::move(paths);
    }
    DropTorchBesideSafetensors(modules);
    const bool top = HasChosen("") || broken_.contains("");
    for (auto& [folder, sets] : folders_) {
      if (folder.empty()) continue;
      if (top && !modules.contains(folder)) {
        Drop(sets, "a set of a subfolder; --include takes it");
      } else if (IsOriginal(folder) && HasOtherThanOriginal()) {
        Drop(sets, "the weights as their makers keep them");
        broken_.erase(folder);
      }
    }
    if (top) {
      std::erase_if(broken_, [&](const auto& entry) {
        return !entry.first.empty() && !modules.contains(entry.first);
      });
    }
    return CheckIndexes();
  }

  static bool IsOriginal(absl::string_view folder) {
    return folder == "original" || absl::StartsWith(folder, "original/");
  }

  bool HasOtherThanOriginal() const {
    return std::any_of(folders_.begin(), folders_.end(), [&](const auto& entry) {
      return !IsOriginal(entry.first) && HasChosen(entry.first);
    });
  }

  // False when no folder that the pipeline names holds a set, so that it decides nothing.
  bool ChooseComponents(const std::set<std::string>& components) {
    const auto is_component = [&](const std::string& folder) {
      return components.contains(folder);
    };
    if (std::none_of(folders_.begin(), folders_.end(), [&](const auto& entry) {
          return is_component(entry.first) && HasChosen(entry.first);
        })) {
      return false;
    }
    for (auto& [folder, sets] : folders_) {
      if (!is_component(folder)) {
        Drop(sets, "model_index.json doesn't name its folder");
        broken_.erase(folder);
      } else if (!HasChosen(folder) && !broken_.contains(folder)) {
        warnings_.push_back(absl::StrCat("the component ", QuoteForMessage(folder),
                                         " has weights, but no safetensors or PyTorch files (",
                                         sets.front().name, "), and is published without them"));
      }
    }
    std::erase_if(broken_, [&](const auto& entry) { return !is_component(entry.first); });
    return true;
  }

  // What is wrong with the index of a folder that counts.
  absl::Status CheckIndexes() const {
    return broken_.empty() ? absl::OkStatus() : broken_.begin()->second;
  }

  absl::StatusOr<WeightSets> Finish() {
    WeightSets result{{}, std::move(warnings_)};
    bool any = false;
    const WeightSet* ranked = nullptr;
    for (auto& [folder, sets] : folders_) {
      std::stable_sort(sets.begin(), sets.end(),
                       [](const WeightSet& a, const WeightSet& b) { return a.chosen > b.chosen; });
      for (WeightSet& set : sets) {
        any = any || set.chosen;
        result.sets.push_back(std::move(set));
      }
    }
    if (any) return result;
    if (result.sets.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat(QuoteForMessage(src_), ": holds no weight files"));
    }
    for (const WeightSet& set : result.sets) {
      if (set.kind == WeightSet::Kind::kRanked) ranked = &set;
    }
    if (ranked != nullptr) {
      return absl::InvalidArgumentError(absl::StrCat(
          QuoteForMessage(src_), ": its files are cut by rank (",
          QuoteForMessage(ranked->files.front().relative_path),
          "), so names repeat between ranks; publish them with --in-place, as they lie"));
    }
    return MakeError(
        absl::StatusCode::kInvalidArgument, reasons::kOtherFormat,
        absl::StrCat(QuoteForMessage(src_), ": holds no safetensors or PyTorch files, but ",
                     QuoteForMessage(result.sets.front().files.front().relative_path), "; ",
                     kListRawAdvice));
  }

  const absl::string_view src_;
  const DirectoryContent& content_;
  const SetOptions& options_;
  // By path: weight files that are in no set yet.
  std::map<std::string, const FoundFile*> left_;
  std::vector<const FoundFile*> not_included_;
  std::map<std::string, std::vector<WeightSet>> folders_;
  // What is wrong with a folder's index; of PyTorch files apart until it is known whether they count.
  std::map<std::string, absl::Status> broken_;
  std::map<std::string, absl::Status> broken_torch_;
  std::vector<std::string> warnings_;
};

}  // namespace

int64_t WeightSet::SizeBytes() const {
  int64_t size = 0;
  for (const FoundFile& file : files) size += file.size_bytes;
  return size;
}

absl::StatusOr<WeightSets> ChooseWeightSets(absl::string_view src, const DirectoryContent& content,
                                            const SetOptions& options) {
  return SetChoice(src, content, options).Choose();
}

absl::StatusOr<WeightSets> AllWeightSets(absl::string_view src, const DirectoryContent& content,
                                         const SetOptions& options) {
  return SetChoice(src, content, options).TakeAll();
}

}  // namespace muster
