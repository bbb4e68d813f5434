#include "client/publish/publisher.h"

#include <atomic>
#include <chrono>
#include <filesystem>
#include <limits>
#include <memory>
#include <stop_token>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/checkpoint/shard_stream.h"
#include "gmock/gmock.h"
#include "storage/base/error_info.h"
#include "storage/base/md5.h"
#include "storage/base/status_macros.h"
#include "storage/object/memory_object_store.h"
#include "storage/object/uri.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/client/publish/publishing_fixture.h"

namespace muster {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
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
  options.source.path = directory_.Write("weights.gguf", std::string(2'500'000, 'x'));
  options.source.strategy = CutStrategy::kRaw;
  options.source.shard_count = 2;

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

TEST_F(PublisherTest, StopBeforeAShardIsStoredLeavesNothing) {
  PublishOptions options = Options();
  std::stop_source stop;
  options.stop = stop.get_token();
  catalogue_.Before([&](const std::string& method) {
    if (method == "AddCompanions") stop.request_stop();
    return absl::OkStatus();
  });

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

// Memory that takes so many objects, and then answers to everything with `status`.
class AwayStore final : public ObjectStore {
 public:
  AwayStore(int takes, absl::Status status) : takes_(takes), status_(std::move(status)) {}

  void Return() { takes_ = std::numeric_limits<int>::max(); }

  absl::StatusOr<ObjectInfo> Stat(absl::string_view key, const std::stop_token& stop) override {
    if (takes_ < 0) return status_;
    return memory_->Stat(key, stop);
  }
  absl::Status Read(absl::string_view key, int64_t offset, absl::Span<char> out,
                    const ReadOptions& options) override {
    return memory_->Read(key, offset, out, options);
  }
  absl::StatusOr<std::unique_ptr<ObjectWriter>> Create(absl::string_view key,
                                                       const WriteOptions& options) override {
    if (--takes_ < 0) return status_;
    return memory_->Create(key, options);
  }
  absl::StatusOr<ObjectInfo> Put(absl::string_view key, absl::string_view bytes,
                                 const WriteOptions& options) override {
    if (--takes_ < 0) return status_;
    return memory_->Put(key, bytes, options);
  }
  absl::StatusOr<std::vector<ListedObject>> List(absl::string_view prefix,
                                                 const ListOptions& options) override {
    return memory_->List(prefix, options);
  }
  absl::Status Delete(absl::string_view key) override {
    return takes_ < 0 ? status_ : memory_->Delete(key);
  }

 private:
  std::atomic<int> takes_;
  const absl::Status status_;
  const std::unique_ptr<ObjectStore> memory_ = NewMemoryObjectStore();
};

class AwayStorageTest : public PublisherTest {
 protected:
  // Publishes 3 companions and 3 shards to a store that takes so many of them.
  absl::Status Publish(int takes, absl::Status status) {
    store_ = std::make_shared<AwayStore>(takes, std::move(status));
    MUSTER_RETURN_IF_ERROR(
        stores_.Register("away", [this](const Uri& uri) -> absl::StatusOr<ObjectRef> {
          return ObjectRef{store_, uri.path};
        }));
    options_ = Options();
    options_.destination = "away://store";
    options_.jobs = 1;
    return PublishNow(options_).status();
  }

  std::shared_ptr<AwayStore> store_;
  PublishOptions options_;
};

TEST_F(AwayStorageTest, WhatWasStoredIsGoneOnWithOnceTheStorageIsBack) {
  EXPECT_THAT(Publish(5, absl::UnauthenticatedError("expired")),
              StatusIs(absl::StatusCode::kUnauthenticated,
                       AllOf(HasSubstr("expired"), HasSubstr("the same command resumes it"))));
  EXPECT_EQ(version().version.state(), v1::ModelVersion::DRAFT);
  EXPECT_THAT(version().shards, SizeIs(2));
  store_->Return();

  const auto summary = PublishNow(options_);

  MUSTER_ASSERT_OK(summary);
  EXPECT_EQ(summary->shards_kept, 2u);
  EXPECT_EQ(version().version.state(), v1::ModelVersion::COMMITTED);
}

TEST_F(AwayStorageTest, WhereNothingWasStoredNoDraftIsLeft) {
  EXPECT_THAT(Publish(0, absl::PermissionDeniedError("no")),
              StatusIs(absl::StatusCode::kPermissionDenied,
                       AllOf(HasSubstr("no"), Not(HasSubstr("left behind")))))
      << "nothing was written, so nothing is left";
  EXPECT_THAT(catalogue_.versions(), IsEmpty());
}

TEST_F(AwayStorageTest, StorageThatIsFullIsThereAndTakenBackFrom) {
  EXPECT_THAT(Publish(5, absl::ResourceExhaustedError("full")),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("full")));
  EXPECT_THAT(catalogue_.versions(), IsEmpty());
}

TEST_F(PublisherTest, UnknownSchemeCreatesNoDraft) {
  PublishOptions options = Options();
  options.destination = "gopher://host/models";

  EXPECT_THAT(PublishNow(options), StatusIs(absl::StatusCode::kUnimplemented));
  EXPECT_EQ(catalogue_.channel().calls("/muster.v1.ModelService/CreateModelVersion"), 0);
}

class StoppedPublisherTest : public PublisherTest {
 protected:
  StoppedPublisherTest() {
    options_.jobs = 1;
    options_.stop = stop_.get_token();
    // In the middle of the second shard.
    options_.on_bytes = [this](int64_t) {
      if (!version().shards.empty()) stop_.request_stop();
    };
  }

