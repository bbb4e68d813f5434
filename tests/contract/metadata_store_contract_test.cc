#include "tests/contract/metadata_store_contract.h"

#include "storage/metadata/memory_metadata_store.h"
#include "storage/metadata/rocksdb_metadata_store.h"

namespace muster {
namespace {

// The bounds of the smallest backend that docs/design.md names in section 15: a transaction of 100
// operations and 1 MiB.
constexpr MetadataStore::Limits kSmallest = {
    .batch_operations_max = 100, .batch_bytes_max = 1 << 20, .value_bytes_max = 256 << 10};

INSTANTIATE_TEST_SUITE_P(
    Memory, MetadataStoreContract,
    testing::Values(MetadataStoreBackend{
        .name = "Memory",
        .open = [](const std::string&) { return NewMemoryMetadataStore(kSmallest); },
        .survives_reopening = false}),
    MetadataStoreBackendName);

INSTANTIATE_TEST_SUITE_P(
    Rocksdb, MetadataStoreContract,
    testing::Values(MetadataStoreBackend{
        .name = "Rocksdb",
        .open = [](const std::string& directory) { return NewRocksdbMetadataStore(directory); }}),
    MetadataStoreBackendName);

}  // namespace
}  // namespace muster
