// The objects that one publication wrote, so that they can be taken back.
#ifndef MUSTER_CLIENT_PUBLISH_WRITTEN_OBJECTS_H_
#define MUSTER_CLIENT_PUBLISH_WRITTEN_OBJECTS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "muster/v1/model.pb.h"
#include "storage/base/mutex.h"
#include "storage/object/object_store_registry.h"

namespace muster {

// "{to}/{model}/{version}-{uid}": where publishing puts the objects of a draft. The uid is never
// used twice, so two publishers can't mix.
std::string PublishPrefix(absl::string_view to, absl::string_view model_version,
                          absl::string_view uid);

// Whether publishing wrote the object at `uri` for the model version with this uid; objects that
// were registered in place are not ours to delete.
bool IsPublishedObject(absl::string_view uri, absl::string_view model_version,
                       absl::string_view uid);

// The annotation of a model version that says below which URI its publisher writes.
inline constexpr char kDestinationKey[] = "muster.destination";

// The objects in the folder that the publisher of `version` writes to, registered or not; none
// where the version doesn't say where that is.
absl::StatusOr<std::vector<std::string>> ListPublishedObjects(const ObjectStoreRegistry& stores,
                                                              const v1::ModelVersion& version);

// The URI in the version's annotation; "" where it has none.
std::string DestinationOf(const v1::ModelVersion& version);

// Deletes objects of `version` that publishing wrote, as many as it can. On local files, also what
// writers that died left in its folder, and the directories that became empty, up to and including
// the model's own. Returns the first error, which says how many objects are left.
absl::Status DeleteObjects(const ObjectStoreRegistry& stores, const v1::ModelVersion& version,
                           const std::vector<std::string>& uris);

// Thread-safe.
class WrittenObjects {
 public:
  // Called before the object can become visible.
  void Add(absl::string_view uri);

  std::vector<std::string> uris() const;

 private:
  mutable Mutex mutex_;
  std::vector<std::string> uris_ MUSTER_GUARDED_BY(mutex_);
};

}  // namespace muster

#endif  // MUSTER_CLIENT_PUBLISH_WRITTEN_OBJECTS_H_
