// Notices a store that hangs: a disk that answers nothing leaves a server that looks healthy and stores nothing.
#ifndef MUSTER_SERVER_STORE_WATCH_H_
#define MUSTER_SERVER_STORE_WATCH_H_

#include <cstdint>
#include <functional>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "storage/base/clock.h"
#include "storage/base/mutex.h"
#include "storage/metadata/metadata_store.h"

namespace muster {

// A store that knows how long a write has taken so far. Thread-safe, but for Commit, which one thread calls.
class TimedStore final : public MetadataStore {
 public:
  struct Write {
    // How many came before it.
    uint64_t number = 0;
    // Zero where none is under way.
    absl::Duration age;
  };

  // Both outlive it.
  TimedStore(MetadataStore& store, Clock& clock) : store_(store), clock_(clock) {}

  Write write() const MUSTER_EXCLUDES(mutex_);

  Limits limits() const override { return store_.limits(); }
  absl::StatusOr<std::string> Get(absl::string_view key) override { return store_.Get(key); }
  absl::StatusOr<std::vector<Row>> Scan(absl::string_view begin, absl::string_view end,
                                        size_t limit) override {
    return store_.Scan(begin, end, limit);
  }
  absl::Status Commit(const MetadataBatch& batch) override MUSTER_EXCLUDES(mutex_);
  absl::Status CheckLeadership() override { return store_.CheckLeadership(); }
  absl::StatusOr<std::optional<int64_t>> FreeBytes() override { return store_.FreeBytes(); }

 private:
  MetadataStore& store_;
  Clock& clock_;
  mutable Mutex mutex_;
  bool writing_ MUSTER_GUARDED_BY(mutex_) = false;
  uint64_t number_ MUSTER_GUARDED_BY(mutex_) = 0;
  absl::Duration begin_ MUSTER_GUARDED_BY(mutex_);
};

// Looks at a TimedStore at a steady pace, and tells what it sees.
class StoreWatch {
 public:
  struct Options {
    absl::Duration slow = absl::Seconds(1);
    // Below the 10 s within which health is to show it.
    absl::Duration stuck = absl::Seconds(9);
    absl::Duration hopeless = absl::InfiniteDuration();
  };
  // Called by Look; none may block for long.
  struct Actions {
    // A write takes longer than `slow`. Once a write.
    std::function<void(absl::Duration age)> slow;
    // False once a write takes longer than `stuck`, true when it has ended.
    std::function<void(bool serving, absl::Duration age)> serving;
    // A write takes longer than `hopeless`. May end the process.
    std::function<void(absl::Duration age)> hopeless;
  };

  // The store outlives it.
  StoreWatch(const TimedStore& store, const Options& options, Actions actions);
  ~StoreWatch();
  StoreWatch(const StoreWatch&) = delete;
  StoreWatch& operator=(const StoreWatch&) = delete;

  // One look. By one thread: the caller's, or the one that Start makes.
  void Look();

  // Looks every `interval` on a thread of its own, until the object ends. Once.
  void Start(absl::Duration interval);

 private:
  void Run(absl::Duration interval);

  const TimedStore& store_;
  const Options options_;
  const Actions actions_;
  uint64_t slow_told_ = 0;
  bool serving_ = true;

  Mutex mutex_;
  CondVar stop_changed_;
  bool stopped_ MUSTER_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace muster

#endif  // MUSTER_SERVER_STORE_WATCH_H_
