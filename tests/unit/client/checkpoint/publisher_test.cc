#include "client/checkpoint/publisher.h"

#include <atomic>
#include <filesystem>
#include <stop_token>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "storage/base/error_info.h"
#include "storage/base/md5.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/client/checkpoint/publishing_fixture.h"

namespace muster {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class PublisherTest : public PublishingTest {
 protected:
  // Invariant: all or nothing.
  void ExpectNothingLeft() {
    EXPECT_THAT(FilesIn("store"), IsEmpty());
    EXPECT_FALSE(std::filesystem::exists(directory_.Path("store/llama")));
    EXPECT_THAT(catalogue_.versions(), IsEmpty());
  }
};

TEST_F(PublisherTest, CheckpointIsStoredRegisteredAndCommitted) {
  PublishOptions options = Options();
  options.zone = "rack7";

  const auto summary = PublishNow(options);

  MUSTER_ASSERT_OK(summary);
  EXPECT_EQ(version().version.state(), v1::ModelVersion::COMMITTED);
  EXPECT_EQ(version().version.shard_count(), 3u);
  EXPECT_EQ(version().version.tensor_count(), 4u);
  ASSERT_THAT(version().shards, SizeIs(3));
  for (const auto& [index, shard] : version().shards) {
    const std::string bytes = ReadWholeFile(ShardPath(index));
    EXPECT_EQ(shard.size_bytes(), bytes.size());
    EXPECT_EQ(shard.md5(), Md5ToHex(Md5Of(bytes)));
    EXPECT_EQ(shard.piece_md5s().size(), 16 * ((bytes.size() - 1) / (1 << 20) + 1));
    EXPECT_EQ(shard.locations(0).zone(), "rack7");
    EXPECT_EQ(shard.tensor_count(), version().tensors[index].size());
  }
  EXPECT_THAT(FilesIn("store/llama/v1-u1"),
              ElementsAre("companions/config.json", "companions/empty.txt",
                          "companions/tokenizer/vocab.txt", "shard-00000.safetensors",
                          "shard-00001.safetensors", "shard-00002.safetensors"));
}

TEST_F(PublisherTest, TensorRangesPointToTheirBytesInTheStoredShard) {
  MUSTER_ASSERT_OK(PublishNow(Options()));

  for (const auto& [index, tensors] : version().tensors) {
    const std::string bytes = ReadWholeFile(ShardPath(index));
    for (const v1::Tensor& tensor : tensors) {
      EXPECT_EQ(bytes.substr(tensor.begin_bytes(), tensor.end_bytes() - tensor.begin_bytes()),
                FixtureTensorBytes({tensor.name(), tensor.shape(0)}))
          << tensor.name();
    }
  }
}

TEST_F(PublisherTest, RawShardsSayWhereTheyCameFrom) {
  PublishOptions options = Options();
  options.source = directory_.Write("weights.gguf", std::string(2'500'000, 'x'));
  options.strategy = CutStrategy::kRaw;
  options.shard_count = 2;

  MUSTER_ASSERT_OK(PublishNow(options));

  EXPECT_EQ(version().version.tensor_count(), 0u);
  EXPECT_EQ(version().shards[1].source_path(), "weights.gguf");
  EXPECT_EQ(version().shards[1].source_offset_bytes(), version().shards[0].size_bytes());
}

TEST_F(PublisherTest, CommittedNameIsRefusedBeforeAnyByteIsWritten) {
  v1::ModelVersion& taken = catalogue_.versions()[kName].version;
  taken.set_name(kName);
  taken.set_state(v1::ModelVersion::COMMITTED);

  const auto summary = PublishNow(Options());

  EXPECT_THAT(summary, ErrorIs(absl::StatusCode::kAlreadyExists, "VERSION_EXISTS"));
  EXPECT_THAT(FilesIn("store"), IsEmpty());
  EXPECT_THAT(catalogue_.versions(), SizeIs(1));
}

TEST_F(PublisherTest, RefusalOfAShardLeavesNothing) {
  catalogue_.Before([](const std::string& method) {
    return method == "AddShards" ? absl::InvalidArgumentError("no") : absl::OkStatus();
  });

  EXPECT_THAT(PublishNow(Options()), StatusIs(absl::StatusCode::kInvalidArgument, "no"));
  ExpectNothingLeft();
}

TEST_F(PublisherTest, SourceThatChangesMeanwhileLeavesNothing) {
  PublishOptions options = Options();
  std::atomic<bool> once = true;
  options.on_bytes = [&](int64_t) {
    if (once.exchange(false)) directory_.Write("source/b.safetensors", "something else");
  };

  EXPECT_THAT(PublishNow(options), StatusIs(absl::StatusCode::kAborted));
  ExpectNothingLeft();
}

TEST_F(PublisherTest, CompanionThatChangesMeanwhileLeavesNothing) {
  PublishOptions options = Options();
  std::atomic<bool> once = true;
  options.on_bytes = [&](int64_t) {
    if (once.exchange(false)) directory_.Write("source/config.json", "{\"changed\":true}");
  };

  EXPECT_THAT(PublishNow(options), StatusIs(absl::StatusCode::kAborted, HasSubstr("config.json")));
  ExpectNothingLeft();
}

TEST_F(PublisherTest, StopLeavesNothing) {
  PublishOptions options = Options();
  std::stop_source stop;
  options.stop = stop.get_token();
  options.on_bytes = [&](int64_t) { stop.request_stop(); };

  EXPECT_THAT(PublishNow(options), StatusIs(absl::StatusCode::kCancelled));
  ExpectNothingLeft();
}

TEST_F(PublisherTest, LostReplyOfCommitIsSuccess) {
  catalogue_.After([](const std::string& method) {
    return method == "CommitModelVersion" ? absl::UnavailableError("gone") : absl::OkStatus();
  });

  const auto summary = PublishNow(Options());

  MUSTER_ASSERT_OK(summary);
  EXPECT_EQ(summary->model_version.state(), v1::ModelVersion::COMMITTED);
  EXPECT_THAT(FilesIn("store"), SizeIs(6));
}

// Goal: a commit that may have taken effect never loses its bytes.
TEST_F(PublisherTest, CommitOfUnknownOutcomeKeepsTheObjects) {
  std::atomic<bool> down = false;
  catalogue_.Before([&](const std::string& method) {
    if (method == "CommitModelVersion") down = true;
    return down ? absl::UnavailableError("gone") : absl::OkStatus();
  });

  EXPECT_THAT(PublishNow(Options()),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("is not known")));
  EXPECT_THAT(FilesIn("store"), SizeIs(6));
}

