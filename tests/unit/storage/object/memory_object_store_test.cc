#include "storage/object/memory_object_store.h"

#include "tests/support/status_matchers.h"

namespace muster {
namespace {

TEST(MemoryObjectStoreTest, WriterMayOutliveTheStore) {
  auto store = NewMemoryObjectStore();
  auto writer = store->Create("k", {.size_bytes = 1});
  MUSTER_ASSERT_OK(writer);

  store.reset();

  MUSTER_EXPECT_OK((*writer)->Write(0, "x"));
  MUSTER_EXPECT_OK((*writer)->Commit());
}

TEST(MemoryObjectStoreTest, AnnouncedSizeIsNotReserved) {
  const auto store = NewMemoryObjectStore();

  MUSTER_EXPECT_OK(store->Create("k", {.size_bytes = int64_t{1} << 60}));
}

}  // namespace
}  // namespace muster
