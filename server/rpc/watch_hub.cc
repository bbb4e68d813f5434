#include "server/rpc/watch_hub.h"

#include <utility>
#include <vector>

namespace muster {

WatchHub::WatchHub() : thread_([this] { Run(); }) {}

WatchHub::~WatchHub() {
  {
    MutexLock lock(mutex_);
    stopped_ = true;
    changed_.NotifyAll();
  }
  thread_.join();
}

void WatchHub::Add(std::shared_ptr<Watch> watch) {
  Watch* const raw = watch.get();
  absl::Status ended;
  {
    MutexLock lock(mutex_);
    watches_[raw].watch = watch;
    ended = ended_;
  }
  if (ended.ok()) {
    Schedule(raw);
  } else {
    raw->End(ended);
  }
}

void WatchHub::Remove(Watch* watch) {
  // Destroyed after the lock is released.
  std::shared_ptr<Watch> last;
  MutexLock lock(mutex_);
  const auto found = watches_.find(watch);
  if (found == watches_.end()) return;
  last = std::move(found->second.watch);
  watches_.erase(found);
}

void WatchHub::Schedule(Watch* watch) {
  MutexLock lock(mutex_);
  const auto found = watches_.find(watch);
  if (found == watches_.end() || found->second.scheduled) return;
  found->second.scheduled = true;
  scheduled_.push_back(watch);
  changed_.NotifyOne();
}

void WatchHub::EndAll(const absl::Status& status) {
  std::vector<std::shared_ptr<Watch>> open;
  {
    MutexLock lock(mutex_);
    ended_ = status;
    for (const auto& [raw, entry] : watches_) open.push_back(entry.watch);
  }
  for (const auto& watch : open) watch->End(status);
}

void WatchHub::Run() {
  while (true) {
    std::shared_ptr<Watch> next;
    {
      MutexLock lock(mutex_);
      while (scheduled_.empty() && !stopped_) changed_.Wait(mutex_);
      if (scheduled_.empty()) return;
      const auto found = watches_.find(scheduled_.front());
      scheduled_.pop_front();
      // Removed meanwhile, or removed and another one made at its address, which is scheduled by
      // itself.
      if (found == watches_.end() || !found->second.scheduled) continue;
      found->second.scheduled = false;
      next = found->second.watch;
    }
    next->Pump();
  }
}

}  // namespace muster
