// Loads from a scripted store, described by a catalogue in memory, to each place.
#include "client/loading/model_load.h"

#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/cache/shard_cache.h"
#include "gmock/gmock.h"
#include "storage/base/mutex.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/client/encoding/encoding_fixtures.h"
#include "tests/unit/client/loading/loading_fixture.h"

namespace muster {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Pair;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

using ModelLoadTest = LoadingTest;

class ModelLoadToEachPlaceTest : public ModelLoadTest,
                                 public testing::WithParamInterface<LoadPlace> {
 protected:
  ModelLoadToEachPlaceTest() {
    options_.place = GetParam();
    if (GetParam() == LoadPlace::kCache) UseCache();
  }
};

INSTANTIATE_TEST_SUITE_P(Places, ModelLoadToEachPlaceTest,
                         testing::Values(LoadPlace::kCache, LoadPlace::kPrivateMemory,
                                         LoadPlace::kSharedMemory),
                         [](const testing::TestParamInfo<LoadPlace>& place) {
                           switch (place.param) {
                             case LoadPlace::kCache:
                               return "Cache";
                             case LoadPlace::kPrivateMemory:
                               return "PrivateMemory";
                             default:
                               return "SharedMemory";
                           }
                         });

// What this process has open below `directory`, or as shared memory.
int OpenFilesOf(const std::string& directory) {
  const std::string name = std::filesystem::path(directory).filename().string();
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    const std::string target = std::filesystem::read_symlink(entry.path(), gone).string();
    if (absl::StrContains(target, "/memfd:")) ++count;
    // The cache itself has its directory and locks open.
    if (absl::StrContains(target, name) && absl::StrContains(target, "/root-")) ++count;
  }
  return count;
}

TEST_P(ModelLoadToEachPlaceTest, ShardTakesAtMostOneDescriptor) {
  for (int i = 0; i < 3; ++i) AddShard();
  const int before = OpenFilesOf(directory_.path());
  const auto load = Start();
  MUSTER_ASSERT_OK(load->Wait());

  const int wanted = GetParam() == LoadPlace::kPrivateMemory ? 0 : 3;
  EXPECT_EQ(OpenFilesOf(directory_.path()) - before, wanted);
}

TEST_P(ModelLoadToEachPlaceTest, TensorsAreThoseThatWerePublishedAndLieInTheirShard) {
  std::vector<FixtureTensor> tensors = AddShard();
  for (const FixtureTensor& tensor : AddShard()) tensors.push_back(tensor);
  const auto load = Start();

  MUSTER_ASSERT_OK(load->Wait());

  for (const FixtureTensor& expected : tensors) {
    const auto tensor = load->AwaitTensor(expected.name);
    MUSTER_ASSERT_OK(tensor);
    EXPECT_EQ(tensor->name, expected.name);
    EXPECT_EQ(tensor->dtype, "BF16");
    EXPECT_THAT(tensor->shape, ElementsAre(expected.elements));
    EXPECT_EQ(tensor->bytes, FixtureTensorBytes(expected));
    const absl::string_view shard = tensor->shard.bytes();
    EXPECT_GE(tensor->bytes.data(), shard.data());
    EXPECT_LE(tensor->bytes.data() + tensor->bytes.size(), shard.data() + shard.size());
  }
  for (uint32_t index = 0; index < 2; ++index) {
    const auto shard = load->AwaitShard(index);
    MUSTER_ASSERT_OK(shard);
    EXPECT_EQ(shard->index(), index);
    EXPECT_EQ(shard->bytes(), files_[index]);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(shard->bytes().data()) % 4096, 0u);
    EXPECT_EQ(shard->tensor_count(), 2u);
  }
  EXPECT_THAT(load->AwaitTensor("absent"), ErrorIs(absl::StatusCode::kNotFound, "TENSOR_UNKNOWN"));
}

TEST_P(ModelLoadToEachPlaceTest, TensorOutlivesTheLoadAndTheCache) {
  const FixtureTensor expected = AddShard()[1];
  auto load = Start();
  const auto tensor = load->AwaitTensor(expected.name);
  MUSTER_ASSERT_OK(tensor);

  load.reset();
  cache_.reset();

  EXPECT_EQ(tensor->name, expected.name);
  EXPECT_EQ(tensor->bytes, FixtureTensorBytes(expected));
}

