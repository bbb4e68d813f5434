// What a command does that has no number of bytes to show.
#ifndef MUSTER_CLIENT_CLI_ACTIVITY_H_
#define MUSTER_CLIENT_CLI_ACTIVITY_H_

#include <string>
#include <thread>

#include "client/cli/live_screen.h"
#include "storage/base/clock.h"
#include "storage/base/mutex.h"

namespace muster {

// Shows "reading  model-00003-of-00030.safetensors  12 s" on a terminal from the second second on, and wipes it when it is
// destroyed. Thread-safe.
class Activity {
 public:
  // `clock` and `screen` outlive the object.
  Activity(Clock& clock, LiveScreen& screen, std::string label);
  ~Activity();
  Activity(const Activity&) = delete;
  Activity& operator=(const Activity&) = delete;

  // What it is at now.
  void At(std::string item) MUSTER_EXCLUDES(mutex_);

 private:
  void Draw(absl::Duration elapsed) MUSTER_EXCLUDES(mutex_);

  LiveScreen& screen_;
  const std::string label_;
  Mutex mutex_;
  std::string item_ MUSTER_GUARDED_BY(mutex_);
  // Begins last and ends first. None where nothing can be drawn.
  std::jthread drawing_;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_ACTIVITY_H_
