// The committer's thread.
#ifndef MUSTER_SERVER_COMMIT_COMMIT_THREAD_H_
#define MUSTER_SERVER_COMMIT_COMMIT_THREAD_H_

#include <functional>
#include <thread>

#include "absl/status/status.h"
#include "server/commit/committer.h"

namespace muster {

class CommitThread {
 public:
  // Runs the committer, which outlives it, until it is stopped and its queue is empty. `fatal` is
  // called, on the thread, when the store has failed: it must end the process.
  CommitThread(Committer& committer, std::function<void(const absl::Status&)> fatal);

  // Stops the committer and waits for the last group.
  ~CommitThread();
  CommitThread(const CommitThread&) = delete;
  CommitThread& operator=(const CommitThread&) = delete;

 private:
  Committer& committer_;
  std::thread thread_;
};

}  // namespace muster

#endif  // MUSTER_SERVER_COMMIT_COMMIT_THREAD_H_
