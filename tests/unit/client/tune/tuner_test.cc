// Real cutting, hashing and pulling, on a memory store and on local files.
#include "client/tune/tuner.h"

#include <atomic>
#include <filesystem>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/object/file_object_store.h"
#include "storage/object/memory_object_store.h"
#include "storage/object/uri.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/client/checkpoint/checkpoint_fixtures.h"

namespace muster {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr int64_t kTunedMiB = int64_t{1} << 20;

class TunerTest : public testing::Test {
 protected:
  TunerTest() {
    MUSTER_EXPECT_OK(RegisterMemoryObjectStore(stores_));
    MUSTER_EXPECT_OK(RegisterFileObjectStore(stores_));
    source_ = directory_.Write(
        "model.safetensors",
        FixtureFile({{"model.layers.0.w", 700'000}, {"model.layers.1.w", 700'000}, {"b", 10}}));
    options_.destination = "memory://bucket/models";
    options_.shard_counts = {1, 2};
    options_.piece_sizes_bytes = {1 * kTunedMiB, 8 * kTunedMiB};
    options_.connections = {1, 4};
    options_.rounds = 1;
  }

  absl::StatusOr<TuneResults> Measure(int64_t sample_bytes = 100 * kTunedMiB) {
    const auto sample = TakeSample(source_, CutStrategy::kLayer, sample_bytes);
    if (!sample.ok()) return sample.status();
    return Tune(stores_, clock_, *random_, *sample, options_);
  }

  std::vector<ObjectStore::ListedObject> Objects() {
    const auto bucket = stores_.Open("memory://bucket/");
    EXPECT_THAT(bucket, IsOk());
    return *bucket->store->List("", {});
  }

  TestDirectory directory_;
  FakeClock clock_;
  const std::unique_ptr<Random> random_ = NewSeededRandom(5);
  ObjectStoreRegistry stores_;
  std::string source_;
  TuneOptions options_;
};

TEST_F(TunerTest, EveryCombinationIsPublishedAndLoadedAndNothingIsLeft) {
  int64_t planned = 0;
  std::atomic<int64_t> done = 0;
  options_.on_plan = [&](int64_t bytes) { planned = bytes; };
  options_.on_bytes = [&](int64_t bytes) {
    done += bytes;
    clock_.Advance(absl::Microseconds(1));
  };

  const auto results = Measure();

  MUSTER_ASSERT_OK(results);
  EXPECT_TRUE(results->complete);
  EXPECT_THAT(results->notes, IsEmpty());
  EXPECT_THAT(results->publish, SizeIs(4));
  EXPECT_THAT(results->load, SizeIs(8));
  EXPECT_EQ(results->publish.front().piece_size_bytes, 8 * kTunedMiB)
      << "the usual size comes first";
  EXPECT_EQ(results->sample_bytes, 2'800'020);
  EXPECT_EQ(planned, 4 * 3 * results->sample_bytes);
  // Headers of the shards come on top.
  EXPECT_GE(done, planned);
  EXPECT_LT(done, planned + planned / 10);
  EXPECT_THAT(Objects(), IsEmpty());
  MUSTER_EXPECT_OK(Recommend(*results));
}

TEST_F(TunerTest, ScratchFolderOnLocalDiskGoesAndTheRestStays) {
  directory_.Write("store/other/keep.bin", "x");
  options_.destination = FileUri(directory_.Path("store"));

  MUSTER_ASSERT_OK(Measure());

  EXPECT_FALSE(std::filesystem::is_empty(directory_.Path("store/other")));
  size_t entries = 0;
  for ([[maybe_unused]] const auto& entry :
       std::filesystem::directory_iterator(directory_.Path("store"))) {
    ++entries;
  }
  EXPECT_EQ(entries, 1u);
}

TEST_F(TunerTest, StopEndsItWithNothingLeft) {
  options_.destination = FileUri(directory_.Path("store"));
  std::stop_source stop;
  options_.stop = stop.get_token();
  std::atomic<int> calls = 0;
  options_.on_bytes = [&](int64_t) {
    if (++calls == 12) stop.request_stop();
  };

  EXPECT_THAT(Measure(), StatusIs(absl::StatusCode::kCancelled));
  EXPECT_TRUE(std::filesystem::is_empty(directory_.Path("store")));
}

TEST_F(TunerTest, WhatWasMeasuredInTimeCounts) {
  options_.max_time = absl::Seconds(30);
  options_.on_bytes = [&](int64_t) { clock_.Advance(absl::Seconds(1)); };

  const auto results = Measure();

  MUSTER_ASSERT_OK(results);
  EXPECT_FALSE(results->complete);
  EXPECT_GE(results->load.size(), 1u);
  EXPECT_LT(results->load.size(), 8u);
  ASSERT_THAT(results->notes, SizeIs(1));
  EXPECT_THAT(results->notes[0], HasSubstr("the time was over"));
  EXPECT_THAT(Objects(), IsEmpty());
}

TEST_F(TunerTest, NoTimeAtAllIsAnError) {
  options_.max_time = absl::Milliseconds(1);
  options_.on_bytes = [&](int64_t) { clock_.Advance(absl::Seconds(1)); };

  EXPECT_THAT(Measure(), ErrorIs(absl::StatusCode::kFailedPrecondition, "NOT_MEASURED"));
  EXPECT_THAT(Objects(), IsEmpty());
}

TEST_F(TunerTest, StorageThatCantBeWrittenIsAnError) {
  directory_.Write("file", "not a directory");
  options_.destination = FileUri(directory_.Path("file"));
  EXPECT_FALSE(Measure().ok());
  options_.destination = "nosuch://there";
  EXPECT_THAT(Measure(), StatusIs(absl::StatusCode::kUnimplemented));
}

TEST_F(TunerTest, MoreShardsThanTensorsAreLeftOut) {
  options_.shard_counts = {1, 64};

  const auto results = Measure();

  MUSTER_ASSERT_OK(results);
  EXPECT_THAT(results->publish, SizeIs(2));
  ASSERT_THAT(results->notes, SizeIs(1));
  EXPECT_THAT(results->notes[0], HasSubstr("more than 3 shards"));
}

TEST_F(TunerTest, SampleHoldsWholeTensorsWithinItsBound) {
  const auto sample = TakeSample(source_, CutStrategy::kLayer, 1'400'030);
  MUSTER_ASSERT_OK(sample);
  EXPECT_EQ(sample->sample_bytes, 1'400'020);
  EXPECT_EQ(sample->max_shards, 2u);

  const auto least = TakeSample(source_, CutStrategy::kLayer, 1);
  MUSTER_ASSERT_OK(least);
  EXPECT_EQ(least->sample_bytes, 20);
  EXPECT_EQ(least->source_bytes, 2'800'020);
}

TEST_F(TunerTest, RawSampleIsTheBeginningOfTheLargestFile) {
  const auto sample = TakeSample(source_, CutStrategy::kRaw, 1000);
  MUSTER_ASSERT_OK(sample);
  EXPECT_EQ(sample->sample_bytes, 1000);
  const auto cuts = CutSample(*sample, 3, 8 * kTunedMiB);
  MUSTER_ASSERT_OK(cuts);
  EXPECT_THAT(cuts->shards, SizeIs(3));
}

}  // namespace
}  // namespace muster
