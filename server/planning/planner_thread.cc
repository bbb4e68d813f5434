#include "server/planning/planner_thread.h"

#include <algorithm>
#include <string>
#include <utility>

namespace muster {
namespace {

constexpr int kThreads = 2;
// Of up to 42 members each: a few milliseconds of the committer.
constexpr size_t kStepsPerJob = 4;

}  // namespace

PlannerThread::PlannerThread(Clock& clock, absl::Duration min_interval, Make make)
    : clock_(clock), min_interval_(min_interval), make_(std::move(make)) {}

PlannerThread::~PlannerThread() { Stop(); }

void PlannerThread::Start(Committer& committer, std::function<void(const absl::Status&)> failed) {
  for (int i = 0; i < kThreads; ++i) {
    threads_.emplace_back([this, &committer, failed] { Run(committer, failed); });
  }
}

void PlannerThread::Stop() {
  {
    MutexLock lock(mutex_);
    stopped_ = true;
    wanted_changed_.NotifyAll();
  }
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void PlannerThread::Want(AssemblyUid assembly) {
  MutexLock lock(mutex_);
  WantLocked(assembly);
}

void PlannerThread::WantLocked(AssemblyUid assembly) {
  // In the order of asking, so that none waits behind others that are asked for again and again.
  const auto last = last_planned_.find(assembly);
  const absl::Duration now = clock_.Monotonic();
  const absl::Duration not_before =
      last == last_planned_.end() ? now : std::max(now, last->second + min_interval_);
  if (wanted_.emplace(assembly, not_before).second) wanted_changed_.NotifyAll();
}

std::optional<AssemblyUid> PlannerThread::Next() {
  MutexLock lock(mutex_);
  while (!stopped_) {
    auto first = wanted_.end();
    for (auto it = wanted_.begin(); it != wanted_.end(); ++it) {
      if (busy_.contains(it->first)) continue;
      if (first == wanted_.end() || it->second < first->second) first = it;
    }
    if (first == wanted_.end()) {
      wanted_changed_.Wait(mutex_);
      continue;
    }
    const absl::Duration now = clock_.Monotonic();
    if (first->second > now) {
      wanted_changed_.WaitFor(mutex_, first->second - now);
      continue;
    }
    const AssemblyUid next = first->first;
    wanted_.erase(first);
    // What was planned long ago needs no entry any more.
    std::erase_if(last_planned_,
                  [&](const auto& entry) { return entry.second + min_interval_ < now; });
    last_planned_[next] = now;
    busy_.insert(next);
    return next;
  }
  return std::nullopt;
}

void PlannerThread::Run(Committer& committer,
                        const std::function<void(const absl::Status&)>& failed) {
  while (const std::optional<AssemblyUid> assembly = Next()) {
    if (std::optional<Commands> commands = PlanOne(committer, *assembly, failed)) {
      Submit(committer, *assembly, *std::move(commands), 0);
    } else {
      Finish(*assembly, false);
    }
  }
}

std::optional<PlannerThread::Commands> PlannerThread::PlanOne(
    Committer& committer, AssemblyUid assembly,
    const std::function<void(const absl::Status&)>& failed) {
  std::optional<PlanTask> task;
  committer.Read([&](const Registry& registry) { task = TakePlanTask(registry, assembly); },
                 [](Revision) {});
  if (!task.has_value()) return std::nullopt;
  const uint64_t inputs_version = task->inputs_version;
  absl::StatusOr<std::optional<std::vector<Command>>> commands = make_(*std::move(task));
  if (!commands.ok()) {
    failed(commands.status());
    // Not tried again before something changes; until then the assembly says why.
    NotePlanFailure failure{assembly, inputs_version, std::string(commands.status().message())};
    commands = std::make_optional(std::vector<Command>{std::move(failure)});
  }
  if (!commands->has_value()) return std::nullopt;
  return std::make_shared<const std::vector<Command>>(**std::move(commands));
}

void PlannerThread::Submit(Committer& committer, AssemblyUid assembly, Commands commands,
                           size_t begin) {
  const size_t end = std::min(begin + kStepsPerJob, commands->size());
  const auto at = [&](size_t i) { return commands->begin() + static_cast<std::ptrdiff_t>(i); };
  Job job;
  job.commands.assign(at(begin), at(end));
  job.done = [this, &committer, assembly, commands, end](JobResult result) {
    if (result.status.ok() && end < commands->size()) {
      Submit(committer, assembly, commands, end);
    } else {
      // What is refused is planned again.
      Finish(assembly, !result.status.ok());
    }
  };
  committer.SubmitInternal(std::move(job));
}

void PlannerThread::Finish(AssemblyUid assembly, bool again) {
  MutexLock lock(mutex_);
  busy_.erase(assembly);
  if (again) WantLocked(assembly);
  wanted_changed_.NotifyAll();
}

}  // namespace muster
