// Shards that are stored encoded, from publishing to what comes back, and publications that died.
#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/assemble/assembler.h"
#include "client/assemble/model_verifier.h"
#include "client/assemble/shard_files.h"
#include "client/cache/shard_cache.h"
#include "client/publish/shard_encoding.h"
#include "gmock/gmock.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/client/publish/publishing_fixture.h"

namespace muster {
namespace {

using ::testing::SizeIs;

namespace fs = std::filesystem;

std::shared_ptr<KeySource> KeyOf(uint8_t byte) {
  SecretKey key;
  key.Fill()[0] = byte;
  return NewFixedKey(key);
}

class EncodedPublishingTest : public PublishingTest {
 protected:
  PublishOptions EncodeAs(Compression compression, bool encrypt) {
    PublishOptions options = Options();
    options.encode.compression = compression;
    options.encode.spool = directory_.root();
    if (encrypt) {
      options.encode.keys = KeyOf(1);
      options.encode.key_id = "prod";
    }
    return options;
  }

  absl::Status Assemble(const std::string& out, std::shared_ptr<KeySource> keys,
                        std::vector<ShardCache*> caches = {}) {
    AssembleOptions options;
    options.model_version = kName;
    options.out = directory_.Path(out);
    options.caches = std::move(caches);
    options.keys = std::move(keys);
    return AssembleModel(catalogue_.client(), *puller_, options).status();
  }

  // Of the same source, stored as it is.
  void AssembleExpected() {
    MUSTER_ASSERT_OK(PublishNow(Options()));
    MUSTER_ASSERT_OK(Assemble("expected", nullptr));
    catalogue_.versions().clear();
    fs::remove_all(directory_.Path("store"));
  }

