#include "tests/contract/object_store_contract.h"

#include <filesystem>

#include "storage/object/file_object_store.h"
#include "storage/object/memory_object_store.h"

namespace muster {
namespace {

int CountFiles(const std::string& directory) {
  int files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
    if (!entry.is_directory()) ++files;
  }
  return files;
}

INSTANTIATE_TEST_SUITE_P(Memory, ObjectStoreContract,
                         testing::Values(ObjectStoreBackend{
                             .name = "Memory",
                             .make = [](const std::string&) { return NewMemoryObjectStore(); }}),
                         ObjectStoreBackendName);

INSTANTIATE_TEST_SUITE_P(
    File, ObjectStoreContract,
    testing::Values(ObjectStoreBackend{
        .name = "File",
        .make = [](const std::string& directory) { return NewFileObjectStore(directory); },
        .count_stored = CountFiles}),
    ObjectStoreBackendName);

}  // namespace
}  // namespace muster
