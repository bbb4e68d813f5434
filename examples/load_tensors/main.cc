// Loads a model version, verified, and prints its first tensors as they come.
//
//   load_tensors 127.0.0.1:7070 llama@v1 private 5
//   load_tensors 127.0.0.1:7070 llama@v1 shared 5
//   load_tensors 127.0.0.1:7070 llama@v1 /var/cache/muster 5
//
// The third argument says where the bytes go: memory of this process, anonymous shared memory, or a
// cache directory, from where they are mapped. Each line is a tensor's name, dtype, shape and MD5.
//
// Exit codes: 0 loaded, 1 an error, 2 wrong arguments.
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>

#include "absl/strings/str_join.h"
#include "client/cache/shard_cache.h"
#include "client/loading/model_load.h"
#include "client/sdk/client.h"
#include "storage/base/clock.h"
#include "storage/base/md5.h"
#include "storage/base/random.h"
#include "storage/base/status_macros.h"
#include "storage/object/file_object_store.h"
#include "storage/object/http_object_store.h"
#include "storage/object/object_store_registry.h"

namespace {

void Print(const muster::LoadedTensor& tensor) {
  std::cout << tensor.name << " " << tensor.dtype << " [" << absl::StrJoin(tensor.shape, ",")
            << "] " << muster::Md5ToHex(muster::Md5Of(tensor.bytes)) << std::endl;
}

absl::Status Run(const std::string& server, const std::string& model, const std::string& place,
                 int count) {
  muster::Clock& clock = muster::SystemClock();
  const auto random = muster::NewSystemRandom();
  muster::ClientOptions options;
  options.servers = {server};
  MUSTER_ASSIGN_OR_RETURN(const auto client, muster::Client::Connect(options, clock, *random));
  muster::ObjectStoreRegistry stores;
  MUSTER_RETURN_IF_ERROR(muster::RegisterFileObjectStore(stores));
  MUSTER_RETURN_IF_ERROR(muster::RegisterHttpObjectStore(stores, clock, *random, {}));

  muster::LoadOptions load;
  load.model_version = model;
  std::unique_ptr<muster::ShardCache> cache;
  if (place == "private") {
    load.place = muster::LoadPlace::kPrivateMemory;
  } else if (place == "shared") {
    load.place = muster::LoadPlace::kSharedMemory;
  } else {
    MUSTER_ASSIGN_OR_RETURN(cache, muster::ShardCache::Open(place, {}));
    load.place = muster::LoadPlace::kCache;
    load.cache = cache.get();
  }
  load.on_tensor = [&count](const muster::LoadedTensor& tensor) {
    if (count-- > 0) Print(tensor);
  };
  const auto running = muster::ModelLoad::Start(*client, stores, clock, *random, load);
  MUSTER_RETURN_IF_ERROR(running->Wait());
  const muster::LoadProgress done = running->progress();
  std::cout << "loaded " << done.shards_loaded << " shards, " << done.done_bytes << " bytes\n";
  return absl::OkStatus();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    std::cerr << "usage: load_tensors SERVER MODEL@VERSION private|shared|CACHE_DIRECTORY COUNT\n";
    return 2;
  }
  const absl::Status status = Run(argv[1], argv[2], argv[3], std::atoi(argv[4]));
  if (status.ok()) return 0;
  std::cerr << status.message() << "\n";
  return 1;
}
