// Drafts over time and restarts, and repeats of what was staged.
#include "gtest/gtest.h"
#include "server/registry/limits.h"
#include "storage/base/error_info.h"
#include "storage/base/limits.h"
#include "storage/base/md5.h"
#include "tests/support/core_requests.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

namespace v1 = muster::v1;

constexpr char kDraftVersion[] = "models/m/versions/v";

v1::CreateModelVersionRequest Draft(uint32_t shards) {
  v1::CreateModelVersionRequest request;
  request.mutable_model_version()->set_name(kDraftVersion);
  request.mutable_model_version()->set_shard_count(shards);
  return request;
}

TEST(DraftLifeTest, DraftExpiresADayAfterItsLastAddition) {
  CoreUnderTest core;
  MUSTER_ASSERT_OK(core.Do(Draft(2)).status);
  core.AdvanceAndTick(absl::Hours(20));
  MUSTER_ASSERT_OK(core.Do(AddShard{kDraftVersion, SimpleShard(0, 1), false}).status);

  core.AdvanceAndTick(absl::Hours(24));
  EXPECT_TRUE(core.registry().catalogue().Find(kDraftVersion).ok());
  core.AdvanceAndTick(absl::Seconds(1));
  EXPECT_FALSE(core.registry().catalogue().Find(kDraftVersion).ok());
}

TEST(DraftLifeTest, DraftHasItsWholeDayAfterALongStop) {
  CoreUnderTest core;
  MUSTER_ASSERT_OK(core.Do(Draft(2)).status);
  core.server().Stop();
  core.clock().Advance(absl::Hours(72));

  core.Restart();

  EXPECT_TRUE(core.registry().catalogue().Find(kDraftVersion).ok());
  core.AdvanceAndTick(absl::Hours(24) + absl::Seconds(1));
  EXPECT_FALSE(core.registry().catalogue().Find(kDraftVersion).ok());
}

TEST(DraftLifeTest, RepeatOfAStagedShardOfACommittedVersionSucceeds) {
  CoreUnderTest core;
  const std::string md5s(size_t{16} * (kPiecesPerRow + 1), 'd');
  v1::Shard shard = SimpleShard(0, uint64_t{kPiecesPerRow + 1} << 20);
  shard.set_piece_size_bytes(1 << 20);
  shard.set_root(Md5ToHex(Md5Of(md5s)));
  const std::vector<Command> add = {
      StagePieces{kDraftVersion, ShardIndex(0), 0, md5s.substr(0, size_t{16} * kPiecesPerRow)},
      StagePieces{kDraftVersion, ShardIndex(0), 1, md5s.substr(0, 16)},
      AddShard{kDraftVersion, shard, true}};
  MUSTER_ASSERT_OK(core.Do(Draft(1)).status);
  MUSTER_ASSERT_OK(core.Do(add).status);
  v1::CommitModelVersionRequest commit;
  commit.set_name(kDraftVersion);
  MUSTER_ASSERT_OK(core.Do(commit).status);

  const JobResult repeated = core.Do(add);

  MUSTER_EXPECT_OK(repeated.status);
  EXPECT_EQ(repeated.changed, 0u);
}

TEST(DraftLifeTest, ShardsBeyondTheBytesOfAVersionAreInvalid) {
  CoreUnderTest core;
  MUSTER_ASSERT_OK(core.Do(Draft(2)).status);
  MUSTER_ASSERT_OK(
      core.Do(AddShard{kDraftVersion, SimpleShard(0, kMaxVersionBytes - 5), false}).status);

  EXPECT_THAT(core.Do(AddShard{kDraftVersion, SimpleShard(1, 6), false}).status,
              ErrorIs(absl::StatusCode::kInvalidArgument, "INVALID_FIELD"));
  MUSTER_EXPECT_OK(core.Do(AddShard{kDraftVersion, SimpleShard(1, 5), false}).status);
}

// Goal: no version that placement can't count is committed.
TEST(DraftLifeTest, EncodedShardCountsWithTheGreaterOfItsSizes) {
  CoreUnderTest core;
  MUSTER_ASSERT_OK(core.Do(Draft(2)).status);
  const auto encoded = [](uint32_t index, uint64_t content_bytes) {
    v1::Shard shard = SimpleShard(index, 1'000);
    shard.set_encoding("zstd");
    shard.set_content_size_bytes(content_bytes);
    return AddShard{kDraftVersion, shard, false};
  };
  MUSTER_ASSERT_OK(core.Do(encoded(0, kMaxVersionBytes - 5)).status);

  const absl::Status refused = core.Do(encoded(1, 2'000)).status;

  EXPECT_THAT(refused, ErrorIs(absl::StatusCode::kInvalidArgument, "INVALID_FIELD"));
  EXPECT_EQ(DetailOf(refused).metadata.at("field"), "content_size_bytes");
}

}  // namespace
}  // namespace muster
