// How tensors are cut into shards (CutTensors):
//
// 1. What no number of shards can mend is refused first: a tensor is never split, so one that is
//    too large for a shard, or fewer tensors than shards asked for, ends it.
// 2. Tensors are put into the natural order of their names, so that the cuts don't depend on how
//    the source's files were laid out. `layer` and `type` then form groups: the sort by group is
//    stable and keeps the order of names within each.
// 3. The count begins with what was asked for, or with one shard per 4 GiB; but with no less than
//    the bytes need, and no more than there are tensors.
// 4. `uniform` deals single tensors, the largest first, each to the lightest shard. The others keep
//    the order. With no more shards than groups a shard is a run of whole groups, and the largest
//    shard is as small as possible. With more, groups are split: the parts go to the groups by
//    their bytes, and each group is cut in order.
// 5. In a shard, tensors with wide elements come first, so that each lies aligned without padding,
//    which the format does not allow. Only now is the header built and the shard's size known.
// 6. If a shard is too large or has too many tensors, the count grows by a sixteenth, at least by
//    one, and 4 and 5 are done again: few rounds, and few shards more than needed. At one shard per
//    tensor, or at the catalogue's bound, it gives up.
//
// A component of one safetensors file that nothing asks to cut, neither the user nor its size, is a shard as it lies:
// its hash is the one that people know from where they have it.
//
// Of several components, each is cut alone as above, with a share of the shards asked for by its
// bytes; its tensors are one run of the checkpoint's, so indices only have to be shifted. Raw cuts
// divide each file evenly, at multiples of 1 MiB where ranges are that long; the rounding may make
// one range too large, and then one more shard is tried. CutAsFiles cuts nothing: a file is a
// shard.
#include "client/checkpoint/cut_plan.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "client/checkpoint/partition.h"
#include "client/checkpoint/tensor_groups.h"
#include "client/checkpoint/tied_tensors.h"
#include "client/format/file_names.h"
#include "client/format/safetensors_writer.h"
#include "storage/base/limits.h"
#include "storage/base/quote.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// A run of tensors that belong together.
struct Group {
  std::string name;
  std::vector<uint32_t> tensors;
  int64_t size_bytes = 0;
};

struct Cuts {
  std::vector<std::vector<uint32_t>> shards;
  std::vector<std::string> notes;
};

int64_t CeilDivide(int64_t a, int64_t b) { return a / b + (a % b != 0 ? 1 : 0); }

// Tensors in order of names, so that the cuts don't depend on how the source files were laid out.
std::vector<uint32_t> InNameOrder(absl::Span<const SourceTensor> tensors) {
  std::vector<uint32_t> order(tensors.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
    return CompareNatural(tensors[a].name, tensors[b].name) < 0;
  });
  return order;
}

// `same(a, b)` says if two neighbours of the sorted order belong to one group.
template <typename Same, typename Name>
std::vector<Group> SplitIntoGroups(absl::Span<const SourceTensor> tensors,
                                   const std::vector<uint32_t>& order, const Same& same,
                                   const Name& name) {
  std::vector<Group> groups;
  for (size_t i = 0; i < order.size(); ++i) {
    if (i == 0 || !same(order[i - 1], order[i])) groups.push_back({name(order[i]), {}, 0});
    groups.back().tensors.push_back(order[i]);
    groups.back().size_bytes += tensors[order[i]].size_bytes;
  }
  return groups;
}

std::vector<Group> GroupByLayer(absl::Span<const SourceTensor> tensors) {
  std::vector<LayerGroup> keys;
  keys.reserve(tensors.size());
  for (const SourceTensor& tensor : tensors) keys.push_back(LayerGroupOf(tensor.name));
  std::vector<uint32_t> order = InNameOrder(tensors);
  std::stable_sort(order.begin(), order.end(),
                   [&](uint32_t a, uint32_t b) { return (keys[a] <=> keys[b]) < 0; });
  return SplitIntoGroups(
      tensors, order, [&](uint32_t a, uint32_t b) { return (keys[a] <=> keys[b]) == 0; },
      [&](uint32_t i) { return keys[i].ToString(); });
}

