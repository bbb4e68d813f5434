// How threads share the work:
//
// 1. A call puts its items into the queue. While some are unfinished, its thread hashes if a hasher is
//    missing, and sleeps otherwise.
// 2. A hasher takes as many items as its lanes hold, advances each by a slice, and puts back what is
//    not finished. So a latecomer joins after a slice, whoever is done leaves, and another thread
//    can take over.
// 3. Below the break-even lanes are slower than hashing one by one, so every item may have a thread.
//    Above it a second thread starts when half of its lanes would have work.
// 4. Whoever takes items, or leaves, wakes a sleeper if a hasher is missing then.
#include "client/hash/hash_queue.h"

#include <algorithm>

namespace muster {
namespace {

// Long enough that what a slice costs besides (a lock, uneven ends of lanes) is some percent; short
// enough that a newcomer waits a few milliseconds at most.
constexpr size_t kSliceBytes = size_t{1} << 20;

size_t DivideUp(size_t value, size_t by) { return (value + by - 1) / by; }

}  // namespace

void HashQueue::Update(absl::Span<const Part> parts) {
  Call call;
  MutexLock lock(mutex_);
  for (const Part& part : parts) {
    if (part.bytes.empty()) continue;
    waiting_.push_back({part.stream, part.bytes, &call});
    ++call.parts_left;
  }
  while (call.parts_left > 0) {
    if (IsHasherMissing()) {
      HashSlices();
      continue;
    }
    sleeping_.push_back(&call);
    call.wake.Wait(mutex_);
    std::erase(sleeping_, &call);
  }
  WakeHasher();
}

Md5Digest HashQueue::Hash(absl::string_view bytes) {
  Md5LaneStream stream;
  const Part part{&stream, bytes};
  Update({part});
  return stream.Finish();
}

size_t HashQueue::WantedHashers() const {
  const size_t items = waiting_.size() + running_;
  if (items < Md5BreakEven()) return items;
  return std::max<size_t>(1, (items + Md5LaneCount() / 2) / Md5LaneCount());
}

bool HashQueue::IsHasherMissing() const { return !waiting_.empty() && hashers_ < WantedHashers(); }

void HashQueue::WakeHasher() {
  if (!sleeping_.empty() && IsHasherMissing()) sleeping_.front()->wake.NotifyOne();
}

std::vector<HashQueue::Item> HashQueue::TakeItems() {
  const size_t share = DivideUp(waiting_.size() + running_, WantedHashers());
  const size_t count = std::min({share, Md5LaneCount(), waiting_.size()});
  const auto end = waiting_.begin() + static_cast<std::ptrdiff_t>(count);
  std::vector<Item> items(waiting_.begin(), end);
  waiting_.erase(waiting_.begin(), end);
  return items;
}

void HashQueue::HashSlices() {
  std::vector<Item> items = TakeItems();
  ++hashers_;
  running_ += items.size();
  WakeHasher();
  mutex_.Unlock();
  std::vector<Md5LaneStream*> streams;
  std::vector<absl::string_view> slices;
  for (Item& item : items) {
    streams.push_back(item.stream);
    slices.push_back(item.bytes.substr(0, kSliceBytes));
    item.bytes.remove_prefix(slices.back().size());
  }
  Md5LaneStream::UpdateMany(streams, slices);
  mutex_.Lock();
  running_ -= items.size();
  --hashers_;
  for (auto item = items.rbegin(); item != items.rend(); ++item) {
    if (!item->bytes.empty()) {
      waiting_.push_front(*item);
    } else if (--item->call->parts_left == 0) {
      item->call->wake.NotifyOne();
    }
  }
}

}  // namespace muster
