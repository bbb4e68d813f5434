#include "tests/unit/client/loading/loading_fixture.h"

#include <stop_token>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/support/status_matchers.h"

namespace muster {

LoadingTest::LoadingTest() : random_(NewSeededRandom(5)) {
  options_.model_version = "llama@v1";
  options_.puller.connections = 2;
  options_.puller.retry.attempts = 1;
  v1::ModelVersion& model = catalogue_.versions()[kModelName].version;
  model.set_name(kModelName);
  model.set_state(v1::ModelVersion::COMMITTED);
}

void LoadingTest::Register(const PullShard& shard, uint32_t tensor_count) {
  const auto index = static_cast<uint32_t>(version().shards.size());
  version().version.set_shard_count(index + 1);
  v1::Shard& added = version().shards[index];
  added = shard.shard;
  added.set_name(absl::StrCat(kModelName, "/shards/", index));
  added.set_index(index);
  added.set_piece_count(static_cast<uint32_t>(shard.pieces.size()));
  added.set_piece_md5s(PackPieces(shard.pieces));
  added.set_tensor_count(tensor_count);
}

std::vector<FixtureTensor> LoadingTest::AddShard() {
  const size_t index = version().shards.size();
  const std::vector<FixtureTensor> tensors = {{absl::StrCat("layers.", index, ".big"), 400'000},
                                              {absl::StrCat("layers.", index, ".small"), 150'000}};
  const std::string key = absl::StrCat("a/", index);
  files_.push_back(FixtureFile(tensors));
  store_.Set(key, files_.back());
  Register(ShardWithPieces(files_.back(), {absl::StrCat("fake://", key)}), 2);
  return tensors;
}

void LoadingTest::UseCache(const ShardCache::Options& options) {
  auto cache = ShardCache::Open(directory_.path() + "/cache", options);
  MUSTER_ASSERT_OK(cache);
  cache_ = *std::move(cache);
  options_.place = LoadPlace::kCache;
  options_.cache = cache_.get();
}

std::unique_ptr<ModelLoad> LoadingTest::Start() {
  return ModelLoad::Start(catalogue_.client(), stores_, clock_, *random_, options_);
}

void LoadingTest::HangReadsOf(const std::string& key, Gate& reading) {
  store_.OnRead([key, &reading](const ScriptedStore::ReadCall& call) -> absl::Status {
    if (call.key != key) return absl::OkStatus();
    Gate stopped;
    const std::stop_callback stop(call.stop, [&stopped] { stopped.Open(); });
    reading.Open();
    stopped.Wait("the read to be stopped");
    return absl::CancelledError("stopped");
  });
}

}  // namespace muster
