// The marker is the file CACHEDIR.TAG: its first line is the signature by which backup tools know
// caches, a later line is ours and names the format. Taking a directory:
//  1. Open it and take its flock, so that two processes never judge a half-made one.
//  2. A CACHEDIR.TAG decides by its content.
//  3. Without one, only an empty directory is taken. A CACHEDIR.TAG.part of a process that died in
//  step 4 does not count.
//  4. Write CACHEDIR.TAG.part, sync it, rename it, sync the directory.
#include "client/cache/cache_directory.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "storage/base/error_info.h"
#include "storage/base/limits.h"
#include "storage/base/reasons.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"
#include "storage/files/directories.h"
#include "storage/files/posix_file.h"
#include "storage/files/staged_file.h"

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
  return ForEachName(dir_fd, path, [&path](const std::string& name) {
    if (name == "lost+found" || name == kMarkerPartName) return absl::OkStatus();
    return NotOurs(path, absl::StrCat("\"", absl::CHexEscape(name), "\""));
  });
}

absl::Status WriteMarker(int dir_fd, const std::string& path) {
  const std::string text =
      absl::StrCat(kSignature, kFormat, "# Its files may be deleted while no program uses them.\n");
  return WriteWholeFileAt(dir_fd, kMarkerName, text, kMarkerPartName,
                          absl::StrCat(path, "/", kMarkerName));
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
  if (fstatfs(dir_fd, &state) != 0) return PathError(errno, "ask for its file system", path);
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
  MUSTER_ASSIGN_OR_RETURN(const UniqueFd directory,
                          MakeDirectories(path, absl::StrCat("cache directory ", path)));
  if (!allow_network) MUSTER_RETURN_IF_ERROR(CheckLocal(directory.get(), path));
  MUSTER_RETURN_IF_ERROR(TakeDirectory(directory.get(), path));
  const std::string domain_path = absl::StrCat(path, "/", domain);
  MUSTER_ASSIGN_OR_RETURN(UniqueFd fd, MakeDirectoryAt(directory.get(), domain, domain_path, 0755));
  if (faccessat(fd.get(), ".", W_OK | X_OK, AT_EACCESS) != 0) {
    return PathError(errno, "write into it", domain_path);
  }
  return fd;
}

}  // namespace muster
