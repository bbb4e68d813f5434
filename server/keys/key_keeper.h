// Looks after the master keys of a running server: takes over what was changed in their file, and wraps content keys anew
// that another master key than the current one wraps.
#ifndef MUSTER_SERVER_KEYS_KEY_KEEPER_H_
#define MUSTER_SERVER_KEYS_KEY_KEEPER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/commit/committer.h"
#include "server/keys/key_wrapper.h"
#include "storage/base/clock.h"
#include "storage/base/mutex.h"

namespace muster {

// Reads no shard and blocks no call: a look at 1,000 versions at a time, and commands for some keys at a time.
class KeyKeeper {
 public:
  struct Options {
    // Between two looks at the file.
    absl::Duration interval = absl::Seconds(1);
    // Of commands in one job.
    size_t keys_per_step = 64;
    // Between two lines about how far it is.
    absl::Duration progress_interval = absl::Seconds(10);
  };
  // Called by one thread.
  struct Observer {
    // The master keys are others now.
    std::function<void(const std::string& current_id, size_t count)> loaded;
    // They can't be; those before stay. Once for each state of the file.
    std::function<void(const absl::Status&)> refused;
    // Content keys that nobody can open: the master key that is lacking, and how many it wraps. Once each.
    std::function<void(const std::string& master_key_id, uint64_t content_keys)> missing;
    // How many keys are wrapped anew so far, and what is left; with `left` 0 it is done. `failed` could not be opened.
    std::function<void(uint64_t done, uint64_t left, uint64_t failed)> rewrapped;
  };

  // All outlive it.
  KeyKeeper(const Options& options, Clock& clock, Committer& committer, KeyWrapper& wrapper,
            Observer observer);
  ~KeyKeeper();
  KeyKeeper(const KeyKeeper&) = delete;
  KeyKeeper& operator=(const KeyKeeper&) = delete;

  // One look, and all that follows from it. By one thread: the caller's, or the one that Start makes. Another one runs
  // the committer meanwhile.
  void Look();

  // Looks at once and then at each interval, until the object ends. Once.
  void Start();

 private:
  using Counts = std::map<std::string, uint64_t>;
  // A content key that has to be wrapped anew.
  struct Due {
    VersionUid version;
    std::string uid_text;
    muster::store::WrappedKeyRow key;
  };
  struct Tally {
    uint64_t done = 0;
    uint64_t failed = 0;
  };

  Counts ReadCounts();
  void TellOfMissing(const Counts& counts);
  void RewrapAll(const Counts& counts);
  // From the version behind `cursor` on, which is moved; false at the end of them all.
  bool TakeDue(std::string& cursor, const std::string& current, std::vector<Due>& due);
  // False when the server stops.
  bool Rewrap(const std::vector<Due>& due, Tally& tally);
  // What is wrapped by another key than `current` that is there.
  uint64_t CountDue(const Counts& counts, const std::string& current);
  bool stopped() MUSTER_EXCLUDES(mutex_);
  void Run();

  const Options options_;
  Clock& clock_;
  Committer& committer_;
  KeyWrapper& wrapper_;
  const Observer observer_;
  // What was told.
  Counts told_missing_;
  // After a pass that left some: neither these nor the keys have changed since.
  Counts idle_counts_;
  bool idle_ = false;

  Mutex mutex_;
  CondVar stop_changed_;
  bool stopped_ MUSTER_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace muster

#endif  // MUSTER_SERVER_KEYS_KEY_KEEPER_H_
