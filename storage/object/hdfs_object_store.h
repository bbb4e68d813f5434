// Files of HDFS clusters, by WebHDFS.
#ifndef MUSTER_STORAGE_OBJECT_HDFS_OBJECT_STORE_H_
#define MUSTER_STORAGE_OBJECT_HDFS_OBJECT_STORE_H_

#include <memory>

#include "absl/status/status.h"
#include "storage/base/clock.h"
#include "storage/base/random.h"
#include "storage/object/environment.h"
#include "storage/object/hdfs_cluster.h"
#include "storage/object/http_client.h"
#include "storage/object/object_store.h"
#include "storage/object/object_store_registry.h"

namespace muster {

// Thread-safe. Keys are UTF-8 without ":". A version is the file's id, time and size.
std::unique_ptr<ObjectStore> NewHdfsObjectStore(std::shared_ptr<HdfsCluster> cluster);

// Schemes "hdfs" and, for TLS, "swebhdfs": hdfs://NAMENODE/PATH, as users paste it. Where the web
// interface is and which user asks is as hdfs_address.h says, and is looked at when the first URI
// of a cluster is opened. `clock` and `random` outlive the registry.
absl::Status RegisterHdfsObjectStore(ObjectStoreRegistry& registry, EnvironmentLookup environment,
                                     Clock& clock, Random& random, const HttpStoreOptions& options);

}  // namespace muster

#endif  // MUSTER_STORAGE_OBJECT_HDFS_OBJECT_STORE_H_
