#include "client/assemble/model_verifier.h"

#include <filesystem>

#include "client/assemble/assembler.h"
#include "client/assemble/shard_files.h"
#include "gmock/gmock.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/client/publish/publishing_fixture.h"

namespace muster {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class ModelVerifierTest : public PublishingTest {
 protected:
  ModelVerifierTest() { EXPECT_THAT(PublishNow(Options()), IsOk()); }

  VerifySummary Verify(const std::string& directory = "", ShardCache* cache = nullptr,
                       bool whole = false) {
    VerifyOptions options;
    options.model_version = kName;
    options.directory = directory;
    options.cache = cache;
    options.whole = whole;
    const auto summary = VerifyModel(catalogue_.client(), stores_, options);
    EXPECT_THAT(summary, IsOk());
    return summary.value_or(VerifySummary());
  }
};

TEST_F(ModelVerifierTest, GoodCopiesHaveNoFaults) {
  const VerifySummary summary = Verify("", nullptr, true);

  EXPECT_THAT(summary.faults, IsEmpty());
  EXPECT_EQ(summary.objects, 5u);
}

TEST_F(ModelVerifierTest, EveryBadPieceIsNamedWithItsLocation) {
  version().shards[1].add_locations()->set_uri("file:///nowhere/shard");
  FlipByte(ShardPath(0), 5'000);
  FlipByte(ShardPath(2), (1 << 20) + 5);

  const VerifySummary summary = Verify();

  ASSERT_THAT(summary.faults, SizeIs(3));
  EXPECT_EQ(summary.faults[0].what, "shard 0");
  EXPECT_THAT(summary.faults[0].message, HasSubstr("piece 0"));
  EXPECT_NE(summary.faults[0].expected_md5, summary.faults[0].found_md5);
  EXPECT_EQ(summary.faults[1].where, "file:///nowhere/shard");
  EXPECT_EQ(summary.faults[2].what, "shard 2");
  EXPECT_THAT(summary.faults[2].message, HasSubstr("piece 1 (bytes 1048576"));
}

TEST_F(ModelVerifierTest, ShortenedCopyIsAFault) {
  std::filesystem::resize_file(ShardPath(1), 1000);

  const VerifySummary summary = Verify();

  ASSERT_THAT(summary.faults, SizeIs(1));
  EXPECT_THAT(summary.faults[0].message, HasSubstr("has 1000 bytes instead of"));
}

TEST_F(ModelVerifierTest, BadCompanionIsAFault) {
  FlipByte(directory_.Path("store/llama/v1-u1/companions/tokenizer/vocab.txt"), 1);

  const VerifySummary summary = Verify();

  ASSERT_THAT(summary.faults, SizeIs(1));
  EXPECT_EQ(summary.faults[0].what, "companion tokenizer/vocab.txt");
}

// Goal: the whole MD5 is looked at on request only, and then really.
TEST_F(ModelVerifierTest, WrongWholeMd5IsFoundOnRequest) {
  version().shards[0].set_md5("00000000000000000000000000000000");

  EXPECT_THAT(Verify().faults, IsEmpty());
  EXPECT_THAT(Verify("", nullptr, true).faults, SizeIs(1));
}

TEST_F(ModelVerifierTest, AssembledDirectoryIsCheckedFileByFile) {
  AssembleOptions options;
  options.model_version = kName;
  options.out = directory_.Path("out");
  MUSTER_ASSERT_OK(AssembleModel(catalogue_.client(), *puller_, options));

  EXPECT_THAT(Verify(options.out).faults, IsEmpty());
  FlipByte(directory_.Path("out/model-00002-of-00003.safetensors"), 9'000);
  std::filesystem::remove(directory_.Path("out/config.json"));

  const VerifySummary summary = Verify(options.out);
  ASSERT_THAT(summary.faults, SizeIs(2));
  EXPECT_EQ(summary.faults[0].what, "shard 1");
  EXPECT_EQ(summary.faults[1].what, "companion config.json");
}

TEST_F(ModelVerifierTest, ShardsOutsideTheCacheAreAbsentAndNoFaults) {
  const auto cache = ShardCache::Open(directory_.Path("cache"), {});
  MUSTER_ASSERT_OK(cache);
  PullShard shard{version().shards[1], *UnpackPieces(version().shards[1].piece_md5s())};
  MUSTER_ASSERT_OK(puller_->PullToCache(shard, **cache, {}, {}).pull.status);

  const VerifySummary summary = Verify("", cache->get());

  EXPECT_THAT(summary.faults, IsEmpty());
  EXPECT_EQ(summary.objects, 1u);
  EXPECT_EQ(summary.absent, 2u);
}

TEST_F(ModelVerifierTest, PulledFilesAreKeptWhileTheyAreRight) {
  PullFilesOptions options;
  options.model_version = kName;
  options.out = directory_.Path("pulled");
  options.shards = {0, 2};
  const auto first = PullShardFiles(catalogue_.client(), *puller_, options);
  MUSTER_ASSERT_OK(first);
  FlipByte((*first)[1].path, 77);

  const auto second = PullShardFiles(catalogue_.client(), *puller_, options);

  MUSTER_ASSERT_OK(second);
  EXPECT_TRUE((*second)[0].kept);
  EXPECT_FALSE((*second)[1].kept);
  EXPECT_EQ(ReadWholeFile((*second)[1].path), ReadWholeFile(ShardPath(2)));
}

TEST_F(ModelVerifierTest, PullingAShardThatDoesNotExistNamesIt) {
  PullFilesOptions options;
  options.model_version = kName;
  options.out = directory_.Path("pulled");
  options.shards = {7};

  EXPECT_THAT(PullShardFiles(catalogue_.client(), *puller_, options),
              ErrorIs(absl::StatusCode::kInvalidArgument, "SHARD_OUT_OF_RANGE"));
}

}  // namespace
}  // namespace muster
