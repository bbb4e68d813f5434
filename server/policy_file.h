// The operator's policy, in force as soon as its file is changed.
#ifndef MUSTER_SERVER_POLICY_FILE_H_
#define MUSTER_SERVER_POLICY_FILE_H_

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/access/policy.h"
#include "storage/base/clock.h"
#include "storage/base/mutex.h"

namespace muster {

// Reads and checks a policy. kInvalidArgument POLICY_INVALID names each mistake with its line; else as the system says.
absl::StatusOr<std::shared_ptr<const Policy>> ReadPolicyFile(const std::string& path);

// Looks at the file at a steady pace. A policy with a mistake changes nothing.
class PolicyFile {
 public:
  // Called by the thread that Start makes.
  struct Observer {
    std::function<void(std::shared_ptr<const Policy>)> changed;
    // Once for each state of the file.
    std::function<void(const absl::Status&)> refused;
  };

  // The clock outlives it.
  PolicyFile(std::string path, Clock& clock, Observer observer,
             absl::Duration interval = absl::Milliseconds(250));
  ~PolicyFile();
  PolicyFile(const PolicyFile&) = delete;
  PolicyFile& operator=(const PolicyFile&) = delete;

  // The policy as it is now. Before Start.
  absl::StatusOr<std::shared_ptr<const Policy>> Load();
  // Looks at each interval, until the object ends. Once.
  void Start();
  // One look. By one thread: the caller's, or the one that Start makes.
  void Look();

 private:
  void Run();

  const std::string path_;
  Clock& clock_;
  const Observer observer_;
  const absl::Duration interval_;
  // Of the file that was read last, and of the one that was looked at last.
  std::string read_;
  std::string seen_;
  std::string digest_;

  Mutex mutex_;
  CondVar stop_changed_;
  bool stopped_ MUSTER_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace muster

#endif  // MUSTER_SERVER_POLICY_FILE_H_