TEST_P(ModelLoadToEachPlaceTest, ShardWithoutPiecesIsGivenOutOnlyIfItsMd5IsRight) {
  for (const char* key : {"a/good", "a/bad"}) {
    // The cache must not take one for the other.
    const std::string bytes = TestBytes(kMiB + 7, std::strlen(key));
    store_.Set(key, bytes);
    Register(ShardWithoutPieces(bytes, {absl::StrCat("fake://", key)}), 0);
  }
  store_.FlipByte("a/bad", kMiB);
  const auto load = Start();

  const auto good = load->AwaitShard(0);
  const auto bad = load->AwaitShard(1);

  MUSTER_ASSERT_OK(good);
  EXPECT_EQ(good->bytes(), TestBytes(kMiB + 7, std::strlen("a/good")));
  EXPECT_EQ(good->tensor_count(), 0u);
  EXPECT_THAT(bad, StatusIs(absl::StatusCode::kDataLoss, HasSubstr("shard 1: ")));
}

TEST_P(ModelLoadToEachPlaceTest, WrongBytesAreFetchedElsewhereAndWarnedOf) {
  AddShard();
  store_.Set("b/0", files_[0]);
  v1::Shard& shard = version().shards[0];
  v1::Location& second = *shard.add_locations();
  second.set_uri("fake://b/0");
  second.set_priority(2);
  for (int64_t piece = 0; piece < 2; ++piece) store_.FlipByte("a/0", piece * kMiB + 9);
  Mutex mutex;
  std::vector<std::string> warnings;
  options_.warn = [&](const std::string& warning) {
    MutexLock lock(mutex);
    warnings.push_back(warning);
  };
  const auto load = Start();

  const auto loaded = load->AwaitShard(0);

  MUSTER_ASSERT_OK(loaded);
  EXPECT_EQ(loaded->bytes(), files_[0]);
  MUSTER_ASSERT_OK(load->Wait());
  EXPECT_THAT(warnings, ElementsAre(AllOf(HasSubstr("fake://a/0"), HasSubstr("MD5"))));
}

TEST_P(ModelLoadToEachPlaceTest, ShardThatFailsLeavesTheOthers) {
  const std::string first = AddShard()[0].name;
  const std::string failed = AddShard()[0].name;
  const std::string last = AddShard()[0].name;
  store_.FlipByte("a/1", kMiB + 1);
  std::map<uint32_t, int> told;
  options_.on_shard = [&](uint32_t shard, const absl::StatusOr<LoadedShard>&) { ++told[shard]; };
  const auto load = Start();

  const absl::Status status = load->Wait();

  EXPECT_THAT(status,
              StatusIs(absl::StatusCode::kDataLoss,
                       AllOf(HasSubstr("shard 1: "), HasSubstr("fake://a/1"), HasSubstr("MD5"))));
  EXPECT_EQ(ReasonOf(status), "SHARD_CORRUPT");
  MUSTER_EXPECT_OK(load->AwaitTensor(first));
  MUSTER_EXPECT_OK(load->AwaitTensor(last));
  EXPECT_EQ(load->AwaitTensor(failed).status(), status);
  EXPECT_EQ(load->AwaitShard(1).status(), status);
  EXPECT_THAT(load->Loaded(), SizeIs(2));
  EXPECT_THAT(told, ElementsAre(Pair(0u, 1), Pair(1u, 1), Pair(2u, 1)));
  EXPECT_EQ(load->progress().shards_loaded, 2u);
  EXPECT_EQ(load->progress().shards_failed, 1u);
  EXPECT_EQ(load->progress().done_bytes, static_cast<int64_t>(files_[0].size() + files_[2].size()));
}

TEST_P(ModelLoadToEachPlaceTest, CancelledLoadKeepsWhatHasComeAndFailsTheRest) {
  AddShard();
  AddShard();
  AddShard();
  Gate reading;
  HangReadsOf("a/1", reading);
  options_.shards_at_once = 1;
  std::map<uint32_t, absl::StatusCode> told;
  options_.on_shard = [&](uint32_t shard, const absl::StatusOr<LoadedShard>& loaded) {
    told[shard] = loaded.status().code();
  };
  const auto load = Start();
  reading.Wait("the read that hangs");

  load->Cancel();

  EXPECT_THAT(load->Wait(), StatusIs(absl::StatusCode::kCancelled, HasSubstr("shard 1: ")));
  EXPECT_THAT(load->AwaitShard(2), StatusIs(absl::StatusCode::kCancelled));
  ASSERT_THAT(load->Loaded(), SizeIs(1));
  EXPECT_EQ(load->Loaded()[0].bytes(), files_[0]);
  EXPECT_THAT(told,
              ElementsAre(Pair(0u, absl::StatusCode::kOk), Pair(1u, absl::StatusCode::kCancelled),
                          Pair(2u, absl::StatusCode::kCancelled)));
}

