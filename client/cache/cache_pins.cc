// One file per owner, pins/MD5-OF-THE-OWNER: the line "sum MD5" of all that follows, the line "owner
// NAME", where it is known the line "uid UID" of an assembly, then one key a line; an earlier build takes the uid for
// a key that no entry has. Written beside its name, synced and renamed, so that it is always whole;
// what a disk does to it later must not let go of an entry, and shows. Earlier builds wrote no sum.
#include "client/cache/cache_pins.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "storage/base/md5.h"
#include "storage/base/status_macros.h"
#include "storage/files/staged_file.h"

namespace muster {
namespace {

constexpr char kDirectory[] = "pins";
constexpr char kNewSuffix[] = ".new";
constexpr absl::string_view kSumWord = "sum ";
constexpr absl::string_view kOwnerWord = "owner ";
constexpr absl::string_view kUidWord = "uid ";

// Something else in its place does not count as no pins: then nothing would be kept.
constexpr ErrnoCode kNotADirectory[] = {{ENOTDIR, absl::StatusCode::kFailedPrecondition}};

absl::StatusOr<UniqueFd> OpenPins(const CacheDomain& domain) {
  UniqueFd fd(openat(domain.dir.get(), kDirectory, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return PathError(errno, "open it", domain.PathOf(kDirectory), kNotADirectory);
  return fd;
}

std::optional<CachePin> ParsePin(absl::string_view text) {
  if (absl::ConsumePrefix(&text, kSumWord)) {
    const size_t line_end = text.find('\n');
    if (line_end == absl::string_view::npos) return std::nullopt;
    const absl::string_view sum = text.substr(0, line_end);
    text.remove_prefix(line_end + 1);
    if (sum != Md5ToHex(Md5Of(text))) return std::nullopt;
  }
  CachePin pin;
  if (!absl::ConsumePrefix(&text, kOwnerWord)) return std::nullopt;
  for (absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    if (pin.owner.empty()) {
      pin.owner = std::string(line);
    } else if (absl::ConsumePrefix(&line, kUidWord)) {
      pin.uid = std::string(line);
    } else {
      pin.keys.emplace_back(line);
    }
  }
  if (pin.owner.empty()) return std::nullopt;
  return pin;
}

absl::StatusOr<CachePin> ReadPin(int pins, const std::string& name, const std::string& path) {
  const UniqueFd fd(openat(pins, name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!fd.valid()) return PathError(errno, "read it", path);
  MUSTER_ASSIGN_OR_RETURN(const struct stat state, StatOf(fd.get(), path));
  std::string text(static_cast<size_t>(state.st_size), '\0');
  MUSTER_RETURN_IF_ERROR(ReadAt(fd.get(), path, 0, absl::MakeSpan(text)));
  std::optional<CachePin> pin = ParsePin(text);
  if (pin.has_value() && Md5ToHex(Md5Of(pin->owner)) == name) return *std::move(pin);
  return absl::DataLossError(
      absl::StrCat(path,
                   ": is damaged, so nothing may be evicted; its owner writes it again when it "
                   "starts. Remove this "
                   "file if no assembly and no view on this machine needs its shards"));
}

}  // namespace

absl::Status WritePin(const CacheDomain& domain, const CachePin& pin) {
  MUSTER_ASSIGN_OR_RETURN(const UniqueFd pins, MakeDirectoryAt(domain.dir.get(), kDirectory,
                                                               domain.PathOf(kDirectory), 0755));
  const std::string name = Md5ToHex(Md5Of(pin.owner));
  const std::string path = absl::StrCat(domain.PathOf(kDirectory), "/", name);
  if (!pin.keys.empty()) {
    // One that says the same needs no room on the disk. The process that wrote it may have died before its name was
    // durable.
    const absl::StatusOr<CachePin> present = ReadPin(pins.get(), name, path);
    if (present.ok() && present->owner == pin.owner && present->keys == pin.keys &&
        present->uid == pin.uid) {
      return SyncDirectory(pins.get(), path);
    }
    const std::string text = absl::StrCat(
        kOwnerWord, pin.owner, "\n", pin.uid.empty() ? "" : absl::StrCat(kUidWord, pin.uid, "\n"),
        absl::StrJoin(pin.keys, "\n"), "\n");
    return WriteWholeFileAt(pins.get(), name,
                            absl::StrCat(kSumWord, Md5ToHex(Md5Of(text)), "\n", text),
                            name + kNewSuffix, path);
  }
  if (unlinkat(pins.get(), name.c_str(), 0) != 0) {
    return errno == ENOENT ? absl::OkStatus() : PathError(errno, "remove it", path);
  }
  return SyncDirectory(pins.get(), path);
}

absl::StatusOr<bool> EndPin(const CacheDomain& domain, const std::string& owner,
                            const std::string& uid) {
  const absl::StatusOr<UniqueFd> pins = OpenPins(domain);
  if (absl::IsNotFound(pins.status())) return false;
  MUSTER_RETURN_IF_ERROR(pins.status());
  const std::string name = Md5ToHex(Md5Of(owner));
  const absl::StatusOr<CachePin> present =
      ReadPin(pins->get(), name, absl::StrCat(domain.PathOf(kDirectory), "/", name));
  if (absl::IsNotFound(present.status())) return false;
  MUSTER_RETURN_IF_ERROR(present.status());
  // It was written since, for another assembly.
  if (present->uid != uid) return false;
  MUSTER_RETURN_IF_ERROR(WritePin(domain, {owner, {}}));
  return true;
}

absl::StatusOr<std::vector<CachePin>> ReadPins(const CacheDomain& domain) {
  std::vector<CachePin> all;
  absl::StatusOr<UniqueFd> pins = OpenPins(domain);
  if (absl::IsNotFound(pins.status())) return all;
  MUSTER_RETURN_IF_ERROR(pins.status());
  const std::string directory = domain.PathOf(kDirectory);
  MUSTER_RETURN_IF_ERROR(ForEachName(pins->get(), directory, [&](const std::string& name) {
    if (absl::StartsWith(name, ".") || absl::EndsWith(name, kNewSuffix)) return absl::OkStatus();
    absl::StatusOr<CachePin> pin = ReadPin(pins->get(), name, absl::StrCat(directory, "/", name));
    // Removed since it was listed.
    if (absl::IsNotFound(pin.status())) return absl::OkStatus();
    if (pin.ok()) all.push_back(*std::move(pin));
    return pin.status();
  }));
  std::sort(all.begin(), all.end(),
            [](const CachePin& a, const CachePin& b) { return a.owner < b.owner; });
  return all;
}

}  // namespace muster
