// A small file beside RocksDB's that says up to where a store was acknowledged, so that what is cut
// off, emptied or removed is missed.
#ifndef MUSTER_STORAGE_METADATA_WITNESS_H_
#define MUSTER_STORAGE_METADATA_WITNESS_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/base/mutex.h"
#include "storage/files/unique_fd.h"

namespace muster {

// The file's name in the data directory.
inline constexpr absl::string_view kWitnessFile = "WITNESS";

// What was durable when it was witnessed; more may be by now, never less.
struct Witnessed {
  // RocksDB's number of the last operation.
  uint64_t sequence = 0;
  // What the caller called that state: MetadataBatch::revision.
  uint64_t revision = 0;
  // The file that names the tables: its number, and how much of it was there.
  uint64_t manifest = 0;
  uint64_t manifest_bytes = 0;
};

// Written in place and never synced, except when it is made: a process that dies leaves it in the page
// cache, and after a power loss it may be older than the store, which is as good as no witness for
// those last seconds. Newer than the store it is never, because each state is durable before it is
// witnessed. Thread-safe.
class Witness {
 public:
  // What the file in `directory` says; nullopt: there is none. kDataLoss: it can't be read.
  static absl::StatusOr<std::optional<Witnessed>> Read(const std::string& directory);

  // Makes the file, or replaces it, durably. What is witnessed from then on goes into it.
  static absl::StatusOr<std::unique_ptr<Witness>> Make(const std::string& directory,
                                                       const Witnessed& state);

  // The operations up to `sequence` are durable.
  absl::Status NoteBatch(uint64_t sequence, uint64_t revision);

  // That much of the MANIFEST is durable.
  absl::Status NoteManifest(uint64_t number, uint64_t bytes);

 private:
  Witness(UniqueFd fd, std::string path, const Witnessed& state)
      : fd_(std::move(fd)), path_(std::move(path)), state_(state) {}

  absl::Status Write() MUSTER_REQUIRES(mutex_);

  const UniqueFd fd_;
  const std::string path_;
  Mutex mutex_;
  Witnessed state_ MUSTER_GUARDED_BY(mutex_);
  // Two slots are written in turn, so that one is whole whenever the power fails.
  int slot_ MUSTER_GUARDED_BY(mutex_) = 0;
};

}  // namespace muster

#endif  // MUSTER_STORAGE_METADATA_WITNESS_H_