TEST_F(ModelLoadTest, LoadThatIsDestroyedEnds) {
  AddShard();
  Gate reading;
  HangReadsOf("a/0", reading);
  auto load = Start();
  reading.Wait("the read that hangs");

  load.reset();

  EXPECT_THAT(store_.reads(), IsEmpty());
}

TEST_F(ModelLoadTest, StopThatCameBeforeTheStartLoadsNothing) {
  AddShard();
  std::stop_source stop;
  stop.request_stop();
  options_.stop = stop.get_token();

  EXPECT_THAT(Load(), StatusIs(absl::StatusCode::kCancelled));
  EXPECT_THAT(store_.reads(), IsEmpty());
}

TEST_F(ModelLoadTest, CallbacksComeInShardOrderAndTensorsAfterTheirShard) {
  AddShard();
  AddShard();
  options_.shards_at_once = 1;
  std::vector<std::string> told;
  options_.on_shard = [&](uint32_t shard, const absl::StatusOr<LoadedShard>& loaded) {
    told.push_back(absl::StrCat("shard ", shard, loaded.ok() ? "" : " failed"));
  };
  options_.on_tensor = [&](const LoadedTensor& tensor) { told.emplace_back(tensor.name); };

  MUSTER_ASSERT_OK(Load());

  EXPECT_THAT(told, ElementsAre("shard 0", "layers.0.big", "layers.0.small", "shard 1",
                                "layers.1.big", "layers.1.small"));
}

// The callback of the first shard holds up its own thread only.
TEST_F(ModelLoadTest, ShardsComeWhileACallbackRuns) {
  AddShard();
  AddShard();
  Gate second_is_there;
  options_.shards_at_once = 2;
  std::vector<uint32_t> told;
  options_.on_shard = [&](uint32_t shard, const absl::StatusOr<LoadedShard>&) {
    if (told.empty()) second_is_there.Wait("the second shard");
    told.push_back(shard);
  };
  const auto load = Start();

  MUSTER_ASSERT_OK(load->AwaitShard(0));
  MUSTER_ASSERT_OK(load->AwaitShard(1));
  second_is_there.Open();

  MUSTER_ASSERT_OK(load->Wait());
  EXPECT_THAT(told, UnorderedElementsAre(0u, 1u));
}

TEST_F(ModelLoadTest, ProgressCountsUpToTheWhole) {
  AddShard();
  AddShard();
  std::vector<LoadProgress> told;
  options_.on_progress = [&](const LoadProgress& progress) { told.push_back(progress); };

  MUSTER_ASSERT_OK(Load());

  ASSERT_THAT(told, Not(IsEmpty()));
  for (size_t i = 1; i < told.size(); ++i) {
    EXPECT_GE(told[i].done_bytes, told[i - 1].done_bytes);
    EXPECT_GE(told[i].shards_loaded, told[i - 1].shards_loaded);
  }
  const auto total = static_cast<int64_t>(files_[0].size() + files_[1].size());
  EXPECT_EQ(told.back().done_bytes, total);
  EXPECT_EQ(told.back().total_bytes, total);
  EXPECT_EQ(told.back().shards_loaded, 2u);
  EXPECT_EQ(told.back().shards_total, 2u);
}

TEST_F(ModelLoadTest, OnlyTheShardsThatWereAskedForAreLoaded) {
  for (int i = 0; i < 3; ++i) AddShard();
  options_.shards = std::vector<uint32_t>{2, 0, 2};
  const auto load = Start();

  MUSTER_ASSERT_OK(load->Wait());

  const std::vector<LoadedShard> loaded = load->Loaded();
  ASSERT_THAT(loaded, SizeIs(2));
  EXPECT_EQ(loaded[0].index(), 0u);
  EXPECT_EQ(loaded[1].index(), 2u);
  EXPECT_EQ(store_.reads_of("a/1"), 0);
  EXPECT_THAT(load->AwaitShard(1), ErrorIs(absl::StatusCode::kNotFound, "SHARD_NOT_LOADED"));
}

TEST_F(ModelLoadTest, ShardThatTheModelDoesNotHaveIsRefused) {
  AddShard();
  options_.shards = std::vector<uint32_t>{1};

  EXPECT_THAT(Load(), ErrorIs(absl::StatusCode::kInvalidArgument, "SHARD_OUT_OF_RANGE"));
}

