#include "server/commit/tick_thread.h"

#include <utility>

namespace muster {

TickThread::TickThread(Clock& clock, LiveTables& live, MetadataStore& store, Committer& committer,
                       absl::Duration interval)
    : clock_(clock), live_(live), store_(store), committer_(committer), thread_([this, interval] {
        Run(interval);
      }) {}

TickThread::~TickThread() {
  {
    MutexLock lock(mutex_);
    stopped_ = true;
    stop_changed_.NotifyAll();
  }
  thread_.join();
}

Job TickThread::MakeTick(Clock& clock, LiveTables& live, MetadataStore& store) {
  Tick tick;
  tick.time_us = absl::ToUnixMicros(clock.Now());
  // A device that can't be asked is treated as one without a bound; writing to it will show.
  const auto free_bytes = store.FreeBytes();
  if (free_bytes.ok()) tick.free_bytes = *free_bytes;
  Job job;
  job.commands.push_back(tick);
  const absl::Duration now = clock.Monotonic();
  live.read_places.Tick(now);
  const LeaseTable::Due due = live.leases.Tick(now);
  for (const LeaseTable::Lease& lease : due.expired) {
    job.commands.push_back(ExpireLease{lease.node, lease.epoch});
  }
  for (const LeaseTable::Lease& lease : due.released) {
    job.commands.push_back(ReleaseNode{lease.node, lease.epoch});
  }
  if (due.guard_ended) job.commands.push_back(ResumePlans{});
  return job;
}

void TickThread::Run(absl::Duration interval) {
  while (true) {
    // The lease table needs every tick; the committer takes the next one when it has done the last.
    Job job = MakeTick(clock_, live_, store_);
    if (!pending_->exchange(true)) {
      job.done = [pending = pending_](JobResult) { *pending = false; };
      committer_.SubmitInternal(std::move(job));
    }
    MutexLock lock(mutex_);
    if (!stopped_) stop_changed_.WaitFor(mutex_, interval);
    if (stopped_) return;
  }
}

}  // namespace muster
