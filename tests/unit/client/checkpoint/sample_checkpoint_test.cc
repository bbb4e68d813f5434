#include "client/checkpoint/sample_checkpoint.h"

#include <signal.h>
#include <sys/resource.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "client/checkpoint/checkpoint_reader.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/files/staged_file.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/client/checkpoint/checkpoint_fixtures.h"

namespace muster {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

SampleOptions Sized(int64_t bytes) {
  SampleOptions options;
  options.size_bytes = bytes;
  return options;
}

std::map<std::string, std::string> TensorBytes(const Checkpoint& checkpoint) {
  std::map<std::string, std::string> out;
  for (const SourceTensor& tensor : checkpoint.tensors) {
    std::string bytes(static_cast<size_t>(tensor.size_bytes), '?');
    MUSTER_EXPECT_OK(
        checkpoint.files[tensor.file].bytes->Read(tensor.offset_bytes, absl::MakeSpan(bytes)));
    out.emplace(tensor.name, std::move(bytes));
  }
  return out;
}

bool IsEmptyDirectory(const std::string& path) { return std::filesystem::is_empty(path); }

// Makes writes beyond `bytes` of a file fail for as long as it lives, as a full disk does.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    old_handler_ = ::signal(SIGXFSZ, SIG_IGN);
    EXPECT_EQ(::getrlimit(RLIMIT_FSIZE, &old_), 0);
    const rlimit limit = {bytes, old_.rlim_max};
    EXPECT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &old_);
    ::signal(SIGXFSZ, old_handler_);
  }

 private:
  rlimit old_ = {};
  void (*old_handler_)(int) = nullptr;
};

TEST(SampleCheckpointTest, FileHasTheSizeAskedForAndRealisticNames) {
  TestDirectory directory;
  for (const int64_t size : {kMinSampleBytes, int64_t{1} << 20, int64_t{3} << 20}) {
    const std::string path = directory.Path(absl::StrCat(size));

    const auto summary = WriteSampleCheckpoint(path, Sized(size));

    MUSTER_ASSERT_OK(summary);
    EXPECT_NEAR(static_cast<double>(summary->tensor_bytes), static_cast<double>(size),
                0.02 * static_cast<double>(size));
    const auto checkpoint = OpenTensorCheckpoint(path, {.strict = true});
    MUSTER_ASSERT_OK(checkpoint);
    EXPECT_EQ(checkpoint->TotalBytes(), summary->tensor_bytes);
    EXPECT_EQ(static_cast<int64_t>(checkpoint->tensors.size()), summary->tensor_count);
    EXPECT_EQ(checkpoint->tensors.front().name, "model.embed_tokens.weight");
    EXPECT_EQ(checkpoint->tensors.front().dtype, "BF16");
    EXPECT_EQ(checkpoint->tensors.back().name, "lm_head.weight");
    EXPECT_THAT(checkpoint->components[0].metadata, ElementsAre(Pair("format", "pt")));
  }
}

TEST(SampleCheckpointTest, DirectoryHoldsTheSameTensorsAsTheFile) {
  TestDirectory directory;
  SampleOptions options = Sized(1 << 20);
  options.seed = 42;
  MUSTER_ASSERT_OK(WriteSampleCheckpoint(directory.Path("one"), options));
  options.directory_files = 3;
  MUSTER_ASSERT_OK(WriteSampleCheckpoint(directory.Path("many"), options));

  const auto one = OpenTensorCheckpoint(directory.Path("one"), {});
  const auto many = OpenTensorCheckpoint(directory.Path("many"), {});

  MUSTER_ASSERT_OK(one);
  MUSTER_ASSERT_OK(many);
  ASSERT_EQ(many->files.size(), 3u);
  EXPECT_EQ(many->files[0].relative_path, "model-00001-of-00003.safetensors");
  ASSERT_EQ(many->companions.size(), 3u);
  EXPECT_EQ(many->companions[0].relative_path, "config.json");
  EXPECT_EQ(many->companions[1].relative_path, "generation_config.json");
  EXPECT_EQ(many->companions[2].relative_path, "tokenizer.json");
  EXPECT_TRUE(TensorBytes(*one) == TensorBytes(*many));
}

TEST(SampleCheckpointTest, SeedDecidesTheBytes) {
  TestDirectory directory;
  SampleOptions options = Sized(kMinSampleBytes);
  MUSTER_ASSERT_OK(WriteSampleCheckpoint(directory.Path("a"), options));
  MUSTER_ASSERT_OK(WriteSampleCheckpoint(directory.Path("b"), options));
  options.seed = 1;
  MUSTER_ASSERT_OK(WriteSampleCheckpoint(directory.Path("c"), options));

  EXPECT_TRUE(ReadWholeFile(directory.Path("a")) == ReadWholeFile(directory.Path("b")));
  EXPECT_FALSE(ReadWholeFile(directory.Path("a")) == ReadWholeFile(directory.Path("c")));
}