  std::stop_source stop_;
  PublishOptions options_ = Options();
};

TEST_F(StoppedPublisherTest, WhatIsStoredStaysAndIsResumed) {
  EXPECT_THAT(PublishNow(options_),
              StatusIs(absl::StatusCode::kCancelled,
                       ::testing::AllOf(HasSubstr("interrupted; the draft llama@v1 stays"),
                                        HasSubstr(" of 3 shards"), HasSubstr("--clean"))));
  EXPECT_EQ(version().version.state(), v1::ModelVersion::DRAFT);

  const auto summary = PublishNow(Options());

  MUSTER_ASSERT_OK(summary);
  EXPECT_TRUE(summary->resumed);
  EXPECT_GE(summary->shards_kept, 1u);
}

TEST_F(StoppedPublisherTest, SecondStopDeletesWhatIsStored) {
  options_.discard = stop_.get_token();

  EXPECT_THAT(PublishNow(options_), StatusIs(absl::StatusCode::kCancelled, HasSubstr("deleted")));

  EXPECT_THAT(catalogue_.versions(), IsEmpty());
  EXPECT_THAT(FilesIn("store"), IsEmpty());
}

TEST_F(StoppedPublisherTest, InPlaceThereIsNothingToKeep) {
  options_.source.in_place = true;
  options_.source.shard_count = 0;
  options_.destination = "";

  EXPECT_THAT(PublishNow(options_), StatusIs(absl::StatusCode::kCancelled));

  EXPECT_THAT(catalogue_.versions(), IsEmpty());
}

// What a publisher leaves that died when it had registered all but the last shard.
class ResumeTest : public PublisherTest {
 protected:
  ResumeTest() {
    PublishOptions options = Options();
    options.jobs = 1;
    // The process is gone: nothing that it would call after this has an effect.
    std::atomic<bool> dead = false;
    std::atomic<int> added = 0;
    catalogue_.Before([&](const std::string& method) {
      if (method == "AddShards" && ++added == 3) dead = true;
      return dead ? absl::UnavailableError("dead") : absl::OkStatus();
    });
    EXPECT_THAT(PublishNow(options), StatusIs(absl::StatusCode::kUnavailable));
    catalogue_.Before(nullptr);
    EXPECT_THAT(version().shards, SizeIs(2));
    // An orderly end has taken the objects back. A killed one has not.
    Restore(options);
  }

  // Stores what the draft has registered, and a half written file.
  void Restore(const PublishOptions& options) {
    const auto plan = PlanSource(options.source);
    ASSERT_THAT(plan, IsOk());
    for (const auto& [index, shard] : version().shards) {
      const auto stream = ShardStream::Open(plan->checkpoint, plan->cuts.shards[index]);
      ASSERT_THAT(stream, IsOk());
      std::string bytes(static_cast<size_t>(stream->size_bytes()), ' ');
      ASSERT_THAT(stream->Read(0, absl::MakeSpan(bytes)), IsOk());
      directory_.Write(absl::StrFormat("store/llama/v1-u1/shard-%05d.safetensors", index), bytes);
    }
    directory_.Write("store/llama/v1-u1/.muster-tmp-1", "unfinished");
    directory_.Write("store/llama/v1-u1/shard-00002.safetensors", "never registered");
  }

