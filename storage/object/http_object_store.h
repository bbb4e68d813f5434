// Objects of a web server, read only.
#ifndef MUSTER_STORAGE_OBJECT_HTTP_OBJECT_STORE_H_
#define MUSTER_STORAGE_OBJECT_HTTP_OBJECT_STORE_H_

#include <cstddef>
#include <memory>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "storage/base/backoff.h"
#include "storage/base/clock.h"
#include "storage/base/random.h"
#include "storage/object/http_connection.h"
#include "storage/object/object_store.h"
#include "storage/object/object_store_registry.h"
#include "storage/object/uri.h"

namespace muster {

struct HttpStoreOptions {
  HttpConnectionOptions connection = {};
  // Requests at once to one host; more of them wait. 1 to kHttpConnectionsMax, values outside are
  // moved inside.
  size_t connections_per_host = 64;
  // A broken connection, 408, 429 or 5xx is tried again for so long after the last byte that came.
  // A longer Retry-After ends the call; the error carries it as retry delay.
  absl::Duration retry_for = absl::Seconds(10);
  BackoffOptions backoff = {};
};

inline constexpr size_t kHttpConnectionsMax = 1024;

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
