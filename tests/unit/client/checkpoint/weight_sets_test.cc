#include "client/checkpoint/weight_sets.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/format/file_names.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/client/checkpoint/checkpoint_fixtures.h"

namespace muster {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

// Files without a tensor in them: sets are recognised by names and indexes alone.
class WeightSetsTest : public testing::Test {
 protected:
  void Files(const std::vector<std::string>& paths) {
    for (const std::string& path : paths) directory_.Write(path, "x");
  }

  // An index that puts a tensor of its own into each of `files`.
  void Index(const std::string& path, const std::vector<std::string>& files) {
    std::vector<WeightMapEntry> entries;
    for (const std::string& file : files) {
      entries.push_back({absl::StrCat("t", entries.size()), file});
    }
    directory_.Write(path, WriteIndexJson(entries, 1));
  }

  absl::StatusOr<WeightSets> Choose(const SetOptions& options = {}) {
    const auto content = WalkCheckpointDirectory(directory_.root(), {});
    if (!content.ok()) return content.status();
    return ChooseWeightSets(directory_.root(), *content, options);
  }

  // "folder/name" of the sets that are the model, or of the others.
  static std::vector<std::string> Names(const absl::StatusOr<WeightSets>& sets, bool chosen) {
    EXPECT_THAT(sets, IsOk());
    std::vector<std::string> names;
    if (!sets.ok()) return names;
    for (const WeightSet& set : sets->sets) {
      if (set.chosen == chosen) names.push_back(InFolder(set.folder, set.name));
    }
    return names;
  }

