#include "tests/contract/object_store_contract.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "storage/base/clock.h"
#include "storage/base/random.h"
#include "storage/object/file_object_store.h"
#include "storage/object/http_object_store.h"
#include "storage/object/memory_object_store.h"
#include "tests/support/nginx_server.h"

namespace muster {
namespace {

int CountFiles(const std::string& directory) {
  int files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
    if (!entry.is_directory()) ++files;
  }
  return files;
}

const ObjectStoreBackend kMemory{.name = "Memory",
                                 .make = [](const std::string&) { return NewMemoryObjectStore(); }};

const ObjectStoreBackend kFile{
    .name = "File",
    .make = [](const std::string& directory) { return NewFileObjectStore(directory); },
    .count_stored = CountFiles};

// The nginx that a case reads from, and the store that reads from it.
struct Nginx {
  explicit Nginx(const std::string& directory)
      : server(directory),
        store(NewHttpObjectStore({"http", server.authority(), ""}, SystemClock(), *random,
                                 {.connection = {.proxy = ""}})) {}

  NginxServer server;
  const std::unique_ptr<Random> random = NewSystemRandom();
  const std::unique_ptr<ObjectStore> store;
};

// nginx makes its ETags of whole seconds and the size, so each file gets a second of its own.
void PutFile(const std::string& directory, const std::string& key, const std::string& bytes) {
  static std::atomic<time_t> second = 1'700'000'000;
  const std::filesystem::path path = std::filesystem::path(directory) / key;
  std::filesystem::create_directories(path.parent_path());
  const std::string unfinished = absl::StrCat(directory, "/unfinished");
  std::ofstream(unfinished, std::ios::binary) << bytes;
  const time_t now = ++second;
  const timespec times[] = {{now, 0}, {now, 0}};
  utimensat(AT_FDCWD, unfinished.c_str(), times, 0);
  std::filesystem::rename(unfinished, path);
}

const ObjectStoreBackend kNginx{
    .name = "Nginx",
    .make = [](const std::string& directory) -> std::shared_ptr<ObjectStore> {
      const auto nginx = std::make_shared<Nginx>(directory);
      return {nginx, nginx->store.get()};
    },
    .fill = PutFile};

INSTANTIATE_TEST_SUITE_P(Stores, ObjectReadContract, testing::Values(kMemory, kFile, kNginx),
                         ObjectStoreBackendName);
INSTANTIATE_TEST_SUITE_P(Stores, ObjectStoreContract, testing::Values(kMemory, kFile),
                         ObjectStoreBackendName);
INSTANTIATE_TEST_SUITE_P(Stores, ReadOnlyObjectContract, testing::Values(kNginx),
                         ObjectStoreBackendName);

}  // namespace
}  // namespace muster
