// The contract against a real server of the S3 protocol, which whoever starts this names as AWS's
// own tools want it: AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
#include <unistd.h>

#include <atomic>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "storage/base/clock.h"
#include "storage/base/random.h"
#include "storage/object/object_store_registry.h"
#include "storage/object/s3_bucket.h"
#include "storage/object/s3_object_store.h"
#include "tests/contract/object_store_contract.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

std::string Environment(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

const HttpStoreOptions kOptions = {.connection = {.proxy = ""}};

// What the cases share: the server, and connections to it.
struct Server {
  Server() {
    MUSTER_EXPECT_OK(RegisterS3ObjectStore(stores, Environment, SystemClock(), *random, kOptions));
  }

  const std::unique_ptr<Random> random = NewSystemRandom();
  ObjectStoreRegistry stores;
};

void MakeBucket(const std::string& name, Server& server) {
  const auto address = S3AddressFor(name, Environment, {});
  MUSTER_ASSERT_OK(address);
  S3Bucket bucket(
      name, *address, std::make_shared<HttpClient>(SystemClock(), *server.random, kOptions),
      std::make_shared<S3CredentialChain>(Environment, SystemClock(), HttpConnectionOptions{}));
  MUSTER_ASSERT_OK(bucket.Do({.method = "PUT", .body = ""}, {}));
}

// A new bucket for each case.
std::shared_ptr<ObjectStore> MakeStore(const std::string&) {
  static auto& server = *new Server;
  static std::atomic<int> number = 0;
  const std::string bucket = absl::StrCat("case-", getpid(), "-", ++number);
  MakeBucket(bucket, server);
  const auto object = server.stores.Open(absl::StrCat("s3://", bucket, "/any"));
  MUSTER_EXPECT_OK(object);
  return object.ok() ? object->store : nullptr;
}

const ObjectStoreBackend kS3{.name = "S3", .make = MakeStore, .takes_any_key = false};

INSTANTIATE_TEST_SUITE_P(Stores, ObjectReadContract, testing::Values(kS3), ObjectStoreBackendName);
INSTANTIATE_TEST_SUITE_P(Stores, ObjectStoreContract, testing::Values(kS3), ObjectStoreBackendName);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(ReadOnlyObjectContract);

}  // namespace
}  // namespace muster
