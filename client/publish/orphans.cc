#include "client/publish/orphans.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/publish/written_objects.h"
#include "client/sdk/pages.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"
#include "storage/object/object_listing.h"
#include "storage/object/uri.h"

namespace muster {
namespace {

namespace fs = std::filesystem;

// A uid is "{server id}-{number}"; the id is as long as this.
constexpr size_t kServerIdLength = 12;

std::string ServerIdOf(absl::string_view uid) {
  return std::string(uid.substr(0, std::min(uid.find('-'), uid.size())));
}

bool IsServerId(absl::string_view text) {
  return text.size() == kServerIdLength && std::all_of(text.begin(), text.end(), [](char c) {
           return absl::ascii_isxdigit(static_cast<unsigned char>(c));
         });
}

// What the folder "{model}/{version}-{uid}" was published as; nothing for other folders.
std::optional<v1::ModelVersion> VersionOf(absl::string_view model, absl::string_view folder) {
  const size_t number = folder.rfind('-');
  if (number == absl::string_view::npos || number == 0) return std::nullopt;
  const size_t server = folder.rfind('-', number - 1);
  if (server == absl::string_view::npos) return std::nullopt;
  const absl::string_view digits = folder.substr(number + 1);
  const bool is_number = !digits.empty() && std::all_of(digits.begin(), digits.end(), [](char c) {
    return absl::ascii_isdigit(static_cast<unsigned char>(c));
  });
  if (!is_number || !IsServerId(folder.substr(server + 1, number - server - 1))) {
    return std::nullopt;
  }
  v1::ModelVersion version;
  version.set_name(absl::StrCat("models/", model, "/versions/", folder.substr(0, server)));
  if (!ParseModelVersionName(version.name()).ok()) return std::nullopt;
  version.set_uid(std::string(folder.substr(server + 1)));
  return version;
}

class OrphanSearch {
 public:
  OrphanSearch(Client& client, const ObjectStoreRegistry& stores, std::string destination,
               std::string own_server_id, const CallOptions& call)
      : client_(client),
        stores_(stores),
        destination_(std::move(destination)),
        own_server_id_(std::move(own_server_id)),
        call_(call) {
    if (!absl::EndsWith(destination_, "/")) destination_ += "/";
  }

  absl::StatusOr<std::vector<Orphan>> Run() {
    MUSTER_ASSIGN_OR_RETURN(std::vector<StoredObject> objects,
                            ListObjectsBelow(stores_, destination_));
    for (StoredObject& object : objects) Add(std::move(object));
    AddEmptyFolders();
    MUSTER_ASSIGN_OR_RETURN(const std::vector<v1::ModelVersion> versions,
                            ListAllModelVersions(client_, "", call_));
    // By uid, as the same folder may be reached by several URIs.
    std::set<std::string> uids;
    for (const v1::ModelVersion& version : versions) uids.insert(version.uid());
    std::erase_if(folders_,
                  [&](const auto& entry) { return uids.contains(entry.second.version.uid()); });
    MUSTER_ASSIGN_OR_RETURN(const std::string server, OurServerId(versions));
    std::vector<Orphan> orphans;
    for (auto& [folder, orphan] : folders_) {
      orphan.server_id = ServerIdOf(orphan.version.uid());
      orphan.is_ours = orphan.server_id == server || orphan.server_id == own_server_id_;
      orphans.push_back(std::move(orphan));
    }
    return orphans;
  }

 private:
  void Add(StoredObject object) {
    const std::vector<std::string> parts =
        absl::StrSplit(object.uri.substr(std::min(destination_.size(), object.uri.size())), '/');
    if (parts.size() < 3) return;
    Orphan* const orphan = FolderFor(parts[0], parts[1]);
    if (orphan == nullptr) return;
    orphan->size_bytes += object.size_bytes;
    orphan->uris.push_back(std::move(object.uri));
  }

  // Null for a folder that no publication made.
  Orphan* FolderFor(const std::string& model, const std::string& folder) {
    std::optional<v1::ModelVersion> version = VersionOf(model, folder);
    if (!version.has_value()) return nullptr;
    const std::string uri = PublishPrefix(destination_, version->name(), version->uid());
    Orphan& orphan = folders_[uri];
    if (orphan.folder_uri.empty()) {
      (*version->mutable_annotations())[kDestinationKey] = destination_;
      orphan.version = *std::move(version);
      orphan.folder_uri = uri;
    }
    return &orphan;
  }

  // On local files, a publisher that died may have left a folder without a whole object.
  void AddEmptyFolders() {
    const auto uri = ParseUri(destination_);
    if (!uri.ok() || uri->scheme != "file") return;
    std::error_code error;
    for (fs::directory_iterator model("/" + uri->path, error), end; !error && model != end;
         model.increment(error)) {
      if (model->is_symlink(error) || !model->is_directory(error)) continue;
      std::error_code inner;
      for (fs::directory_iterator version(model->path(), inner); !inner && version != end;
           version.increment(inner)) {
        if (version->is_symlink(inner) || !version->is_directory(inner)) continue;
        FolderFor(model->path().filename().string(), version->path().filename().string());
      }
    }
  }

  // Every uid begins with it; "" when it has made nothing yet.
  absl::StatusOr<std::string> OurServerId(const std::vector<v1::ModelVersion>& versions) const {
    if (!versions.empty()) return ServerIdOf(versions.front().uid());
    MUSTER_ASSIGN_OR_RETURN(const std::vector<v1::Node> nodes, ListAllNodes(client_, call_));
    if (!nodes.empty()) return ServerIdOf(nodes.front().uid());
    return std::string();
  }

  Client& client_;
  const ObjectStoreRegistry& stores_;
  // Ends with "/".
  std::string destination_;
  const std::string own_server_id_;
  const CallOptions& call_;
  // By URI.
  std::map<std::string, Orphan> folders_;
};

}  // namespace

absl::StatusOr<std::set<std::string>> KnownDestinations(Client& client, const CallOptions& call) {
  MUSTER_ASSIGN_OR_RETURN(const std::vector<v1::ModelVersion> versions,
                          ListAllModelVersions(client, "", call));
  std::set<std::string> destinations;
  for (const v1::ModelVersion& version : versions) {
    const std::string destination = DestinationOf(version);
    if (!destination.empty()) destinations.insert(destination);
  }
  return destinations;
}

absl::StatusOr<std::vector<Orphan>> FindOrphans(Client& client, const ObjectStoreRegistry& stores,
                                                const std::string& destination,
                                                const std::string& own_server_id,
                                                const CallOptions& call) {
  return OrphanSearch(client, stores, destination, own_server_id, call).Run();
}

absl::Status DeleteOrphan(const ObjectStoreRegistry& stores, const Orphan& orphan) {
  if (!orphan.is_ours) {
    return absl::FailedPreconditionError(
        absl::StrCat(orphan.folder_uri, " may belong to another server, and is not deleted"));
  }
  return DeleteObjects(stores, orphan.version, orphan.uris);
}

}  // namespace muster