std::vector<Group> GroupByType(absl::Span<const SourceTensor> tensors) {
  std::vector<ParameterType> keys;
  keys.reserve(tensors.size());
  for (const SourceTensor& tensor : tensors) keys.push_back(ParameterTypeOf(tensor.name));
  std::vector<uint32_t> order = InNameOrder(tensors);
  std::stable_sort(order.begin(), order.end(),
                   [&](uint32_t a, uint32_t b) { return keys[a] < keys[b]; });
  return SplitIntoGroups(
      tensors, order, [&](uint32_t a, uint32_t b) { return keys[a] == keys[b]; },
      [&](uint32_t i) { return std::string(ParameterTypeName(keys[i])); });
}

Cuts PackGroups(const std::vector<Group>& groups, size_t count) {
  std::vector<int64_t> sizes;
  for (const Group& group : groups) sizes.push_back(group.size_bytes);
  Cuts cuts;
  size_t begin = 0;
  for (const size_t end : PartitionInOrder(sizes, count)) {
    std::vector<uint32_t>& shard = cuts.shards.emplace_back();
    for (; begin < end; ++begin) {
      shard.insert(shard.end(), groups[begin].tensors.begin(), groups[begin].tensors.end());
    }
  }
  return cuts;
}

Cuts SplitGroups(absl::Span<const SourceTensor> tensors, const std::vector<Group>& groups,
                 size_t count) {
  std::vector<int64_t> sizes;
  std::vector<int64_t> limits;
  for (const Group& group : groups) {
    sizes.push_back(group.size_bytes);
    limits.push_back(static_cast<int64_t>(group.tensors.size()));
  }
  const std::vector<size_t> parts = PartsPerGroup(sizes, limits, count);
  Cuts cuts;
  for (size_t i = 0; i < groups.size(); ++i) {
    const std::vector<uint32_t>& members = groups[i].tensors;
    std::vector<int64_t> member_sizes;
    for (const uint32_t member : members) member_sizes.push_back(tensors[member].size_bytes);
    size_t begin = 0;
    for (const size_t end : PartitionInOrder(member_sizes, parts[i])) {
      cuts.shards.emplace_back(members.begin() + static_cast<ptrdiff_t>(begin),
                               members.begin() + static_cast<ptrdiff_t>(end));
      begin = end;
    }
    if (parts[i] > 1) {
      cuts.notes.push_back(absl::StrCat("group ", QuoteForMessage(groups[i].name),
                                        " is split over ", parts[i], " shards, because ", count,
                                        " shards were asked for and there are ", groups.size(),
                                        " groups"));
    }
  }
  return cuts;
}

Cuts CutUniformly(absl::Span<const SourceTensor> tensors, size_t count) {
  const std::vector<uint32_t> order = InNameOrder(tensors);
  std::vector<int64_t> sizes;
  sizes.reserve(order.size());
  for (const uint32_t i : order) sizes.push_back(tensors[i].size_bytes);
  const std::vector<size_t> bins = PartitionByWeight(sizes, count);
  Cuts cuts;
  cuts.shards.resize(count);
  for (size_t i = 0; i < order.size(); ++i) cuts.shards[bins[i]].push_back(order[i]);
  return cuts;
}

Cuts CutOnce(absl::Span<const SourceTensor> tensors, const std::vector<Group>& groups,
             CutStrategy strategy, size_t count) {
  if (strategy == CutStrategy::kUniform) return CutUniformly(tensors, count);
  return count <= groups.size() ? PackGroups(groups, count) : SplitGroups(tensors, groups, count);
}

// The element's size if it is known, otherwise the largest power of two that divides the tensor's
// size: an element of an unknown type can't be larger.
int64_t AlignmentOf(const SourceTensor& tensor) {
  constexpr int64_t kMaxAlignment = 16;
  if (const std::optional<int64_t> bits = DtypeBits(tensor.dtype); bits.has_value()) {
    return std::max<int64_t>(*bits / 8, 1);
  }
  if (tensor.size_bytes == 0) return kMaxAlignment;
  return std::min(tensor.size_bytes & -tensor.size_bytes, kMaxAlignment);
}

// The format allows no padding, so tensors with wide elements come first; then each lies where its
// elements may be read in place. Tensors of one width keep their order.
void SortByAlignment(absl::Span<const SourceTensor> tensors, std::vector<uint32_t>& shard) {
  std::stable_sort(shard.begin(), shard.end(), [&](uint32_t a, uint32_t b) {
    return AlignmentOf(tensors[a]) > AlignmentOf(tensors[b]);
  });
}

