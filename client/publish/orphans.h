// Objects that publishing wrote and no model version owns any more.
#ifndef MUSTER_CLIENT_PUBLISH_ORPHANS_H_
#define MUSTER_CLIENT_PUBLISH_ORPHANS_H_

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/sdk/client.h"
#include "muster/v1/model.pb.h"
#include "storage/object/object_store_registry.h"

namespace muster {

// The folder of a publication of which the catalogue knows nothing.
struct Orphan {
  // Name, uid and destination as the folder's place shows them; nothing else is set.
  v1::ModelVersion version;
  std::string folder_uri;
  std::vector<std::string> uris;
  int64_t size_bytes = 0;
  // The first part of the uid: which server's catalogue it was in.
  std::string server_id;
  // False when another server's catalogue may own it: the id is not ours, or ours is not known
  // because the server has neither model versions nor nodes.
  bool is_ours = false;
};

// Where the catalogue's model versions were published to.
absl::StatusOr<std::set<std::string>> KnownDestinations(Client& client, const CallOptions& call);

// Lists `destination`, then the catalogue, so that the folder of a publication that has just begun
// is never taken for an orphan. Folders are in order of their URIs; other objects are passed over.
// Those of `own_server_id` are ours whatever the catalogue says; "" for none.
absl::StatusOr<std::vector<Orphan>> FindOrphans(Client& client, const ObjectStoreRegistry& stores,
                                                const std::string& destination,
                                                const std::string& own_server_id,
                                                const CallOptions& call);

// Deletes the objects of an orphan that is ours, and its folder.
absl::Status DeleteOrphan(const ObjectStoreRegistry& stores, const Orphan& orphan);

}  // namespace muster

#endif  // MUSTER_CLIENT_PUBLISH_ORPHANS_H_
