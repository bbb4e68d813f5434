// Loads shards of a model version as tensors, once. Prints one JSON object. The caller measures
// its memory meanwhile.

#include <CLI/CLI.hpp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "client/cache/shard_cache.h"
#include "client/hash/md5_lanes.h"
#include "client/loading/model_load.h"
#include "client/sdk/client.h"
#include "storage/base/clock.h"
#include "storage/base/random.h"
#include "storage/object/file_object_store.h"
#include "storage/object/object_store_registry.h"
#include "tests/bench/program.h"

namespace muster {
namespace {

using bench::CpuSeconds;
using bench::Require;

nlohmann::json Run(const std::string& server, LoadOptions options) {
  Clock& clock = SystemClock();
  const auto random = NewSystemRandom();
  ObjectStoreRegistry stores;
  Require(RegisterFileObjectStore(stores));
  ClientOptions client_options;
  client_options.servers = {server};
  const auto client = Client::Connect(client_options, clock, *random);
  Require(client.status());
  size_t tensors = 0;
  options.on_tensor = [&tensors](const LoadedTensor&) { ++tensors; };
  const double cpu = CpuSeconds();
  const absl::Duration begin = clock.Monotonic();
  const auto load = ModelLoad::Start(**client, stores, clock, *random, std::move(options));
  Require(load->Wait());
  return {{"seconds", absl::ToDoubleSeconds(clock.Monotonic() - begin)},
          {"cpu_seconds", CpuSeconds() - cpu},
          {"bytes", load->progress().done_bytes},
          {"tensors", tensors},
          {"target", Md5LanesTarget()}};
}

}  // namespace
}  // namespace muster

int main(int argc, char** argv) {
  muster::LoadOptions options;
  std::string server;
  std::vector<uint32_t> shards;
  bool shared = false;
  std::string cache_path;
  CLI::App app("Loads shards as tensors");
  app.add_option("--server", server, "host:port of musterd")->required();
  app.add_option("--model", options.model_version, "MODEL@VERSION")->required();
  app.add_option("--shards", shards, "Which shards")->delimiter(',')->required();
  app.add_option("--connections", options.puller.connections, "Pieces fetched at once");
  app.add_flag("--shared", shared, "Into anonymous shared memory");
  app.add_option("--cache", cache_path, "Mapped from this cache, into which they are pulled first");
  CLI11_PARSE(app, argc, argv);
  options.shards = shards;
  if (shared) options.place = muster::LoadPlace::kSharedMemory;
  std::unique_ptr<muster::ShardCache> cache;
  if (!cache_path.empty()) {
    auto opened = muster::ShardCache::Open(cache_path, {});
    muster::Require(opened.status());
    cache = *std::move(opened);
    options.place = muster::LoadPlace::kCache;
    options.cache = cache.get();
  }
  std::puts(muster::Run(server, std::move(options)).dump().c_str());
}