absl::StatusOr<ShardCut> FinishShard(absl::Span<const SourceTensor> tensors,
                                     const std::map<std::string, std::string>& metadata,
                                     std::vector<uint32_t> members) {
  ShardCut shard;
  shard.tensors = std::move(members);
  SortByAlignment(tensors, shard.tensors);
  MUSTER_ASSIGN_OR_RETURN(const std::string header, BuildShardHeader(shard, tensors, metadata));
  shard.header_size_bytes = static_cast<int64_t>(header.size());
  shard.size_bytes = shard.header_size_bytes;
  for (const uint32_t i : shard.tensors) shard.size_bytes += tensors[i].size_bytes;
  return shard;
}

bool AllFit(const CutPlan& plan, int64_t limit_bytes) {
  return std::all_of(plan.shards.begin(), plan.shards.end(), [&](const ShardCut& shard) {
    return shard.size_bytes <= limit_bytes && shard.tensors.size() <= kMaxTensorsPerShard;
  });
}

std::string PieceLimit(const CutOptions& options) {
  return absl::StrCat(kMaxPiecesPerPublishedShard, " pieces of ", options.piece_size_bytes,
                      " bytes");
}

absl::Status CheckOptions(const CutOptions& options) {
  if (options.shard_count > kMaxShardsPerVersion) {
    return absl::InvalidArgumentError(absl::StrCat(options.shard_count,
                                                   " shards are asked for, at most ",
                                                   kMaxShardsPerVersion, " are possible"));
  }
  if (options.piece_size_bytes < 1 || options.piece_size_bytes > kMaxPieceSizeBytes) {
    return absl::InvalidArgumentError(absl::StrCat("a piece size of ", options.piece_size_bytes,
                                                   " bytes is not from 1 to ", kMaxPieceSizeBytes));
  }
  return absl::OkStatus();
}

// What no number of shards can mend.
absl::Status CheckTensors(absl::Span<const SourceTensor> tensors, const CutOptions& options) {
  if (tensors.empty()) return absl::InvalidArgumentError("the checkpoint holds no tensors");
  if (options.shard_count > tensors.size()) {
    return absl::InvalidArgumentError(absl::StrCat(
        options.shard_count, " shards are asked for, but the checkpoint has ", tensors.size(),
        " tensors, which are not split; ask for at most ", tensors.size()));
  }
  const int64_t limit = kMaxPiecesPerPublishedShard * options.piece_size_bytes;
  const auto largest =
      std::max_element(tensors.begin(), tensors.end(),
                       [](const auto& a, const auto& b) { return a.size_bytes < b.size_bytes; });
  if (largest->size_bytes <= limit - kSafetensorsAlignmentBytes) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("tensor ", QuoteForMessage(largest->name), " has ", largest->size_bytes,
                   " bytes and can't be split; a shard has at most ", PieceLimit(options),
                   "; choose a larger piece size, at most 64 MiB"));
}

void NoteGrowth(uint32_t asked, size_t made, absl::string_view limit,
                std::vector<std::string>& notes) {
  if (asked == 0 || made == asked) return;
  notes.insert(notes.begin(), absl::StrCat(asked, " shards were asked for, ", made,
                                           " are made, because a shard has at most ", limit));
}

// The sum of `sizes`, or an error that says `what` has too many bytes.
absl::StatusOr<int64_t> CheckedSum(absl::Span<const int64_t> sizes, absl::string_view what) {
  int64_t total = 0;
  for (const int64_t size : sizes) {
    if (__builtin_add_overflow(total, size, &total)) {
      return absl::InvalidArgumentError(absl::StrCat(what, " have more than 2^63 - 1 bytes"));
    }
  }
  return total;
}

absl::StatusOr<CutPlan> FinishPlan(absl::Span<const SourceTensor> tensors,
                                   const std::map<std::string, std::string>& metadata,
                                   CutStrategy strategy, Cuts cuts) {
  CutPlan plan{strategy, {}, std::move(cuts.notes)};
  for (std::vector<uint32_t>& members : cuts.shards) {
    MUSTER_ASSIGN_OR_RETURN(ShardCut shard, FinishShard(tensors, metadata, std::move(members)));
    plan.shards.push_back(std::move(shard));
  }
  return plan;
}

