#include "client/loading/first_layers.h"

#include "gmock/gmock.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/client/publish/publishing_fixture.h"

namespace muster {
namespace {

using ::testing::ElementsAre;

TEST(LayerIndexTest, FirstLayersComeWithTheEmbeddingsInNumericOrder) {
  LayerIndex index;
  index.Add("lm_head.weight", 9);
  index.Add("model.layers.10.mlp.up_proj.weight", 4);
  index.Add("model.layers.2.mlp.up_proj.weight", 3);
  index.Add("model.layers.1.self_attn.q_proj.weight", 7);
  index.Add("model.layers.1.mlp.up_proj.weight", 2);
  index.Add("model.embed_tokens.weight", 8);

  EXPECT_THAT(*index.ShardsOfFirst(1), ElementsAre(2, 7, 8));
  EXPECT_THAT(*index.ShardsOfFirst(2), ElementsAre(2, 3, 7, 8));
  EXPECT_THAT(*index.ShardsOfFirst(99), ElementsAre(2, 3, 4, 7, 8));
}

TEST(LayerIndexTest, EncoderLayersComeFirst) {
  LayerIndex index;
  index.Add("decoder.layers.0.weight", 1);
  index.Add("encoder.layers.0.weight", 5);

  EXPECT_THAT(*index.ShardsOfFirst(1), ElementsAre(5));
}

TEST(LayerIndexTest, NamesWithoutLayersAreRefused) {
  LayerIndex index;
  EXPECT_THAT(index.ShardsOfFirst(1), ErrorIs(absl::StatusCode::kFailedPrecondition, "NO_LAYERS"));
  index.Add("model.embed_tokens.weight", 0);
  index.Add("lm_head.weight", 1);

  EXPECT_THAT(index.ShardsOfFirst(1), ErrorIs(absl::StatusCode::kFailedPrecondition, "NO_LAYERS"));
}

class FirstLayersTest : public PublishingTest {};

TEST_F(FirstLayersTest, RawModelIsRefusedByName) {
  PublishOptions options = Options();
  options.source.strategy = CutStrategy::kRaw;
  MUSTER_ASSERT_OK(PublishNow(options));

  const auto shards = ShardsOfFirstLayers(catalogue_.client(), kName, 1, {});

  EXPECT_THAT(shards, ErrorIs(absl::StatusCode::kFailedPrecondition, "NO_LAYERS"));
  EXPECT_THAT(std::string(shards.status().message()), testing::HasSubstr("llama@v1"));
}

}  // namespace
}  // namespace muster