TEST(SampleCheckpointTest, ValuesLookLikeATrainedModels) {
  TestDirectory directory;
  MUSTER_ASSERT_OK(WriteSampleCheckpoint(directory.Path("a"), Sized(1 << 20)));
  const auto checkpoint = OpenTensorCheckpoint(directory.Path("a"), {});
  MUSTER_ASSERT_OK(checkpoint);
  const std::string bytes = TensorBytes(*checkpoint)["model.layers.0.self_attn.q_proj.weight"];

  double sum = 0;
  double squares = 0;
  for (size_t i = 0; i < bytes.size(); i += 2) {
    const uint32_t bits = (static_cast<uint32_t>(static_cast<unsigned char>(bytes[i + 1])) << 24) |
                          (static_cast<uint32_t>(static_cast<unsigned char>(bytes[i])) << 16);
    float value;
    std::memcpy(&value, &bits, sizeof value);
    ASSERT_TRUE(std::isfinite(value));
    sum += value;
    squares += static_cast<double>(value) * value;
  }
  const double count = static_cast<double>(bytes.size()) / 2;
  EXPECT_NEAR(sum / count, 0, 0.002);
  EXPECT_NEAR(std::sqrt(squares / count), 0.02, 0.002);
}

TEST(SampleCheckpointTest, ImpossibleRequestsAreRefused) {
  TestDirectory directory;
  EXPECT_THAT(WriteSampleCheckpoint(directory.Path("a"), Sized(kMinSampleBytes - 1)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("262144")));
  EXPECT_THAT(WriteSampleCheckpoint(directory.Path("a"), Sized(INT64_MAX)),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(WriteSampleCheckpoint(directory.Path("no/such/a"), Sized(1 << 20)),
              StatusIs(absl::StatusCode::kNotFound));
  SampleOptions options = Sized(kMinSampleBytes);
  options.directory_files = 100'000;
  EXPECT_THAT(WriteSampleCheckpoint(directory.Path("a"), options),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_TRUE(IsEmptyDirectory(directory.root()));
}

TEST(SampleCheckpointTest, FullDiskIsSaidAndNothingIsLeft) {
  TestDirectory directory;
  const FileSizeLimit limit(300'000);
  SampleOptions options = Sized(4 << 20);
  EXPECT_THAT(WriteSampleCheckpoint(directory.Path("file"), options),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("free some space")));
  options.directory_files = 2;
  EXPECT_THAT(WriteSampleCheckpoint(directory.Path("directory"), options),
              StatusIs(absl::StatusCode::kResourceExhausted));

  EXPECT_TRUE(IsEmptyDirectory(directory.root()));
}

TEST(StagedFileTest, NothingIsVisibleBeforeCommit) {
  TestDirectory directory;
  {
    auto file = StagedFile::Create(directory.Path("f"));
    MUSTER_ASSERT_OK(file);
    MUSTER_ASSERT_OK(file->Write(2, "cd"));
    EXPECT_FALSE(std::filesystem::exists(directory.Path("f")));
  }
  EXPECT_TRUE(IsEmptyDirectory(directory.root()));

  auto file = StagedFile::Create(directory.Path("f"));
  MUSTER_ASSERT_OK(file);
  MUSTER_ASSERT_OK(file->Write(2, "cd"));
  MUSTER_ASSERT_OK(file->Write(0, "ab"));
  MUSTER_ASSERT_OK(file->Commit());
  EXPECT_EQ(ReadWholeFile(directory.Path("f")), "abcd");
}

TEST(StagedFileTest, TwoWritersOfOneNameDoNotMix) {
  TestDirectory directory;
  auto a = StagedFile::Create(directory.Path("f"));
  auto b = StagedFile::Create(directory.Path("f"));
  MUSTER_ASSERT_OK(a);
  MUSTER_ASSERT_OK(b);
  MUSTER_ASSERT_OK(a->Write(0, "from a"));
  MUSTER_ASSERT_OK(b->Write(0, "from b"));
  MUSTER_ASSERT_OK(b->Commit());
  MUSTER_ASSERT_OK(a->Commit());

  EXPECT_EQ(ReadWholeFile(directory.Path("f")), "from a");
}

TEST(StagedDirectoryTest, FilledDirectoryIsNeverReplaced) {
  TestDirectory directory;
  directory.Write("d/f", "mine");
  EXPECT_THAT(StagedDirectory::Create(directory.Path("d")),
              StatusIs(absl::StatusCode::kAlreadyExists));
  EXPECT_THAT(StagedDirectory::Create(directory.Path("d/f")),
              StatusIs(absl::StatusCode::kAlreadyExists));

  std::filesystem::create_directory(directory.Path("e"));
  auto staged = StagedDirectory::Create(directory.Path("e/"));
  MUSTER_ASSERT_OK(staged);
  directory.Write("e/f", "came between");
  EXPECT_THAT(staged->Commit(), StatusIs(absl::StatusCode::kAlreadyExists));
}

}  // namespace
}  // namespace muster