absl::Status CheckRawFiles(absl::Span<const int64_t> sizes, int64_t total, int64_t least,
                           const CutOptions& options) {
  for (size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i] <= 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("file ", i, " is empty; a shard has at least one byte"));
    }
  }
  if (least > kMaxShardsPerVersion) {
    return absl::InvalidArgumentError(absl::StrCat("the files need ", least, " shards of ",
                                                   PieceLimit(options), ", at most ",
                                                   kMaxShardsPerVersion, " are possible"));
  }
  if (options.shard_count == 0) return absl::OkStatus();
  if (options.shard_count >= sizes.size() && options.shard_count <= total) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(options.shard_count, " shards are asked for, but ", sizes.size(), " files of ",
                   total, " bytes are cut, and a shard is a range of one file; ask for ",
                   sizes.size(), " to ", std::min<int64_t>(total, kMaxShardsPerVersion)));
}

void CutFile(uint32_t file, int64_t size, size_t parts, std::vector<ShardCut>& shards) {
  const auto ranges = static_cast<int64_t>(parts);
  const bool aligned = size / ranges >= kRawCutAlignmentBytes;
  int64_t begin = 0;
  for (int64_t k = 1; k <= ranges; ++k) {
    // The product may need more than 64 bits.
    auto end = static_cast<int64_t>(static_cast<__int128>(size) * k / ranges);
    if (aligned && k < ranges) end -= end % kRawCutAlignmentBytes;
    ShardCut shard;
    shard.range = RawRange{file, begin, end - begin};
    shard.size_bytes = end - begin;
    shards.push_back(std::move(shard));
    begin = end;
  }
}

absl::Status CheckNotEmpty(const SourceFile& file) {
  if (file.bytes->size_bytes() > 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(QuoteForMessage(file.bytes->name()),
                                                 ": is empty; there is nothing to publish in it"));
}

// The tensors of one component: a run of the checkpoint's.
struct ComponentRun {
  uint32_t component = 0;
  size_t begin = 0;
  size_t count = 0;
  int64_t size_bytes = 0;
};

std::vector<ComponentRun> RunsOf(const Checkpoint& checkpoint) {
  std::vector<ComponentRun> runs;
  for (size_t i = 0; i < checkpoint.tensors.size(); ++i) {
    const uint32_t component = checkpoint.files[checkpoint.tensors[i].file].component;
    if (runs.empty() || runs.back().component != component) runs.push_back({component, i, 0, 0});
    ++runs.back().count;
    runs.back().size_bytes += checkpoint.tensors[i].size_bytes;
  }
  return runs;
}

// How many shards each component gets; 0 where the default is meant.
absl::StatusOr<std::vector<size_t>> ShardsPerComponent(const std::vector<ComponentRun>& runs,
                                                       const CutOptions& options) {
  if (options.shard_count == 0 || runs.size() <= 1) {
    return std::vector<size_t>(runs.size(), options.shard_count);
  }
  std::vector<int64_t> sizes;
  std::vector<int64_t> limits;
  int64_t tensors = 0;
  for (const ComponentRun& run : runs) {
    sizes.push_back(run.size_bytes);
    limits.push_back(static_cast<int64_t>(run.count));
    tensors += limits.back();
  }
  if (options.shard_count < runs.size() || options.shard_count > tensors) {
    return absl::InvalidArgumentError(
        absl::StrCat(options.shard_count, " shards are asked for, but there are ", runs.size(),
                     " components and ", tensors,
                     " tensors, and a shard holds tensors of one component; ask for ", runs.size(),
                     " to ", tensors));
  }
  return PartsPerGroup(sizes, limits, options.shard_count);
}

// The component's only file as a shard; unset where there are several, where it has to be made over, or where it is
// larger than a shard is by default.
std::optional<ShardCut> WholeFile(const Checkpoint& checkpoint, const ComponentRun& run,
                                  const CutOptions& options) {
  const uint32_t index = checkpoint.tensors[run.begin].file;
  const SourceFile& file = checkpoint.files[index];
  const int64_t size = file.bytes->size_bytes();
  const bool is_only =
      std::count_if(checkpoint.files.begin(), checkpoint.files.end(),
                    [&](const SourceFile& other) { return other.component == run.component; }) == 1;
  // Fields that the format doesn't define are dropped, and tied names get a file of their own.
  if (!is_only || file.content != file.bytes || file.header.ignored_field_count() > 0 ||
      HasTiedNames(checkpoint.components[run.component].metadata) ||
      run.count > kMaxTensorsPerShard || DefaultShardCount(size) > 1 ||
      size > kMaxPiecesPerPublishedShard * options.piece_size_bytes) {
    return std::nullopt;
  }
  ShardCut shard;
  shard.tensors.resize(run.count);
  // As they lie, since those of one file are ordered by offset.
  std::iota(shard.tensors.begin(), shard.tensors.end(), 0);
  shard.range = RawRange{index, 0, size};
  shard.header_size_bytes = file.header.data_begin_bytes();
  shard.size_bytes = size;
  return shard;
}

