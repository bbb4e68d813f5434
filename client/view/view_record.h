// What a version of a view is made of, on disk beside it.
#ifndef MUSTER_CLIENT_VIEW_VIEW_RECORD_H_
#define MUSTER_CLIENT_VIEW_VIEW_RECORD_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/cache/shard_cache.h"
#include "client/view/view_place.h"

namespace muster {

// How a view's files come from the cache. The first two are the cache's own files.
enum class ViewLinks { kHard, kSymlink, kCopy, kReflink };

// "hard", "symlink", "copy" or "reflink".
absl::string_view ViewLinksName(ViewLinks links);

struct ViewFile {
  // What `key` is to the file: another name of it, where a link leads, or nothing.
  enum class Kind { kHardLink, kSymlink, kWritten };

  // Relative to the version's directory, safe to be joined to it.
  std::string path;
  Kind kind = Kind::kWritten;
  // The cache entry that the file is or leads to; "" where it was written.
  std::string key;
  int64_t size_bytes = 0;
  // Of what is a file in the version's directory: how it was found when it was whole.
  std::string state;
};

struct ViewRecord {
  enum class State {
    // The directory is not there yet, or is an older one.
    kBuilding,
    // As recorded, but DIR may never have led to it.
    kBuilt,
    // DIR led to it once: where it leads from then on is for people to say.
    kShown,
  };

  // "models/{model}/versions/{version}".
  std::string model_version;
  // Equal for model versions of equal content.
  std::string content;
  // Of the cache that the entries are in; the path is absolute and without links.
  ShardCache::Place cache;
  ViewLinks links = ViewLinks::kHard;
  // Of some shards only.
  bool partial = false;
  State state = State::kBuilding;
  std::vector<ViewFile> files;

  int64_t SizeBytes() const;
  // Of the entries that the files are or lead to, each once.
  std::vector<std::string> Keys() const;
};

// Durable, and whole or not there.
absl::Status WriteViewRecord(const ViewPlace& place, absl::string_view version,
                             const ViewRecord& record);
// kNotFound: there is none. kDataLoss VIEW_RECORD_BROKEN: it can't be read.
absl::StatusOr<ViewRecord> ReadViewRecord(const ViewPlace& place, absl::string_view version);

// Where a symbolic link at `path` in a version of `place` leads to, for a cache entry.
std::string LinkTargetOf(const ViewPlace& place, absl::string_view version, absl::string_view path,
                         const ShardCache::Place& cache, absl::string_view key);

// Sets size and state of `file`, which lies below `directory`.
absl::Status NoteState(const std::string& directory, ViewFile& file);

// What becomes of the cache's bytes when a program writes to files of a view.
enum class ViewProtection {
  // Nothing: no file of the view is one of the cache.
  kOwnFiles,
  // Nothing: the kernel refuses it, for root, too (fs-verity).
  kSealed,
  // They change, and whoever watches or looks up the entry notices (CacheWatch, FindEntry).
  kWatched,
};
// "own", "sealed" or "watched".
absl::string_view ViewProtectionName(ViewProtection protection);
ViewProtection ProtectionOf(const ViewPlace& place, absl::string_view version,
                            const ViewRecord& record);

// OK when every file is as it was recorded, by its size, times and inode; reads no file. kDataLoss
// VIEW_BROKEN names the first one that is not.
absl::Status CheckViewFiles(const ViewPlace& place, absl::string_view version,
                            const ViewRecord& record);

}  // namespace muster

#endif  // MUSTER_CLIENT_VIEW_VIEW_RECORD_H_
