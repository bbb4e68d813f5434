#include "client/checkpoint/shard_stream.h"

#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/format/safetensors_header.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/random.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/client/checkpoint/checkpoint_fixtures.h"

namespace muster {
namespace {

std::string ReadAll(const ShardStream& stream) {
  std::string out(static_cast<size_t>(stream.size_bytes()), '?');
  MUSTER_EXPECT_OK(stream.Read(0, absl::MakeSpan(out)));
  return out;
}

// Two files with tensors of different sizes, some of them empty.
class ShardStreamTest : public testing::Test {
 protected:
  ShardStreamTest() {
    for (int file = 0; file < 2; ++file) {
      std::vector<FixtureTensor> tensors;
      for (int i = 0; i < 12; ++i) {
        tensors.push_back({absl::StrCat("model.layers.", i, ".w", file), (i * 37 + file) % 50});
      }
      directory_.Write(absl::StrCat(file, ".safetensors"),
                       FixtureFile(tensors, R"({"format":"pt"})"));
      for (const FixtureTensor& tensor : tensors)
        expected_[tensor.name] = FixtureTensorBytes(tensor);
    }
  }

  TestDirectory directory_;
  std::map<std::string, std::string> expected_;
};

TEST_F(ShardStreamTest, EveryShardIsASafetensorsFileWithTheSourcesBytes) {
  const auto checkpoint = OpenTensorCheckpoint(directory_.root(), {});
  MUSTER_ASSERT_OK(checkpoint);
  for (const CutStrategy strategy :
       {CutStrategy::kLayer, CutStrategy::kType, CutStrategy::kUniform}) {
    const auto plan = CutCheckpoint(*checkpoint, strategy, {.shard_count = 5});
    MUSTER_ASSERT_OK(plan);
    std::map<std::string, std::string> found;
    for (const ShardCut& shard : plan->shards) {
      const auto stream = ShardStream::Open(*checkpoint, shard);
      MUSTER_ASSERT_OK(stream);
      EXPECT_EQ(stream->size_bytes(), shard.size_bytes);
      const std::string bytes = ReadAll(*stream);
      const auto header = ReadSafetensorsHeader(*NewMemoryByteSource("shard", bytes));
      MUSTER_ASSERT_OK(header);
      EXPECT_EQ(header->data_begin_bytes() % 4096, 0);
      for (size_t i = 0; i < header->tensor_count(); ++i) {
        const TensorInfo tensor = header->tensor(i);
        found[std::string(tensor.name)] =
            bytes.substr(static_cast<size_t>(header->data_begin_bytes() + tensor.begin_bytes),
                         static_cast<size_t>(tensor.end_bytes - tensor.begin_bytes));
      }
    }
    EXPECT_EQ(found, expected_);
  }
}

TEST(WholeFileShardTest, OneFileThatNothingAsksToCutKeepsItsBytes) {
  TestDirectory directory;
  // In another order than a shard that is put together has, and with a header of another size.
  const std::string bytes =
      FixtureFile({{"model.layers.1.w", 7}, {"model.layers.0.w", 5}}, R"({"format":"pt"})");
  directory.Write("model.safetensors", bytes);
  directory.Write("config.json", "{}");
  const auto checkpoint = OpenTensorCheckpoint(directory.root(), {});
  MUSTER_ASSERT_OK(checkpoint);
  for (const CutStrategy strategy :
       {CutStrategy::kLayer, CutStrategy::kType, CutStrategy::kUniform}) {
    const auto plan = CutCheckpoint(*checkpoint, strategy, {});
    MUSTER_ASSERT_OK(plan);
    EXPECT_EQ(plan->strategy, strategy);
    ASSERT_EQ(plan->shards.size(), 1u);
    const ShardCut& shard = plan->shards[0];
    EXPECT_EQ(shard.path, "");
    const auto stream = ShardStream::Open(*checkpoint, shard);
    MUSTER_ASSERT_OK(stream);
    EXPECT_EQ(ReadAll(*stream), bytes);
    const std::vector<int64_t> offsets = TensorOffsetsInShard(shard, checkpoint->tensors);
    ASSERT_EQ(offsets.size(), 2u);
    for (size_t i = 0; i < offsets.size(); ++i) {
      const SourceTensor& tensor = checkpoint->tensors[shard.tensors[i]];
      EXPECT_EQ(offsets[i], tensor.offset_bytes);
    }
  }
  // Whoever asks for a number of shards gets shards that are put together.
  const auto asked = CutCheckpoint(*checkpoint, CutStrategy::kLayer, {.shard_count = 1});
  MUSTER_ASSERT_OK(asked);
  EXPECT_FALSE(asked->shards[0].range.has_value());
}

TEST_F(ShardStreamTest, SeveralFilesBecomeShardsThatArePutTogether) {
  const auto checkpoint = OpenTensorCheckpoint(directory_.root(), {});
  MUSTER_ASSERT_OK(checkpoint);
  const auto plan = CutCheckpoint(*checkpoint, CutStrategy::kLayer, {});
  MUSTER_ASSERT_OK(plan);
  ASSERT_EQ(plan->shards.size(), 1u);
  EXPECT_FALSE(plan->shards[0].range.has_value());
}

TEST_F(ShardStreamTest, AnyRangeEqualsThatPartOfTheWhole) {
  const auto checkpoint = OpenTensorCheckpoint(directory_.root(), {});
  MUSTER_ASSERT_OK(checkpoint);
  const auto plan = CutCheckpoint(*checkpoint, CutStrategy::kUniform, {.shard_count = 2});
  MUSTER_ASSERT_OK(plan);
  const auto stream = ShardStream::Open(*checkpoint, plan->shards[0]);
  MUSTER_ASSERT_OK(stream);
  const std::string whole = ReadAll(*stream);
  const auto random = NewSeededRandom(5);

  for (int round = 0; round < 2'000; ++round) {
    const size_t begin = random->Below(whole.size() + 1);
    std::string part(random->Below(whole.size() - begin + 1), '?');
    MUSTER_ASSERT_OK(stream->Read(static_cast<int64_t>(begin), absl::MakeSpan(part)));
    EXPECT_EQ(part, whole.substr(begin, part.size()));
  }
}

TEST_F(ShardStreamTest, ReadBeyondTheEndIsOutOfRange) {
  const auto checkpoint = OpenTensorCheckpoint(directory_.root(), {});
  MUSTER_ASSERT_OK(checkpoint);
  const auto plan = CutCheckpoint(*checkpoint, CutStrategy::kUniform, {.shard_count = 2});
  MUSTER_ASSERT_OK(plan);
  const auto stream = ShardStream::Open(*checkpoint, plan->shards[0]);
  MUSTER_ASSERT_OK(stream);

  std::string out(2, '?');
  EXPECT_THAT(stream->Read(stream->size_bytes() - 1, absl::MakeSpan(out)),
              StatusIs(absl::StatusCode::kOutOfRange));
  EXPECT_THAT(stream->Read(-1, absl::MakeSpan(out)), StatusIs(absl::StatusCode::kOutOfRange));
}

TEST_F(ShardStreamTest, ChangedSourceIsNoticed) {
  const auto checkpoint = OpenTensorCheckpoint(directory_.root(), {});
  MUSTER_ASSERT_OK(checkpoint);
  const auto plan = CutCheckpoint(*checkpoint, CutStrategy::kUniform, {.shard_count = 1});
  MUSTER_ASSERT_OK(plan);
  const auto stream = ShardStream::Open(*checkpoint, plan->shards[0]);
  MUSTER_ASSERT_OK(stream);
  MUSTER_EXPECT_OK(stream->CheckUnchanged());

  directory_.Write("1.safetensors", "other");

  EXPECT_THAT(stream->CheckUnchanged(), StatusIs(absl::StatusCode::kAborted));
}

TEST(RawShardStreamTest, ShardsConcatenatedAreTheFiles) {
  TestDirectory directory;
  const std::string a = "a file of some bytes";
  const std::string b((3 << 20) + 17, 'b');
  directory.Write("a.pth", a);
  directory.Write("b.gguf", b);
  const auto checkpoint = OpenRawCheckpoint(directory.root(), {});
  MUSTER_ASSERT_OK(checkpoint);
  const auto plan = CutCheckpoint(*checkpoint, CutStrategy::kRaw, {.shard_count = 4});
  MUSTER_ASSERT_OK(plan);
  ASSERT_EQ(plan->shards.size(), 4u);

  std::string found[2];
  for (const ShardCut& shard : plan->shards) {
    const auto stream = ShardStream::Open(*checkpoint, shard);
    MUSTER_ASSERT_OK(stream);
    found[shard.range->file].append(ReadAll(*stream));
  }

  EXPECT_EQ(found[0], a);
  EXPECT_TRUE(found[1] == b);
}

TEST(RawShardStreamTest, EmptyFileIsRefusedNamingIt) {
  TestDirectory directory;
  directory.Write("a.pth", "");
  const auto checkpoint = OpenRawCheckpoint(directory.root(), {});
  MUSTER_ASSERT_OK(checkpoint);

  EXPECT_THAT(CutCheckpoint(*checkpoint, CutStrategy::kRaw, {}),
              StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("a.pth")));
}

}  // namespace
}  // namespace muster