absl::StatusOr<CutPlan> CutComponent(const Checkpoint& checkpoint, const ComponentRun& run,
                                     CutStrategy strategy, const CutOptions& options) {
  if (options.shard_count == 0) {
    MUSTER_RETURN_IF_ERROR(CheckOptions(options));
    if (std::optional<ShardCut> whole = WholeFile(checkpoint, run, options)) {
      return CutPlan{strategy, {*std::move(whole)}, {}};
    }
  }
  return CutTensors(absl::MakeConstSpan(checkpoint.tensors).subspan(run.begin, run.count),
                    checkpoint.components[run.component].metadata, strategy, options);
}

// Whether the shards' files are called as in any model directory.
bool HasUsualNames(const Checkpoint& checkpoint) {
  return checkpoint.components.size() == 1 && checkpoint.components[0].folder.empty() &&
         checkpoint.components[0].stem == "model";
}

absl::StatusOr<CutPlan> CutComponents(const Checkpoint& checkpoint, CutStrategy strategy,
                                      const CutOptions& options) {
  const std::vector<ComponentRun> runs = RunsOf(checkpoint);
  // Says what is wrong with a checkpoint without tensors.
  if (runs.empty()) return CutTensors({}, {}, strategy, options);
  MUSTER_ASSIGN_OR_RETURN(const std::vector<size_t> counts, ShardsPerComponent(runs, options));
  CutPlan plan{strategy, {}, {}};
  for (size_t i = 0; i < runs.size(); ++i) {
    const ComponentRun& run = runs[i];
    const SourceComponent& component = checkpoint.components[run.component];
    CutOptions own = options;
    own.shard_count = static_cast<uint32_t>(counts[i]);
    MUSTER_ASSIGN_OR_RETURN(CutPlan part, CutComponent(checkpoint, run, strategy, own));
    // Whoever makes files of the shards adds one for the tied names; see tied_file.h.
    const size_t tied = HasTiedNames(component.metadata) ? 1 : 0;
    for (size_t k = 0; k < part.shards.size(); ++k) {
      ShardCut& shard = part.shards[k];
      for (uint32_t& tensor : shard.tensors) tensor += static_cast<uint32_t>(run.begin);
      shard.component = run.component;
      if (!HasUsualNames(checkpoint) || tied > 0) {
        shard.path = InFolder(component.folder,
                              WeightFileName(component.stem, k, part.shards.size() + tied));
      }
      plan.shards.push_back(std::move(shard));
    }
    for (std::string& note : part.notes) {
      plan.notes.push_back(component.folder.empty() ? std::move(note)
                                                    : absl::StrCat(component.folder, ": ", note));
    }
  }
  if (plan.shards.size() <= kMaxShardsPerVersion) return plan;
  return absl::InvalidArgumentError(absl::StrCat("the components need ", plan.shards.size(),
                                                 " shards together, at most ", kMaxShardsPerVersion,
                                                 " are possible"));
}

}  // namespace

absl::StatusOr<CutStrategy> ParseCutStrategy(absl::string_view text) {
  for (const CutStrategy strategy :
       {CutStrategy::kLayer, CutStrategy::kType, CutStrategy::kUniform, CutStrategy::kRaw}) {
    if (CutStrategyName(strategy) == text) return strategy;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("strategy ", QuoteForMessage(text),
                   " is unknown; the strategies are layer, type, uniform and raw"));
}

absl::string_view CutStrategyName(CutStrategy strategy) {
  switch (strategy) {
    case CutStrategy::kLayer:
      return "layer";
    case CutStrategy::kType:
      return "type";
    case CutStrategy::kUniform:
      return "uniform";
    case CutStrategy::kAsFiles:
      return "files";
    case CutStrategy::kRaw:
      break;
  }
  return "raw";
}

uint32_t DefaultShardCount(int64_t total_bytes) {
  const int64_t count = CeilDivide(std::max<int64_t>(total_bytes, 1), kDefaultShardBytes);
  return static_cast<uint32_t>(std::min<int64_t>(count, kMaxShardsPerVersion));
}

