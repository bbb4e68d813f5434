#include "client/view/view_versions.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/error_info.h"
#include "storage/base/quote.h"
#include "storage/base/reasons.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

namespace fs = std::filesystem;

absl::Status UnknownVersion(const ViewPlace& place, const std::string& version) {
  return MakeError(
      absl::StatusCode::kNotFound, reasons::kViewVersionUnknown,
      absl::StrCat(QuoteForMessage(place.link()), ": has no version ", QuoteForMessage(version),
                   "; `muster view list ", place.link(), "` shows those that it has"),
      {{"path", place.link()}, {"version", version}});
}

// Null where the cache is gone: then nothing in it is left to be kept verified, or pinned.
absl::StatusOr<std::unique_ptr<ShardCache>> OpenCacheOf(const ViewRecord& record) {
  std::error_code error;
  if (record.cache.path.empty() || !fs::is_directory(record.cache.path, error)) return nullptr;
  ShardCache::Options options;
  options.domain = record.cache.domain;
  // Whoever made the cache has decided where it may be.
  options.allow_network = true;
  return ShardCache::Open(record.cache.path, options);
}

// The links go first, while their entries' locks are held; a link that is not another name of the
// entry any more goes with the directory.
absl::Status UnlinkEntry(const std::string& path, const std::string& key, ShardCache& cache) {
  const absl::Status status = cache.Alter(
      key,
      [&path](const LockedEntry& entry) {
        struct stat link {};
        struct stat file {};
        if (lstat(path.c_str(), &link) != 0 || fstat(entry.fd, &file) != 0 ||
            link.st_ino != file.st_ino || link.st_dev != file.st_dev) {
          return absl::OkStatus();
        }
        return unlink(path.c_str()) == 0 ? absl::OkStatus() : PathError(errno, "remove it", path);
      },
      {});
  return absl::IsNotFound(status) ? absl::OkStatus() : status;
}

absl::Status RemoveTree(const std::string& directory) {
  std::error_code error;
  fs::remove_all(directory, error);
  return error ? PathError(error.value(), "remove it", directory) : absl::OkStatus();
}

// 1. The directory gets the name of what is half made, so that nobody opens it any more.
// 2. Its files go.
// 3. So does the pin, and the record at last: it knows where the pin is.
absl::Status RemoveVersion(const ViewPlace& place, const std::string& version) {
  const std::string path = place.PathOf(version);
  const std::string aside = place.BuildingPathOf(version);
  absl::StatusOr<ViewRecord> record = ReadViewRecord(place, version);
  if (absl::IsDataLoss(record.status())) record = ViewRecord();
  MUSTER_RETURN_IF_ERROR(record.status());
  MUSTER_ASSIGN_OR_RETURN(const std::unique_ptr<ShardCache> cache, OpenCacheOf(*record));
  if (rename(path.c_str(), aside.c_str()) != 0 && errno != ENOENT) {
    return PathError(errno, "move it aside", path);
  }
  MUSTER_RETURN_IF_ERROR(RemoveViewFiles(aside, *record, cache.get()));
  MUSTER_RETURN_IF_ERROR(place.SyncVersions());
  MUSTER_RETURN_IF_ERROR(DropViewPin(place, version, *record));
  const std::string record_path = place.RecordPathOf(version);
  if (unlink(record_path.c_str()) != 0) return PathError(errno, "remove it", record_path);
  return place.SyncVersions();
}

absl::Status HealthOf(const ViewPlace& place, const std::string& version,
                      const ViewRecord& record) {
  if (record.state != ViewRecord::State::kBuilding) return CheckViewFiles(place, version, record);
  return MakeError(absl::StatusCode::kUnavailable, reasons::kViewIncomplete,
                   absl::StrCat(QuoteForMessage(place.PathOf(version)),
                                ": is being made, or making it was interrupted"));
}

}  // namespace

absl::Status RemoveViewFiles(const std::string& directory, const ViewRecord& record,
                             ShardCache* cache) {
  std::error_code error;
  if (!fs::exists(fs::symlink_status(directory, error))) return absl::OkStatus();
  for (const ViewFile& file : record.files) {
    if (cache == nullptr || file.kind != ViewFile::Kind::kHardLink) continue;
    MUSTER_RETURN_IF_ERROR(UnlinkEntry(absl::StrCat(directory, "/", file.path), file.key, *cache));
  }
  return RemoveTree(directory);
}

