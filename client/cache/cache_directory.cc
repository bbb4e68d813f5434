// The marker is the file CACHEDIR.TAG: its first line is the signature by which backup tools know
// caches, a later line is ours and names the format. Taking a directory:
//  1. Open it and take its flock, so that two processes never judge a half-made one.
//  2. A CACHEDIR.TAG decides by its content.
//  3. Without one, only an empty directory is taken. A CACHEDIR.TAG.part of a process that died in
//  step 4 does not count.
//  4. Write CACHEDIR.TAG.part, sync it, rename it, sync the directory.
#include "client/cache/cache_directory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "storage/base/error_info.h"
#include "storage/base/limits.h"
#include "storage/base/reasons.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

constexpr char kMarkerName[] = "CACHEDIR.TAG";
constexpr char kMarkerPartName[] = "CACHEDIR.TAG.part";
constexpr absl::string_view kSignature = "Signature: 8a477f597d28d172789f06886806bc55\n";
constexpr absl::string_view kFormatPrefix = "# Muster shard cache, format ";
constexpr absl::string_view kFormat = "# Muster shard cache, format 1\n";
constexpr size_t kMaxMarkerBytes = 4096;

absl::Status NotOurs(const std::string& path, absl::string_view found) {
  return absl::FailedPreconditionError(
      absl::StrCat(path, ": holds ", found,
                   " and is not a Muster shard cache; name an empty or absent directory"));
}

// The marker's text; "" when there is none.
absl::StatusOr<std::string> ReadMarker(int dir_fd, const std::string& path) {
  const UniqueFd fd(openat(dir_fd, kMarkerName, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!fd.valid()) {
    if (errno == ENOENT) return std::string();
    return PathError(errno, "open its CACHEDIR.TAG", path);
  }
  std::string text(kMaxMarkerBytes, '\0');
  const ssize_t count = read(fd.get(), text.data(), text.size());
  if (count < 0) return PathError(errno, "read its CACHEDIR.TAG", path);
  text.resize(static_cast<size_t>(count));
  if (text.empty()) return NotOurs(path, "an empty CACHEDIR.TAG");
  return text;
}

absl::Status CheckMarker(const std::string& path, const std::string& text) {
  if (absl::StartsWith(text, kSignature) && absl::StrContains(text, kFormat)) {
    return absl::OkStatus();
  }
  if (absl::StartsWith(text, kSignature) && absl::StrContains(text, kFormatPrefix)) {
    return absl::FailedPreconditionError(
        absl::StrCat(path,
                     ": this shard cache has a format that this program does not know; use a "
                     "newer program or another directory"));
  }
  return NotOurs(path, "another program's CACHEDIR.TAG");
}

absl::Status CheckEmpty(int dir_fd, const std::string& path) {
  const int list_fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (list_fd < 0) return PathError(errno, "list", path);
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(fdopendir(list_fd), &closedir);
  if (dir == nullptr) {
    close(list_fd);
    return PathError(errno, "list", path);
  }
  while (const dirent* entry = readdir(dir.get())) {
    const absl::string_view name = entry->d_name;
    if (name == "." || name == ".." || name == "lost+found" || name == kMarkerPartName) continue;
    return NotOurs(path, absl::StrCat("\"", absl::CHexEscape(name), "\""));
  }
  return absl::OkStatus();
}

absl::Status WriteMarker(int dir_fd, const std::string& path) {
  UniqueFd fd(
      openat(dir_fd, kMarkerPartName, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644));
  if (!fd.valid()) return PathError(errno, "write into it", path);
  const std::string text =
      absl::StrCat(kSignature, kFormat, "# Its files may be deleted while no program uses them.\n");
  MUSTER_RETURN_IF_ERROR(WriteAt(fd.get(), path, 0, text));
  if (fsync(fd.get()) != 0) return PathError(errno, "sync its marker", path);
  if (renameat(dir_fd, kMarkerPartName, dir_fd, kMarkerName) != 0) {
    return PathError(errno, "rename its marker", path);
  }
  if (fsync(dir_fd) != 0) return PathError(errno, "sync", path);
  return absl::OkStatus();
}

absl::StatusOr<UniqueFd> OpenDirectory(const std::string& path) {
  std::error_code made;
  std::filesystem::create_directories(path, made);
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.valid()) return fd;
  if (errno == ENOTDIR) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, ": not a directory; name another cache directory"));
  }
  if (errno == ENOENT && made) return PathError(made.value(), "make the cache directory", path);
  return PathError(errno, "open the cache directory", path);
}