absl::StatusOr<CutPlan> CutTensors(absl::Span<const SourceTensor> tensors,
                                   const std::map<std::string, std::string>& metadata,
                                   CutStrategy strategy, const CutOptions& options) {
  MUSTER_RETURN_IF_ERROR(CheckOptions(options));
  if (strategy == CutStrategy::kRaw || strategy == CutStrategy::kAsFiles) {
    return absl::InvalidArgumentError(
        absl::StrCat("strategy ", CutStrategyName(strategy), " cuts files as bytes, not tensors"));
  }
  MUSTER_RETURN_IF_ERROR(CheckTensors(tensors, options));
  std::vector<int64_t> sizes;
  sizes.reserve(tensors.size());
  for (const SourceTensor& tensor : tensors) sizes.push_back(tensor.size_bytes);
  MUSTER_ASSIGN_OR_RETURN(const int64_t total, CheckedSum(sizes, "the tensors"));
  std::vector<Group> groups;
  if (strategy == CutStrategy::kLayer) groups = GroupByLayer(tensors);
  if (strategy == CutStrategy::kType) groups = GroupByType(tensors);

  const size_t most = std::min<size_t>(tensors.size(), kMaxShardsPerVersion);
  const int64_t limit = kMaxPiecesPerPublishedShard * options.piece_size_bytes;
  size_t count = options.shard_count > 0 ? options.shard_count : DefaultShardCount(total);
  count = std::min(most, std::max(count, static_cast<size_t>(CeilDivide(total, limit))));
  while (true) {
    MUSTER_ASSIGN_OR_RETURN(CutPlan plan, FinishPlan(tensors, metadata, strategy,
                                                     CutOnce(tensors, groups, strategy, count)));
    if (AllFit(plan, limit)) {
      NoteGrowth(options.shard_count, count, PieceLimit(options), plan.notes);
      return plan;
    }
    if (count == most) {
      return absl::InvalidArgumentError(
          absl::StrCat("even ", count, " shards exceed ", PieceLimit(options),
                       " each; choose a larger piece size, at most 64 MiB"));
    }
    count = std::min(most, count + std::max<size_t>(1, count / 16));
  }
}

absl::StatusOr<CutPlan> CutRaw(absl::Span<const int64_t> file_sizes_bytes,
                               const CutOptions& options) {
  MUSTER_RETURN_IF_ERROR(CheckOptions(options));
  const size_t files = file_sizes_bytes.size();
  if (files == 0) return absl::InvalidArgumentError("there are no files to cut");
  MUSTER_ASSIGN_OR_RETURN(const int64_t total, CheckedSum(file_sizes_bytes, "the files"));
  const int64_t limit = kMaxPiecesPerPublishedShard * options.piece_size_bytes;
  int64_t least = 0;
  for (const int64_t size : file_sizes_bytes)
    least += std::max<int64_t>(CeilDivide(size, limit), 1);
  MUSTER_RETURN_IF_ERROR(CheckRawFiles(file_sizes_bytes, total, least, options));

  CutPlan plan{CutStrategy::kRaw, {}, {}};
  size_t count = options.shard_count > 0 ? options.shard_count : DefaultShardCount(total);
  // Cuts at multiples of 1 MiB may leave one range a little too large; then one more is made.
  for (count = std::max(count, static_cast<size_t>(least)); count <= kMaxShardsPerVersion;
       ++count) {
    plan.shards.clear();
    const std::vector<size_t> parts = PartsPerGroup(file_sizes_bytes, file_sizes_bytes, count);
    for (size_t i = 0; i < files; ++i) {
      CutFile(static_cast<uint32_t>(i), file_sizes_bytes[i], parts[i], plan.shards);
    }
    if (!AllFit(plan, limit)) continue;
    NoteGrowth(options.shard_count, count, PieceLimit(options), plan.notes);
    return plan;
  }
  return absl::InvalidArgumentError(absl::StrCat("even ", kMaxShardsPerVersion, " shards exceed ",
                                                 PieceLimit(options),
                                                 " each; choose a larger piece size"));
}

