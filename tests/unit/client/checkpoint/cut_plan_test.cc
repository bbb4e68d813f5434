#include "client/checkpoint/cut_plan.h"

#include <algorithm>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/checkpoint/partition.h"
#include "client/checkpoint/tensor_groups.h"
#include "client/format/safetensors_header.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/random.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/client/checkpoint/checkpoint_fixtures.h"

namespace muster {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr CutStrategy kTensorStrategies[] = {CutStrategy::kLayer, CutStrategy::kType,
                                             CutStrategy::kUniform};

CutOptions Shards(uint32_t count) { return {.shard_count = count}; }

std::vector<std::vector<std::string>> NamesOf(const CutPlan& plan,
                                              absl::Span<const SourceTensor> tensors) {
  std::vector<std::vector<std::string>> names;
  for (const ShardCut& shard : plan.shards) {
    std::vector<std::string>& list = names.emplace_back();
    for (const uint32_t i : shard.tensors) list.emplace_back(tensors[i].name);
  }
  return names;
}

int64_t LargestRun(absl::Span<const int64_t> sizes, const std::vector<size_t>& ends) {
  int64_t largest = 0;
  size_t begin = 0;
  for (const size_t end : ends) {
    largest =
        std::max(largest, std::accumulate(sizes.begin() + begin, sizes.begin() + end, int64_t{0}));
    begin = end;
  }
  return largest;
}

// The best possible, by trying every way to cut.
int64_t BestLargestRun(absl::Span<const int64_t> sizes, size_t parts) {
  if (parts == 1) return std::accumulate(sizes.begin(), sizes.end(), int64_t{0});
  int64_t best = INT64_MAX;
  int64_t head = 0;
  for (size_t i = 1; i + parts <= sizes.size() + 1; ++i) {
    head += sizes[i - 1];
    best = std::min(best, std::max(head, BestLargestRun(sizes.subspan(i), parts - 1)));
  }
  return best;
}

TEST(PartitionInOrderTest, LargestRunIsTheSmallestPossibleAndNoneIsEmpty) {
  const auto random = NewSeededRandom(1);
  for (int round = 0; round < 500; ++round) {
    std::vector<int64_t> sizes(1 + random->Below(9));
    for (int64_t& size : sizes)
      size = static_cast<int64_t>(random->Below(random->Below(3) == 0 ? 2 : 100));
    const size_t parts = 1 + random->Below(sizes.size());

    const std::vector<size_t> ends = PartitionInOrder(sizes, parts);

    ASSERT_EQ(ends.size(), parts);
    EXPECT_EQ(ends.back(), sizes.size());
    size_t begin = 0;
    for (const size_t end : ends) {
      EXPECT_GT(end, begin);
      begin = end;
    }
    EXPECT_EQ(LargestRun(sizes, ends), BestLargestRun(sizes, parts));
  }
}

TEST(PartitionInOrderTest, EqualSizesAreSpreadEvenly) {
  const std::vector<int64_t> sizes(10, 7);

  EXPECT_THAT(PartitionInOrder(sizes, 4), ElementsAre(2, 5, 7, 10));
}

TEST(PartitionByWeightTest, StaysWithinFourThirdsOfTheMeanPlusLargest) {
  const auto random = NewSeededRandom(2);
  for (int round = 0; round < 200; ++round) {
    std::vector<int64_t> sizes(1 + random->Below(60));
    for (int64_t& size : sizes) size = static_cast<int64_t>(random->Below(1000));
    const size_t parts = 1 + random->Below(sizes.size());
    std::vector<int64_t> loads(parts, 0);
    std::vector<int> counts(parts, 0);
    const std::vector<size_t> bins = PartitionByWeight(sizes, parts);
    for (size_t i = 0; i < sizes.size(); ++i) {
      loads[bins[i]] += sizes[i];
      ++counts[bins[i]];
    }
    EXPECT_THAT(counts, testing::Each(testing::Gt(0)));
    const int64_t total = std::accumulate(sizes.begin(), sizes.end(), int64_t{0});
    const int64_t largest = *std::max_element(sizes.begin(), sizes.end());
    EXPECT_LE(*std::max_element(loads.begin(), loads.end()),
              total / static_cast<int64_t>(parts) + 1 + largest);
  }
}

TEST(PartsPerGroupTest, BiggerGroupsGetMoreWithinTheirLimit) {
  EXPECT_THAT(PartsPerGroup({10, 100, 1000}, {5, 5, 3}, 9), ElementsAre(1, 5, 3));
  EXPECT_THAT(PartsPerGroup({10, 10}, {5, 5}, 2), ElementsAre(1, 1));
}

TEST(CompareNaturalTest, NumbersAreComparedAsNumbers) {
  EXPECT_TRUE(CompareNatural("layers.2.x", "layers.10.x") < 0);
  EXPECT_TRUE(CompareNatural("a", "b") < 0);
  EXPECT_TRUE(CompareNatural("a.01", "a.1") < 0);
  EXPECT_TRUE(CompareNatural("a", "a") == 0);
  EXPECT_TRUE(CompareNatural("a.99999999999999999999999", "a.100000000000000000000000") < 0);
}

TEST(FindLayerTest, KnowsTheNamesOfCommonModels) {
  const auto found = [](absl::string_view name) {
    const auto layer = FindLayer(name);
    return layer.has_value() ? absl::StrCat(layer->stack, "|", layer->number) : "none";
  };
  EXPECT_EQ(found("model.layers.12.self_attn.q_proj.weight"), "model.layers|12");
  EXPECT_EQ(found("h.0.attn.bias"), "h|0");
  EXPECT_EQ(found("transformer.h.7.mlp.weight"), "transformer.h|7");
  EXPECT_EQ(found("encoder.block.3.layer.1.weight"), "encoder.block|3");
  EXPECT_EQ(found("bert.encoder.layer.4.output.weight"), "bert.encoder.layer|4");
  EXPECT_EQ(found("visual.blocks.31.norm1.weight"), "visual.blocks|31");
  EXPECT_EQ(found("single_transformer_blocks.5.weight"), "single_transformer_blocks|5");
  EXPECT_EQ(found("model.layers.3.mlp.experts.9.w1.weight"), "model.layers|3");
  EXPECT_EQ(found("model.embed_tokens.weight"), "none");
  EXPECT_EQ(found("layers.weight"), "none");
  EXPECT_EQ(found("layers.99999999999999.w"), "none");
  EXPECT_EQ(found("7.weight"), "none");
  EXPECT_EQ(found(""), "none");
}

TEST(ParameterTypeTest, TellsByName) {
  EXPECT_EQ(ParameterTypeOf("model.layers.0.input_layernorm.weight"), ParameterType::kNorm);
  EXPECT_EQ(ParameterTypeOf("h.0.ln_1.bias"), ParameterType::kNorm);
  EXPECT_EQ(ParameterTypeOf("model.embed_tokens.weight"), ParameterType::kEmbedding);
  EXPECT_EQ(ParameterTypeOf("wte.weight"), ParameterType::kEmbedding);
  EXPECT_EQ(ParameterTypeOf("a.q_proj.bias"), ParameterType::kBias);
  EXPECT_EQ(ParameterTypeOf("a.q_proj.weight"), ParameterType::kWeight);
  EXPECT_EQ(ParameterTypeOf("a.down_proj.weight_scale_inv"), ParameterType::kScale);
  EXPECT_EQ(ParameterTypeOf("a.qweight"), ParameterType::kWeight);
  EXPECT_EQ(ParameterTypeOf("rotary.inv_freq"), ParameterType::kOther);
}

TEST(CutByLayerTest, KeepsLayersWholeAndInOrder) {
  const NamedSizes model = TransformerNames(12);
  const auto tensors = TensorTable(model.names, model.sizes);

  const auto plan = CutTensors(tensors, {}, CutStrategy::kLayer, Shards(5));

  MUSTER_ASSERT_OK(plan);
  ASSERT_EQ(plan->shards.size(), 5u);
  EXPECT_THAT(plan->notes, IsEmpty());
  const auto names = NamesOf(*plan, tensors);
  EXPECT_EQ(names.front().front(), "model.embed_tokens.weight");
  EXPECT_THAT(names.back(), Contains("lm_head.weight"));
  LayerGroup last = {LayerGroup::kEmbeddings, "", 0};
  std::set<std::string> finished;
  for (const auto& shard : names) {
    std::set<std::string> here;
    for (const std::string& name : shard) {
      const LayerGroup group = LayerGroupOf(name);
      EXPECT_TRUE((last <=> group) <= 0) << name;
      last = group;
      here.insert(group.ToString());
    }
    for (const std::string& group : here) EXPECT_TRUE(finished.insert(group).second) << group;
  }
}

TEST(CutByLayerTest, MoreShardsThanGroupsSplitsTheLargestAndSaysSo) {
  const NamedSizes model = TransformerNames(2);
  const auto tensors = TensorTable(model.names, model.sizes);

  const auto plan = CutTensors(tensors, {}, CutStrategy::kLayer, Shards(6));

  MUSTER_ASSERT_OK(plan);
  EXPECT_EQ(plan->shards.size(), 6u);
  EXPECT_THAT(plan->notes, Contains(AllOf(HasSubstr("\"head\""), HasSubstr("2 shards"))));
}

TEST(CutByLayerTest, EncoderComesBeforeDecoder) {
  const std::vector<std::string> names = {"decoder.block.0.w", "encoder.block.1.w",
                                          "encoder.block.0.w", "shared_embed"};
  const auto tensors = TensorTable(names, {1, 1, 1, 1});

  const auto plan = CutTensors(tensors, {}, CutStrategy::kLayer, Shards(4));

  MUSTER_ASSERT_OK(plan);
  EXPECT_THAT(NamesOf(*plan, tensors),
              ElementsAre(ElementsAre("shared_embed"), ElementsAre("encoder.block.0.w"),
                          ElementsAre("encoder.block.1.w"), ElementsAre("decoder.block.0.w")));
}

TEST(CutByTypeTest, GroupsAreNotMixedWhenThereAreEnoughShards) {
  const NamedSizes model = TransformerNames(3);
  const auto tensors = TensorTable(model.names, model.sizes);

  const auto plan = CutTensors(tensors, {}, CutStrategy::kType, Shards(6));

  MUSTER_ASSERT_OK(plan);
  EXPECT_EQ(plan->shards.size(), 6u);
  for (const auto& shard : NamesOf(*plan, tensors)) {
    for (const std::string& name : shard)
      EXPECT_EQ(ParameterTypeOf(name), ParameterTypeOf(shard.front()));
  }
}

TEST(CutByTypeTest, FewerShardsThanGroupsMergesThem) {
  const NamedSizes model = TransformerNames(3);
  const auto tensors = TensorTable(model.names, model.sizes);

  const auto plan = CutTensors(tensors, {}, CutStrategy::kType, Shards(1));

  MUSTER_ASSERT_OK(plan);
  ASSERT_EQ(plan->shards.size(), 1u);
  EXPECT_EQ(plan->shards[0].tensors.size(), tensors.size());
}

// Over random name sets: every tensor is in one shard, no shard is empty, the sizes add up.
TEST(CutTensorsTest, EveryTensorIsCutExactlyOnce) {
  const auto random = NewSeededRandom(11);
  for (int round = 0; round < 60; ++round) {
    const NamedSizes model = RandomNames(*random, 1 + random->Below(120));
    const auto tensors = TensorTable(model.names, model.sizes);
    const auto count = static_cast<uint32_t>(1 + random->Below(tensors.size()));
    for (const CutStrategy strategy : kTensorStrategies) {
      const auto plan = CutTensors(tensors, {{"format", "pt"}}, strategy, Shards(count));
      MUSTER_ASSERT_OK(plan);
      ASSERT_EQ(plan->shards.size(), count);
      std::set<uint32_t> seen;
      for (const ShardCut& shard : plan->shards) {
        EXPECT_FALSE(shard.tensors.empty());
        int64_t size = shard.header_size_bytes;
        EXPECT_EQ(size % 4096, 0);
        for (const uint32_t i : shard.tensors) {
          EXPECT_TRUE(seen.insert(i).second);
          size += tensors[i].size_bytes;
        }
        EXPECT_EQ(shard.size_bytes, size);
      }
      EXPECT_EQ(seen.size(), tensors.size());
    }
  }
}

TEST(CutTensorsTest, OrderOfTheInputDoesNotMatter) {
  const auto random = NewSeededRandom(12);
  const NamedSizes model = RandomNames(*random, 100);
  const auto tensors = TensorTable(model.names, model.sizes);
  std::vector<SourceTensor> shuffled = tensors;
  for (size_t i = shuffled.size(); i > 1; --i)
    std::swap(shuffled[i - 1], shuffled[random->Below(i)]);

  for (const CutStrategy strategy : kTensorStrategies) {
    const auto plan = CutTensors(tensors, {}, strategy, Shards(7));
    const auto again = CutTensors(shuffled, {}, strategy, Shards(7));
    MUSTER_ASSERT_OK(plan);
    MUSTER_ASSERT_OK(again);
    EXPECT_EQ(NamesOf(*plan, tensors), NamesOf(*again, shuffled));
  }
}

TEST(CutTensorsTest, UniformStaysWithinTheLargestTensorOfTheMean) {
  const auto random = NewSeededRandom(13);
  const NamedSizes model = RandomNames(*random, 300);
  const auto tensors = TensorTable(model.names, model.sizes);

  const auto plan = CutTensors(tensors, {}, CutStrategy::kUniform, Shards(8));

  MUSTER_ASSERT_OK(plan);
  const int64_t total = std::accumulate(model.sizes.begin(), model.sizes.end(), int64_t{0});
  const int64_t largest = *std::max_element(model.sizes.begin(), model.sizes.end());
  for (const ShardCut& shard : plan->shards) {
    EXPECT_LE(shard.size_bytes - shard.header_size_bytes, total / 8 + 1 + largest);
  }
}

TEST(CutTensorsTest, WideElementsComeFirstSoThatEachTensorIsAligned) {
  std::vector<SourceTensor> tensors = {{"a", "U8", {3}, 0, 0, 3},    {"b", "BF16", {1}, 0, 3, 2},
                                       {"c", "NEW16", {3}, 0, 5, 6}, {"d", "F64", {1}, 0, 11, 8},
                                       {"e", "F4", {2}, 0, 19, 1},   {"f", "F32", {1}, 0, 20, 4}};

  const auto plan = CutTensors(tensors, {}, CutStrategy::kUniform, Shards(1));

  MUSTER_ASSERT_OK(plan);
  EXPECT_THAT(NamesOf(*plan, tensors), ElementsAre(ElementsAre("d", "f", "b", "c", "a", "e")));
}

TEST(CutTensorsTest, TooManyShardsIsRefusedWithTheMaximum) {
  const std::vector<std::string> names = {"a", "b"};
  const auto tensors = TensorTable(names, {1, 1});

  for (const CutStrategy strategy : kTensorStrategies) {
    EXPECT_THAT(CutTensors(tensors, {}, strategy, Shards(3)),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("at most 2")));
  }
  EXPECT_THAT(CutTensors(tensors, {}, CutStrategy::kLayer, Shards(100'001)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("at most 100000")));
  EXPECT_THAT(CutTensors({}, {}, CutStrategy::kLayer, Shards(0)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no tensors")));
}

TEST(CutTensorsTest, ShardsAreAddedRatherThanExceedThePieceLimit) {
  std::vector<std::string> names;
  for (int i = 0; i < 40; ++i) names.push_back(absl::StrCat("layers.", i, ".w"));
  const auto tensors = TensorTable(names, std::vector<int64_t>(40, int64_t{4} << 30));
  const CutOptions options = {.shard_count = 2, .piece_size_bytes = 1 << 20};

  for (const CutStrategy strategy : kTensorStrategies) {
    const auto plan = CutTensors(tensors, {}, strategy, options);
    MUSTER_ASSERT_OK(plan);
    EXPECT_GE(plan->shards.size(), 20u);
    for (const ShardCut& shard : plan->shards) EXPECT_LE(shard.size_bytes, int64_t{10'000} << 20);
    EXPECT_THAT(plan->notes, Contains(HasSubstr("2 shards were asked for")));
  }
}

TEST(CutTensorsTest, TensorBeyondThePieceLimitIsRefusedNamingIt) {
  const std::vector<std::string> names = {"giant"};
  const auto tensors = TensorTable(names, {int64_t{10'000} << 20});

  EXPECT_THAT(CutTensors(tensors, {}, CutStrategy::kUniform,
                         {.shard_count = 1, .piece_size_bytes = 1 << 20}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("giant"), HasSubstr("larger piece"))));
}

TEST(CutTensorsTest, OmittedCountTakesTheDefaultWithinTheTensors) {
  EXPECT_EQ(DefaultShardCount(0), 1u);
  EXPECT_EQ(DefaultShardCount(kDefaultShardBytes), 1u);
  EXPECT_EQ(DefaultShardCount(kDefaultShardBytes + 1), 2u);
  EXPECT_EQ(DefaultShardCount(INT64_MAX), 100'000u);

  const std::vector<std::string> names = {"a", "b"};
  const auto tensors = TensorTable(names, {9 * kDefaultShardBytes, 1});
  const auto plan = CutTensors(tensors, {}, CutStrategy::kUniform, Shards(0));
  MUSTER_ASSERT_OK(plan);
  EXPECT_EQ(plan->shards.size(), 2u);
}

TEST(CutTensorsTest, HeaderOfAShardReadsBackWithTheMetadata) {
  const NamedSizes model = TransformerNames(2);
  const auto tensors = TensorTable(model.names, model.sizes);
  const std::map<std::string, std::string> metadata = {{"format", "pt"}};
  const auto plan = CutTensors(tensors, metadata, CutStrategy::kLayer, Shards(2));
  MUSTER_ASSERT_OK(plan);

  for (const ShardCut& shard : plan->shards) {
    auto bytes = BuildShardHeader(shard, tensors, metadata);
    MUSTER_ASSERT_OK(bytes);
    EXPECT_EQ(static_cast<int64_t>(bytes->size()), shard.header_size_bytes);
    bytes->resize(static_cast<size_t>(shard.size_bytes));
    const auto header = ReadSafetensorsHeader(*NewMemoryByteSource("shard", *bytes));
    MUSTER_ASSERT_OK(header);
    EXPECT_EQ(header->Metadata(), metadata);
    const std::vector<int64_t> offsets = TensorOffsetsInShard(shard, tensors);
    ASSERT_EQ(header->tensor_count(), shard.tensors.size());
    for (size_t i = 0; i < offsets.size(); ++i) {
      EXPECT_EQ(header->tensor(i).name, tensors[shard.tensors[i]].name);
      EXPECT_EQ(header->data_begin_bytes() + header->tensor(i).begin_bytes, offsets[i]);
    }
  }
}

TEST(CutRawTest, RangesCoverEveryFileInOrder) {
  const auto random = NewSeededRandom(14);
  for (int round = 0; round < 200; ++round) {
    std::vector<int64_t> sizes(1 + random->Below(5));
    for (int64_t& size : sizes)
      size = 40 + static_cast<int64_t>(random->Below(1ull << random->Below(40)));
    const auto count = static_cast<uint32_t>(sizes.size() + random->Below(30));

    const auto plan = CutRaw(sizes, Shards(count));

    MUSTER_ASSERT_OK(plan);
    EXPECT_GE(plan->shards.size(), count);
    uint32_t file = 0;
    int64_t offset = 0;
    for (const ShardCut& shard : plan->shards) {
      if (shard.range->file != file) {
        EXPECT_EQ(offset, sizes[file]);
        EXPECT_EQ(shard.range->file, ++file);
        offset = 0;
      }
      EXPECT_EQ(shard.range->offset_bytes, offset);
      EXPECT_GT(shard.range->size_bytes, 0);
      offset += shard.range->size_bytes;
    }
    EXPECT_EQ(file, sizes.size() - 1);
    EXPECT_EQ(offset, sizes.back());
  }
}

TEST(CutRawTest, LargeFilesAreCutAtWholeMebibytes) {
  const auto plan = CutRaw({(int64_t{10} << 20) + 5}, Shards(3));

  MUSTER_ASSERT_OK(plan);
  ASSERT_EQ(plan->shards.size(), 3u);
  EXPECT_EQ(plan->shards[1].range->offset_bytes, 3 << 20);
  EXPECT_EQ(plan->shards[2].range->offset_bytes, 6 << 20);
}

TEST(CutRawTest, BadRequestsAreRefusedWithTheWayOut) {
  EXPECT_THAT(CutRaw({10, 10}, Shards(1)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("ask for 2 to 20")));
  EXPECT_THAT(CutRaw({3}, Shards(4)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("ask for 1 to 3")));
  EXPECT_THAT(CutRaw({3, 0}, Shards(2)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("empty")));
  EXPECT_THAT(CutRaw({}, Shards(0)), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(CutRawTest, ShardsAreAddedRatherThanExceedThePieceLimit) {
  const int64_t size = (int64_t{25'000} << 20) + 1;

  const auto plan = CutRaw({size, 7}, {.shard_count = 2, .piece_size_bytes = 1 << 20});

  MUSTER_ASSERT_OK(plan);
  for (const ShardCut& shard : plan->shards) EXPECT_LE(shard.size_bytes, int64_t{10'000} << 20);
  EXPECT_THAT(plan->notes, Contains(HasSubstr("2 shards were asked for")));
}

TEST(CutStrategyTest, NamesReadBack) {
  for (const char* name : {"layer", "type", "uniform", "raw"}) {
    const auto strategy = ParseCutStrategy(name);
    MUSTER_ASSERT_OK(strategy);
    EXPECT_EQ(CutStrategyName(*strategy), name);
  }
  EXPECT_THAT(ParseCutStrategy("Layers"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("\"Layers\"")));
}

}  // namespace
}  // namespace muster
