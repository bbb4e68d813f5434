// The rules of the ObjectStore interface that every backend enforces alike.
//
// The functions are pure. Messages begin with `uri`, the object's.
#ifndef MUSTER_STORAGE_OBJECT_OBJECT_RULES_H_
#define MUSTER_STORAGE_OBJECT_OBJECT_RULES_H_

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "storage/base/mutex.h"
#include "storage/object/object_store.h"

namespace muster {

// Names of files that are being written begin with this; they are not objects.
inline constexpr absl::string_view kTemporaryPrefix = ".muster-tmp-";

// An object's key is what a URI's path can say: not empty, no empty, "." or ".." segment, no slash
// at its end and no zero byte. kInvalidArgument.
absl::Status CheckObjectKey(absl::string_view uri, absl::string_view key);

// The same for List's prefix, which may also be empty and end anywhere.
absl::Status CheckObjectPrefix(absl::string_view uri, absl::string_view prefix);

// kInvalidArgument for a limit of 0.
absl::Status CheckListOptions(absl::string_view uri, const ObjectStore::ListOptions& options);

// kInvalidArgument for a negative size or a part size outside its bounds.
absl::Status CheckWriteOptions(absl::string_view uri, const ObjectStore::WriteOptions& options);

// kInvalidArgument for a negative offset, kOutOfRange when the object ends before the range does.
absl::Status CheckReadRange(absl::string_view uri, int64_t object_bytes, int64_t offset,
                            size_t bytes);

// kAborted unless `expected` is empty or equals `found`.
absl::Status CheckVersion(absl::string_view uri, absl::string_view expected,
                          absl::string_view found);

// Keeps account of which ranges of an object were written. Thread-safe. Its memory grows with the
// ranges that don't touch one another, never with the announced size.
class WriteTracker {
 public:
  WriteTracker(std::string uri, const ObjectStore::WriteOptions& options);

  // Reserves a range before its bytes are stored. kInvalidArgument: outside the announced size, not
  // on part boundaries, or overlapping another. Every OK is followed by one Finish of the same
  // range.
  absl::Status Begin(int64_t offset, size_t bytes);

  // Ends a range. One that failed to be stored may be written again.
  void Finish(int64_t offset, size_t bytes, bool stored);

  // Ends the writing; from then on, Begin and Close fail. kFailedPrecondition, leaving the tracker
  // open, while a range is missing or being written.
  absl::Status Close();

 private:
  // Whether [begin, end) meets a range of `ranges`, which maps begins to ends.
  static bool Meets(const std::map<int64_t, int64_t>& ranges, int64_t begin, int64_t end);

  const std::string uri_;
  const ObjectStore::WriteOptions options_;
  Mutex mutex_;
  bool closed_ MUSTER_GUARDED_BY(mutex_) = false;
  std::map<int64_t, int64_t> pending_ MUSTER_GUARDED_BY(mutex_);
  // Neighbours are merged.
  std::map<int64_t, int64_t> stored_ MUSTER_GUARDED_BY(mutex_);
};

}  // namespace muster

#endif  // MUSTER_STORAGE_OBJECT_OBJECT_RULES_H_
