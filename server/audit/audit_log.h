// The file of audit lines.
//
// 1. Write queues a line and returns; the log's thread writes what has queued up in one go and then lets the answers
//    leave.
// 2. Ahead of the end of the file the log keeps kAuditReserveBytes allocated, so that the lines of calls that have begun
//    still fit when the disk is full. Once it gets no more, Ready refuses calls before they begin.
// 3. It tries again each interval, and takes calls again as soon as it can write.
// 4. Whoever rotates the file moves it away: a file is made anew where the path leads to another one, or to none.
#ifndef MUSTER_SERVER_AUDIT_AUDIT_LOG_H_
#define MUSTER_SERVER_AUDIT_AUDIT_LOG_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/base/clock.h"
#include "storage/base/mutex.h"
#include "storage/files/unique_fd.h"

namespace muster {

inline constexpr size_t kAuditReserveBytes = size_t{1} << 20;

// Thread-safe.
class AuditLog {
 public:
  struct Options {
    // Appended to, and made with mode 0600; "-" is stdout.
    std::string path;
    // Take calls although they can't be told.
    bool fail_open = false;
    // Between two looks at the path, and two attempts to write.
    absl::Duration interval = absl::Milliseconds(250);
    // What may wait to be written; of lines beyond it only the number is told.
    size_t waiting_bytes_max = size_t{16} << 20;
  };
  // Called by the log's thread, once each time it begins to fail and once when it works again (OK).
  using Observer = std::function<void(const absl::Status&)>;

  // Opens the file. As the system says, with the path. The clock outlives it.
  static absl::StatusOr<std::unique_ptr<AuditLog>> Open(const Options& options, Clock& clock,
                                                        Observer observer);
  // Writes what waits, as far as it can, and lets all answers leave.
  ~AuditLog();
  AuditLog(const AuditLog&) = delete;
  AuditLog& operator=(const AuditLog&) = delete;

  // Whether a call that will be told may begin. kUnavailable AUDIT_FAILED.
  absl::Status Ready() const MUSTER_EXCLUDES(mutex_);

  // Queues a line, which has its end. `written` is called by the log's thread when the line is in the file, or can't be;
  // it must not block.
  void Write(std::string line, std::function<void()> written) MUSTER_EXCLUDES(mutex_);

 private:
  struct Waiting {
    std::string text;
    std::vector<std::function<void()>> written;
  };

  AuditLog(const Options& options, Clock& clock, Observer observer);

  void Run();
  // Makes the file anew where it was moved away, and room after its end.
  absl::Status Prepare();
  // Appends `unwritten_`; what could not be written stays there.
  absl::Status Append();
  void Tell(const absl::Status& status) MUSTER_EXCLUDES(mutex_);

  const Options options_;
  Clock& clock_;
  const Observer observer_;
  // Of the log's thread.
  UniqueFd fd_;
  std::string unwritten_;
  size_t reserved_ = 0;
  bool is_file_ = false;

  mutable Mutex mutex_;
  CondVar changed_;
  Waiting waiting_ MUSTER_GUARDED_BY(mutex_);
  // Lines that were dropped, because too much waited.
  uint64_t left_out_ MUSTER_GUARDED_BY(mutex_) = 0;
  absl::Status failed_ MUSTER_GUARDED_BY(mutex_);
  size_t unwritten_bytes_ MUSTER_GUARDED_BY(mutex_) = 0;
  bool stopped_ MUSTER_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace muster

#endif  // MUSTER_SERVER_AUDIT_AUDIT_LOG_H_
