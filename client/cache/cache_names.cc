#include "client/cache/cache_names.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/types/span.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// "models/", "/versions/", "/shards/", two names of 63 characters and an index have less.
constexpr int64_t kMaxNameBytes = 200;
constexpr int64_t kMaxNamesFileBytes = int64_t{kMaxNamesOfEntry} * kMaxNameBytes;

}  // namespace

std::vector<std::string> NamesOfEntry(const CacheDomain& domain, const std::string& key) {
  const std::string name = key + kNamesSuffix;
  const UniqueFd fd = domain.Open(name, O_RDONLY);
  struct stat state {};
  if (!fd.valid() || fstat(fd.get(), &state) != 0 || !S_ISREG(state.st_mode) ||
      state.st_size > kMaxNamesFileBytes) {
    return {};
  }
  std::string text(static_cast<size_t>(state.st_size), '\0');
  if (!ReadAt(fd.get(), domain.PathOf(name), 0, absl::MakeSpan(text)).ok()) return {};
  std::vector<std::string> names = absl::StrSplit(text, '\n', absl::SkipEmpty());
  std::erase_if(names, [](const std::string& one) { return !ParseShardName(one).ok(); });
  return names;
}

absl::Status KeepName(const CacheDomain& domain, const CheckedShard& shard) {
  if (!ParseShardName(shard.name()).ok()) return absl::OkStatus();
  const std::string key = shard.ContentKey();
  std::vector<std::string> names = NamesOfEntry(domain, key);
  if (std::find(names.begin(), names.end(), shard.name()) != names.end()) return absl::OkStatus();
  names.push_back(shard.name());
  if (names.size() > kMaxNamesOfEntry) names.erase(names.begin());
  const std::string name = key + kNamesSuffix;
  const std::string path = domain.PathOf(name);
  // For all who read the cache, as the entry is. A torn line is no name.
  const UniqueFd fd = domain.Open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (!fd.valid()) return PathError(errno, "write it", path);
  return WriteAt(fd.get(), path, 0, absl::StrCat(absl::StrJoin(names, "\n"), "\n"));
}

}  // namespace muster
