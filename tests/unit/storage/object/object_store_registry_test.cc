#include "storage/object/object_store_registry.h"

#include "storage/object/file_object_store.h"
#include "storage/object/memory_object_store.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

class ObjectStoreRegistryTest : public testing::Test {
 protected:
  void SetUp() override {
    MUSTER_ASSERT_OK(RegisterMemoryObjectStore(registry_));
    MUSTER_ASSERT_OK(RegisterFileObjectStore(registry_));
  }

  ObjectStoreRegistry registry_;
};

TEST_F(ObjectStoreRegistryTest, SchemesAreInOrder) {
  EXPECT_THAT(registry_.Schemes(), ElementsAre("file", "memory"));
}

TEST_F(ObjectStoreRegistryTest, SecondOpenerOfASchemeIsRefused) {
  EXPECT_THAT(RegisterFileObjectStore(registry_),
              StatusIs(absl::StatusCode::kAlreadyExists, HasSubstr("file")));
}

TEST_F(ObjectStoreRegistryTest, NamelessSchemeAndMissingOpenerAreInvalid) {
  EXPECT_THAT(registry_.Register("", [](const Uri&) { return ObjectRef{}; }),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(registry_.Register("x", nullptr), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(ObjectStoreRegistryTest, UnknownSchemeQuotesTheUriAndWhatThereIs) {
  EXPECT_THAT(registry_.Open("gopher://host/x"),
              StatusIs(absl::StatusCode::kUnimplemented,
                       AllOf(HasSubstr("gopher://host/x"), HasSubstr("file, memory"))));
}

TEST_F(ObjectStoreRegistryTest, BadUriIsInvalid) {
  EXPECT_THAT(registry_.Open("/data/x"), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(ObjectStoreRegistryTest, MemoryBucketsAreSharedByNameAndApart) {
  const absl::StatusOr<ObjectRef> first = registry_.Open("memory://one/a%20b");
  const absl::StatusOr<ObjectRef> again = registry_.Open("MEMORY://one/other");
  const absl::StatusOr<ObjectRef> second = registry_.Open("memory://two/a%20b");
  MUSTER_ASSERT_OK(first);
  MUSTER_ASSERT_OK(again);
  MUSTER_ASSERT_OK(second);
  EXPECT_EQ(first->key, "a b");

  MUSTER_ASSERT_OK(first->store->Put(first->key, "x", {}));

  EXPECT_THAT(again->store->Stat("a b", {}), IsOk());
  EXPECT_THAT(second->store->Stat("a b", {}),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("memory://two/a%20b")));
}

TEST_F(ObjectStoreRegistryTest, MemoryNeedsABucket) {
  EXPECT_THAT(registry_.Open("memory:///x"), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(ObjectStoreRegistryTest, FileTakesOnlyThisHost) {
  const absl::StatusOr<ObjectRef> local = registry_.Open("file://localhost/etc/hostname");

  MUSTER_ASSERT_OK(local);
  EXPECT_EQ(local->key, "etc/hostname");
  EXPECT_THAT(registry_.Open("file://elsewhere/x"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("elsewhere")));
}

}  // namespace
}  // namespace muster