  void ExpectSameFiles(const std::string& out) {
    EXPECT_EQ(FilesIn(out), FilesIn("expected"));
    for (const std::string& file : FilesIn("expected")) {
      EXPECT_EQ(ReadWholeFile(directory_.Path(absl::StrCat(out, "/", file))),
                ReadWholeFile(directory_.Path(absl::StrCat("expected/", file))))
          << file;
    }
  }
};

TEST_F(EncodedPublishingTest, WhatIsAssembledIsWhatWasPublished) {
  AssembleExpected();
  const auto publish_as = [&](Compression compression, bool encrypt, const std::string& encoding) {
    SCOPED_TRACE(encoding);
    MUSTER_ASSERT_OK(PublishNow(EncodeAs(compression, encrypt)));
    for (const auto& [index, shard] : version().shards) {
      EXPECT_EQ(shard.encoding(), encoding);
      EXPECT_EQ(shard.size_bytes(), fs::file_size(ShardPath(index)));
      EXPECT_GT(shard.content_size_bytes(), 300'000u);
      EXPECT_EQ(shard.key_id(), encrypt ? "prod" : "");
    }
    MUSTER_EXPECT_OK(Assemble("out", encrypt ? KeyOf(1) : nullptr));
    ExpectSameFiles("out");
    fs::remove_all(directory_.Path("out"));
    catalogue_.versions().clear();
    fs::remove_all(directory_.Path("store"));
  };
  publish_as(Compression::kZstd, false, "zstd");
  publish_as(Compression::kZstdGrouped, false, "zstd-grouped");
  publish_as(Compression::kNone, true, "aes-256-gcm");
  publish_as(Compression::kZstd, true, "zstd+aes-256-gcm");
  publish_as(Compression::kZstdGrouped, true, "zstd-grouped+aes-256-gcm");
}

TEST_F(EncodedPublishingTest, NoDigestOfEncryptedContentGoesToTheCatalogue) {
  PublishOptions plain = EncodeAs(Compression::kZstd, false);
  plain.source.path = WriteSnapshot();
  MUSTER_ASSERT_OK(PublishNow(plain));
  EXPECT_EQ(version().version.annotations().count("muster.source_sha256"), 1u);
  catalogue_.versions().clear();

  PublishOptions encrypted = EncodeAs(Compression::kZstd, true);
  encrypted.source.path = plain.source.path;
  encrypted.source.strategy = CutStrategy::kRaw;
  encrypted.source.shard_count = 2;
  MUSTER_ASSERT_OK(PublishNow(encrypted));
  EXPECT_EQ(version().version.annotations().count("muster.source_sha256"), 0u);
  for (const auto& [index, shard] : version().shards) EXPECT_EQ(shard.sha256(), "");
}

TEST_F(EncodedPublishingTest, WithoutTheRightKeyNothingIsAssembled) {
  MUSTER_ASSERT_OK(PublishNow(EncodeAs(Compression::kZstd, true)));

  EXPECT_THAT(Assemble("out", nullptr),
              ErrorIs(absl::StatusCode::kFailedPrecondition, "KEY_MISSING"));
  EXPECT_THAT(Assemble("out", KeyOf(2)),
              ErrorIs(absl::StatusCode::kFailedPrecondition, "WRONG_KEY"));
  EXPECT_FALSE(fs::exists(directory_.Path("out")));
}

TEST_F(EncodedPublishingTest, StoredBytesAreVerifiedWithoutAKey) {
  MUSTER_ASSERT_OK(PublishNow(EncodeAs(Compression::kZstd, true)));
  VerifyOptions options;
  options.model_version = kName;
  const auto good = VerifyModel(catalogue_.client(), stores_, options);
  MUSTER_ASSERT_OK(good);
  EXPECT_EQ(good->fault_count, 0u);

  FlipByte(ShardPath(1), 5'000);
  const auto bad = VerifyModel(catalogue_.client(), stores_, options);
  MUSTER_ASSERT_OK(bad);
  EXPECT_EQ(bad->fault_count, 1u);
}

TEST_F(EncodedPublishingTest, AssembledFilesAreVerifiedWithTheKey) {
  MUSTER_ASSERT_OK(PublishNow(EncodeAs(Compression::kZstd, true)));
  MUSTER_ASSERT_OK(Assemble("out", KeyOf(1)));
  VerifyOptions options;
  options.model_version = kName;
  options.directory = directory_.Path("out");
  EXPECT_EQ(VerifyModel(catalogue_.client(), stores_, options)->fault_count, 3u) << "no key";
  options.keys = KeyOf(1);
  EXPECT_EQ(VerifyModel(catalogue_.client(), stores_, options)->fault_count, 0u);

  FlipByte(directory_.Path("out/model-00002-of-00003.safetensors"), 5'000);
  EXPECT_EQ(VerifyModel(catalogue_.client(), stores_, options)->fault_count, 1u);
}

TEST_F(EncodedPublishingTest, CachesOfEveryFormServeTheContent) {
  AssembleExpected();
  MUSTER_ASSERT_OK(PublishNow(EncodeAs(Compression::kZstdGrouped, true)));
  for (const CacheForm form : {CacheForm::kPlain, CacheForm::kStored, CacheForm::kBoth}) {
    ShardCache::Options options;
    options.form = form;
    options.keys = KeyOf(1);
    const auto cache = ShardCache::Open(directory_.Path("cache"), options);
    MUSTER_ASSERT_OK(cache);
    for (const auto& [index, described] : version().shards) {
      const PullShard shard{described, *UnpackPieces(described.piece_md5s())};
      MUSTER_ASSERT_OK(puller_->PullToCache(shard, **cache, {}, {}).pull.status);
    }
    VerifyOptions verify;
    verify.model_version = kName;
    verify.cache = cache->get();
    const auto verified = VerifyModel(catalogue_.client(), stores_, verify);
    MUSTER_ASSERT_OK(verified);
    EXPECT_EQ(verified->fault_count, 0u);
    EXPECT_EQ(verified->objects, 3u);
    MUSTER_EXPECT_OK(Assemble("out", KeyOf(1), {cache->get()}));
    ExpectSameFiles("out");
    fs::remove_all(directory_.Path("out"));
    fs::remove_all(directory_.Path("cache"));
  }
}

TEST_F(EncodedPublishingTest, PulledShardFilesHoldTheContent) {
  AssembleExpected();
  MUSTER_ASSERT_OK(PublishNow(EncodeAs(Compression::kZstd, true)));
  PullFilesOptions options;
  options.model_version = kName;
  options.out = directory_.Path("pulled");
  options.keys = KeyOf(1);

  const auto files = PullShardFiles(catalogue_.client(), *puller_, options);

  MUSTER_ASSERT_OK(files);
  ASSERT_THAT(*files, SizeIs(3));
  EXPECT_EQ(ReadWholeFile((*files)[0].path),
            ReadWholeFile(directory_.Path("expected/model-00001-of-00003.safetensors")));
}

TEST_F(EncodedPublishingTest, AutoLeavesAloneWhatDoesNotGetSmaller) {
  std::string noise(1'000'000, '\0');
  for (char& byte : noise) byte = static_cast<char>(random_->Next64());
  directory_.Write("noise/a.bin", noise);
  directory_.Write("noise/b.bin", std::string(1'000'000, 'b'));
  PublishOptions options = EncodeAs(Compression::kAuto, false);
  options.source.path = directory_.Path("noise");
  options.source.strategy = CutStrategy::kRaw;
  options.source.shard_count = 2;

  MUSTER_ASSERT_OK(PublishNow(options));

  EXPECT_EQ(version().shards[0].encoding(), "");
  EXPECT_EQ(version().shards[1].encoding(), "zstd");
}

TEST_F(EncodedPublishingTest, FilesInPlaceAreNotEncoded) {
  PublishOptions options = EncodeAs(Compression::kZstd, false);
  options.source.in_place = true;
  options.destination = "";

  EXPECT_THAT(PublishNow(options), StatusIs(absl::StatusCode::kInvalidArgument));
}

// A publisher that is killed when it has registered two of three shards: what it stored stays.
class EncodedResumeTest : public EncodedPublishingTest {
 protected:
  void Die(PublishOptions options) {
    options.jobs = 1;
    int added = 0;
    bool dead = false;
    catalogue_.Before([&](const std::string& method) {
      if (method == "AddShards" && ++added == 3) {
        dead = true;
        fs::copy(directory_.Path("store"), directory_.Path("kept"), fs::copy_options::recursive);
      }
      return dead ? absl::UnavailableError("dead") : absl::OkStatus();
    });
    EXPECT_THAT(PublishNow(options), StatusIs(absl::StatusCode::kUnavailable));
    catalogue_.Before(nullptr);
    fs::remove_all(directory_.Path("store"));
    fs::rename(directory_.Path("kept"), directory_.Path("store"));
  }

  // Of the objects, by index; of those that were encrypted, all differ.
  std::string BytesOf(uint32_t index) { return ReadWholeFile(ShardPath(index)); }
};

TEST_F(EncodedResumeTest, RegisteredShardsAreKeptAndTheRestGetsANewSalt) {
  AssembleExpected();
  const PublishOptions options = EncodeAs(Compression::kZstdGrouped, true);
  Die(options);
  const std::string first = BytesOf(0);
  const std::string unregistered = ReadWholeFile(
      directory_.Path("store/llama/v1-" + version().version.uid() + "/shard-00002.safetensors"));

  const auto summary = PublishNow(options);

  MUSTER_ASSERT_OK(summary);
  EXPECT_TRUE(summary->resumed);
  EXPECT_EQ(summary->shards_kept, 2u);
  EXPECT_EQ(BytesOf(0), first);
  // No frame of the object that was there before has the key stream of the one that replaced it.
  EXPECT_NE(BytesOf(2).substr(0, 64), unregistered.substr(0, 64));
  MUSTER_EXPECT_OK(Assemble("out", KeyOf(1)));
  ExpectSameFiles("out");
}

TEST_F(EncodedResumeTest, AnotherKeyOrEncodingNeedsRestart) {
  Die(EncodeAs(Compression::kZstd, true));

  PublishOptions options = EncodeAs(Compression::kZstd, true);
  options.encode.keys = KeyOf(2);
  EXPECT_THAT(PublishNow(options), ErrorIs(absl::StatusCode::kFailedPrecondition, "WRONG_KEY"));
  options.encode.key_id = "other";
  EXPECT_THAT(PublishNow(options), ErrorIs(absl::StatusCode::kAlreadyExists, "DRAFT_DIFFERS"));
  options = EncodeAs(Compression::kZstdGrouped, true);
  EXPECT_THAT(PublishNow(options), ErrorIs(absl::StatusCode::kAlreadyExists, "DRAFT_DIFFERS"));
  options.restart = true;
  MUSTER_EXPECT_OK(PublishNow(options));
}

TEST_F(EncodedResumeTest, SourceWithOtherBytesIsRefused) {
  const PublishOptions options = EncodeAs(Compression::kZstd, true);
  Die(options);
  FlipByte(directory_.Path("source/a.safetensors"), 5'000);

  EXPECT_THAT(PublishNow(options), ErrorIs(absl::StatusCode::kAborted, "SHARD_DIFFERS"));
}

TEST(ElementRunsOfTest, RunsAreThoseOfTheTensorsBehindTheHeader) {
  std::vector<SourceTensor> tensors(4);
  const char* const dtypes[] = {"F32", "BF16", "F16", "F8_E4M3"};
  for (size_t i = 0; i < tensors.size(); ++i) {
    tensors[i].dtype = dtypes[i];
    tensors[i].size_bytes = 400;
  }
  ShardCut cut;
  cut.tensors = {0, 1, 2, 3};
  cut.header_size_bytes = 4'096;
  cut.size_bytes = 4'096 + 1'600;

  const ElementRuns runs = ElementRunsOf(cut, tensors);

  EXPECT_THAT(std::vector<ElementRun>(runs.runs().begin(), runs.runs().end()),
              testing::ElementsAre(ElementRun{1, 4'096}, ElementRun{4, 400}, ElementRun{2, 800},
                                   ElementRun{1, 400}));
}

}  // namespace
}  // namespace muster
