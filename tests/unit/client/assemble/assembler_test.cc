#include "client/assemble/assembler.h"

#include <filesystem>
#include <stop_token>

#include "absl/strings/str_cat.h"
#include "client/cache/shard_cache.h"
#include "client/checkpoint/checkpoint_reader.h"
#include "client/format/file_names.h"
#include "gmock/gmock.h"
#include "storage/base/md5.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/client/publish/publishing_fixture.h"
#include "tests/unit/client/torch/torch_fixtures.h"

namespace muster {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class AssemblerTest : public PublishingTest {
 protected:
  absl::StatusOr<AssembleSummary> Assemble() {
    AssembleOptions options;
    options.model_version = kName;
    options.out = directory_.Path("out");
    options.caches = caches_;
    options.warn = [this](const std::string& warning) { warnings_.push_back(warning); };
    options.jobs = 1;
    return AssembleModel(catalogue_.client(), *puller_, options);
  }

  // Neither the directory nor the hidden one beside it.
  void ExpectNothingLeft() {
    for (const auto& entry : std::filesystem::directory_iterator(directory_.root())) {
      EXPECT_THAT(entry.path().filename().string(), testing::Not(HasSubstr("out")));
    }
  }

  void PullIntoCache(uint32_t index, ShardCache& cache) {
    PullShard shard{version().shards[index], *UnpackPieces(version().shards[index].piece_md5s())};
    MUSTER_ASSERT_OK(puller_->PullToCache(shard, cache, {}, {}).pull.status);
  }