absl::StatusOr<CutPlan> CutCheckpoint(const Checkpoint& checkpoint, CutStrategy strategy,
                                      const CutOptions& options) {
  if (strategy == CutStrategy::kAsFiles) return CutAsFiles(checkpoint, options);
  if (strategy != CutStrategy::kRaw) return CutComponents(checkpoint, strategy, options);
  std::vector<int64_t> sizes;
  for (const SourceFile& file : checkpoint.files) {
    MUSTER_RETURN_IF_ERROR(CheckNotEmpty(file));
    sizes.push_back(file.bytes->size_bytes());
  }
  MUSTER_ASSIGN_OR_RETURN(CutPlan plan, CutRaw(sizes, options));
  for (ShardCut& shard : plan.shards) {
    shard.path = checkpoint.files[shard.range->file].relative_path;
  }
  return plan;
}

absl::StatusOr<CutPlan> CutAsFiles(const Checkpoint& checkpoint, const CutOptions& options) {
  MUSTER_RETURN_IF_ERROR(CheckOptions(options));
  CutPlan plan{checkpoint.tensors.empty() ? CutStrategy::kRaw : CutStrategy::kAsFiles, {}, {}};
  const int64_t limit = kMaxPiecesPerShard * options.piece_size_bytes;
  uint32_t next = 0;
  for (uint32_t i = 0; i < checkpoint.files.size(); ++i) {
    const SourceFile& file = checkpoint.files[i];
    MUSTER_RETURN_IF_ERROR(CheckNotEmpty(file));
    if (file.content != file.bytes) {
      return absl::InvalidArgumentError(absl::StrCat(
          QuoteForMessage(file.bytes->name()),
          ": is a PyTorch file, whose tensors are converted to safetensors and so can't stay in "
          "place; publish it without --in-place, or as bytes with --strategy raw --in-place"));
    }
    ShardCut shard;
    shard.size_bytes = file.bytes->size_bytes();
    shard.range = RawRange{i, 0, shard.size_bytes};
    shard.header_size_bytes = file.header.data_begin_bytes();
    shard.component = file.component;
    shard.rank = file.rank;
    shard.path = file.relative_path;
    for (; next < checkpoint.tensors.size() && checkpoint.tensors[next].file == i; ++next) {
      shard.tensors.push_back(next);
    }
    if (shard.size_bytes > limit || shard.tensors.size() > kMaxTensorsPerShard) {
      return absl::InvalidArgumentError(absl::StrCat(
          QuoteForMessage(file.bytes->name()), ": has ", shard.size_bytes, " bytes and ",
          shard.tensors.size(), " tensors; a file that is registered as it is has at most ",
          kMaxPiecesPerShard, " pieces of ", options.piece_size_bytes, " bytes and ",
          kMaxTensorsPerShard, " tensors"));
    }
    if (shard.tensors.empty() && !checkpoint.tensors.empty()) {
      plan.notes.push_back(
          absl::StrCat(QuoteForMessage(file.relative_path), " holds no tensor and is left out"));
      continue;
    }
    plan.shards.push_back(std::move(shard));
  }
  if (plan.shards.size() <= kMaxShardsPerVersion) return plan;
  return absl::InvalidArgumentError(absl::StrCat("there are ", plan.shards.size(),
                                                 " files, at most ", kMaxShardsPerVersion,
                                                 " shards are possible"));
}

absl::StatusOr<std::string> BuildShardHeader(const ShardCut& shard,
                                             absl::Span<const SourceTensor> tensors,
                                             const std::map<std::string, std::string>& metadata) {
  std::map<std::string, std::string> own = metadata;
  if (HasTiedNames(metadata)) {
    absl::flat_hash_set<absl::string_view> names;
    for (const uint32_t i : shard.tensors) names.insert(tensors[i].name);
    own = WithOwnTiedNames(std::move(own), names);
  }
  SafetensorsHeaderBuilder builder(own);
  for (const uint32_t i : shard.tensors) {
    builder.Add(tensors[i].name, tensors[i].dtype, tensors[i].shape, tensors[i].size_bytes);
  }
  return std::move(builder).Finish();
}

std::vector<int64_t> TensorOffsetsInShard(const ShardCut& shard,
                                          absl::Span<const SourceTensor> tensors) {
  std::vector<int64_t> offsets;
  offsets.reserve(shard.tensors.size());
  int64_t offset = shard.header_size_bytes;
  for (const uint32_t i : shard.tensors) {
    // In a file as it is, a tensor is where it was.
    offsets.push_back(shard.range.has_value() ? tensors[i].offset_bytes : offset);
    offset += tensors[i].size_bytes;
  }
  return offsets;
}

}  // namespace muster
