#include "server/keys/key_keeper.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "server/registry/registry.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// Under one hold of the shared lock.
constexpr size_t kVersionsPerLook = 1'000;

// The end of a job, which the committer's thread tells.
struct Ending {
  Mutex mutex;
  CondVar changed;
  bool ended MUSTER_GUARDED_BY(mutex) = false;
  absl::Status status MUSTER_GUARDED_BY(mutex);
  size_t changed_count MUSTER_GUARDED_BY(mutex) = 0;
};

absl::StatusOr<WrappedKey> WrapAnew(KeyWrapper& wrapper, const std::string& uid_text,
                                    const store::WrappedKeyRow& row) {
  const std::string context = ContentKeyContext(uid_text, row.key_id());
  MUSTER_ASSIGN_OR_RETURN(const SecretKey key,
                          wrapper.Unwrap({row.master_key_id(), row.wrapped()}, context));
  return wrapper.Wrap(key, context);
}

}  // namespace

KeyKeeper::KeyKeeper(const Options& options, Clock& clock, Committer& committer,
                     KeyWrapper& wrapper, Observer observer)
    : options_(options),
      clock_(clock),
      committer_(committer),
      wrapper_(wrapper),
      observer_(std::move(observer)) {}

KeyKeeper::~KeyKeeper() {
  {
    MutexLock lock(mutex_);
    stopped_ = true;
    stop_changed_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
}

bool KeyKeeper::stopped() {
  MutexLock lock(mutex_);
  return stopped_;
}

KeyKeeper::Counts KeyKeeper::ReadCounts() {
  Counts counts;
  committer_.Read(
      [&](const Registry& registry) {
        counts = registry.catalogue().content_keys().by_master_key();
      },
      [](Revision) {});
  return counts;
}

void KeyKeeper::Look() {
  const Counts counts = ReadCounts();
  const absl::StatusOr<bool> refreshed = wrapper_.Refresh(counts);
  if (!refreshed.ok()) observer_.refused(refreshed.status());
  if (refreshed.ok() && *refreshed) {
    observer_.loaded(wrapper_.current_id(), wrapper_.ids().size());
    told_missing_.clear();
    idle_ = false;
  }
  TellOfMissing(counts);
  if (idle_ && counts == idle_counts_) return;
  if (CountDue(counts, wrapper_.current_id()) > 0) RewrapAll(counts);
  idle_counts_ = ReadCounts();
  idle_ = true;
}

void KeyKeeper::TellOfMissing(const Counts& counts) {
  const std::vector<std::string> ids = wrapper_.ids();
  for (const auto& [id, count] : counts) {
    if (std::binary_search(ids.begin(), ids.end(), id)) continue;
    if (told_missing_.emplace(id, count).second) observer_.missing(id, count);
  }
}

uint64_t KeyKeeper::CountDue(const Counts& counts, const std::string& current) {
  const std::vector<std::string> ids = wrapper_.ids();
  uint64_t due = 0;
  for (const auto& [id, count] : counts) {
    if (id != current && std::binary_search(ids.begin(), ids.end(), id)) due += count;
  }
  return due;
}

void KeyKeeper::RewrapAll(const Counts& counts) {
  const std::string current = wrapper_.current_id();
  Tally tally;
  std::string cursor;
  std::vector<Due> due;
  absl::Duration next_line = clock_.Monotonic() + options_.progress_interval;
  for (bool more = true; more;) {
    due.clear();
    more = TakeDue(cursor, current, due);
    if (stopped() || !Rewrap(due, tally)) return;
    if (!more || clock_.Monotonic() < next_line) continue;
    next_line = clock_.Monotonic() + options_.progress_interval;
    const uint64_t all = CountDue(counts, current);
    observer_.rewrapped(tally.done, std::max<uint64_t>(all - std::min(all, tally.done), 1),
                        tally.failed);
  }
  observer_.rewrapped(tally.done, 0, tally.failed);
}

bool KeyKeeper::TakeDue(std::string& cursor, const std::string& current, std::vector<Due>& due) {
  const std::vector<std::string> ids = wrapper_.ids();
  bool more = false;
  committer_.Read(
      [&](const Registry& registry) {
        const auto& versions = registry.catalogue().by_name();
        auto next = versions.upper_bound(cursor);
        for (size_t looked = 0; next != versions.end() && looked < kVersionsPerLook &&
                                due.size() < options_.keys_per_step;
             ++next, ++looked) {
          cursor = next->first;
          const store::WrappedKeyRow& key = next->second->row.content_key();
          if (key.key_id().empty() || key.master_key_id() == current) continue;
          if (!std::binary_search(ids.begin(), ids.end(), key.master_key_id())) continue;
          due.push_back({next->second->uid, registry.catalogue().UidText(*next->second), key});
        }
        more = next != versions.end();
      },
      [](Revision) {});
  return more;
}

bool KeyKeeper::Rewrap(const std::vector<Due>& due, Tally& tally) {
  Job job;
  for (const Due& one : due) {
    absl::StatusOr<WrappedKey> wrapped = WrapAnew(wrapper_, one.uid_text, one.key);
    if (!wrapped.ok()) {
      ++tally.failed;
      continue;
    }
    RewrapContentKey command{one.version, one.key.master_key_id(), one.key};
    command.key.set_master_key_id(wrapped->master_key_id);
    command.key.set_wrapped(std::move(wrapped->bytes));
    job.commands.push_back(std::move(command));
  }
  if (job.commands.empty()) return true;
  const auto ending = std::make_shared<Ending>();
  job.done = [ending](JobResult result) {
    MutexLock lock(ending->mutex);
    ending->ended = true;
    ending->status = std::move(result.status);
    ending->changed_count = result.changed;
    ending->changed.NotifyAll();
  };
  committer_.SubmitInternal(std::move(job));
  MutexLock lock(ending->mutex);
  while (!ending->ended) ending->changed.Wait(ending->mutex);
  tally.done += ending->changed_count;
  return ending->status.ok();
}

void KeyKeeper::Start() {
  thread_ = std::thread([this] { Run(); });
}

void KeyKeeper::Run() {
  while (true) {
    Look();
    MutexLock lock(mutex_);
    const absl::Duration next = clock_.Monotonic() + options_.interval;
    while (!stopped_ && clock_.Monotonic() < next) {
      stop_changed_.WaitFor(mutex_, next - clock_.Monotonic());
    }
    if (stopped_) return;
  }
}

}  // namespace muster
