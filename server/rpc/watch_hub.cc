// What waits for what
//
// - The committer publishes to the feed, whose listener only notes the keys (touched_) under
//   queue_mutex_ and returns: the committer never waits for a watch, nor for mutex_.
// - A hub thread takes touched_ and up to kPumpsAtOnce scheduled watches (TakeScheduled), turns
//   keys into their followers (Wake), and pumps what it took, with no lock held.
// - An entry is in scheduled_ at most once: `scheduled` is set when it is queued and cleared just
//   before the pump, so what happens during a pump queues it again.
// - The first thread ticks as well. A tick visits so many watches that all have been visited twice
//   in a progress interval, and queues those that are quiet; it also queues those that were put off
//   (later_).
//
// Lock order: mutex_ and queue_mutex_ are never held together.
#include "server/rpc/watch_hub.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"

namespace muster {
namespace {

constexpr absl::Duration kTick = absl::Milliseconds(100);
// A watch is found quiet when nothing was sent between this many visits.
constexpr int kVisitsPerInterval = 2;
constexpr size_t kPumpsAtOnce = 32;
// Two store readers take about a millisecond each.
constexpr size_t kMaxLogReads = 64;

absl::Status TooMany(size_t limit) {
  return WithDetail(
      absl::ResourceExhaustedError(
          absl::StrCat("the server is overloaded: ", limit, " watches are open already")),
      ErrorDetail{reasons::kTooManyWatches, {{"limit", absl::StrCat(limit)}}, absl::Seconds(1)});
}

}  // namespace

WatchHub::WatchHub(Clock& clock, Feed& feed, const Options& options)
    : clock_(clock),
      feed_(feed),
      watches_max_(options.watches_max),
      ticks_per_round_(
          std::max<int64_t>(1, options.progress_interval / kVisitsPerInterval / kTick)),
      next_tick_(clock.Monotonic() + kTick) {
  feed_.SetListener([this](const std::vector<FeedKey>& touched) {
    MutexLock lock(queue_mutex_);
    touched_.insert(touched.begin(), touched.end());
    queue_filled_.NotifyOne();
  });
  for (size_t i = 0; i < options.threads; ++i) {
    threads_.emplace_back([this, first = i == 0] { Run(first); });
  }
}

WatchHub::~WatchHub() {
  feed_.SetListener([](const std::vector<FeedKey>&) {});
  {
    MutexLock lock(queue_mutex_);
    stopped_ = true;
    queue_filled_.NotifyAll();
  }
  for (std::thread& thread : threads_) thread.join();
}

void WatchHub::Add(std::shared_ptr<Watch> watch) {
  auto entry = std::make_shared<Entry>();
  entry->watch = watch;
  absl::Status ended;
  {
    MutexLock lock(mutex_);
    ended = ended_.ok() && watches_.size() >= watches_max_ ? TooMany(watches_max_) : ended_;
    watches_[watch.get()] = entry;
    if (ended.ok()) round_.push_back(entry);
  }
  if (ended.ok()) {
    Enqueue({entry});
  } else {
    watch->End(ended);
  }
}

void WatchHub::Remove(Watch* watch) {
  // Destroyed after the lock is released.
  std::shared_ptr<Watch> last;
  MutexLock lock(mutex_);
  const auto found = watches_.find(watch);
  if (found == watches_.end()) return;
  const EntryPtr entry = found->second;
  watches_.erase(found);
  last = std::move(entry->watch);
  if (!entry->key.has_value()) return;
  const auto followers = followers_.find(*entry->key);
  followers->second.erase(entry);
  if (followers->second.empty()) followers_.erase(followers);
}

void WatchHub::Follow(Watch* watch, FeedKey key) {
  MutexLock lock(mutex_);
  const auto found = watches_.find(watch);
  if (found == watches_.end()) return;
  found->second->key = key;
  followers_[key].insert(found->second);
}

void WatchHub::Schedule(Watch* watch) {
  EntryPtr entry;
  {
    MutexLock lock(mutex_);
    const auto found = watches_.find(watch);
    if (found == watches_.end()) return;
    entry = found->second;
  }
  Enqueue({std::move(entry)});
}

void WatchHub::ScheduleAll() {
  std::vector<EntryPtr> entries;
  {
    MutexLock lock(mutex_);
    for (const auto& [watch, entry] : watches_) entries.push_back(entry);
  }
  if (!entries.empty()) Enqueue(entries);
}

void WatchHub::ScheduleLater(Watch* watch) {
  MutexLock lock(mutex_);
  const auto found = watches_.find(watch);
  if (found != watches_.end()) later_.push_back(found->second);
}

bool WatchHub::BeginLogRead() {
  if (++log_reads_ <= kMaxLogReads) return true;
  --log_reads_;
  return false;
}

void WatchHub::EndLogRead() { --log_reads_; }

void WatchHub::EndAll(const absl::Status& status) {
  std::vector<std::shared_ptr<Watch>> open;
  {
    MutexLock lock(mutex_);
    ended_ = status;
    for (const auto& [raw, entry] : watches_) open.push_back(entry->watch);
  }
  for (const auto& watch : open) watch->End(status);
}

void WatchHub::Enqueue(const std::vector<EntryPtr>& entries) {
  MutexLock lock(queue_mutex_);
  for (const EntryPtr& entry : entries) {
    if (!entry->scheduled.exchange(true)) scheduled_.push_back(entry);
  }
  queue_filled_.NotifyOne();
}

void WatchHub::Wake(const std::vector<FeedKey>& keys) {
  std::vector<EntryPtr> entries;
  {
    MutexLock lock(mutex_);
    for (const FeedKey& key : keys) {
      const auto followers = followers_.find(key);
      if (followers == followers_.end()) continue;
      entries.insert(entries.end(), followers->second.begin(), followers->second.end());
    }
  }
  if (!entries.empty()) Enqueue(entries);
}

void WatchHub::Tick() {
  std::vector<EntryPtr> entries;
  {
    MutexLock lock(mutex_);
    entries.swap(later_);
    size_t visits = round_.size() / ticks_per_round_ + 1;
    for (; visits > 0 && !round_.empty(); --visits) {
      EntryPtr entry = std::move(round_.front());
      round_.pop_front();
      if (entry->watch == nullptr) continue;
      if (entry->watch->IsQuiet()) entries.push_back(entry);
      round_.push_back(std::move(entry));
    }
  }
  if (!entries.empty()) Enqueue(entries);
}

std::vector<WatchHub::EntryPtr> WatchHub::TakeScheduled(bool ticks) {
  std::vector<EntryPtr> taken;
  std::vector<FeedKey> touched;
  bool tick = false;
  {
    MutexLock lock(queue_mutex_);
    while (scheduled_.empty() && touched_.empty() && !stopped_) {
      const absl::Duration left = next_tick_ - clock_.Monotonic();
      if (ticks && left <= absl::ZeroDuration()) break;
      if (ticks) {
        queue_filled_.WaitFor(queue_mutex_, left);
      } else {
        queue_filled_.Wait(queue_mutex_);
      }
    }
    if (ticks && next_tick_ <= clock_.Monotonic()) {
      tick = true;
      next_tick_ = clock_.Monotonic() + kTick;
    }
    touched.assign(touched_.begin(), touched_.end());
    touched_.clear();
    while (!scheduled_.empty() && taken.size() < kPumpsAtOnce) {
      taken.push_back(std::move(scheduled_.front()));
      scheduled_.pop_front();
    }
    if (!scheduled_.empty()) queue_filled_.NotifyOne();
  }
  if (!touched.empty()) Wake(touched);
  if (tick) Tick();
  return taken;
}

void WatchHub::Run(bool ticks) {
  while (true) {
    for (const EntryPtr& entry : TakeScheduled(ticks)) {
      std::shared_ptr<Watch> watch;
      {
        MutexLock lock(mutex_);
        watch = entry->watch;
      }
      // Before the pump, so that what happens during it is not missed.
      entry->scheduled = false;
      if (watch != nullptr) watch->Pump();
    }
    MutexLock lock(queue_mutex_);
    if (stopped_ && scheduled_.empty()) return;
  }
}

}  // namespace muster
