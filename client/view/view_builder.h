// Makes a directory that an unchanged serving engine opens, from what a cache holds.
#ifndef MUSTER_CLIENT_VIEW_VIEW_BUILDER_H_
#define MUSTER_CLIENT_VIEW_VIEW_BUILDER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/assemble/kept_companions.h"
#include "client/cache/shard_cache.h"
#include "client/sdk/client.h"
#include "client/transfer/puller.h"
#include "client/view/view_record.h"

namespace muster {

struct ViewOptions {
  // "models/{model}/versions/{version}".
  std::string model_version;
  // DIR; see view_place.h.
  std::string directory;
  // Unset: hard links where the cache and the view share a file system, else symbolic ones.
  std::optional<ViewLinks> links;
  // Set: a view of these shards alone, whose index lists only what they hold. Unset: of all.
  std::optional<std::vector<uint32_t>> only_shards;
  // Show files that engines may run, too; see CheckNoCode.
  bool allow_code = false;
  // Permission bits of files, the cache's entries included; directories have 0755. Unset: entries stay
  // as they are, and other files have 0444, or 0440 with content of encrypted shards.
  std::optional<uint32_t> file_mode;
  // Asked before the locations of the model's small files.
  std::vector<KeptCompanions> kept_companions;
  std::stop_token stop;
  // Gets one sentence per thing that went wrong and was made good; may be empty. From any thread.
  std::function<void(const std::string& warning)> warn;
};

struct ViewSummary {
  // What engines open, and the version's own directory.
  std::string path = {};
  std::string version_path = {};
  // It was there already, and whole.
  bool kept = false;
  // DIR leads to it now.
  bool current = false;
  ViewLinks links = ViewLinks::kHard;
  size_t files = 0;
  int64_t size_bytes = 0;
};

// Makes the version's directory in DIR.d and lets DIR lead to it. One that is there and whole is kept
// as it is, and DIR is left to lead where it leads once it has led to it: an upgrade or a rollback by
// hand stands. One that is not whole is made again and takes the old one's place in one step. After
// an error nothing of it is left, and an older one stays as it was. The view pins the cache entries
// that it links, until RemoveViewVersions. Shards that are not a whole file, as `raw` cuts them,
// are copied into theirs: as shared extents where the file system can. Blocks; waits for another
// process that changes the view.
//
// kFailedPrecondition VIEW_INCOMPLETE: the cache lacks shards, metadata `shards`. CACHE_KEEPS_STORED: it has
// them only encoded. VIEW_LINKS_IMPOSSIBLE:
// the links that were asked for. VIEW_VERSION_DIFFERS: the view has another model version of this name.
// kPermissionDenied CODE_NOT_ALLOWED.
// VIEW_NOT_OURS, VIEW_AT_MOUNT_POINT: see ViewPlace. VERSION_NOT_COMMITTED. kInvalidArgument UNSAFE_PATH:
// the server names files outside of the directory. kResourceExhausted: the disk is full. kDataLoss: the
// catalogue contradicts what is there. kCancelled. Or the server's errors.
absl::StatusOr<ViewSummary> BuildView(Client& client, Puller& puller, ShardCache& cache,
                                      const ViewOptions& options);

}  // namespace muster

#endif  // MUSTER_CLIENT_VIEW_VIEW_BUILDER_H_
