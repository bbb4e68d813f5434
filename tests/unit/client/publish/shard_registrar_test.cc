#include "client/publish/shard_registrar.h"

#include <atomic>

#include "absl/strings/str_cat.h"
#include "client/hash/parallel.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/client/publish/fake_catalogue.h"

namespace muster {
namespace {

using ::testing::SizeIs;

constexpr char kName[] = "models/m/versions/v";

v1::Tensor NamedTensor(size_t i, size_t name_size) {
  v1::Tensor tensor;
  tensor.set_name(absl::StrCat(i, std::string(name_size, 'n')));
  tensor.set_dtype("BF16");
  return tensor;
}

class ShardRegistrarTest : public testing::Test {
 protected:
  ShardRegistrarTest() {
    v1::ModelVersion& version = catalogue_.versions()[kName].version;
    version.set_name(kName);
    version.set_state(v1::ModelVersion::DRAFT);
  }

  FakeCatalogue catalogue_;
};

TEST_F(ShardRegistrarTest, TensorsGoInBatchesWithinTheLimits) {
  ShardRegistrar registrar(catalogue_.client(), kName,
                           [](uint32_t index, std::vector<v1::Tensor>& tensors) {
                             const size_t name_size = index == 0 ? 10 : 1000;
                             for (size_t i = 0; i < 2'500; ++i)
                               tensors.push_back(NamedTensor(i, name_size));
                           },
                           {});
  v1::Shard shard;
  shard.set_tensor_count(2'500);
  for (uint32_t index : {0u, 1u}) {
    shard.set_index(index);
    MUSTER_ASSERT_OK(registrar.Add(shard));
  }

  EXPECT_THAT(catalogue_.versions()[kName].tensors[0], SizeIs(2'500));
  EXPECT_THAT(catalogue_.versions()[kName].tensors[1], SizeIs(2'500));
  // 3 of 1,000 names, and about 180 names of 1,000 bytes a call.
  const int calls = catalogue_.channel().calls("/muster.v1.ModelService/AddTensors");
  EXPECT_GE(calls, 3 + 14);
  EXPECT_LE(calls, 3 + 15);
}

TEST_F(ShardRegistrarTest, ShardsOfManyThreadsAreAllRegistered) {
  ShardRegistrar registrar(catalogue_.client(), kName, {}, {});

  MUSTER_ASSERT_OK(RunInParallel(500, 8, {}, [&](size_t i, const std::stop_token&) {
    v1::Shard shard;
    shard.set_index(static_cast<uint32_t>(i));
    shard.set_piece_md5s(std::string(16 * 1024, 'p'));
    return registrar.Add(shard);
  }));

  EXPECT_THAT(catalogue_.versions()[kName].shards, SizeIs(500));
}

TEST_F(ShardRegistrarTest, RefusalReachesTheCaller) {
  catalogue_.Before([](const std::string&) { return absl::InvalidArgumentError("no"); });
  ShardRegistrar registrar(catalogue_.client(), kName, {}, {});

  EXPECT_THAT(registrar.Add(v1::Shard()), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(RunInParallelTest, FirstErrorStopsTheRest) {
  std::atomic<int> done = 0;

  const absl::Status status =
      RunInParallel(1'000, 4, {}, [&](size_t i, const std::stop_token& stop) -> absl::Status {
        if (i == 3) return absl::DataLossError("three");
        while (i > 3 && !stop.stop_requested()) {
        }
        ++done;
        return absl::OkStatus();
      });

  EXPECT_THAT(status, StatusIs(absl::StatusCode::kDataLoss, "three"));
  EXPECT_LE(done, 10);
}

TEST(RunInParallelTest, StopBeforeTheStartRunsNothing) {
  std::stop_source stop;
  stop.request_stop();
  int runs = 0;

  const absl::Status status =
      RunInParallel(5, 1, stop.get_token(), [&](size_t, const std::stop_token&) {
        ++runs;
        return absl::OkStatus();
      });

  EXPECT_THAT(status, StatusIs(absl::StatusCode::kCancelled));
  EXPECT_EQ(runs, 0);
}

}  // namespace
}  // namespace muster
