// What Abseil does beside locking, for the programs' main().
#ifndef MUSTER_STORAGE_BASE_LOCK_CHECKS_H_
#define MUSTER_STORAGE_BASE_LOCK_CHECKS_H_

namespace muster {

// Debian builds Abseil with its search for lock cycles on, in gRPC too; it took about 5 % of a durable call. Call it
// before the first lock is taken.
void SwitchLockCycleSearchOff();

}  // namespace muster

#endif  // MUSTER_STORAGE_BASE_LOCK_CHECKS_H_
