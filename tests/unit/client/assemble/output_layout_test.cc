#include "client/assemble/output_layout.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

v1::ModelVersion Committed(uint32_t shard_count) {
  v1::ModelVersion version;
  version.set_name("models/m/versions/v");
  version.set_state(v1::ModelVersion::COMMITTED);
  version.set_shard_count(shard_count);
  return version;
}

v1::Shard RawShard(uint32_t index, const std::string& path, uint64_t offset, uint64_t size) {
  v1::Shard shard;
  shard.set_index(index);
  shard.set_source_path(path);
  shard.set_source_offset_bytes(offset);
  shard.set_size_bytes(size);
  return shard;
}

TEST(OutputLayoutTest, RawShardsOfSeveralFilesComeTogetherInAnyOrder) {
  const auto layout = LayOutModel(
      Committed(3),
      {RawShard(0, "b.bin", 10, 5), RawShard(1, "a.bin", 0, 7), RawShard(2, "b.bin", 0, 10)});

  MUSTER_ASSERT_OK(layout);
  ASSERT_EQ(layout->files.size(), 2u);
  EXPECT_EQ(layout->files[1].path, "b.bin");
  EXPECT_EQ(layout->files[1].size_bytes, 15);
  EXPECT_EQ(layout->shards[0].file, 1u);
  EXPECT_EQ(layout->shards[0].offset_bytes, 10);
  EXPECT_EQ(layout->total_bytes, 22);
}

TEST(OutputLayoutTest, GapOrOverlapInARawFileIsRefused) {
  EXPECT_THAT(LayOutModel(Committed(2), {RawShard(0, "a", 0, 5), RawShard(1, "a", 6, 5)}),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("gap or an overlap")));
  EXPECT_THAT(LayOutModel(Committed(2), {RawShard(0, "a", 0, 5), RawShard(1, "a", 4, 5)}),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("gap or an overlap")));
  EXPECT_THAT(LayOutModel(Committed(1), {RawShard(0, "a", 3, 5)}),
              StatusIs(absl::StatusCode::kDataLoss));
}