TEST_F(PublisherTest, CommitThatWasRefusedLeavesNothing) {
  catalogue_.Before([](const std::string& method) {
    return method == "CommitModelVersion" ? absl::FailedPreconditionError("incomplete")
                                          : absl::OkStatus();
  });

  EXPECT_THAT(PublishNow(Options()), StatusIs(absl::StatusCode::kFailedPrecondition));
  ExpectNothingLeft();
}

TEST_F(PublisherTest, DraftThatCantBeDeletedIsMentioned) {
  std::atomic<bool> down = false;
  catalogue_.Before([&](const std::string& method) {
    if (method == "AddShards") down = true;
    return down ? absl::UnavailableError("gone") : absl::OkStatus();
  });

  EXPECT_THAT(PublishNow(Options()),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("draft llama@v1 could not be")));
  EXPECT_THAT(FilesIn("store"), IsEmpty());
}

TEST_F(PublisherTest, UnknownSchemeCreatesNoDraft) {
  PublishOptions options = Options();
  options.destination = "gopher://host/models";

  EXPECT_THAT(PublishNow(options), StatusIs(absl::StatusCode::kUnimplemented));
  EXPECT_EQ(catalogue_.channel().calls("/muster.v1.ModelService/CreateModelVersion"), 0);
}

TEST_F(PublisherTest, DraftOfADeadPublisherIsReplacedOnRequest) {
  v1::ModelVersion& dead = catalogue_.versions()[kName].version;
  dead.set_name(kName);
  dead.set_uid("dead");
  dead.set_state(v1::ModelVersion::DRAFT);
  PublishOptions options = Options();
  (*dead.mutable_annotations())["muster.destination"] = options.destination;
  directory_.Write("store/llama/v1-dead/shard-00000.safetensors", "unregistered");
  directory_.Write("store/llama/v1-dead/.muster-tmp-1", "unfinished");
  directory_.Write("store/llama/v1-other/shard-00000.safetensors", "not ours");

  EXPECT_THAT(PublishNow(options), ErrorIs(absl::StatusCode::kAlreadyExists, "VERSION_EXISTS"));
  options.replace_draft = true;
  MUSTER_ASSERT_OK(PublishNow(options));

  EXPECT_FALSE(std::filesystem::exists(directory_.Path("store/llama/v1-dead")));
  EXPECT_THAT(FilesIn("store/llama/v1-other"), SizeIs(1));
  EXPECT_THAT(FilesIn("store/llama/v1-u1"), SizeIs(6));
}

TEST_F(PublisherTest, ReplacingDraftsNeverTouchesACommittedVersion) {
  PublishOptions options = Options();
  MUSTER_ASSERT_OK(PublishNow(options));
  options.replace_draft = true;

  EXPECT_THAT(PublishNow(options), ErrorIs(absl::StatusCode::kAlreadyExists, "VERSION_EXISTS"));
  EXPECT_THAT(FilesIn("store"), SizeIs(6));
}

TEST_F(PublisherTest, CountTooHighForTheTensorsIsRefusedBeforeTheDraft) {
  PublishOptions options = Options();
  options.shard_count = 5;

  EXPECT_THAT(PublishNow(options), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(catalogue_.versions(), IsEmpty());
}

}  // namespace
}  // namespace muster
