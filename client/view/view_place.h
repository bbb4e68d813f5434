// Where a view is: DIR, the link that engines open, and DIR.d with one directory per model version.
#ifndef MUSTER_CLIENT_VIEW_VIEW_PLACE_H_
#define MUSTER_CLIENT_VIEW_VIEW_PLACE_H_

#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/files/posix_file.h"

namespace muster {

// Versions are named as people write model versions: "llama@v1". A value; thread-safe. What changes
// anything on disk is called only while holding the lock.
//
// kFailedPrecondition VIEW_NOT_OURS: there is something at DIR or DIR.d that no view made.
// VIEW_AT_MOUNT_POINT: a mount point can't become a link.
class ViewPlace {
 public:
  // Of `directory`, which may be relative and need not be there. kInvalidArgument VIEW_PATH: it can't
  // name a view.
  static absl::StatusOr<ViewPlace> At(absl::string_view directory);

  // Both absolute, without links in the folders above.
  const std::string& link() const { return link_; }
  const std::string& versions() const { return versions_; }
  std::string PathOf(absl::string_view version) const;
  // What is being made, or removed.
  std::string BuildingPathOf(absl::string_view version) const;
  std::string RecordPathOf(absl::string_view version) const;
  // Whose pin keeps the version's cache entries.
  std::string OwnerOf(absl::string_view version) const;

  // OK where a view is, or may be made. Changes nothing.
  absl::Status Check() const;
  // Makes DIR.d where it is missing, and waits until no other process changes the view. The lock ends
  // with the descriptor. The errors of Check; kCancelled.
  absl::StatusOr<UniqueFd> Lock(const std::stop_token& stop) const;
  // The same of a view that must be there: kNotFound VIEW_UNKNOWN.
  absl::StatusOr<UniqueFd> LockExisting(const std::stop_token& stop) const;

  // The version that DIR leads to; unset where there is no link or it leads nowhere.
  std::optional<std::string> Current() const;
  // Lets DIR lead to `version`, in one step. Durable.
  absl::Status Switch(absl::string_view version) const;
  absl::Status RemoveLink() const;

  // Those with a record, in order of names.
  absl::StatusOr<std::vector<std::string>> Versions() const;
  // What a process that died has left half made or half removed, by version.
  absl::StatusOr<std::vector<std::string>> HalfMade() const;
  // Removes what processes that died have left of records that they were writing.
  absl::Status RemoveBrokenRecords() const;
  // Makes changes of names in DIR.d durable.
  absl::Status SyncVersions() const;
  // Removes DIR.d when nothing but the marker is in it.
  void RemoveIfUnused() const;

 private:
  ViewPlace(std::string link, std::string versions)
      : link_(std::move(link)), versions_(std::move(versions)) {}
  std::string MarkerPath() const;
  absl::Status CheckLink() const;
  absl::Status CheckVersions() const;
  absl::StatusOr<std::vector<std::string>> NamesBetween(absl::string_view prefix,
                                                        absl::string_view suffix) const;

  std::string link_;
  std::string versions_;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_VIEW_VIEW_PLACE_H_