  std::vector<ShardCache*> caches_;
  std::vector<std::string> warnings_;
};

TEST_F(AssemblerTest, AssembledModelHoldsWhatWasPublished) {
  const PublishOptions options = Options();
  MUSTER_ASSERT_OK(PublishNow(options));

  const auto summary = Assemble();

  MUSTER_ASSERT_OK(summary);
  EXPECT_EQ(summary->tensor_count, 4u);
  EXPECT_EQ(summary->content_bytes, 2 * 1'400'000);
  EXPECT_EQ(summary->shards_from_locations, 3u);
  EXPECT_THAT(FilesIn("out"),
              ElementsAre("config.json", "empty.txt", "model-00001-of-00003.safetensors",
                          "model-00002-of-00003.safetensors", "model-00003-of-00003.safetensors",
                          "model.safetensors.index.json", "tokenizer/vocab.txt"));
  // The reader of checkpoints checks index and headers against each other.
  const auto assembled = OpenTensorCheckpoint(directory_.Path("out"), {});
  MUSTER_ASSERT_OK(assembled);
  EXPECT_EQ(assembled->components[0].metadata.at("format"), "pt");
  for (const SourceTensor& tensor : assembled->tensors) {
    std::string bytes(static_cast<size_t>(tensor.size_bytes), '\0');
    MUSTER_ASSERT_OK(
        assembled->files[tensor.file].bytes->Read(tensor.offset_bytes, absl::MakeSpan(bytes)));
    EXPECT_EQ(bytes, FixtureTensorBytes({std::string(tensor.name), tensor.shape[0]}));
  }
  EXPECT_EQ(ReadWholeFile(directory_.Path("out/tokenizer/vocab.txt")), "one\ntwo\n");
}

TEST_F(AssemblerTest, SingleShardIsOneFileWithoutIndex) {
  PublishOptions options = Options();
  options.source.path = directory_.Path("source/a.safetensors");
  options.source.shard_count = 1;
  MUSTER_ASSERT_OK(PublishNow(options));

  MUSTER_ASSERT_OK(Assemble());

  EXPECT_THAT(FilesIn("out"), ElementsAre("model.safetensors"));
}

// Goal: tied names come back. Method: one storage under two names and another tensor, in one shard and
// in two.
TEST_F(AssemblerTest, TensorsWithSeveralNamesAreInAFurtherFileUnderTheOthers) {
  const std::string shared =
      PickledTensor(PickledStorage("ByteStorage", "0", 16), 0, {4, 4}, {4, 1});
  const std::string path = directory_.Write(
      "tied.bin",
      TorchArchive(WholePickle(PickleDict(
                       {{PickleString("embed"), shared},
                        {PickleString("head"), shared},
                        {PickleString("norm"),
                         PickledTensor(PickledStorage("FloatStorage", "1", 1), 0, {1}, {1})}})),
                   {{"0", "0123456789abcdef"}, {"1", "norm"}}));
  for (const uint32_t shards : {1u, 2u}) {
    PublishOptions options = Options();
    options.source.path = path;
    options.source.shard_count = shards;
    MUSTER_ASSERT_OK(PublishNow(options));

    const auto summary = Assemble();

    MUSTER_ASSERT_OK(summary);
    EXPECT_EQ(summary->tensor_count, 3u);
    EXPECT_EQ(summary->tied_count, 1u);
    const std::string last = WeightFileName("model", shards, shards + 1);
    EXPECT_EQ(summary->files.back(), last);
    EXPECT_THAT(FilesIn("out"), SizeIs(shards + 2));
    EXPECT_EQ(ReadWholeFile(directory_.Path("out/" + last)).substr(4'096), "0123456789abcdef");
    const auto assembled = OpenTensorCheckpoint(directory_.Path("out"), {});
    MUSTER_ASSERT_OK(assembled);
    EXPECT_THAT(assembled->tensors, SizeIs(3));
    // Nothing is tied any more.
    EXPECT_THAT(assembled->components[0].metadata, ElementsAre(testing::Pair("format", "pt")));
    std::filesystem::remove_all(directory_.Path("out"));
    catalogue_.versions().clear();
  }
}

TEST_F(AssemblerTest, RawModelComesBackAsItsFiles) {
  PublishOptions options = Options();
  options.source.strategy = CutStrategy::kRaw;
  options.source.shard_count = 4;
  MUSTER_ASSERT_OK(PublishNow(options));

  const auto summary = Assemble();

  MUSTER_ASSERT_OK(summary);
  for (const std::string& file : FilesIn("source")) {
    EXPECT_EQ(ReadWholeFile(directory_.Path("out/" + file)),
              ReadWholeFile(directory_.Path("source/" + file)))
        << file;
  }
}

TEST_F(AssemblerTest, CachedShardsAreTakenFromTheCache) {
  MUSTER_ASSERT_OK(PublishNow(Options()));
  const auto cache = ShardCache::Open(directory_.Path("cache"), {});
  MUSTER_ASSERT_OK(cache);
  for (uint32_t i = 0; i < 3; ++i) PullIntoCache(i, **cache);
  for (uint32_t i = 0; i < 3; ++i) std::filesystem::remove(ShardPath(i));
  caches_ = {cache->get()};

  const auto summary = Assemble();

  MUSTER_ASSERT_OK(summary);
  EXPECT_EQ(summary->shards_from_cache, 3u);
}

TEST_F(AssemblerTest, BadCacheEntryIsReplacedByItsLocation) {
  MUSTER_ASSERT_OK(PublishNow(Options()));
  const auto cache = ShardCache::Open(directory_.Path("cache"), {});
  MUSTER_ASSERT_OK(cache);
  PullIntoCache(0, **cache);
  for (const std::string& file : FilesIn("cache")) {
    const std::filesystem::path path = file;
    if (!path.filename().string().starts_with("root-") || path.has_extension()) continue;
    std::filesystem::permissions(directory_.Path("cache/" + file),
                                 std::filesystem::perms::owner_all);
    FlipByte(directory_.Path("cache/" + file), 500'000);
  }
  caches_ = {cache->get()};

  const auto summary = Assemble();

  MUSTER_ASSERT_OK(summary);
  EXPECT_EQ(summary->shards_from_cache, 0u);
  EXPECT_THAT(warnings_, SizeIs(1));
}

TEST_F(AssemblerTest, FlippedByteInAStoredShardLeavesNothing) {
  MUSTER_ASSERT_OK(PublishNow(Options()));
  FlipByte(ShardPath(1), 700'000);

  EXPECT_THAT(Assemble(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("shard 1")));
  ExpectNothingLeft();
}

TEST_F(AssemblerTest, FlippedByteInACompanionLeavesNothing) {
  MUSTER_ASSERT_OK(PublishNow(Options()));
  FlipByte(directory_.Path("store/llama/v1-u1/companions/config.json"), 3);

  EXPECT_THAT(Assemble(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("config.json")));
  ExpectNothingLeft();
}

TEST_F(AssemblerTest, TensorOfAnotherShapeThanPublishedIsRefused) {
  MUSTER_ASSERT_OK(PublishNow(Options()));
  version().tensors[1][0].set_shape(0, 12);

  EXPECT_THAT(Assemble(), ErrorIs(absl::StatusCode::kDataLoss, "TENSORS_DIFFER"));
  ExpectNothingLeft();
}

TEST_F(AssemblerTest, TensorThatTheCatalogueLacksIsRefused) {
  MUSTER_ASSERT_OK(PublishNow(Options()));
  version().tensors[1].pop_back();

  EXPECT_THAT(Assemble(), ErrorIs(absl::StatusCode::kDataLoss, "TENSORS_DIFFER"));
}

TEST_F(AssemblerTest, MissingTensorsAreCounted) {
  MUSTER_ASSERT_OK(PublishNow(Options()));
  version().version.set_tensor_count(5);

  EXPECT_THAT(Assemble(), ErrorIs(absl::StatusCode::kDataLoss, "TENSORS_DIFFER"));
}

TEST_F(AssemblerTest, SameTensorInTwoFilesIsRefused) {
  MUSTER_ASSERT_OK(PublishNow(Options()));
  FakeCatalogue::Version& model = version();
  // Shard 2 becomes a copy of shard 0.
  model.shards[2] = model.shards[0];
  model.shards[2].set_index(2);
  model.shards[2].set_name(absl::StrCat(kName, "/shards/2"));
  model.tensors[2] = model.tensors[0];

  EXPECT_THAT(Assemble(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("is in model-00001")));
  ExpectNothingLeft();
}

TEST_F(AssemblerTest, CompanionPathOutsideIsRefused) {
  MUSTER_ASSERT_OK(PublishNow(Options()));
  for (const char* const path : {"../evil", "/etc/evil", "a/../../evil", "a\nb", "", "a//b"}) {
    version().companions[0].set_path(path);
    EXPECT_THAT(Assemble(), ErrorIs(absl::StatusCode::kInvalidArgument, "UNSAFE_PATH")) << path;
  }
  ExpectNothingLeft();
}

TEST_F(AssemblerTest, DirectoryWithContentIsLeftAlone) {
  MUSTER_ASSERT_OK(PublishNow(Options()));
  directory_.Write("out/precious", "data");

  EXPECT_THAT(Assemble(), StatusIs(absl::StatusCode::kAlreadyExists));
  EXPECT_THAT(FilesIn("out"), ElementsAre("precious"));
}

TEST_F(AssemblerTest, EmptyDirectoryIsFilled) {
  MUSTER_ASSERT_OK(PublishNow(Options()));
  std::filesystem::create_directory(directory_.Path("out"));

  MUSTER_ASSERT_OK(Assemble());
  EXPECT_THAT(FilesIn("out"), SizeIs(7));
}

TEST_F(AssemblerTest, UnknownModelLeavesNothing) {
  EXPECT_THAT(Assemble(), ErrorIs(absl::StatusCode::kNotFound, "VERSION_UNKNOWN"));
  ExpectNothingLeft();
}

TEST_F(AssemblerTest, StopLeavesNothing) {
  MUSTER_ASSERT_OK(PublishNow(Options()));
  std::stop_source stop;
  AssembleOptions options;
  options.model_version = kName;
  options.out = directory_.Path("out");
  options.stop = stop.get_token();
  options.on_bytes = [&](int64_t) { stop.request_stop(); };

  EXPECT_THAT(AssembleModel(catalogue_.client(), *puller_, options),
              StatusIs(absl::StatusCode::kCancelled));
  ExpectNothingLeft();
}

}  // namespace
}  // namespace muster