absl::Status TakeDirectory(int dir_fd, const std::string& path) {
  MUSTER_RETURN_IF_ERROR(LockExclusive(dir_fd, path, {}));
  MUSTER_ASSIGN_OR_RETURN(const std::string marker, ReadMarker(dir_fd, path));
  if (!marker.empty()) return CheckMarker(path, marker);
  MUSTER_RETURN_IF_ERROR(CheckEmpty(dir_fd, path));
  return WriteMarker(dir_fd, path);
}

absl::Status CheckLocal(int dir_fd, const std::string& path) {
  struct statfs state {};
  if (fstatfs(dir_fd, &state) != 0) return PathError(errno, "ask for the file system of", path);
  const absl::string_view name = NetworkFileSystemName(static_cast<int64_t>(state.f_type));
  if (name.empty()) return absl::OkStatus();
  return MakeError(absl::StatusCode::kFailedPrecondition, reasons::kCacheOnNetwork,
                   absl::StrCat(path, ": is on a network file system (", name,
                                "), where a cache is slow and its locks and file times can't be "
                                "relied on; use a local disk, or --allow-network-cache"),
                   {{"path", path}, {"file_system", std::string(name)}});
}

absl::Status CheckDomain(const std::string& domain) {
  bool ok = !domain.empty() && domain.size() <= kMaxNameLength &&
            absl::ascii_isalnum(domain.front()) && absl::ascii_isalnum(domain.back());
  for (const char c : domain) ok = ok && (absl::ascii_isalnum(c) || absl::StrContains("._-", c));
  if (ok) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "cache domain \"", absl::CHexEscape(domain), "\" is not a name of at most ", kMaxNameLength,
      " letters, digits, \".\", \"_\" and \"-\" that starts and ends with a letter or digit"));
}

}  // namespace

absl::string_view NetworkFileSystemName(int64_t type) {
  struct Magic {
    int64_t type;
    absl::string_view name;
  };
  // From linux/magic.h, where that has them.
  static constexpr Magic kMagics[] = {
      {0x6969, "NFS"},        {0x517B, "SMB"},        {0xFF534D42, "CIFS"}, {0xFE534D42, "SMB2"},
      {0x00C36400, "CephFS"}, {0x0BD00BD0, "Lustre"}, {0x47504653, "GPFS"}, {0x01021997, "9P"},
      {0x5346414F, "AFS"},    {0x73757245, "Coda"},   {0x01161970, "GFS2"}, {0x7461636F, "OCFS2"},
      {0x19830326, "BeeGFS"}, {0xAAD7AAEA, "PanFS"},  {0x65735546, "FUSE"}, {0x786F4256, "vboxsf"},
  };
  for (const Magic& magic : kMagics) {
    if (magic.type == (type & 0xFFFFFFFF)) return magic.name;
  }
  return "";
}

absl::StatusOr<UniqueFd> OpenCacheDomain(const std::string& path, const std::string& domain,
                                         bool allow_network) {
  MUSTER_RETURN_IF_ERROR(CheckDomain(domain));
  MUSTER_ASSIGN_OR_RETURN(const UniqueFd directory, OpenDirectory(path));
  if (!allow_network) MUSTER_RETURN_IF_ERROR(CheckLocal(directory.get(), path));
  MUSTER_RETURN_IF_ERROR(TakeDirectory(directory.get(), path));
  const std::string domain_path = absl::StrCat(path, "/", domain);
  if (mkdirat(directory.get(), domain.c_str(), 0755) == 0) {
    if (fsync(directory.get()) != 0) return PathError(errno, "sync", path);
  } else if (errno != EEXIST) {
    return PathError(errno, "make the cache domain's directory", domain_path);
  }
  UniqueFd fd(
      openat(directory.get(), domain.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd.valid()) return PathError(errno, "open the cache domain's directory", domain_path);
  if (faccessat(fd.get(), ".", W_OK | X_OK, AT_EACCESS) != 0) {
    return PathError(errno, "write into the cache", domain_path);
  }
  return fd;
}

}  // namespace muster
