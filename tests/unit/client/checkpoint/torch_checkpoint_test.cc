// PyTorch files on their way through the reader, the cuts and the streams of shards.

#include <string>
#include <vector>

#include "absl/types/span.h"
#include "client/checkpoint/checkpoint_reader.h"
#include "client/checkpoint/shard_stream.h"
#include "client/format/index_json.h"
#include "client/format/safetensors_header.h"
#include "client/publish/source_plan.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/client/checkpoint/checkpoint_fixtures.h"
#include "tests/unit/client/torch/torch_fixtures.h"

namespace muster {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

std::vector<std::string> TensorNamesOf(const absl::StatusOr<Checkpoint>& checkpoint) {
  EXPECT_THAT(checkpoint, IsOk());
  std::vector<std::string> names;
  if (!checkpoint.ok()) return names;
  for (const SourceTensor& tensor : checkpoint->tensors) names.emplace_back(tensor.name);
  return names;
}

// The header of a shard as it will be stored.
SafetensorsHeader HeaderOf(const SourcePlan& plan, size_t shard) {
  const auto stream = ShardStream::Open(plan.checkpoint, plan.cuts.shards[shard]);
  MUSTER_EXPECT_OK(stream);
  std::string bytes(static_cast<size_t>(stream->size_bytes()), ' ');
  MUSTER_EXPECT_OK(stream->Read(0, absl::MakeSpan(bytes)));
  auto header = ReadSafetensorsHeader(*NewMemoryByteSource("shard", bytes));
  MUSTER_EXPECT_OK(header);
  return *std::move(header);
}

TEST(TorchCheckpointTest, SingleFileGivesTensorsInTheirOrder) {
  TestDirectory directory;
  const auto checkpoint =
      OpenTensorCheckpoint(directory.Write("m.pt", TorchFileOf({{"b", "tied"}, {"a"}})), {});

  EXPECT_THAT(TensorNamesOf(checkpoint), ElementsAre("b", "a"));
  EXPECT_THAT(checkpoint->components[0].metadata,
              ElementsAre(Pair("format", "pt"), Pair("muster.tied.tied", "b")));
  const SourceTensor& b = checkpoint->tensors[0];
  std::string bytes(16, ' ');
  MUSTER_ASSERT_OK(checkpoint->files[0].content->Read(b.offset_bytes, absl::MakeSpan(bytes)));
  EXPECT_EQ(bytes, "0000222211113330");
}

TEST(TorchCheckpointTest, UntieTakesEveryName) {
  TestDirectory directory;
  CheckpointOptions options;
  options.untie = true;
  const auto checkpoint =
      OpenTensorCheckpoint(directory.Write("m.pt", TorchFileOf({{"b", "tied"}, {"a"}})), options);

  EXPECT_THAT(TensorNamesOf(checkpoint), ElementsAre("b", "tied", "a"));
  EXPECT_THAT(checkpoint->components[0].metadata, ElementsAre(Pair("format", "pt")));
}

TEST(TorchCheckpointTest, IndexMayListTiedNames) {
  TestDirectory directory;
  directory.Write("pytorch_model-00001-of-00002.bin", TorchFileOf({{"a", "tied"}}));
  directory.Write("pytorch_model-00002-of-00002.bin", TorchFileOf({{"b"}}));
  const auto index = [&](std::vector<WeightMapEntry> entries) {
    directory.Write("pytorch_model.bin.index.json", WriteIndexJson(std::move(entries), 1));
  };
  index({{"a", "pytorch_model-00001-of-00002.bin"},
         {"tied", "pytorch_model-00001-of-00002.bin"},
         {"b", "pytorch_model-00002-of-00002.bin"}});
  EXPECT_THAT(TensorNamesOf(OpenTensorCheckpoint(directory.root(), {})), ElementsAre("a", "b"));

  index({{"a", "pytorch_model-00001-of-00002.bin"},
         {"tied", "pytorch_model-00002-of-00002.bin"},
         {"b", "pytorch_model-00002-of-00002.bin"}});
  EXPECT_THAT(OpenTensorCheckpoint(directory.root(), {}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("\"tied\""), HasSubstr("lacks it"))));
}

