// Makes plans beside the committer, so that planning never holds up a commit.
#ifndef MUSTER_SERVER_PLANNING_PLANNER_THREAD_H_
#define MUSTER_SERVER_PLANNING_PLANNER_THREAD_H_

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/commit/committer.h"
#include "server/planning/planning.h"
#include "server/registry/uid.h"
#include "storage/base/clock.h"
#include "storage/base/mutex.h"

namespace muster {

// Thread-safe. An assembly is planned at most once per `min_interval`, and not while a plan of it is
// being made or brought in; requests in between are one. Two threads, so that one assembly whose
// plans take seconds does not hold up the others; who asked first is first.
class PlannerThread {
 public:
  // MakePlanCommands, but in tests.
  using Make = std::function<absl::StatusOr<std::optional<std::vector<Command>>>(PlanTask)>;

  PlannerThread(Clock& clock, absl::Duration min_interval, Make make = MakePlanCommands);
  ~PlannerThread();
  PlannerThread(const PlannerThread&) = delete;
  PlannerThread& operator=(const PlannerThread&) = delete;

  // Begins to plan, also what was wanted before. The committer outlives the threads' work, which
  // Stop ends. `failed` is called, by any of them, for plans that can't be made; their assemblies say
  // so, too.
  void Start(Committer& committer, std::function<void(const absl::Status&)> failed);
  void Stop();

  void Want(AssemblyUid assembly) MUSTER_EXCLUDES(mutex_);

 private:
  using Commands = std::shared_ptr<const std::vector<Command>>;

  void Run(Committer& committer, const std::function<void(const absl::Status&)>& failed);
  // Waits for an assembly to plan, and marks it as busy; nullopt when it is time to stop.
  std::optional<AssemblyUid> Next() MUSTER_EXCLUDES(mutex_);
  // Nullopt when there is nothing to bring in.
  std::optional<Commands> PlanOne(Committer& committer, AssemblyUid assembly,
                                  const std::function<void(const absl::Status&)>& failed);
  // Brings the commands from `begin` on in, a few at a time, so that others get their turn.
  void Submit(Committer& committer, AssemblyUid assembly, Commands commands, size_t begin);
  // The assembly may be planned again; `again`: it has to be.
  void Finish(AssemblyUid assembly, bool again) MUSTER_EXCLUDES(mutex_);
  void WantLocked(AssemblyUid assembly) MUSTER_REQUIRES(mutex_);

  Clock& clock_;
  const absl::Duration min_interval_;
  const Make make_;
  Mutex mutex_;
  CondVar wanted_changed_;
  // By assembly: not before this time.
  std::map<AssemblyUid, absl::Duration> wanted_ MUSTER_GUARDED_BY(mutex_);
  std::map<AssemblyUid, absl::Duration> last_planned_ MUSTER_GUARDED_BY(mutex_);
  // A plan of these is being made or brought in.
  std::set<AssemblyUid> busy_ MUSTER_GUARDED_BY(mutex_);
  bool stopped_ MUSTER_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace muster

#endif  // MUSTER_SERVER_PLANNING_PLANNER_THREAD_H_
