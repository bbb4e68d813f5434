// What every MetadataStore must do. A backend joins with one INSTANTIATE_TEST_SUITE_P.
#ifndef MUSTER_TESTS_CONTRACT_METADATA_STORE_CONTRACT_H_
#define MUSTER_TESTS_CONTRACT_METADATA_STORE_CONTRACT_H_

#include <functional>
#include <memory>
#include <ostream>
#include <string>

#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "storage/metadata/metadata_store.h"
#include "tests/support/temporary_directory.h"

namespace muster {

struct MetadataStoreBackend {
  std::string name;
  // Opens the store that lives in `directory`, which a backend may ignore.
  std::function<absl::StatusOr<std::unique_ptr<MetadataStore>>(const std::string& directory)> open;
  // Whether what was committed is there after the store was closed and opened again.
  bool survives_reopening = true;
};

inline std::string MetadataStoreBackendName(
    const testing::TestParamInfo<MetadataStoreBackend>& info) {
  return info.param.name;
}

inline void PrintTo(const MetadataStoreBackend& backend, std::ostream* out) {
  *out << backend.name;
}

// Each case gets an empty store.
class MetadataStoreContract : public testing::TestWithParam<MetadataStoreBackend> {
 protected:
  void SetUp() override;

  MetadataStore& store() { return *store_; }
  void Reopen();

 private:
  TemporaryDirectory directory_;
  std::unique_ptr<MetadataStore> store_;
};

}  // namespace muster

#endif  // MUSTER_TESTS_CONTRACT_METADATA_STORE_CONTRACT_H_