  std::filesystem::file_time_type TimeOf(uint32_t index) {
    return std::filesystem::last_write_time(ShardPath(index));
  }
};

TEST_F(ResumeTest, ShardsThatAreStoredAreNotWrittenAgain) {
  const auto before = std::filesystem::file_time_type::clock::now() - std::chrono::hours(1);
  for (const uint32_t index : {0, 1}) std::filesystem::last_write_time(ShardPath(index), before);

  const auto summary = PublishNow(Options());

  MUSTER_ASSERT_OK(summary);
  EXPECT_TRUE(summary->resumed);
  EXPECT_EQ(summary->shards_kept, 2u);
  EXPECT_EQ(version().version.uid(), "u1");
  EXPECT_EQ(version().version.state(), v1::ModelVersion::COMMITTED);
  EXPECT_EQ(TimeOf(0), before);
  EXPECT_EQ(TimeOf(1), before);
  for (const auto& [index, shard] : version().shards) {
    EXPECT_EQ(shard.md5(), Md5ToHex(Md5Of(ReadWholeFile(ShardPath(index)))));
    EXPECT_EQ(shard.tensor_count(), version().tensors[index].size());
  }
  EXPECT_THAT(FilesIn("store/llama/v1-u1"), SizeIs(6));
}

TEST_F(ResumeTest, LostOrCutObjectIsWrittenAgain) {
  std::filesystem::remove(ShardPath(0));
  std::filesystem::resize_file(ShardPath(1), 100);

  const auto summary = PublishNow(Options());

  MUSTER_ASSERT_OK(summary);
  EXPECT_EQ(summary->shards_kept, 0u);
  for (const auto& [index, shard] : version().shards) {
    EXPECT_EQ(shard.md5(), Md5ToHex(Md5Of(ReadWholeFile(ShardPath(index)))));
  }
}

TEST_F(ResumeTest, DraftIsDiscardedWithWhatWasNeverRegistered) {
  Client& client = catalogue_.client();

  const auto discarded = DiscardDraft(client, stores_, kName, {});

  MUSTER_ASSERT_OK(discarded);
  EXPECT_TRUE(discarded->found);
  EXPECT_GE(discarded->objects, 3u);
  EXPECT_THAT(catalogue_.versions(), IsEmpty());
  EXPECT_THAT(FilesIn("store"), IsEmpty());
  EXPECT_FALSE(DiscardDraft(client, stores_, kName, {})->found);

  MUSTER_ASSERT_OK(PublishNow(Options()));
  EXPECT_THAT(DiscardDraft(client, stores_, kName, {}),
              ErrorIs(absl::StatusCode::kFailedPrecondition, "VERSION_NOT_DRAFT"));
  EXPECT_THAT(FilesIn("store"), SizeIs(6));
}

TEST_F(ResumeTest, OtherOptionsNeedRestart) {
  PublishOptions options = Options();
  options.source.shard_count = 2;
  EXPECT_THAT(PublishNow(options), ErrorIs(absl::StatusCode::kAlreadyExists, "DRAFT_DIFFERS"));
  options = Options();
  options.zone = "rack7";
  EXPECT_THAT(PublishNow(options), ErrorIs(absl::StatusCode::kAlreadyExists, "DRAFT_DIFFERS"));
  EXPECT_THAT(version().shards, SizeIs(2));

  options.restart = true;
  MUSTER_ASSERT_OK(PublishNow(options));
  EXPECT_FALSE(std::filesystem::exists(directory_.Path("store/llama/v1-u1")));
  EXPECT_THAT(FilesIn("store/llama/v1-u2"), SizeIs(6));
}

TEST_F(ResumeTest, SourceWithOtherBytesIsRefusedAndTheDraftStays) {
  PublishOptions options = Options();
  FlipByte(directory_.Path("source/a.safetensors"), 5'000);

  EXPECT_THAT(PublishNow(options), ErrorIs(absl::StatusCode::kAborted, "SHARD_DIFFERS"));
  EXPECT_EQ(version().version.state(), v1::ModelVersion::DRAFT);
  EXPECT_THAT(FilesIn("store/llama/v1-u1"), Contains("shard-00000.safetensors"));
}

// Goal: an error while going on with a draft loses nothing of it.
TEST_F(ResumeTest, ErrorLeavesTheDraftToGoOnWith) {
  catalogue_.Before([](const std::string& method) {
    return method == "CommitModelVersion" ? absl::FailedPreconditionError("no") : absl::OkStatus();
  });
  EXPECT_THAT(PublishNow(Options()),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("stays as it is")));
  EXPECT_THAT(FilesIn("store/llama/v1-u1"), Contains("shard-00000.safetensors"));
  catalogue_.Before(nullptr);

  const auto summary = PublishNow(Options());

  MUSTER_ASSERT_OK(summary);
  EXPECT_EQ(summary->shards_kept, 3u);
}

TEST_F(ResumeTest, DraftOfAnotherProgramIsReplacedOnRequestOnly) {
  v1::ModelVersion& dead = version().version;
  dead.mutable_annotations()->erase("muster.plan");
  directory_.Write("store/llama/v1-other/shard-00000.safetensors", "not ours");

  EXPECT_THAT(PublishNow(Options()), ErrorIs(absl::StatusCode::kAlreadyExists, "DRAFT_DIFFERS"));
  PublishOptions options = Options();
  options.restart = true;
  MUSTER_ASSERT_OK(PublishNow(options));

  EXPECT_FALSE(std::filesystem::exists(directory_.Path("store/llama/v1-u1")));
  EXPECT_THAT(FilesIn("store/llama/v1-other"), SizeIs(1));
}

// Goal: a publisher that fails after another one resumed its draft and committed it deletes
// nothing.
TEST_F(PublisherTest, DraftThatAnotherPublicationCommittedIsLeftAlone) {
  catalogue_.Before([this](const std::string& method) {
    if (method != "AddShards") return absl::OkStatus();
    catalogue_.Before(nullptr);
    const absl::Status other = PublishNow(Options()).status();
    return other.ok() ? absl::AbortedError("late") : other;
  });
  PublishOptions options = Options();
  options.jobs = 1;

  EXPECT_THAT(PublishNow(options),
              StatusIs(absl::StatusCode::kAborted, HasSubstr("another publication")));
  EXPECT_EQ(version().version.state(), v1::ModelVersion::COMMITTED);
  EXPECT_THAT(FilesIn("store/llama/v1-u1"), SizeIs(6));
}

TEST_F(PublisherTest, RestartNeverTouchesACommittedVersion) {
  PublishOptions options = Options();
  MUSTER_ASSERT_OK(PublishNow(options));
  options.restart = true;

  EXPECT_THAT(PublishNow(options), ErrorIs(absl::StatusCode::kAlreadyExists, "VERSION_EXISTS"));
  EXPECT_THAT(FilesIn("store"), SizeIs(6));
}

TEST_F(PublisherTest, InPlaceRegistersTheFilesAndWritesNothing) {
  PublishOptions options = Options();
  options.source.in_place = true;
  options.source.shard_count = 0;
  options.destination = "";

  MUSTER_ASSERT_OK(PublishNow(options));

  EXPECT_THAT(FilesIn("store"), IsEmpty());
  ASSERT_THAT(version().shards, SizeIs(2));
  EXPECT_EQ(version().version.strategy(), "files");
  EXPECT_EQ(ShardPath(0), directory_.Path("source/a.safetensors"));
  EXPECT_EQ(version().shards[0].source_path(), "a.safetensors");
  EXPECT_EQ(version().companions[0].locations(0).uri(),
            FileUri(directory_.Path("source/config.json")));
  const std::string bytes = ReadWholeFile(ShardPath(1));
  for (const v1::Tensor& tensor : version().tensors[1]) {
    EXPECT_EQ(bytes.substr(tensor.begin_bytes(), tensor.end_bytes() - tensor.begin_bytes()),
              FixtureTensorBytes({tensor.name(), tensor.shape(0)}));
  }
}

TEST_F(PublisherTest, InPlaceErrorLeavesTheFiles) {
  PublishOptions options = Options();
  options.source.in_place = true;
  options.source.shard_count = 0;
  options.destination = "";
  const auto before = FilesIn("source");
  catalogue_.Before([](const std::string& method) {
    return method == "AddShards" ? absl::InvalidArgumentError("no") : absl::OkStatus();
  });

  EXPECT_THAT(PublishNow(options), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(FilesIn("source"), before);
  EXPECT_THAT(catalogue_.versions(), IsEmpty());
}

TEST_F(PublisherTest, BlobWithAnotherSha256LeavesNothing) {
  PublishOptions options = Options();
  options.source.path = WriteSnapshot();
  MUSTER_ASSERT_OK(PublishNow(options));
  EXPECT_EQ(version().version.annotations().at("muster.snapshot"), "o/n@r");
  catalogue_.versions().clear();
  std::filesystem::remove_all(directory_.Path("store"));

  FlipByte(BlobOf("b.safetensors"), 5'000);

  EXPECT_THAT(PublishNow(options), ErrorIs(absl::StatusCode::kDataLoss, "BLOB_CORRUPT"));
  ExpectNothingLeft();
  options.source.in_place = true;
  options.source.shard_count = 0;
  options.destination = "";
  EXPECT_THAT(PublishNow(options), ErrorIs(absl::StatusCode::kDataLoss, "BLOB_CORRUPT"));
  EXPECT_THAT(catalogue_.versions(), IsEmpty());
}

TEST_F(PublisherTest, CountTooHighForTheTensorsIsRefusedBeforeTheDraft) {
  PublishOptions options = Options();
  options.source.shard_count = 5;

  EXPECT_THAT(PublishNow(options), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(catalogue_.versions(), IsEmpty());
}

}  // namespace
}  // namespace muster
