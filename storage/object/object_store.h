// Access to stored bytes, where shards and companions live.
#ifndef MUSTER_STORAGE_OBJECT_OBJECT_STORE_H_
#define MUSTER_STORAGE_OBJECT_OBJECT_STORE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace muster {

class RateLimit;
class TransferPace;

struct ObjectInfo {
  int64_t size_bytes = 0;
  // Opaque; differs once the content was replaced. "" where the backend has nothing of the kind.
  std::string version;
};

// One object being written. Used by one thread at a time, except Write, which may run in several
// at once.
//
// Nothing is visible under the key before Commit has returned OK. Destroying an uncommitted writer
// discards what was written.
class ObjectWriter {
 public:
  virtual ~ObjectWriter() = default;

  // Stores `bytes` at `offset`. The written ranges don't overlap; each but the last is a whole
  // number of WriteOptions::part_size_bytes and starts at a multiple of it. Ranges may come in any
  // order. kResourceExhausted: the storage is full.
  virtual absl::Status Write(int64_t offset, absl::string_view bytes) = 0;

  // Makes the object visible and durable. kFailedPrecondition unless exactly the announced size was
  // written; kAlreadyExists if `must_not_exist` was asked for and the object is there.
  virtual absl::StatusOr<ObjectInfo> Commit() = 0;
};

// One file system, bucket or name service. Thread-safe; calls block.
//
// kNotFound: no such object. kPermissionDenied, kUnauthenticated: not allowed. kUnavailable: a retry
// may succeed. kDeadlineExceeded: so slow that it was given up; a retry may succeed. kDataLoss: the
// server answered something other than what it was asked for. kResourceExhausted: the storage is
// full, or this process has too many files open. kUnimplemented: the backend can't do this (a
// read-only one, say). Every message names the object by its URI.
//
// A backend over a network tries again by itself, for a bounded time, before it returns
// kUnavailable. A call that takes a stop token returns kCancelled soon after it was requested.
class ObjectStore {
 public:
  struct ReadOptions {
    // Fail with kAborted when the object's version is not this one; "" means any.
    std::string if_version = {};
    // After a stop `out` holds anything, and nothing writes to it any more.
    std::stop_token stop = {};
    // Every byte is taken from it as it arrives; outlives the read. Null: no bound.
    RateLimit* limit = nullptr;
    // Says when a read over a network is too slow to be waited for; outlives the read. Null: never.
    TransferPace* pace = nullptr;
  };
  struct WriteOptions {
    // Size of the whole object; known before the first byte.
    int64_t size_bytes = 0;
    // From 1 MiB to 64 MiB; see ObjectWriter::Write.
    int64_t part_size_bytes = int64_t{8} << 20;
    // Refuse to replace an object that is there.
    bool must_not_exist = false;
  };
  struct ListOptions {
    // List what comes after this key; "" means from the start.
    std::string after;
    // At least 1.
    size_t limit = 1000;
  };
  struct ListedObject {
    std::string key;
    int64_t size_bytes = 0;
  };

  virtual ~ObjectStore() = default;

  virtual absl::StatusOr<ObjectInfo> Stat(absl::string_view key, const std::stop_token& stop) = 0;

  // Fills all of `out` from `offset`. kOutOfRange when the object ends before that. After an error
  // `out` holds anything.
  virtual absl::Status Read(absl::string_view key, int64_t offset, absl::Span<char> out,
                            const ReadOptions& options) = 0;

  // Starts a streamed write.
  virtual absl::StatusOr<std::unique_ptr<ObjectWriter>> Create(absl::string_view key,
                                                               const WriteOptions& options) = 0;

  // Stores a whole object, or nothing at all; options.size_bytes is ignored.
  virtual absl::StatusOr<ObjectInfo> Put(absl::string_view key, absl::string_view bytes,
                                         const WriteOptions& options) = 0;

  // Objects whose key begins with `prefix`, in key order (unsigned bytes); fewer than `limit` only
  // at the end.
  virtual absl::StatusOr<std::vector<ListedObject>> List(absl::string_view prefix,
                                                         const ListOptions& options) = 0;

  // OK too when there is no such object.
  virtual absl::Status Delete(absl::string_view key) = 0;
};

}  // namespace muster

#endif  // MUSTER_STORAGE_OBJECT_OBJECT_STORE_H_