TEST(OutputLayoutTest, HugeSizesAndOffsetsAreRefused) {
  EXPECT_THAT(LayOutModel(Committed(1), {RawShard(0, "a", 0, UINT64_MAX)}),
              StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(LayOutModel(Committed(1), {RawShard(0, "a", 0, 0)}),
              StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(LayOutModel(Committed(1), {RawShard(0, "a", UINT64_MAX, 1)}),
              StatusIs(absl::StatusCode::kDataLoss));
}

TEST(OutputLayoutTest, PathsThatLeadOutAreRefused) {
  for (const char* const path : {"../a", "/a", "a/../../b", "a\\b", "."}) {
    EXPECT_THAT(LayOutModel(Committed(1), {RawShard(0, path, 0, 1)}),
                ErrorIs(absl::StatusCode::kInvalidArgument, "UNSAFE_PATH"))
        << path;
  }
}

TEST(OutputLayoutTest, MissingOrMisnumberedShardIsRefused) {
  EXPECT_THAT(LayOutModel(Committed(2), {RawShard(0, "a", 0, 1)}),
              StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(LayOutModel(Committed(2), {RawShard(0, "a", 0, 1), RawShard(2, "a", 1, 1)}),
              StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(LayOutModel(Committed(0), {}), StatusIs(absl::StatusCode::kDataLoss));
}

TEST(OutputLayoutTest, DraftIsRefused) {
  v1::ModelVersion version = Committed(1);
  version.set_state(v1::ModelVersion::DRAFT);

  EXPECT_THAT(LayOutModel(version, {RawShard(0, "a", 0, 1)}),
              ErrorIs(absl::StatusCode::kFailedPrecondition, "VERSION_NOT_COMMITTED"));
}

TEST(OutputLayoutTest, MixtureOfRawAndTensorShardsIsRefused) {
  EXPECT_THAT(LayOutModel(Committed(2), {RawShard(0, "a", 0, 1), RawShard(1, "", 0, 1)}),
              StatusIs(absl::StatusCode::kDataLoss));
}

TEST(OutputLayoutTest, EncodedShardTakesTheRoomOfItsContent) {
  v1::Shard shard = RawShard(0, "a", 0, 1);
  shard.set_encoding("zstd");
  shard.set_content_size_bytes(5);

  const auto layout = LayOutModel(Committed(2), {shard, RawShard(1, "a", 5, 1)});

  MUSTER_ASSERT_OK(layout);
  EXPECT_EQ(layout->files[0].size_bytes, 6);
}

TEST(OutputLayoutTest, UnknownEncodingIsUnimplemented) {
  v1::Shard shard = RawShard(0, "a", 0, 1);
  shard.set_encoding("zipped");
  shard.set_content_size_bytes(5);

  EXPECT_THAT(LayOutModel(Committed(1), {shard}),
              ErrorIs(absl::StatusCode::kUnimplemented, "UNKNOWN_ENCODING"));
}

v1::Shard TensorShard(uint32_t index, const std::string& path) {
  v1::Shard shard = RawShard(index, path, 0, 10);
  shard.set_tensor_count(1);
  return shard;
}

TEST(OutputLayoutTest, ShardsWithTensorsBecomeTheFilesThatTheyName) {
  v1::ModelVersion version = Committed(3);
  version.set_tensor_count(3);

  const auto layout = LayOutModel(version, {TensorShard(0, "unet/d-00001-of-00002.safetensors"),
                                            TensorShard(1, "unet/d-00002-of-00002.safetensors"),
                                            TensorShard(2, "vae/d.safetensors")});

  MUSTER_ASSERT_OK(layout);
  EXPECT_FALSE(layout->raw);
  EXPECT_EQ(layout->files[2].path, "vae/d.safetensors");
  ASSERT_EQ(layout->indexes.size(), 1u);
  EXPECT_EQ(layout->indexes[0].path, "unet/d.safetensors.index.json");
  EXPECT_THAT(layout->indexes[0].files, ElementsAre(0u, 1u));
}

TEST(OutputLayoutTest, FilesThatWereCutByRankHaveNoIndex) {
  v1::ModelVersion version = Committed(2);
  version.set_tensor_count(2);
  std::vector<v1::Shard> shards = {TensorShard(0, "model-rank-0-part-0.safetensors"),
                                   TensorShard(1, "model-rank-1-part-0.safetensors")};
  for (v1::Shard& shard : shards) shard.set_rank(shard.index());

  const auto layout = LayOutModel(version, shards);

  MUSTER_ASSERT_OK(layout);
  EXPECT_TRUE(layout->indexes.empty());
}

TEST(OutputLayoutTest, ShardsWithTensorsThatNameOneFileOrLeadOutAreRefused) {
  v1::ModelVersion version = Committed(2);
  version.set_tensor_count(2);
  EXPECT_THAT(
      LayOutModel(version, {TensorShard(0, "a.safetensors"), TensorShard(1, "a.safetensors")}),
      ErrorIs(absl::StatusCode::kInvalidArgument, "UNSAFE_PATH"));
  EXPECT_THAT(LayOutModel(version, {TensorShard(0, "../a"), TensorShard(1, "b")}),
              ErrorIs(absl::StatusCode::kInvalidArgument, "UNSAFE_PATH"));
}

TEST(OutputLayoutTest, CompanionsThatCollideAreRefused) {
  v1::ModelVersion version = Committed(2);
  version.set_tensor_count(1);
  const auto layout = LayOutModel(version, {RawShard(0, "", 0, 1), RawShard(1, "", 0, 1)});
  MUSTER_ASSERT_OK(layout);
  const auto check = [&](const std::vector<std::string>& paths) {
    std::vector<v1::Companion> companions;
    for (const std::string& path : paths) companions.emplace_back().set_path(path);
    return CheckCompanionPaths(*layout, companions);
  };

  MUSTER_EXPECT_OK(check({"config.json", "a/b", "a/c", "a.b"}));
  EXPECT_THAT(check({"model-00001-of-00002.safetensors"}),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(check({"model.safetensors.index.json"}),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(check({"a", "a"}), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(check({"a", "a/b/c"}), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(OutputLayoutTest, CodeIsNamedWhereverItIs) {
  OutputLayout layout;
  layout.files = {{"model.safetensors", 1}};
  v1::Companion config;
  config.set_path("config.json");
  MUSTER_EXPECT_OK(CheckNoCode(layout, {config}));

  for (const char* path : {"modeling_x.py", "deep/er/X.PY", "a.pyc", "lib/b.so"}) {
    v1::Companion code;
    code.set_path(path);
    EXPECT_THAT(CheckNoCode(layout, {config, code}),
                ErrorIs(absl::StatusCode::kPermissionDenied, "CODE_NOT_ALLOWED"))
        << path;
    OutputLayout raw = layout;
    raw.files.push_back({path, 1});
    EXPECT_THAT(CheckNoCode(raw, {config}),
                StatusIs(absl::StatusCode::kPermissionDenied,
                         AllOf(HasSubstr(path), HasSubstr("--allow-code"))));
  }
}

}  // namespace
}  // namespace muster
