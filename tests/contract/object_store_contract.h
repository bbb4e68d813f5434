// What every ObjectStore must do. A backend joins with an INSTANTIATE_TEST_SUITE_P of
// ObjectReadContract and one of ObjectStoreContract or ReadOnlyObjectContract.
#ifndef MUSTER_TESTS_CONTRACT_OBJECT_STORE_CONTRACT_H_
#define MUSTER_TESTS_CONTRACT_OBJECT_STORE_CONTRACT_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "storage/object/object_store.h"
#include "tests/support/temporary_directory.h"

namespace muster {

struct ObjectStoreBackend {
  std::string name;
  // An empty store; `directory` is an empty directory for those that need one.
  std::function<std::shared_ptr<ObjectStore>(const std::string& directory)> make;
  // Stores or replaces an object, atomically, where the store itself only reads; null: by Put.
  std::function<void(const std::string& directory, const std::string& key,
                     const std::string& bytes)>
      fill = nullptr;
  // How many things, visible or not, are stored; null where that can't be found out.
  std::function<int(const std::string& directory)> count_stored = nullptr;
  // Whether ObjectInfo::version is more than "".
  bool has_versions = true;
  // Whether a key may be any bytes, or has to be UTF-8.
  bool takes_any_key = true;
};

inline std::string ObjectStoreBackendName(const testing::TestParamInfo<ObjectStoreBackend>& info) {
  return info.param.name;
}

inline void PrintTo(const ObjectStoreBackend& backend, std::ostream* out) { *out << backend.name; }

// Reading. Each case gets an empty store.
class ObjectReadContract : public testing::TestWithParam<ObjectStoreBackend> {
 protected:
  void SetUp() override { store_ = GetParam().make(directory_.path()); }

  ObjectStore& store() { return *store_; }

  // Shorthands that most cases use.
  absl::StatusOr<ObjectInfo> Put(const std::string& key, const std::string& bytes);
  absl::StatusOr<std::string> ReadRange(const std::string& key, int64_t offset, size_t size,
                                        const std::string& if_version = "");
  std::vector<std::string> Keys(const std::string& prefix, const std::string& after = "",
                                size_t limit = 1000);
  absl::StatusOr<std::unique_ptr<ObjectWriter>> Create(const std::string& key, int64_t size,
                                                       bool must_not_exist = false);
  const std::string& directory() const { return directory_.path(); }

 private:
  TemporaryDirectory directory_;
  std::shared_ptr<ObjectStore> store_;
};

// Writing, listing and deleting.
class ObjectStoreContract : public ObjectReadContract {
 protected:
  // Fails the case if anything but `visible` objects is stored.
  void ExpectNothingBehind(int visible);
};

// How a backend that only reads refuses the rest.
class ReadOnlyObjectContract : public ObjectReadContract {};

}  // namespace muster

#endif  // MUSTER_TESTS_CONTRACT_OBJECT_STORE_CONTRACT_H_