TEST_F(ModelLoadTest, VersionThatIsNotCommittedIsRefused) {
  AddShard();
  version().version.set_state(v1::ModelVersion::DRAFT);

  EXPECT_THAT(Load(), ErrorIs(absl::StatusCode::kFailedPrecondition, "VERSION_NOT_COMMITTED"));
}

TEST_F(ModelLoadTest, UnknownVersionIsTheErrorOfEverything) {
  options_.model_version = "llama@v9";
  const auto load = Start();

  EXPECT_THAT(load->Wait(), ErrorIs(absl::StatusCode::kNotFound, "VERSION_UNKNOWN"));
  EXPECT_THAT(load->AwaitShard(0), ErrorIs(absl::StatusCode::kNotFound, "VERSION_UNKNOWN"));
  EXPECT_THAT(load->AwaitTensor("x"), ErrorIs(absl::StatusCode::kNotFound, "VERSION_UNKNOWN"));
}

TEST_F(ModelLoadTest, DescriptionThatContradictsItselfIsRefused) {
  AddShard();
  version().shards[0].set_index(4);
  EXPECT_THAT(Load(), ErrorIs(absl::StatusCode::kDataLoss, "DESCRIPTION_BROKEN"));

  version().shards[0].set_index(0);
  version().version.set_shard_count(2);
  EXPECT_THAT(Load(), ErrorIs(absl::StatusCode::kDataLoss, "DESCRIPTION_BROKEN"));

  version().version.set_shard_count(1);
  version().shards[0].set_size_bytes(~uint64_t{0});
  EXPECT_THAT(Load(), ErrorIs(absl::StatusCode::kDataLoss, "DESCRIPTION_BROKEN"));
}

// An encrypted shard without tensors, of weights.
class EncodedLoadTest : public ModelLoadToEachPlaceTest {
 protected:
  EncodedLoadTest() {
    constexpr char kEncoding[] = "zstd-grouped+aes-256-gcm";
    EncodeRequest request = RequestFor(kEncoding, static_cast<int64_t>(content_.size()));
    request.shard_name = absl::StrCat(kModelName, "/shards/0");
    const std::string object = EncodeAll(std::move(request), content_);
    store_.Set("a/0", object);
    PullShard shard = ShardWithPieces(object, {"fake://a/0"});
    shard.shard.set_encoding(kEncoding);
    shard.shard.set_content_size_bytes(content_.size());
    Register(shard, 0);
  }

  void UseKey(uint8_t byte) {
    options_.keys = NewFixedKey(KeyOf(byte));
    ShardCache::Options cache;
    cache.keys = options_.keys;
    if (GetParam() == LoadPlace::kCache) UseCache(cache);
  }

  const std::string content_ = Weights(1'500'000);
};

INSTANTIATE_TEST_SUITE_P(Places, EncodedLoadTest,
                         testing::Values(LoadPlace::kCache, LoadPlace::kPrivateMemory,
                                         LoadPlace::kSharedMemory));

TEST_P(EncodedLoadTest, ContentIsWhatIsLoaded) {
  UseKey(1);
  const auto load = Start();

  MUSTER_ASSERT_OK(load->Wait());

  EXPECT_EQ(load->AwaitShard(0)->bytes(), content_);
  EXPECT_EQ(load->progress().done_bytes, 1'500'000);
  EXPECT_EQ(load->progress().total_bytes, 1'500'000);
}

TEST_P(EncodedLoadTest, WithoutTheRightKeyNothingIsLoaded) {
  EXPECT_THAT(Load(), ErrorIs(absl::StatusCode::kFailedPrecondition, "KEY_MISSING"));
  UseKey(2);
  EXPECT_THAT(Load(), ErrorIs(absl::StatusCode::kFailedPrecondition, "WRONG_KEY"));
}

TEST_F(ModelLoadTest, EncodingThatIsUnknownIsRefused) {
  AddShard();
  version().shards[0].set_encoding("zipped");
  version().shards[0].set_content_size_bytes(1);

  EXPECT_THAT(Load(), StatusIs(absl::StatusCode::kUnimplemented, HasSubstr("shard 0: is encoded")));
}

TEST_F(ModelLoadTest, VerifiedBytesWithABadHeaderAreNoTensors) {
  const std::string garbage = TestBytes(2 * kMiB, 3);
  store_.Set("a/0", garbage);
  Register(ShardWithPieces(garbage, {"fake://a/0"}), 1);
  EXPECT_THAT(Load(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("shard 0: ")));
  EXPECT_THAT(Load(), ErrorIs(absl::StatusCode::kDataLoss, "SHARD_HEADER_BROKEN"));

  version().shards.clear();
  AddShard();
  version().shards[0].set_tensor_count(3);
  EXPECT_THAT(Load(),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("2 tensors where 3 were announced")));
}

