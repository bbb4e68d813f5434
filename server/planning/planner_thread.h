// Makes plans beside the committer, so that planning never holds up a commit.
#ifndef MUSTER_SERVER_PLANNING_PLANNER_THREAD_H_
#define MUSTER_SERVER_PLANNING_PLANNER_THREAD_H_

#include <functional>
#include <map>
#include <thread>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/commit/committer.h"
#include "server/registry/uid.h"
#include "storage/base/clock.h"
#include "storage/base/mutex.h"

namespace muster {

// Thread-safe. An assembly is planned at most once per `min_interval`; requests in between are one.
class PlannerThread {
 public:
  PlannerThread(Clock& clock, absl::Duration min_interval);
  ~PlannerThread();
  PlannerThread(const PlannerThread&) = delete;
  PlannerThread& operator=(const PlannerThread&) = delete;

  // Begins to plan, also what was wanted before. The committer outlives the thread's work, which
  // Stop ends. `failed` is called for plans that can't be made, which is a defect.
  void Start(Committer& committer, std::function<void(const absl::Status&)> failed);
  void Stop();

  void Want(AssemblyUid assembly) MUSTER_EXCLUDES(mutex_);

 private:
  void Run(Committer& committer, const std::function<void(const absl::Status&)>& failed);
  void PlanOne(Committer& committer, AssemblyUid assembly,
               const std::function<void(const absl::Status&)>& failed);

  Clock& clock_;
  const absl::Duration min_interval_;
  Mutex mutex_;
  CondVar wanted_changed_;
  // By assembly: not before this time.
  std::map<AssemblyUid, absl::Duration> wanted_ MUSTER_GUARDED_BY(mutex_);
  std::map<AssemblyUid, absl::Duration> last_planned_ MUSTER_GUARDED_BY(mutex_);
  bool stopped_ MUSTER_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace muster

#endif  // MUSTER_SERVER_PLANNING_PLANNER_THREAD_H_