absl::Status DropViewPin(const ViewPlace& place, const std::string& version,
                         const ViewRecord& record) {
  MUSTER_ASSIGN_OR_RETURN(const std::unique_ptr<ShardCache> cache, OpenCacheOf(record));
  if (cache == nullptr) return absl::OkStatus();
  return cache->SetPin({place.OwnerOf(version), {}}, {});
}

absl::Status RemoveHalfMade(const ViewPlace& place) {
  MUSTER_RETURN_IF_ERROR(place.RemoveBrokenRecords());
  MUSTER_ASSIGN_OR_RETURN(const std::vector<std::string> versions, place.HalfMade());
  for (const std::string& version : versions) {
    absl::StatusOr<ViewRecord> record = ReadViewRecord(place, version);
    if (!record.ok()) record = ViewRecord();
    MUSTER_ASSIGN_OR_RETURN(const std::unique_ptr<ShardCache> cache, OpenCacheOf(*record));
    MUSTER_RETURN_IF_ERROR(RemoveViewFiles(place.BuildingPathOf(version), *record, cache.get()));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<ViewVersion>> ListViewVersions(const ViewPlace& place) {
  MUSTER_RETURN_IF_ERROR(place.Check());
  const absl::StatusOr<std::vector<std::string>> names = place.Versions();
  if (absl::IsNotFound(names.status())) {
    return MakeError(absl::StatusCode::kNotFound, reasons::kViewUnknown,
                     absl::StrCat(QuoteForMessage(place.link()),
                                  ": there is no view; an agent with --view makes one"),
                     {{"path", place.link()}});
  }
  MUSTER_RETURN_IF_ERROR(names.status());
  const std::optional<std::string> current = place.Current();
  std::vector<ViewVersion> versions;
  for (const std::string& name : *names) {
    absl::StatusOr<ViewRecord> record = ReadViewRecord(place, name);
    // Removed since it was listed.
    if (absl::IsNotFound(record.status())) continue;
    ViewVersion& version = versions.emplace_back();
    version.name = name;
    version.current = current == name;
    version.health = record.ok() ? HealthOf(place, name, *record) : record.status();
    if (!record.ok()) continue;
    version.protection = ProtectionOf(place, name, *record);
    version.record = *std::move(record);
  }
  return versions;
}

absl::Status SwitchView(const ViewPlace& place, const std::string& version,
                        const std::stop_token& stop) {
  MUSTER_ASSIGN_OR_RETURN(const UniqueFd lock, place.LockExisting(stop));
  absl::StatusOr<ViewRecord> record = ReadViewRecord(place, version);
  if (absl::IsNotFound(record.status())) return UnknownVersion(place, version);
  MUSTER_RETURN_IF_ERROR(record.status());
  MUSTER_RETURN_IF_ERROR(HealthOf(place, version, *record));
  MUSTER_RETURN_IF_ERROR(place.Switch(version));
  if (record->state == ViewRecord::State::kShown) return absl::OkStatus();
  record->state = ViewRecord::State::kShown;
  return WriteViewRecord(place, version, *record);
}

absl::StatusOr<std::vector<std::string>> RemoveViewVersions(const ViewPlace& place,
                                                            const ViewRemoval& removal) {
  MUSTER_ASSIGN_OR_RETURN(const UniqueFd lock, place.LockExisting(removal.stop));
  MUSTER_RETURN_IF_ERROR(RemoveHalfMade(place));
  MUSTER_ASSIGN_OR_RETURN(std::vector<std::string> versions, place.Versions());
  const std::optional<std::string> current = place.Current();
  if (!removal.all) {
    if (std::find(versions.begin(), versions.end(), removal.version) == versions.end()) {
      return UnknownVersion(place, removal.version);
    }
    versions = {removal.version};
    if (current == removal.version && !removal.force) {
      return MakeError(absl::StatusCode::kFailedPrecondition, reasons::kViewVersionCurrent,
                       absl::StrCat(QuoteForMessage(place.link()), ": leads to ", removal.version,
                                    "; switch to another version first, or say --force"),
                       {{"path", place.link()}, {"version", removal.version}});
    }
  }
  if (removal.all || current == removal.version) MUSTER_RETURN_IF_ERROR(place.RemoveLink());
  for (const std::string& version : versions) {
    MUSTER_RETURN_IF_ERROR(RemoveVersion(place, version));
  }
  place.RemoveIfUnused();
  return versions;
}

}  // namespace muster
