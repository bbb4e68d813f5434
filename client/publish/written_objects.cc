#include "client/publish/written_objects.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "storage/base/error_info.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"
#include "storage/object/object_listing.h"
#include "storage/object/object_rules.h"
#include "storage/object/uri.h"

namespace muster {
namespace {

namespace fs = std::filesystem;

// "/{model}/{version}-{uid}"; "" for a name or a uid that is none. What is deleted depends on it,
// so a uid that is a path is not taken from the server.
std::string OwnFolders(absl::string_view model_version, absl::string_view uid) {
  const auto name = ParseModelVersionName(model_version);
  if (!name.ok() || !ParseNodeName(NodeName(uid)).ok()) return "";
  return absl::StrCat("/", name->model, "/", name->version, "-", uid);
}

absl::Status DeleteObject(const ObjectStoreRegistry& stores, const std::string& uri) {
  MUSTER_ASSIGN_OR_RETURN(const ObjectRef object, stores.Open(uri));
  return object.store->Delete(object.key);
}

// Removes from the local folder of a publication what is not an object: files of writers that died,
// and directories without a file; then the folder above, if it is empty.
void RemoveLeftovers(const fs::path& folder) {
  std::error_code error;
  std::vector<fs::path> directories;
  std::vector<fs::path> unfinished;
  for (fs::recursive_directory_iterator it(folder, error), end; !error && it != end;
       it.increment(error)) {
    if (it->is_symlink(error)) continue;
    if (it->is_directory(error)) {
      directories.push_back(it->path());
    } else if (absl::StartsWith(it->path().filename().string(), kTemporaryPrefix)) {
      unfinished.push_back(it->path());
    }
  }
  for (const fs::path& path : unfinished) fs::remove(path, error);
  // Inner ones come after outer ones. Removing fails for those that hold something.
  std::for_each(directories.rbegin(), directories.rend(),
                [&error](const fs::path& path) { fs::remove(path, error); });
  fs::remove(folder, error);
  fs::remove(folder.parent_path(), error);
}

// The local folder of the publication that wrote `uri`; "" for other objects.
std::string LocalFolderOf(absl::string_view uri, absl::string_view folders) {
  const auto parsed = ParseUri(uri);
  if (!parsed.ok() || parsed->scheme != "file" || folders.empty()) return "";
  const std::string path = "/" + parsed->path;
  const size_t begin = path.find(absl::StrCat(folders, "/"));
  return begin == std::string::npos ? "" : path.substr(0, begin + folders.size());
}

}  // namespace

std::string DestinationOf(const v1::ModelVersion& version) {
  const auto it = version.annotations().find(kDestinationKey);
  return it == version.annotations().end() ? "" : it->second;
}

std::string PublishPrefix(absl::string_view to, absl::string_view model_version,
                          absl::string_view uid) {
  while (absl::EndsWith(to, "/") && !absl::EndsWith(to, "://") && !absl::EndsWith(to, ":///")) {
    to.remove_suffix(1);
  }
  std::string folders = OwnFolders(model_version, uid);
  if (absl::EndsWith(to, "/")) folders.erase(0, 1);
  return absl::StrCat(to, folders);
}

bool IsPublishedObject(absl::string_view uri, absl::string_view model_version,
                       absl::string_view uid) {
  const std::string folders = OwnFolders(model_version, uid);
  return !folders.empty() && absl::StrContains(uri, folders + "/");
}

absl::StatusOr<std::vector<std::string>> ListPublishedObjects(const ObjectStoreRegistry& stores,
                                                              const v1::ModelVersion& version) {
  std::vector<std::string> uris;
  const std::string destination = DestinationOf(version);
  if (destination.empty()) return uris;
  const std::string folder =
      absl::StrCat(PublishPrefix(destination, version.name(), version.uid()), "/");
  if (!IsPublishedObject(folder, version.name(), version.uid())) return uris;
  MUSTER_ASSIGN_OR_RETURN(std::vector<StoredObject> objects, ListObjectsBelow(stores, folder));
  for (StoredObject& object : objects) uris.push_back(std::move(object.uri));
  return uris;
}

absl::Status DeleteObjects(const ObjectStoreRegistry& stores, const v1::ModelVersion& version,
                           const std::vector<std::string>& uris) {
  const std::string own = OwnFolders(version.name(), version.uid());
  absl::Status first;
  size_t failed = 0;
  std::set<std::string> folders = {LocalFolderOf(
      absl::StrCat(PublishPrefix(DestinationOf(version), version.name(), version.uid()), "/"),
      own)};
  for (const std::string& uri : uris) {
    const absl::Status status = DeleteObject(stores, uri);
    if (!status.ok()) {
      if (first.ok()) first = status;
      ++failed;
    }
    folders.insert(LocalFolderOf(uri, own));
  }
  for (const std::string& folder : folders) {
    if (!folder.empty()) RemoveLeftovers(folder);
  }
  if (first.ok()) return first;
  return Annotate(first,
                  absl::StrCat(failed, " of ", uris.size(), " objects could not be deleted"));
}

void WrittenObjects::Add(absl::string_view uri) {
  MutexLock lock(mutex_);
  uris_.emplace_back(uri);
}

std::vector<std::string> WrittenObjects::uris() const {
  MutexLock lock(mutex_);
  return uris_;
}

}  // namespace muster
