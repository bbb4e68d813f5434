// The contract against a real HDFS cluster, which whoever starts this names in MUSTER_WEBHDFS_ADDRESS.
#include <unistd.h>

#include <atomic>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "storage/base/clock.h"
#include "storage/base/random.h"
#include "storage/object/hdfs_object_store.h"
#include "tests/contract/object_store_contract.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

std::string Environment(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// What the cases share.
struct Connections {
  const std::unique_ptr<Random> random = NewSystemRandom();
  const std::shared_ptr<HttpClient> client = std::make_shared<HttpClient>(
      SystemClock(), *random, HttpStoreOptions{.connection = {.proxy = ""}});
};

// A folder of its own for each case.
std::shared_ptr<ObjectStore> MakeStore(const std::string&) {
  static auto& shared = *new Connections;
  static std::atomic<int> number = 0;
  const auto address = HdfsAddressFor("hdfs", "cluster", Environment, {});
  MUSTER_EXPECT_OK(address);
  if (!address.ok()) return nullptr;
  return NewHdfsObjectStore(std::make_shared<HdfsCluster>(
      Uri{"hdfs", "cluster", absl::StrCat("case-", getpid(), "-", ++number)}, *address,
      shared.client, *shared.random));
}

const ObjectStoreBackend kHdfs{.name = "Hdfs", .make = MakeStore, .takes_any_key = false};

INSTANTIATE_TEST_SUITE_P(Stores, ObjectReadContract, testing::Values(kHdfs),
                         ObjectStoreBackendName);
INSTANTIATE_TEST_SUITE_P(Stores, ObjectStoreContract, testing::Values(kHdfs),
                         ObjectStoreBackendName);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(ReadOnlyObjectContract);

}  // namespace
}  // namespace muster
