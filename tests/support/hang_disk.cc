// Preloaded into a process (LD_PRELOAD), makes its disk hang: a sync does not end while the file that
// MUSTER_TEST_DISK_HANGS names is there. What a sync has to do is done afterwards.

#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>

namespace {

constexpr useconds_t kLookAgainUs = 5'000;

void HangWhileToldTo() {
  const char* path = getenv("MUSTER_TEST_DISK_HANGS");
  while (path != nullptr && access(path, F_OK) == 0) usleep(kLookAgainUs);
}

}  // namespace

extern "C" {

int fsync(int file) {
  HangWhileToldTo();
  return static_cast<int>(syscall(SYS_fsync, file));
}

int fdatasync(int file) {
  HangWhileToldTo();
  return static_cast<int>(syscall(SYS_fdatasync, file));
}

}  // extern "C"
