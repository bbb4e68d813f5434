#include "storage/base/lock_checks.h"

#include "absl/synchronization/mutex.h"

namespace muster {

void SwitchLockCycleSearchOff() {
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
}

}  // namespace muster
