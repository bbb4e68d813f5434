#include "server/planning/planner_thread.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "server/planning/planning.h"

namespace muster {

PlannerThread::PlannerThread(Clock& clock, absl::Duration min_interval)
    : clock_(clock), min_interval_(min_interval) {}

PlannerThread::~PlannerThread() { Stop(); }

void PlannerThread::Start(Committer& committer, std::function<void(const absl::Status&)> failed) {
  thread_ = std::thread([this, &committer, failed = std::move(failed)] { Run(committer, failed); });
}

void PlannerThread::Stop() {
  {
    MutexLock lock(mutex_);
    stopped_ = true;
    wanted_changed_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
}

void PlannerThread::Want(AssemblyUid assembly) {
  MutexLock lock(mutex_);
  // In the order of asking, so that none waits behind others that are asked for again and again.
  const auto last = last_planned_.find(assembly);
  const absl::Duration now = clock_.Monotonic();
  const absl::Duration not_before =
      last == last_planned_.end() ? now : std::max(now, last->second + min_interval_);
  if (wanted_.emplace(assembly, not_before).second) wanted_changed_.NotifyOne();
}

void PlannerThread::Run(Committer& committer,
                        const std::function<void(const absl::Status&)>& failed) {
  while (true) {
    AssemblyUid next;
    {
      MutexLock lock(mutex_);
      if (stopped_) return;
      const auto first =
          std::min_element(wanted_.begin(), wanted_.end(),
                           [](const auto& a, const auto& b) { return a.second < b.second; });
      if (first == wanted_.end()) {
        wanted_changed_.Wait(mutex_);
        continue;
      }
      const absl::Duration now = clock_.Monotonic();
      if (first->second > now) {
        wanted_changed_.WaitFor(mutex_, first->second - now);
        continue;
      }
      next = first->first;
      wanted_.erase(first);
      // What was planned long ago needs no entry any more.
      std::erase_if(last_planned_,
                    [&](const auto& entry) { return entry.second + min_interval_ < now; });
      last_planned_[next] = now;
    }
    PlanOne(committer, next, failed);
  }
}

void PlannerThread::PlanOne(Committer& committer, AssemblyUid assembly,
                            const std::function<void(const absl::Status&)>& failed) {
  std::optional<PlanTask> task;
  committer.Read([&](const Registry& registry) { task = TakePlanTask(registry, assembly); },
                 [](Revision) {});
  if (!task.has_value()) return;
  absl::StatusOr<std::optional<std::vector<Command>>> commands = MakePlanCommands(*std::move(task));
  if (!commands.ok()) {
    failed(commands.status());
    return;
  }
  if (!commands->has_value()) return;
  committer.SubmitInternal(Job{**std::move(commands), [this, assembly](JobResult result) {
                                 // What has changed since is planned again.
                                 if (!result.status.ok()) Want(assembly);
                               }});
}

}  // namespace muster
