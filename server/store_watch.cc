#include "server/store_watch.h"

#include <utility>

namespace muster {

TimedStore::Write TimedStore::write() const {
  MutexLock lock(mutex_);
  return Write{number_, writing_ ? clock_.Monotonic() - begin_ : absl::ZeroDuration()};
}

absl::Status TimedStore::Commit(const MetadataBatch& batch) {
  {
    MutexLock lock(mutex_);
    writing_ = true;
    ++number_;
    begin_ = clock_.Monotonic();
  }
  absl::Status status = store_.Commit(batch);
  MutexLock lock(mutex_);
  writing_ = false;
  return status;
}

StoreWatch::StoreWatch(const TimedStore& store, const Options& options, Actions actions)
    : store_(store), options_(options), actions_(std::move(actions)) {}

StoreWatch::~StoreWatch() {
  {
    MutexLock lock(mutex_);
    stopped_ = true;
    stop_changed_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
}

void StoreWatch::Look() {
  const TimedStore::Write write = store_.write();
  if (write.age > options_.slow && slow_told_ != write.number) {
    slow_told_ = write.number;
    actions_.slow(write.age);
  }
  const bool serving = write.age <= options_.stuck;
  if (serving != serving_) {
    serving_ = serving;
    actions_.serving(serving, write.age);
  }
  if (write.age > options_.hopeless) actions_.hopeless(write.age);
}

void StoreWatch::Start(absl::Duration interval) {
  thread_ = std::thread([this, interval] { Run(interval); });
}

void StoreWatch::Run(absl::Duration interval) {
  while (true) {
    Look();
    MutexLock lock(mutex_);
    if (!stopped_) stop_changed_.WaitFor(mutex_, interval);
    if (stopped_) return;
  }
}

}  // namespace muster
