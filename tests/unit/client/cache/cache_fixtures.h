// What the tests of client/transfer share: shards made of given bytes, and a store that fails on
// command.
#ifndef MUSTER_TESTS_UNIT_CLIENT_CACHE_CACHE_FIXTURES_H_
#define MUSTER_TESTS_UNIT_CLIENT_CACHE_CACHE_FIXTURES_H_

#include <cstdint>
#include <functional>
#include <map>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "client/cache/checked_shard.h"
#include "storage/base/mutex.h"
#include "storage/object/object_store.h"
#include "storage/object/object_store_registry.h"
#include "tests/support/await.h"

namespace muster {

inline constexpr int64_t kMiB = int64_t{1} << 20;

// Bytes that differ from piece to piece and from seed to seed.
std::string TestBytes(int64_t size, uint64_t seed);

// A shard with pieces of 1 MiB, at the given locations in their order: each has a priority of its own.
PullShard ShardWithPieces(const std::string& bytes, const std::vector<std::string>& uris);
// A shard with a whole MD5 only.
PullShard ShardWithoutPieces(const std::string& bytes, const std::vector<std::string>& uris);

// A directory that goes with the object.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// The names in a directory, in order.
std::vector<std::string> NamesIn(const std::string& path);
std::string ContentOf(const std::string& path);

// Objects in memory behind scheme "fake", keyed by "authority/path". Thread-safe.
class ScriptedStore {
 public:
  struct ReadCall {
    std::string key;
    int64_t offset = 0;
    int64_t length = 0;
    std::stop_token stop = {};
  };
  // Runs before a read takes the object's bytes; an error becomes the read's.
  using Hook = std::function<absl::Status(const ReadCall& call)>;

  explicit ScriptedStore(ObjectStoreRegistry& stores);

  // Replaces the object; its version changes.
  void Set(const std::string& key, const std::string& bytes);
  // Changes a byte and leaves the version, as a bad disk does.
  void FlipByte(const std::string& key, int64_t offset);
  void Erase(const std::string& key);
  void OnRead(Hook hook);
  void FailStat(const std::string& key, const absl::Status& status);

  // Reads that returned OK, in order.
  std::vector<ReadCall> reads() const;
  // Their number per key.
  int reads_of(const std::string& key) const;

 private:
  class Store;
  struct Object {
    std::string bytes;
    int version = 0;
  };
  absl::StatusOr<ObjectInfo> Stat(const std::string& key);
  absl::Status Read(const ReadCall& call, absl::Span<char> out, const std::string& version);

  mutable Mutex mutex_;
  std::map<std::string, Object> objects_ MUSTER_GUARDED_BY(mutex_);
  std::map<std::string, absl::Status> stat_errors_ MUSTER_GUARDED_BY(mutex_);
  std::vector<ReadCall> reads_ MUSTER_GUARDED_BY(mutex_);
  int versions_ MUSTER_GUARDED_BY(mutex_) = 0;
  Hook hook_ MUSTER_GUARDED_BY(mutex_);
};

// Opened once; threads wait for it, and fail the test when it does not open.
class Gate {
 public:
  void Open();
  // `what` names what opens it.
  void Wait(absl::string_view what, AwaitCaller caller = {__builtin_FILE(), __builtin_LINE()});

 private:
  Mutex mutex_;
  CondVar opened_;
  bool open_ MUSTER_GUARDED_BY(mutex_) = false;
};

}  // namespace muster

#endif  // MUSTER_TESTS_UNIT_CLIENT_CACHE_CACHE_FIXTURES_H_
