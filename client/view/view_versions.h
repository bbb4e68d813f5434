// The versions of a view: what there is, which one engines open, and their end.
//
// Nothing here asks a server. Calls block while another process changes the view.
#ifndef MUSTER_CLIENT_VIEW_VIEW_VERSIONS_H_
#define MUSTER_CLIENT_VIEW_VIEW_VERSIONS_H_

#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/cache/shard_cache.h"
#include "client/view/view_place.h"
#include "client/view/view_record.h"

namespace muster {

struct ViewVersion {
  // "llama@v1".
  std::string name;
  // Empty except for the names where it can't be read.
  ViewRecord record;
  // DIR leads to it.
  bool current = false;
  ViewProtection protection = ViewProtection::kWatched;
  // OK when it is whole: see CheckViewFiles. kUnavailable VIEW_INCOMPLETE: it is being made, or its
  // making was broken off.
  absl::Status health;
};

// In order of names; changes nothing. kNotFound VIEW_UNKNOWN.
absl::StatusOr<std::vector<ViewVersion>> ListViewVersions(const ViewPlace& place);

// Lets DIR lead to a version that is there and whole, in one step. kNotFound VIEW_VERSION_UNKNOWN,
// kDataLoss VIEW_BROKEN, kCancelled.
absl::Status SwitchView(const ViewPlace& place, const std::string& version,
                        const std::stop_token& stop);

struct ViewRemoval {
  // All of them and DIR itself, or one.
  bool all = false;
  std::string version = {};
  // Also the one that DIR leads to; DIR then goes, too.
  bool force = false;
  std::stop_token stop = {};
};
// Removes versions with their pins; returns which. An entry that the cache still holds stays
// verified. May be repeated after a crash. kFailedPrecondition VIEW_VERSION_CURRENT: DIR leads to it;
// kNotFound VIEW_UNKNOWN, VIEW_VERSION_UNKNOWN; kCancelled.
absl::StatusOr<std::vector<std::string>> RemoveViewVersions(const ViewPlace& place,
                                                            const ViewRemoval& removal);

// Called with the lock held. Removes `directory` with the files of `record` in it; entries of
// `cache`, which may be null, stay verified.
absl::Status RemoveViewFiles(const std::string& directory, const ViewRecord& record,
                             ShardCache* cache);
// Called with the lock held: nothing needs the version's cache entries any more. A cache that is
// gone is fine.
absl::Status DropViewPin(const ViewPlace& place, const std::string& version,
                         const ViewRecord& record);
// Called with the lock held: removes what a process that died has left half made or half removed.
absl::Status RemoveHalfMade(const ViewPlace& place);

}  // namespace muster

#endif  // MUSTER_CLIENT_VIEW_VIEW_VERSIONS_H_
