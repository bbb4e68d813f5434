// One file per owner, pins/MD5-OF-THE-OWNER: the line "owner NAME", then one key a line. Written
// beside its name, synced and renamed, so that it is always whole.
#include "client/cache/cache_pins.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "storage/base/md5.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

constexpr char kDirectory[] = "pins";
constexpr char kNewSuffix[] = ".new";
constexpr absl::string_view kOwnerWord = "owner ";

absl::StatusOr<UniqueFd> OpenPins(const CacheDomain& domain) {
  UniqueFd fd(openat(domain.dir.get(), kDirectory, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return PathError(errno, "open", domain.PathOf(kDirectory));
  return fd;
}

absl::StatusOr<UniqueFd> MakePins(const CacheDomain& domain) {
  if (mkdirat(domain.dir.get(), kDirectory, 0755) == 0) {
    if (fsync(domain.dir.get()) != 0) return PathError(errno, "sync", domain.path);
  } else if (errno != EEXIST) {
    return PathError(errno, "make", domain.PathOf(kDirectory));
  }
  return OpenPins(domain);
}

absl::StatusOr<CachePin> ReadPin(int pins, const std::string& name, const std::string& path) {
  const UniqueFd fd(openat(pins, name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat state {};
  if (!fd.valid() || fstat(fd.get(), &state) != 0) return PathError(errno, "read", path);
  std::string text(static_cast<size_t>(state.st_size), '\0');
  MUSTER_RETURN_IF_ERROR(ReadAt(fd.get(), path, 0, absl::MakeSpan(text)));
  CachePin pin;
  for (absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    if (absl::ConsumePrefix(&line, kOwnerWord)) {
      pin.owner = std::string(line);
    } else {
      pin.keys.emplace_back(line);
    }
  }
  if (pin.owner.empty()) {
    return absl::DataLossError(absl::StrCat(
        path,
        ": names no owner; remove this file if no assembly on this machine needs its shards"));
  }
  return pin;
}

}  // namespace

absl::Status WritePin(const CacheDomain& domain, const CachePin& pin) {
  MUSTER_ASSIGN_OR_RETURN(const UniqueFd pins, MakePins(domain));
  const std::string name = Md5ToHex(Md5Of(pin.owner));
  const std::string path = absl::StrCat(domain.PathOf(kDirectory), "/", name);
  if (pin.keys.empty()) {
    if (unlinkat(pins.get(), name.c_str(), 0) != 0) {
      return errno == ENOENT ? absl::OkStatus() : PathError(errno, "remove", path);
    }
  } else {
    const std::string fresh = name + kNewSuffix;
    const UniqueFd fd(openat(pins.get(), fresh.c_str(),
                             O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644));
    if (!fd.valid()) return PathError(errno, "write", path);
    MUSTER_RETURN_IF_ERROR(
        WriteAt(fd.get(), path, 0,
                absl::StrCat(kOwnerWord, pin.owner, "\n", absl::StrJoin(pin.keys, "\n"), "\n")));
    if (fsync(fd.get()) != 0) return PathError(errno, "sync", path);
    if (renameat(pins.get(), fresh.c_str(), pins.get(), name.c_str()) != 0) {
      return PathError(errno, "rename", path);
    }
  }
  return fsync(pins.get()) == 0 ? absl::OkStatus() : PathError(errno, "sync", path);
}

absl::StatusOr<std::vector<CachePin>> ReadPins(const CacheDomain& domain) {
  std::vector<CachePin> all;
  absl::StatusOr<UniqueFd> pins = OpenPins(domain);
  if (absl::IsNotFound(pins.status())) return all;
  MUSTER_RETURN_IF_ERROR(pins.status());
  const int list_fd = fcntl(pins->get(), F_DUPFD_CLOEXEC, 0);
  const std::unique_ptr<DIR, int (*)(DIR*)> list(list_fd < 0 ? nullptr : fdopendir(list_fd),
                                                 &closedir);
  if (list == nullptr) return PathError(errno, "list", domain.PathOf(kDirectory));
  while (const dirent* entry = readdir(list.get())) {
    const std::string name = entry->d_name;
    if (absl::StartsWith(name, ".") || absl::EndsWith(name, kNewSuffix)) continue;
    const std::string path = absl::StrCat(domain.PathOf(kDirectory), "/", name);
    absl::StatusOr<CachePin> pin = ReadPin(pins->get(), name, path);
    // Removed since it was listed.
    if (absl::IsNotFound(pin.status())) continue;
    MUSTER_RETURN_IF_ERROR(pin.status());
    all.push_back(*std::move(pin));
  }
  std::sort(all.begin(), all.end(),
            [](const CachePin& a, const CachePin& b) { return a.owner < b.owner; });
  return all;
}

}  // namespace muster
