#include "client/assemble/shard_files.h"

#include <filesystem>

#include "tests/support/status_matchers.h"
#include "tests/unit/client/publish/publishing_fixture.h"

namespace muster {
namespace {

class ShardFilesTest : public PublishingTest {
 protected:
  PullFilesOptions ToOut() {
    PullFilesOptions options;
    options.model_version = kName;
    options.out = directory_.Path("out/deep");
    return options;
  }
};

TEST_F(ShardFilesTest, RoomCountsWhatIsNotThereYet) {
  MUSTER_ASSERT_OK(PublishNow(Options()));
  PullFilesOptions first = ToOut();
  first.shards = std::vector<uint32_t>{0};
  const auto before = RoomForShardFiles(catalogue_.client(), ToOut());
  MUSTER_ASSERT_OK(before);
  EXPECT_FALSE(std::filesystem::exists(directory_.Path("out")));

  MUSTER_ASSERT_OK(PullShardFiles(catalogue_.client(), *puller_, first));
  const auto after = RoomForShardFiles(catalogue_.client(), ToOut());

  MUSTER_ASSERT_OK(after);
  EXPECT_EQ(after->shards, version().shards.size());
  EXPECT_GT(after->disk.free_bytes, 0);
  EXPECT_EQ(before->disk.needed_bytes - after->disk.needed_bytes,
            static_cast<int64_t>(version().shards.at(0).size_bytes()));
}

TEST_F(ShardFilesTest, ShardsThatDoNotFitAreRefusedBeforeTheFirstByte) {
  MUSTER_ASSERT_OK(PublishNow(Options()));
  version().shards.at(1).set_size_bytes(uint64_t{1} << 60);

  const auto pulled = PullShardFiles(catalogue_.client(), *puller_, ToOut());

  EXPECT_THAT(pulled, ErrorIs(absl::StatusCode::kResourceExhausted, "NO_SPACE"));
  EXPECT_FALSE(std::filesystem::exists(directory_.Path("out")));
}

}  // namespace
}  // namespace muster
