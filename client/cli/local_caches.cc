#include "client/cli/local_caches.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/status_macros.h"

namespace muster {

absl::StatusOr<LocalCaches> LocalCaches::Open(const std::vector<std::string>& paths,
                                              const std::string& domain,
                                              std::shared_ptr<KeySource> keys) {
  LocalCaches result;
  ShardCache::Options options;
  options.domain = domain;
  options.keys = std::move(keys);
  // Whoever made the cache has decided where it may be.
  options.allow_network = true;
  for (const std::string& path : paths) {
    std::error_code error;
    if (!std::filesystem::is_directory(path, error)) {
      return absl::NotFoundError(
          absl::StrCat("cache ", path, ": no such directory; name the --cache of an agent"));
    }
    MUSTER_ASSIGN_OR_RETURN(std::unique_ptr<ShardCache> cache, ShardCache::Open(path, options));
    result.caches_.push_back(std::move(cache));
  }
  return result;
}

std::vector<ShardCache*> LocalCaches::pointers() const {
  std::vector<ShardCache*> pointers;
  for (const auto& cache : caches_) pointers.push_back(cache.get());
  return pointers;
}

}  // namespace muster
