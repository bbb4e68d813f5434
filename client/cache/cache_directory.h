// Makes and recognises the directories that a shard cache may use.
#ifndef MUSTER_CLIENT_CACHE_CACHE_DIRECTORY_H_
#define MUSTER_CLIENT_CACHE_CACHE_DIRECTORY_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/files/posix_file.h"

namespace muster {

// Opens sub-folder `domain` of the cache directory `path`, making both where they are missing.
//
// A directory is taken when it carries our marker or is empty (lost+found aside); it then gets the
// marker, so that nothing is ever deleted from a directory that is not ours. kFailedPrecondition:
// not a directory, other content, or a newer format; kPermissionDenied: not writable;
// kInvalidArgument: `domain` breaks the rule for names; kFailedPrecondition CACHE_ON_NETWORK: a
// network file system, without `allow_network`.
absl::StatusOr<UniqueFd> OpenCacheDomain(const std::string& path, const std::string& domain,
                                         bool allow_network);

// The name of the network file system whose statfs magic is `type`; "" for a local one. What runs
// over FUSE counts as a network: the magic number does not say what lies below.
absl::string_view NetworkFileSystemName(int64_t type);

}  // namespace muster

#endif  // MUSTER_CLIENT_CACHE_CACHE_DIRECTORY_H_