TEST_F(ModelLoadTest, TensorsOfSeveralFoldersAreToldApart) {
  options_.shards_at_once = 1;
  for (const std::string folder : {"unet", "vae"}) {
    const int64_t elements = folder == "vae" ? 20 : 10;
    store_.Set(absl::StrCat("a/", folder), FixtureFile({{"conv.weight", elements}}));
    PullShard shard = ShardWithPieces(FixtureFile({{"conv.weight", elements}}),
                                      {absl::StrCat("fake://a/", folder)});
    shard.shard.set_source_path(absl::StrCat(folder, "/model.safetensors"));
    Register(shard, 1);
  }
  std::vector<std::string> told;
  options_.on_tensor = [&](const LoadedTensor& tensor) { told.emplace_back(tensor.name); };
  const auto load = Start();
  MUSTER_ASSERT_OK(load->Wait());

  const auto vae = load->AwaitTensor("vae/conv.weight");

  MUSTER_ASSERT_OK(vae);
  EXPECT_EQ(vae->name, "vae/conv.weight");
  EXPECT_THAT(vae->shape, ElementsAre(20));
  EXPECT_THAT(load->AwaitTensor("unet/conv.weight")->shape, ElementsAre(10));
  EXPECT_THAT(told, ElementsAre("unet/conv.weight", "vae/conv.weight"));
  for (const char* absent : {"conv.weight", "te/conv.weight", "vae/", "vae/x"}) {
    EXPECT_THAT(load->AwaitTensor(absent), ErrorIs(absl::StatusCode::kNotFound, "TENSOR_UNKNOWN"));
  }
}

TEST_F(ModelLoadTest, TiedNameIsFoundAsTheTensorThatItStandsFor) {
  const std::string file = FixtureFile(
      {{"embed.weight", 10}}, R"({"muster.tied.head":"embed.weight","muster.tied.x":"no"})");
  store_.Set("a/x", file);
  Register(ShardWithPieces(file, {"fake://a/x"}), 1);
  const auto load = Start();
  MUSTER_ASSERT_OK(load->Wait());

  const auto head = load->AwaitTensor("head");

  MUSTER_ASSERT_OK(head);
  EXPECT_EQ(head->name, "embed.weight");
  EXPECT_THAT(load->AwaitTensor("x"), ErrorIs(absl::StatusCode::kNotFound, "TENSOR_UNKNOWN"));
}

TEST_F(ModelLoadTest, PieceListThatCantBeHadFailsItsShard) {
  AddShard();
  AddShard();
  int calls = 0;
  options_.shards_at_once = 1;
  catalogue_.Before([&](const std::string& method) -> absl::Status {
    if (method != "ListPieces" || ++calls > 1) return absl::OkStatus();
    return absl::UnavailableError("no server");
  });
  const auto load = Start();

  EXPECT_THAT(load->Wait(), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("shard 0: ")));
  MUSTER_EXPECT_OK(load->AwaitShard(1));
}

TEST_F(ModelLoadTest, CacheThatIsMissingIsRefused) {
  AddShard();
  options_.place = LoadPlace::kCache;

  EXPECT_THAT(Load(), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(ModelLoadTest, CacheWithoutRoomIsRefusedBeforeTheFirstByte) {
  AddShard();
  AddShard();
  UseCache({.budget_bytes = static_cast<int64_t>(files_[0].size() + files_[1].size() - 1)});

  EXPECT_THAT(Load(), ErrorIs(absl::StatusCode::kResourceExhausted, "CACHE_FULL"));
  EXPECT_THAT(store_.reads(), IsEmpty());
}

TEST_F(ModelLoadTest, MappedEntryIsNotEvictedAndNotFetchedAgain) {
  AddShard();
  UseCache();
  auto load = Start();
  {
    const auto shard = load->AwaitShard(0);
    MUSTER_ASSERT_OK(shard);
    load.reset();
    const size_t reads = store_.reads().size();
    MUSTER_ASSERT_OK(Load());
    EXPECT_EQ(store_.reads().size(), reads);
    EXPECT_THAT(cache_->Evict({.target_bytes = 0, .force = true}, {}), IsOkAndHolds(IsEmpty()));
  }

  EXPECT_THAT(cache_->Evict({.target_bytes = 0}, {}), IsOkAndHolds(SizeIs(1)));
}

}  // namespace
}  // namespace muster