TEST(TorchCheckpointTest, TiedNameThatIsATensorOfAnotherFileIsRefused) {
  TestDirectory directory;
  directory.Write("x.pt", TorchFileOf({{"a", "b"}}));
  directory.Write("y.pt", TorchFileOf({{"b"}}));

  EXPECT_THAT(OpenTensorCheckpoint(directory.root(), {}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("\"b\""), HasSubstr("x.pt"), HasSubstr("y.pt"))));
}

TEST(TorchCheckpointTest, EachShardSaysTheOtherNamesOfItsOwnTensors) {
  TestDirectory directory;
  SourceOptions options;
  options.path = directory.Write("m.pt", TorchFileOf({{"a", "a2", "a3"}, {"b", "b2"}, {"c"}}));
  options.strategy = CutStrategy::kUniform;
  options.shard_count = 3;

  const auto plan = PlanSource(options);

  MUSTER_ASSERT_OK(plan);
  std::vector<std::string> said;
  for (size_t i = 0; i < 3; ++i) {
    const SafetensorsHeader header = HeaderOf(*plan, i);
    for (const auto& [key, value] : header.Metadata()) {
      if (key == "format") continue;
      said.push_back(key + "=" + value);
      EXPECT_TRUE(header.Find(value).has_value());
    }
    EXPECT_EQ(plan->cuts.shards[i].path,
              "model-0000" + std::to_string(i + 1) + "-of-00004.safetensors");
  }
  EXPECT_THAT(said, testing::UnorderedElementsAre("muster.tied.a2=a", "muster.tied.a3=a",
                                                  "muster.tied.b2=b"));
}

TEST(TorchCheckpointTest, WithoutTiedNamesFilesAreCalledAsUsual) {
  TestDirectory directory;
  SourceOptions options;
  options.path = directory.Write("m.pt", TorchFileOf({{"a"}, {"b"}}));

  const auto plan = PlanSource(options);

  MUSTER_ASSERT_OK(plan);
  EXPECT_THAT(plan->cuts.shards[0].path, IsEmpty());
  SourceOptions untied = options;
  untied.untie = true;
  EXPECT_EQ(*plan->Fingerprint(), *PlanSource(untied)->Fingerprint());
}

TEST(TorchCheckpointTest, SafetensorsThatRepeatATiedNameHaveItAsATensorOnly) {
  TestDirectory directory;
  directory.Write("a.safetensors",
                  FixtureFile({{"a", 2}}, R"({"muster.tied.b":"a","muster.tied.c":"a"})"));
  directory.Write("b.safetensors", FixtureFile({{"b", 2}}));

  const auto checkpoint = OpenTensorCheckpoint(directory.root(), {});

  EXPECT_THAT(TensorNamesOf(checkpoint), ElementsAre("a", "b"));
  EXPECT_THAT(checkpoint->components[0].metadata, ElementsAre(Pair("muster.tied.c", "a")));
}

TEST(TorchCheckpointTest, InPlaceIsRefusedWithAdvice) {
  TestDirectory directory;
  SourceOptions options;
  options.path = directory.Write("m.pt", TorchFileOf({{"a"}}));
  options.in_place = true;

  EXPECT_THAT(PlanSource(options), StatusIs(absl::StatusCode::kInvalidArgument,
                                            AllOf(HasSubstr("m.pt"), HasSubstr("--in-place"))));
}

TEST(TorchCheckpointTest, WhatIsRefusedKeepsItsReasonAndGetsTheAdvice) {
  TestDirectory directory;
  const std::string path = directory.Write(
      "evil.pt", TorchArchive(WholePickle(PickleGlobal("os", "system") + ")R"), {}));

  const auto checkpoint = OpenTensorCheckpoint(path, {});

  EXPECT_THAT(checkpoint, ErrorIs(absl::StatusCode::kInvalidArgument, "PICKLE_REFUSED"));
  EXPECT_THAT(std::string(checkpoint.status().message()),
              AllOf(HasSubstr("evil.pt"), HasSubstr("os.system"), HasSubstr("--strategy raw")));
}

}  // namespace
}  // namespace muster
