// Objects of a web server, read only.
#ifndef MUSTER_STORAGE_OBJECT_HTTP_OBJECT_STORE_H_
#define MUSTER_STORAGE_OBJECT_HTTP_OBJECT_STORE_H_

#include <memory>

#include "absl/status/status.h"
#include "storage/base/clock.h"
#include "storage/base/random.h"
#include "storage/object/http_client.h"
#include "storage/object/object_store.h"
#include "storage/object/object_store_registry.h"
#include "storage/object/uri.h"

namespace muster {

// Keys are paths below `base`, a URI of scheme http or https. Writing, listing and deleting are
// kUnimplemented. A version is the ETag, or else Last-Modified and size; "" where the server gives
// neither. `clock` and `random` outlive the store.
std::unique_ptr<ObjectStore> NewHttpObjectStore(const Uri& base, Clock& clock, Random& random,
                                                const HttpStoreOptions& options);

// Schemes "http" and "https". `clock` and `random` outlive the registry.
absl::Status RegisterHttpObjectStore(ObjectStoreRegistry& registry, Clock& clock, Random& random,
                                     const HttpStoreOptions& options);

}  // namespace muster

#endif  // MUSTER_STORAGE_OBJECT_HTTP_OBJECT_STORE_H_
