// Layout, for a view DIR = /srv/llama:
//     /srv/llama -> llama.d/llama@v1    what engines open; swapped by rename
//     /srv/llama.d/.muster-view         marks the directory as ours; its flock is the lock
//     /srv/llama.d/llama@v1/            a version, whole and read-only
//     /srv/llama.d/.llama@v1.record     what it is made of; see view_record.h
//     /srv/llama.d/.llama@v1.building   a version that is being made or removed
//     /srv/llama.d/..llama@v1.record.tmp-…  the record's next content, for a moment
//     /srv/.llama.switching             the next link, for a moment
//
// How it stays ours, and whole for engines that open it at any moment:
//  1. Nothing is touched that no view made. DIR must be absent, an empty directory that is not a
//     mount point, or a link to a version in DIR.d; DIR.d must be absent, empty, or hold the marker,
//     which is the first file in it and the last to go. Check looks, before the lock and again under
//     it.
//  2. Lock makes DIR.d and the marker where they are missing, locks the marker, and checks that its
//     name still means the locked file. If not, or if DIR.d vanished in between, another process has
//     removed the view (5): start over.
//  3. A version is made as `.building` and gets its name by rename (view_builder.cc); a process that
//     dies leaves a `.building`, which the next build or removal deletes.
//  4. Switch makes the next link beside DIR and renames it over DIR, so engines see the old version
//     or the new one. Only the first switch may find an empty directory in the way, and removes it:
//     for that moment DIR is absent.
//  5. RemoveIfUnused removes the marker, then DIR.d, while it holds the lock; whoever waits for the
//     lock sees in 2 that its file has no name any more.
// Looking (Current, Versions) takes no lock.
#include "client/view/view_place.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "storage/base/error_info.h"
#include "storage/base/quote.h"
#include "storage/base/reasons.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"
#include "storage/files/directories.h"

