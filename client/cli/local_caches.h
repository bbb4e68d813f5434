// The caches on this machine that a command reads from.
#ifndef MUSTER_CLIENT_CLI_LOCAL_CACHES_H_
#define MUSTER_CLIENT_CLI_LOCAL_CACHES_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cache/shard_cache.h"
#include "client/encoding/key_source.h"

namespace muster {

// A value that can be moved, not copied.
class LocalCaches {
 public:
  // Opens `domain` of directories that must be there already: reading makes no cache. `keys`, which may
  // be null, give access to what encrypted shards hold. kNotFound otherwise, and the errors of
  // ShardCache::Open.
  static absl::StatusOr<LocalCaches> Open(const std::vector<std::string>& paths,
                                          const std::string& domain,
                                          std::shared_ptr<KeySource> keys = nullptr);

  std::vector<ShardCache*> pointers() const;

 private:
  std::vector<std::unique_ptr<ShardCache>> caches_;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_LOCAL_CACHES_H_
