#include "client/publish/source_plan.h"

#include <set>
#include <string>
#include <vector>

#include "client/checkpoint/shard_stream.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/client/checkpoint/checkpoint_fixtures.h"

namespace muster {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class SourcePlanTest : public testing::Test {
 protected:
  SourceOptions Options() {
    SourceOptions options;
    options.path = directory_.root();
    return options;
  }

  static std::vector<std::string> PathsOf(const SourcePlan& plan) {
    std::vector<std::string> paths;
    for (const ShardCut& shard : plan.cuts.shards) paths.push_back(shard.path);
    return paths;
  }

  // The bytes that a shard will be stored as.
  static std::string BytesOf(const SourcePlan& plan, size_t shard) {
    const auto stream = ShardStream::Open(plan.checkpoint, plan.cuts.shards[shard]);
    EXPECT_THAT(stream, IsOk());
    std::string bytes(static_cast<size_t>(stream->size_bytes()), ' ');
    EXPECT_THAT(stream->Read(0, absl::MakeSpan(bytes)), IsOk());
    return bytes;
  }

  TestDirectory directory_;
};

TEST_F(SourcePlanTest, ShardHoldsTensorsOfOneComponentAndIsCalledByIt) {
  directory_.Write("unet/diffusion_pytorch_model.safetensors",
                   FixtureFile({{"a.0.w", 400}, {"a.1.w", 400}, {"w", 200}}));
  directory_.Write("vae/diffusion_pytorch_model.safetensors", FixtureFile({{"w", 100}}));
  SourceOptions options = Options();
  options.shard_count = 3;

  const auto plan = PlanSource(options);

  MUSTER_ASSERT_OK(plan);
  EXPECT_THAT(PathsOf(*plan), ElementsAre("unet/diffusion_pytorch_model-00001-of-00002.safetensors",
                                          "unet/diffusion_pytorch_model-00002-of-00002.safetensors",
                                          "vae/diffusion_pytorch_model.safetensors"));
  std::set<std::string> names;
  for (size_t i = 0; i < plan->cuts.shards.size(); ++i) {
    const auto header = ReadSafetensorsHeader(*NewMemoryByteSource("shard", BytesOf(*plan, i)));
    MUSTER_ASSERT_OK(header);
    for (size_t k = 0; k < header->tensor_count(); ++k) {
      names.insert(std::string(header->tensor_name(k)));
    }
  }
  EXPECT_THAT(names, ElementsAre("a.0.w", "a.1.w", "w"));
}

TEST_F(SourcePlanTest, FewerShardsThanComponentsAreRefused) {
  directory_.Write("a/x.safetensors", FixtureFile({{"w", 4}}));
  directory_.Write("b/x.safetensors", FixtureFile({{"w", 4}}));
  SourceOptions options = Options();
  options.shard_count = 1;

  EXPECT_THAT(PlanSource(options),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("2 components")));
}

TEST_F(SourcePlanTest, UsualModelKeepsTheUsualNames) {
  directory_.Write("llama.safetensors", FixtureFile({{"a", 3}, {"b", 2}}));

  const auto plan = PlanSource(Options());

  MUSTER_ASSERT_OK(plan);
  EXPECT_THAT(PathsOf(*plan), ElementsAre(""));
}

TEST_F(SourcePlanTest, InPlaceMakesOneShardOfEveryFileWithItsRank) {
  const std::string rank0 = FixtureFile({{"w", 300}, {"v", 20}});
  const std::string rank10 = FixtureFile({{"w", 100}});
  directory_.Write("model-rank-10-part-0.safetensors", rank10);
  directory_.Write("model-rank-0-part-0.safetensors", rank0);
  SourceOptions options = Options();
  options.in_place = true;

  const auto plan = PlanSource(options);

  MUSTER_ASSERT_OK(plan);
  EXPECT_THAT(PathsOf(*plan),
              ElementsAre("model-rank-0-part-0.safetensors", "model-rank-10-part-0.safetensors"));
  EXPECT_EQ(plan->cuts.shards[0].rank, 0u);
  EXPECT_EQ(plan->cuts.shards[1].rank, 10u);
  EXPECT_EQ(BytesOf(*plan, 0), rank0);
  EXPECT_EQ(BytesOf(*plan, 1), rank10);
  const ShardCut& shard = plan->cuts.shards[0];
  const std::vector<int64_t> offsets = TensorOffsetsInShard(shard, plan->checkpoint.tensors);
  EXPECT_EQ(rank0.substr(static_cast<size_t>(offsets[1]), 40), FixtureTensorBytes({"v", 20}));
}

TEST_F(SourcePlanTest, InPlaceFileWithoutTensorsIsLeftOutWithANote) {
  directory_.Write("a.safetensors", FixtureFile({{"w", 3}}));
  directory_.Write("b.safetensors", SafetensorsBytes("{}", ""));
  SourceOptions options = Options();
  options.in_place = true;

  const auto plan = PlanSource(options);

  MUSTER_ASSERT_OK(plan);
  EXPECT_THAT(PathsOf(*plan), ElementsAre("a.safetensors"));
  EXPECT_THAT(plan->cuts.notes, ElementsAre(HasSubstr("b.safetensors")));
}

TEST_F(SourcePlanTest, FingerprintTellsOptionsAndSourcesApart) {
  directory_.Write("a.safetensors", FixtureFile({{"w", 3}, {"v", 2}}));
  directory_.Write("config.json", "{}");
  const auto fingerprint = [&](const SourceOptions& options) {
    const auto plan = PlanSource(options);
    EXPECT_THAT(plan, IsOk());
    const auto text = plan->Fingerprint();
    EXPECT_THAT(text, IsOk());
    return *text;
  };
  const std::string first = fingerprint(Options());
  EXPECT_EQ(fingerprint(Options()), first);

  SourceOptions two = Options();
  two.shard_count = 2;
  EXPECT_NE(fingerprint(two), first);
  SourceOptions raw = Options();
  raw.strategy = CutStrategy::kRaw;
  EXPECT_NE(fingerprint(raw), first);
  directory_.Write("more.json", "{}");
  EXPECT_NE(fingerprint(Options()), first);
  directory_.Write("a.safetensors", FixtureFile({{"w", 4}, {"v", 2}}));
  EXPECT_NE(fingerprint(Options()), first);
}

TEST_F(SourcePlanTest, SummaryCountsLayersAndDtypesOfEachComponent) {
  directory_.Write("m.safetensors", FixtureFile({{"model.layers.0.a.weight", 3},
                                                 {"model.layers.0.b.weight", 3},
                                                 {"model.layers.7.a.weight", 3},
                                                 {"lm_head.weight", 5}}));
  const auto plan = PlanSource(Options());
  MUSTER_ASSERT_OK(plan);

  const auto summary = Summarise(plan->checkpoint);

  ASSERT_EQ(summary.size(), 1u);
  EXPECT_EQ(summary[0].tensor_count, 4u);
  EXPECT_EQ(summary[0].layer_count, 2u);
  EXPECT_EQ(summary[0].size_bytes, 28);
  EXPECT_EQ(summary[0].dtypes.at("BF16").tensor_count, 4u);
  EXPECT_THAT(plan->cuts.shards, Not(IsEmpty()));
}

}  // namespace
}  // namespace muster
