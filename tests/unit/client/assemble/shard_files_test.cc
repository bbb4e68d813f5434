#include "client/assemble/shard_files.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "gmock/gmock.h"
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
  // With their paths, in order.
  std::vector<std::string> FilesThere() {
    std::vector<std::string> files;
    for (const auto& entry : std::filesystem::directory_iterator(directory_.Path("out/deep"))) {
      files.push_back(entry.path().string());
    }
    std::sort(files.begin(), files.end());
    return files;
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

// Stops a pull once its first file is there.
TEST_F(ShardFilesTest, WhatIsWholeStaysWhenAPullIsStoppedUnlessItIsToGo) {
  MUSTER_ASSERT_OK(PublishNow(Options()));
  for (const bool discard : {false, true}) {
    std::stop_source stopped, discarded;
    PullFilesOptions options = ToOut();
    options.jobs = 1;
    options.stop = stopped.get_token();
    options.discard = discarded.get_token();
    int64_t bytes = 0;
    options.on_bytes = [&](int64_t more) {
      bytes += more;
      if (bytes <= static_cast<int64_t>(version().shards.at(0).size_bytes())) return;
      if (discard) discarded.request_stop();
      stopped.request_stop();
    };

    const auto pulled = PullShardFiles(catalogue_.client(), *puller_, options);

    EXPECT_THAT(pulled, StatusIs(absl::StatusCode::kCancelled));
    EXPECT_EQ(FilesThere().size(), discard ? 0 : 1);
    std::filesystem::remove_all(directory_.Path("out"));
  }
}

TEST_F(ShardFilesTest, OnlyWhatWasPulledIsRemoved) {
  MUSTER_ASSERT_OK(PublishNow(Options()));
  MUSTER_ASSERT_OK(PullShardFiles(catalogue_.client(), *puller_, ToOut()));
  const std::vector<std::string> files = FilesThere();
  ASSERT_EQ(files.size(), version().shards.size());
  std::ofstream(files.back(), std::ios::trunc) << "of the user";
  std::ofstream(directory_.Path("out/deep/notes.txt")) << "of the user, too";

  const auto removed = RemoveShardFiles(catalogue_.client(), ToOut());

  MUSTER_ASSERT_OK(removed);
  EXPECT_EQ(removed->size(), files.size());
  for (const PulledFile& file : *removed) EXPECT_EQ(file.kept, file.path == files.back());
  EXPECT_THAT(FilesThere(),
              testing::ElementsAre(directory_.Path("out/deep/notes.txt"), files.back()));
}

}  // namespace
}  // namespace muster
