#include "server/commit/tick_thread.h"

#include <utility>

namespace muster {
namespace {

constexpr absl::Duration kSmallestStep = absl::Seconds(5);

}  // namespace

absl::Duration TimeOfDayWatch::Step(absl::Time wall, absl::Duration monotonic) {
  const absl::Time origin = wall - monotonic;
  const absl::Duration step = origin - origin_.value_or(origin);
  // A clock that is brought to the right time little by little has not jumped.
  origin_ = origin;
  return absl::AbsDuration(step) < kSmallestStep ? absl::ZeroDuration() : step;
}

TickThread::TickThread(Clock& clock, LiveTables& live, MetadataStore& store, Committer& committer,
                       absl::Duration interval, std::function<void(absl::Duration)> time_of_day_set)
    : clock_(clock),
      live_(live),
      store_(store),
      committer_(committer),
      time_of_day_set_(std::move(time_of_day_set)),
      thread_([this, interval] { Run(interval); }) {}

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
  const absl::Duration now = clock.Monotonic();
  tick.wall_us = absl::ToUnixMicros(clock.Now());
  tick.monotonic_us = absl::ToInt64Microseconds(now);
  // A device that can't be asked is treated as one without a bound; writing to it will show.
  const auto free_bytes = store.FreeBytes();
  if (free_bytes.ok()) tick.free_bytes = *free_bytes;
  Job job;
  job.commands.push_back(tick);
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
  TimeOfDayWatch watch;
  while (true) {
    const absl::Duration step = watch.Step(clock_.Now(), clock_.Monotonic());
    if (step != absl::ZeroDuration()) time_of_day_set_(step);
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
