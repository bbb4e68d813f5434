// Finds the object store for a URI. A value, not a singleton: main lists what its binary can open.
#ifndef MUSTER_STORAGE_OBJECT_OBJECT_STORE_REGISTRY_H_
#define MUSTER_STORAGE_OBJECT_OBJECT_STORE_REGISTRY_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/object/location_rules.h"
#include "storage/object/object_store.h"
#include "storage/object/uri.h"

namespace muster {

// One object, or a prefix of objects, inside a store.
struct ObjectRef {
  std::shared_ptr<ObjectStore> store;
  std::string key;
};

// Filled before the threads start; after that, Open is thread-safe.
class ObjectStoreRegistry {
 public:
  // Gives the store and the key for a URI of one scheme. Thread-safe. kInvalidArgument: the URI's
  // form is wrong.
  using Opener = std::function<absl::StatusOr<ObjectRef>(const Uri& uri)>;

  // Opens what `rules` allow.
  explicit ObjectStoreRegistry(LocationRules rules = {}) : rules_(std::move(rules)) {}

  const LocationRules& rules() const { return rules_; }

  // kAlreadyExists if the scheme has an opener.
  absl::Status Register(absl::string_view scheme, Opener opener);

  // kUnimplemented for an unknown scheme, quoting the URI and the schemes that there are;
  // kInvalidArgument for text that is not a URI; kPermissionDenied LOCATION_NOT_ALLOWED.
  absl::StatusOr<ObjectRef> Open(absl::string_view uri) const;

  // In alphabetical order.
  std::vector<std::string> Schemes() const;

 private:
  const LocationRules rules_;
  std::map<std::string, Opener, std::less<>> openers_;
};

}  // namespace muster

#endif  // MUSTER_STORAGE_OBJECT_OBJECT_STORE_REGISTRY_H_
