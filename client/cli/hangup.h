// What SIGHUP does: an agent reads its configuration again, or says that it has none; all other commands, and an agent on a
// terminal without a configuration, end.
#ifndef MUSTER_CLIENT_CLI_HANGUP_H_
#define MUSTER_CLIENT_CLI_HANGUP_H_

#include <functional>
#include <utility>

#include "storage/base/mutex.h"

namespace muster {

// Thread-safe.
class Hangup {
 public:
  // From now on Raise calls `handler`, which must not block for long; empty: it is nobody's any
  // more, and no call of the old one is under way when this returns.
  void Handle(std::function<void()> handler) {
    MutexLock lock(mutex_);
    handler_ = std::move(handler);
  }

  // False where nobody handles it.
  bool Raise() {
    MutexLock lock(mutex_);
    if (handler_ == nullptr) return false;
    handler_();
    return true;
  }

 private:
  Mutex mutex_;
  std::function<void()> handler_ MUSTER_GUARDED_BY(mutex_);
};

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_HANGUP_H_