namespace muster {
namespace {

namespace fs = std::filesystem;

constexpr char kMarker[] = ".muster-view";
constexpr char kBuildingSuffix[] = ".building";
constexpr char kViewRecordSuffix[] = ".record";
// A lock file that keeps being replaced means that something outside meddles with the view.
constexpr int kMaxViewStartsOver = 1000;

absl::Status NotOurs(const std::string& path, absl::string_view what) {
  return MakeError(absl::StatusCode::kFailedPrecondition, reasons::kViewNotOurs,
                   absl::StrCat(QuoteForMessage(path), ": ", what,
                                "; move it away, or name another directory for the view"),
                   {{"path", path}});
}

absl::Status AtMountPoint(const std::string& path) {
  return MakeError(absl::StatusCode::kFailedPrecondition, reasons::kViewAtMountPoint,
                   absl::StrCat(QuoteForMessage(path),
                                ": is a mount point, and a view is a link that is replaced; name a "
                                "directory below it"),
                   {{"path", path}});
}

// Where the kernel does not say, rmdir will.
bool IsMountPoint(const std::string& path) {
  struct statx state {};
  return statx(AT_FDCWD, path.c_str(), AT_SYMLINK_NOFOLLOW, STATX_TYPE, &state) == 0 &&
         (state.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}

// A file system's own directory aside.
absl::StatusOr<bool> IsEmpty(const std::string& path) {
  std::error_code error;
  for (fs::directory_iterator it(path, error), end; !error && it != end; it.increment(error)) {
    if (it->path().filename() != "lost+found") return false;
  }
  if (error) return PathError(error.value(), "list it", path);
  return true;
}

bool IsVersionName(absl::string_view name) {
  return absl::StrContains(name, '@') && FullModelVersionName(name).ok();
}

}  // namespace

absl::StatusOr<ViewPlace> ViewPlace::At(absl::string_view directory) {
  const auto refuse = [&](absl::string_view why) {
    return MakeError(absl::StatusCode::kInvalidArgument, reasons::kViewPath,
                     absl::StrCat("a view can't be at ", QuoteForMessage(directory), ": ", why),
                     {{"path", std::string(directory)}});
  };
  // The owners of pins are lines.
  if (directory.empty() || HasControlCharacter(directory)) {
    return refuse("the path is empty or has control characters");
  }
  std::error_code error;
  fs::path path = fs::absolute(std::string(directory), error).lexically_normal();
  if (error) return refuse(error.message());
  if (!path.has_filename()) path = path.parent_path();
  if (!path.has_filename()) return refuse("it has no name");
  const fs::path parent = fs::weakly_canonical(path.parent_path(), error);
  if (error) return refuse(error.message());
  const std::string link = (parent / path.filename()).string();
  return ViewPlace(link, absl::StrCat(link, ".d"));
}

std::string ViewPlace::PathOf(absl::string_view version) const {
  return absl::StrCat(versions_, "/", version);
}

std::string ViewPlace::BuildingPathOf(absl::string_view version) const {
  return absl::StrCat(versions_, "/.", version, kBuildingSuffix);
}

std::string ViewPlace::RecordPathOf(absl::string_view version) const {
  return absl::StrCat(versions_, "/.", version, kViewRecordSuffix);
}

std::string ViewPlace::OwnerOf(absl::string_view version) const {
  return absl::StrCat("view:", PathOf(version));
}

std::string ViewPlace::MarkerPath() const { return absl::StrCat(versions_, "/", kMarker); }

absl::Status ViewPlace::Check() const {
  MUSTER_RETURN_IF_ERROR(CheckLink());
  return CheckVersions();
}

absl::Status ViewPlace::CheckLink() const {
  std::error_code error;
  const fs::file_status status = fs::symlink_status(link_, error);
  if (!fs::exists(status)) return absl::OkStatus();
  if (fs::is_directory(status)) {
    if (IsMountPoint(link_)) return AtMountPoint(link_);
    MUSTER_ASSIGN_OR_RETURN(const bool empty, IsEmpty(link_));
    return empty ? absl::OkStatus() : NotOurs(link_, "is a directory with other files");
  }
  if (!fs::is_symlink(status)) return NotOurs(link_, "is a file");
  const std::string target = fs::read_symlink(link_, error).string();
  absl::string_view version = target;
  const std::string prefix = absl::StrCat(fs::path(versions_).filename().string(), "/");
  if (absl::ConsumePrefix(&version, prefix) && IsVersionName(version)) return absl::OkStatus();
  return NotOurs(link_, absl::StrCat("is a link to ", QuoteForMessage(target)));
}

absl::Status ViewPlace::CheckVersions() const {
  std::error_code error;
  const fs::file_status status = fs::symlink_status(versions_, error);
  if (!fs::exists(status)) return absl::OkStatus();
  if (!fs::is_directory(status)) return NotOurs(versions_, "is not a directory");
  if (fs::exists(fs::symlink_status(MarkerPath(), error))) return absl::OkStatus();
  const absl::StatusOr<bool> empty = IsEmpty(versions_);
  // Another process removed or began the view since the first look; the marker is its first file.
  if (absl::IsNotFound(empty.status())) return absl::OkStatus();
  MUSTER_RETURN_IF_ERROR(empty.status());
  if (*empty || fs::exists(fs::symlink_status(MarkerPath(), error))) return absl::OkStatus();
  return NotOurs(versions_, "is a directory with other files");
}

absl::StatusOr<UniqueFd> ViewPlace::Lock(const std::stop_token& stop) const {
  for (int start = 0; start < kMaxViewStartsOver; ++start) {
    MUSTER_RETURN_IF_ERROR(Check());
    const std::string parent = fs::path(link_).parent_path().string();
    MUSTER_ASSIGN_OR_RETURN(const UniqueFd parent_fd,
                            MakeDirectories(parent, QuoteForMessage(versions_)));
    if (mkdir(versions_.c_str(), 0755) == 0) {
      // Whatever the umask says: engines run as other users.
      if (chmod(versions_.c_str(), 0755) != 0) return PathError(errno, "open it up", versions_);
      MUSTER_RETURN_IF_ERROR(SyncDirectory(parent_fd.get(), parent));
    } else if (errno != EEXIST) {
      return PathError(errno, "make it", versions_);
    }
    UniqueFd fd(
        open(MarkerPath().c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0644));
    // Another process removes the view just now.
    if (!fd.valid() && errno == ENOENT) continue;
    if (!fd.valid()) return PathError(errno, "lock it", MarkerPath());
    MUSTER_RETURN_IF_ERROR(LockExclusive(fd.get(), MarkerPath(), stop));
    if (!IsSameFile(AT_FDCWD, MarkerPath(), fd.get())) continue;
    MUSTER_RETURN_IF_ERROR(Check());
    return fd;
  }
  return absl::AbortedError(absl::StrCat(MarkerPath(), ": the lock file keeps being replaced"));
}

absl::StatusOr<UniqueFd> ViewPlace::LockExisting(const std::stop_token& stop) const {
  MUSTER_RETURN_IF_ERROR(Check());
  std::error_code error;
  if (fs::exists(fs::symlink_status(MarkerPath(), error))) return Lock(stop);
  return MakeError(absl::StatusCode::kNotFound, reasons::kViewUnknown,
                   absl::StrCat(QuoteForMessage(link_), ": there is no view; an agent with --view ",
                                "makes one"),
                   {{"path", link_}});
}

std::optional<std::string> ViewPlace::Current() const {
  std::error_code error;
  const fs::path target = fs::read_symlink(link_, error);
  if (error || !CheckLink().ok() || !fs::is_directory(link_, error)) return std::nullopt;
  return target.filename().string();
}

absl::Status ViewPlace::Switch(absl::string_view version) const {
  const fs::path link(link_);
  const std::string parent = link.parent_path().string();
  const std::string next =
      (link.parent_path() / absl::StrCat(".", link.filename().string(), ".switching")).string();
  const std::string target = absl::StrCat(fs::path(versions_).filename().string(), "/", version);
  MUSTER_RETURN_IF_ERROR(CheckLink());
  // An empty directory was put there for the view; this fails for any other.
  if (rmdir(link_.c_str()) != 0 && errno != ENOENT && errno != ENOTDIR) {
    return errno == EBUSY ? AtMountPoint(link_) : PathError(errno, "replace it", link_);
  }
  unlink(next.c_str());
  if (symlink(target.c_str(), next.c_str()) != 0) return PathError(errno, "make it", next);
  if (rename(next.c_str(), link_.c_str()) != 0) {
    const int error = errno;
    unlink(next.c_str());
    return PathError(error, "replace it", link_);
  }
  return SyncDirectory(parent);
}

absl::Status ViewPlace::RemoveLink() const {
  MUSTER_RETURN_IF_ERROR(CheckLink());
  std::error_code error;
  if (!fs::is_symlink(fs::symlink_status(link_, error))) return absl::OkStatus();
  if (unlink(link_.c_str()) != 0) return PathError(errno, "remove it", link_);
  return SyncDirectory(fs::path(link_).parent_path().string());
}

absl::StatusOr<std::vector<std::string>> ViewPlace::NamesBetween(absl::string_view prefix,
                                                                 absl::string_view suffix) const {
  std::vector<std::string> versions;
  std::error_code error;
  for (fs::directory_iterator it(versions_, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    absl::string_view version = name;
    if (absl::ConsumePrefix(&version, prefix) && absl::ConsumeSuffix(&version, suffix) &&
        IsVersionName(version)) {
      versions.emplace_back(version);
    }
  }
  if (error) return PathError(error.value(), "list it", versions_);
  std::sort(versions.begin(), versions.end());
  return versions;
}

absl::StatusOr<std::vector<std::string>> ViewPlace::Versions() const {
  return NamesBetween(".", kViewRecordSuffix);
}

absl::StatusOr<std::vector<std::string>> ViewPlace::HalfMade() const {
  return NamesBetween(".", kBuildingSuffix);
}

absl::Status ViewPlace::RemoveBrokenRecords() const {
  const std::string staged = absl::StrCat(kViewRecordSuffix, ".tmp-");
  std::error_code error;
  for (fs::directory_iterator it(versions_, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (!absl::StartsWith(name, "..") || !absl::StrContains(name, staged)) continue;
    if (unlink(it->path().c_str()) != 0) return PathError(errno, "remove it", it->path().string());
  }
  return error ? PathError(error.value(), "list it", versions_) : absl::OkStatus();
}

absl::Status ViewPlace::SyncVersions() const { return SyncDirectory(versions_); }

void ViewPlace::RemoveIfUnused() const {
  std::error_code error;
  for (fs::directory_iterator it(versions_, error), end; !error && it != end; it.increment(error)) {
    if (it->path().filename() != kMarker) return;
  }
  if (error) return;
  unlink(MarkerPath().c_str());
  rmdir(versions_.c_str());
}

}  // namespace muster
