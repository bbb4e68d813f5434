#include "client/assemble/kept_companions.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "client/cache/piece_sink.h"
#include "storage/base/md5.h"
#include "storage/base/status_macros.h"
#include "storage/files/directories.h"
#include "storage/files/posix_file.h"
#include "storage/files/staged_file.h"

namespace muster {
namespace {

// The catalogue may say anything; a name of a file is only made of an MD5.
bool HasMd5(const v1::Companion& companion) { return Md5FromHex(companion.md5()).ok(); }

// The smaller ones first, as far as the bound allows.
std::vector<v1::Companion> WorthKeeping(std::vector<v1::Companion> companions) {
  std::sort(companions.begin(), companions.end(),
            [](const auto& a, const auto& b) { return a.size_bytes() < b.size_bytes(); });
  uint64_t bytes = 0;
  const auto end = std::find_if(companions.begin(), companions.end(), [&](const auto& companion) {
    bytes += std::min<uint64_t>(companion.size_bytes(), kMaxKeptCompanionBytes + 1);
    return bytes > static_cast<uint64_t>(kMaxKeptCompanionBytes);
  });
  companions.erase(end, companions.end());
  // An empty one needs no storage.
  std::erase_if(companions, [](const auto& companion) {
    return companion.size_bytes() == 0 || !HasMd5(companion);
  });
  return companions;
}

}  // namespace

std::string KeptCompanions::PathOf(const v1::Companion& companion) const {
  return absl::StrCat(folder_, "/", companion.md5());
}

absl::Status KeptCompanions::Keep(ShardCopier& copier, const std::vector<v1::Companion>& companions,
                                  const std::stop_token& stop) const {
  for (const v1::Companion& companion : WorthKeeping(companions)) {
    if (BytesOf(companion).has_value()) continue;
    MUSTER_ASSIGN_OR_RETURN(const auto sink,
                            MemorySink::Make(static_cast<int64_t>(companion.size_bytes())));
    MUSTER_RETURN_IF_ERROR(copier.CopyCompanion(companion, *sink, stop));
    const auto bytes = sink->Take();
    MUSTER_RETURN_IF_ERROR(
        MakeDirectories(folder_, folder_, {.mode = 0700, .parent_mode = 0755}).status());
    MUSTER_RETURN_IF_ERROR(
        WriteWholeFile(PathOf(companion), absl::string_view(bytes.get(), companion.size_bytes())));
  }
  return absl::OkStatus();
}

void KeptCompanions::RemoveOthers(const std::set<std::string>& md5s) const {
  const UniqueFd folder(open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.valid()) return;
  std::vector<std::string> others;
  ForEachName(folder.get(), folder_, [&](const std::string& name) {
    // Another one may be written just now.
    if (Md5FromHex(name).ok() && !md5s.contains(name)) others.push_back(name);
    return absl::OkStatus();
  }).IgnoreError();
  for (const std::string& name : others) unlinkat(folder.get(), name.c_str(), 0);
}

std::optional<std::string> KeptCompanions::BytesOf(const v1::Companion& companion) const {
  if (!HasMd5(companion) ||
      companion.size_bytes() > static_cast<uint64_t>(kMaxKeptCompanionBytes)) {
    return std::nullopt;
  }
  const std::string path = PathOf(companion);
  const absl::StatusOr<OpenedFile> file = OpenRegularFile(path, path);
  if (!file.ok()) return std::nullopt;
  const auto found = StatOf(file->fd.get(), path);
  if (!found.ok() || static_cast<uint64_t>(found->st_size) != companion.size_bytes()) {
    return std::nullopt;
  }
  std::string bytes(companion.size_bytes(), '\0');
  if (!ReadAt(file->fd.get(), path, 0, absl::MakeSpan(bytes)).ok()) return std::nullopt;
  if (Md5ToHex(Md5Of(bytes)) != companion.md5()) return std::nullopt;
  return bytes;
}

}  // namespace muster