  TestDirectory directory_;
};

TEST_F(WeightSetsTest, IndexedSetWinsOverAllOthersBesideIt) {
  Files({"model-1.safetensors", "model-2.safetensors", "model.safetensors",
         "consolidated.safetensors", "pytorch_model.bin", "original/consolidated.00.pth", "q4.gguf",
         "onnx/model.onnx"});
  Index("model.safetensors.index.json", {"model-1.safetensors", "model-2.safetensors"});

  const auto sets = Choose();

  EXPECT_THAT(Names(sets, true), ElementsAre("model*.safetensors"));
  EXPECT_THAT(Names(sets, false), UnorderedElementsAre("*.safetensors", "consolidated*.safetensors",
                                                       "pytorch_model*.bin", "*.gguf",
                                                       "original/*.pth", "onnx/*.onnx"));
  for (const WeightSet& set : sets->sets) EXPECT_EQ(set.why.empty(), set.chosen) << set.name;
}

TEST_F(WeightSetsTest, WithoutAnIndexConsolidatedFilesAreASetOfTheirOwn) {
  Files({"model.safetensors", "consolidated.safetensors"});
  EXPECT_THAT(Names(Choose(), true), ElementsAre("*.safetensors"));
  EXPECT_THAT(Names(Choose(), false), ElementsAre("consolidated*.safetensors"));
}

TEST_F(WeightSetsTest, ConsolidatedFilesAloneAreTheModel) {
  Files({"consolidated-00001-of-00002.safetensors", "consolidated-00002-of-00002.safetensors"});
  EXPECT_THAT(Names(Choose(), true), ElementsAre("consolidated*.safetensors"));
}

TEST_F(WeightSetsTest, VariantIsLeftOutBesideItsSet) {
  Files({"unet/diffusion_pytorch_model.safetensors",
         "unet/diffusion_pytorch_model.fp16.safetensors",
         "vae/diffusion_pytorch_model.fp16.safetensors"});

  const auto sets = Choose();

  EXPECT_THAT(Names(sets, true), ElementsAre("unet/*.safetensors", "vae/*.safetensors"));
  EXPECT_THAT(Names(sets, false), ElementsAre("unet/diffusion_pytorch_model.fp16*.safetensors"));
}

TEST_F(WeightSetsTest, PipelineConsistsOfTheFoldersThatItNames) {
  Files({"sd_xl_base_1.0.safetensors", "unet/m-1.safetensors", "unet/m-2.safetensors",
         "vae/diffusion_pytorch_model.safetensors", "vae_1_0/diffusion_pytorch_model.safetensors",
         "safety_checker/model.onnx", "text_encoder/pytorch_model.bin"});
  Index("unet/diffusion_pytorch_model.safetensors.index.json",
        {"m-1.safetensors", "m-2.safetensors"});
  directory_.Write("model_index.json",
                   R"({"_class_name":"X","unet":["diffusers","U"],"vae":["diffusers","A"],)"
                   R"("safety_checker":[null,null],"text_encoder":["transformers","C"],)"
                   R"("force_zeros":true})");

  const auto sets = Choose();

  EXPECT_THAT(Names(sets, true),
              ElementsAre("text_encoder/pytorch_model*.bin",
                          "unet/diffusion_pytorch_model*.safetensors", "vae/*.safetensors"));
  EXPECT_THAT(Names(sets, false),
              ElementsAre("*.safetensors", "safety_checker/*.onnx", "vae_1_0/*.safetensors"));
  EXPECT_THAT(sets->warnings, ElementsAre(HasSubstr("safety_checker")));
}

TEST_F(WeightSetsTest, TorchFilesAreTheModelWhereThereAreNoOthers) {
  Files({"pytorch_model.bin", "extra.pt", "training_args.bin", "optimizer.pt", "rng_state_0.pth"});

  const auto sets = Choose();

  EXPECT_THAT(Names(sets, true), ElementsAre("pytorch_model*.bin"));
  EXPECT_EQ(sets->sets[0].stem, "model");
  EXPECT_THAT(Names(sets, false), UnorderedElementsAre("*.pt", "training state"));
}

TEST_F(WeightSetsTest, TorchFilesOfAnIndexAreASet) {
  Files({"pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin", "other.bin"});
  Index("pytorch_model.bin.index.json",
        {"pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"});

  const auto sets = Choose();

  EXPECT_THAT(Names(sets, true), ElementsAre("pytorch_model*.bin"));
  EXPECT_EQ(sets->sets[0].files.size(), 2u);
  EXPECT_TRUE(sets->sets[0].index.has_value());
  EXPECT_THAT(Names(sets, false), ElementsAre("*.bin"));
}

TEST_F(WeightSetsTest, TorchFilesBesideSafetensorsAreLeftOutInAnyFolder) {
  Files({"x.pt", "unet/model.safetensors", "runs/pytorch_model.bin", "2_Dense/pytorch_model.bin"});
  directory_.Write("modules.json", R"([{"path":"2_Dense"}])");

  const auto sets = Choose();

  EXPECT_THAT(Names(sets, true), ElementsAre("2_Dense/pytorch_model*.bin", "unet/*.safetensors"));
  EXPECT_THAT(Names(sets, false), ElementsAre("*.pt", "runs/pytorch_model*.bin"));
  EXPECT_THAT(Names(Choose({.include = {"x.pt"}}), true), ElementsAre("*.pt"));
}

TEST_F(WeightSetsTest, BrokenIndexOfTorchFilesMattersOnlyWhereTheyAreTheModel) {
  Files({"pytorch_model-00001-of-00001.bin"});
  directory_.Write("pytorch_model.bin.index.json", "{}");
  EXPECT_THAT(Choose(), StatusIs(absl::StatusCode::kInvalidArgument,
                                 HasSubstr("pytorch_model.bin.index.json")));

  Files({"model.safetensors"});
  EXPECT_THAT(Names(Choose(), true), ElementsAre("*.safetensors"));
}

TEST_F(WeightSetsTest, ModulesOfASentenceTransformerAreComponentsBesideTheTopLevel) {
  Files({"model.safetensors", "2_Dense/model.safetensors", "checkpoint-1/model.safetensors"});
  directory_.Write("modules.json", R"([{"idx":0,"path":""},{"idx":1,"path":"1_Pooling"},)"
                                   R"({"idx":2,"path":"2_Dense"}])");

  const auto sets = Choose();

  EXPECT_THAT(Names(sets, true), ElementsAre("*.safetensors", "2_Dense/*.safetensors"));
  EXPECT_THAT(Names(sets, false), ElementsAre("checkpoint-1/*.safetensors"));
}

TEST_F(WeightSetsTest, OriginalWeightsAreTheModelOnlyWhereThereAreNoOthers) {
  Files({"original/consolidated.safetensors"});
  EXPECT_THAT(Names(Choose(), true), ElementsAre("original/consolidated*.safetensors"));

  Files({"text/model.safetensors"});
  EXPECT_THAT(Names(Choose(), true), ElementsAre("text/*.safetensors"));
}

TEST_F(WeightSetsTest, IncludeTakesJustWhatItNamesFromAnySet) {
  Files({"model-1.safetensors", "consolidated.safetensors", "deep/x.safetensors"});
  Index("model.safetensors.index.json", {"model-1.safetensors"});

  EXPECT_THAT(Names(Choose({.include = {"consolidated*", "deep/*"}}), true),
              ElementsAre("consolidated*.safetensors", "deep/*.safetensors"));
  EXPECT_THAT(Names(Choose({.include = {"model-*"}}), true), ElementsAre("model*.safetensors"));
  EXPECT_THAT(Choose({.include = {"nothing*"}}),
              ErrorIs(absl::StatusCode::kInvalidArgument, "INCLUDE_MATCHES_NOTHING"));
}

TEST_F(WeightSetsTest, BrokenIndexMattersOnlyInAFolderThatCounts) {
  Files({"model.safetensors", "old/x.safetensors"});
  directory_.Write("old/model.safetensors.index.json", "{");
  EXPECT_THAT(Names(Choose(), true), ElementsAre("*.safetensors"));

  Index("model.safetensors.index.json", {"gone.safetensors"});
  EXPECT_THAT(Choose(), StatusIs(absl::StatusCode::kNotFound, HasSubstr("gone.safetensors")));
  EXPECT_THAT(Names(Choose({.include = {"model.safetensors"}}), true),
              ElementsAre("*.safetensors"));
}

TEST_F(WeightSetsTest, IndexThatListsATensorTwiceIsRefusedNamingIt) {
  Files({"a.safetensors", "b.safetensors"});
  directory_.Write("model.safetensors.index.json",
                   R"({"weight_map":{"w":"a.safetensors","w":"b.safetensors"}})");

  EXPECT_THAT(Choose(), StatusIs(absl::StatusCode::kInvalidArgument,
                                 AllOf(HasSubstr("\"w\""), HasSubstr("twice"))));
}

TEST_F(WeightSetsTest, IndexOfAVariantDoesNotCompete) {
  Files({"d-1.safetensors", "d.fp16-1.safetensors"});
  Index("d.safetensors.index.json", {"d-1.safetensors"});
  Index("d.safetensors.index.fp16.json", {"d.fp16-1.safetensors"});
  EXPECT_THAT(Names(Choose(), true), ElementsAre("d*.safetensors"));

  Index("e.safetensors.index.json", {"d-1.safetensors"});
  EXPECT_THAT(Choose(), StatusIs(absl::StatusCode::kInvalidArgument,
                                 AllOf(HasSubstr("two indexes"), HasSubstr("--exclude"))));
}

TEST_F(WeightSetsTest, FilesCutByRankWaitForInPlace) {
  Files({"model-rank-0-part-0.safetensors", "model-rank-1-part-0.safetensors"});

  EXPECT_THAT(Choose(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("--in-place")));
  EXPECT_THAT(Names(Choose({.take_ranked = true}), true), ElementsAre("model-rank-*.safetensors"));
}

TEST_F(WeightSetsTest, OtherFormatsAloneAreRefusedWithTheAdviceToUseRaw) {
  EXPECT_THAT(Choose(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no weight files")));
  Files({"a.gguf"});
  EXPECT_THAT(Choose(), StatusIs(absl::StatusCode::kInvalidArgument,
                                 AllOf(HasSubstr("a.gguf"), HasSubstr("--strategy raw"))));
}

TEST(FileNamesTest, StemsAreToldFromCountsAndVariants) {
  EXPECT_EQ(StemOf("model-00001-of-00003.safetensors"), "model");
  EXPECT_EQ(StemOf("model.safetensors"), "model");
  EXPECT_EQ(StemOf("d-00001-of-00002.fp16.safetensors"), "d.fp16");
  EXPECT_EQ(StemOf("d.fp16-00001-of-00002.safetensors"), "d.fp16");
  EXPECT_EQ(StemOf("one-of-many.safetensors"), "one-of-many");
  EXPECT_EQ(StemOf("-of-1.safetensors"), "-of-1");
}

TEST(FileNamesTest, RankFilesAreParsedStrictly) {
  const auto parsed = ParseRankFile("model-rank-12-part-3.safetensors");
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(parsed->rank, 12u);
  EXPECT_EQ(parsed->part, 3u);
  for (const char* const other :
       {"model-rank--part-3.safetensors", "model-rank-1-part-.safetensors",
        "model-rank-1-part-3.bin", "model-rank-+1-part-3.safetensors",
        "model-rank-99999999999-part-0.safetensors", "x-model-rank-1-part-3.safetensors"}) {
    EXPECT_FALSE(ParseRankFile(other).has_value()) << other;
  }
}

}  // namespace
}  // namespace muster
