// Writes musterd's log lines to stderr, by a thread of its own, so that whoever reads it, or does not, holds up nobody.
#ifndef MUSTER_SERVER_LOG_WRITER_H_
#define MUSTER_SERVER_LOG_WRITER_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <thread>

#include "absl/strings/string_view.h"
#include "storage/base/clock.h"
#include "storage/base/mutex.h"

namespace muster {

// Keeps at most `limit_bytes` that wait; what comes beyond is dropped, and counted in a line once
// there is room again. Thread-safe.
class LogWriter {
 public:
  // The clock outlives the object.
  LogWriter(Clock& clock, int descriptor, size_t limit_bytes);
  // Gives what waits a moment, as Flush does.
  ~LogWriter();

  // Never blocks. The line ends with a newline.
  void Add(std::string line) MUSTER_EXCLUDES(mutex_);
  // Returns once everything is written, or after a second: a reader that has stopped must not keep
  // the process from ending.
  void Flush() MUSTER_EXCLUDES(mutex_);

 private:
  void Run() MUSTER_EXCLUDES(mutex_);
  // Writes all of it, however long that takes; ends early once the writer ends.
  void Write(absl::string_view text) MUSTER_EXCLUDES(mutex_);
  bool IsEnding() MUSTER_EXCLUDES(mutex_);

  Clock& clock_;
  const int descriptor_;
  const size_t limit_bytes_;
  Mutex mutex_;
  CondVar changed_;
  std::deque<std::string> waiting_ MUSTER_GUARDED_BY(mutex_);
  size_t waiting_bytes_ MUSTER_GUARDED_BY(mutex_) = 0;
  uint64_t dropped_ MUSTER_GUARDED_BY(mutex_) = 0;
  bool writing_ MUSTER_GUARDED_BY(mutex_) = false;
  bool ending_ MUSTER_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace muster

#endif  // MUSTER_SERVER_LOG_WRITER_H_
