#include "server/commit/commit_thread.h"

#include <pthread.h>

#include <utility>

namespace muster {

CommitThread::CommitThread(Committer& committer, std::function<void(const absl::Status&)> fatal)
    : committer_(committer), thread_([&committer, fatal = std::move(fatal)] {
        while (committer.WaitForWork()) {
          const absl::StatusOr<bool> ran = committer.RunOnce();
          if (!ran.ok()) {
            fatal(ran.status());
            return;
          }
        }
      }) {
  // For tools that list the threads of the process.
  pthread_setname_np(thread_.native_handle(), "committer");
}

CommitThread::~CommitThread() {
  committer_.Stop();
  thread_.join();
}

}  // namespace muster
