// A catalogue in memory and a scripted store, for the tests of loading.
#ifndef MUSTER_TESTS_UNIT_CLIENT_LOADING_LOADING_FIXTURE_H_
#define MUSTER_TESTS_UNIT_CLIENT_LOADING_LOADING_FIXTURE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "client/cache/shard_cache.h"
#include "client/loading/model_load.h"
#include "gtest/gtest.h"
#include "tests/support/fake_clock.h"
#include "tests/unit/client/cache/cache_fixtures.h"
#include "tests/unit/client/checkpoint/checkpoint_fixtures.h"
#include "tests/unit/client/publish/fake_catalogue.h"

namespace muster {

class LoadingTest : public testing::Test {
 protected:
  static constexpr char kModelName[] = "models/llama/versions/v1";

  LoadingTest();

  // Registers the next shard, whose bytes the test has put at its locations.
  void Register(const PullShard& shard, uint32_t tensor_count);
  // Adds the next shard at fake://a/{index}, in 2 pieces; returns its tensors.
  std::vector<FixtureTensor> AddShard();
  FakeCatalogue::Version& version() { return catalogue_.versions().at(kModelName); }

  void UseCache(const ShardCache::Options& options = {});

  std::unique_ptr<ModelLoad> Start();
  absl::Status Load() { return Start()->Wait(); }

  // Makes reads of `key` hang until their load is cancelled; `reading` opens with the first.
  void HangReadsOf(const std::string& key, Gate& reading);

  TempDir directory_;
  FakeClock clock_;
  const std::unique_ptr<Random> random_;
  ObjectStoreRegistry stores_;
  ScriptedStore store_{stores_};
  FakeCatalogue catalogue_;
  std::unique_ptr<ShardCache> cache_;
  LoadOptions options_;
  // The bytes of the shards that AddShard added.
  std::vector<std::string> files_;
};

}  // namespace muster

#endif  // MUSTER_TESTS_UNIT_CLIENT_LOADING_LOADING_FIXTURE_H_
