#include "server/audit/audit_log.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"
#include "storage/files/file_error.h"
#include "storage/files/posix_file.h"

namespace muster {
namespace {

constexpr char kStdout[] = "-";

absl::StatusOr<UniqueFd> OpenForAppending(const std::string& path) {
  const int fd = open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
  if (fd < 0) return PathError(errno, "open the audit log", path);
  return UniqueFd(fd);
}

// Whether the path leads to the open file.
bool LeadsTo(const std::string& path, int fd) {
  struct stat named = {}, opened = {};
  return stat(path.c_str(), &named) == 0 && fstat(fd, &opened) == 0 &&
         named.st_dev == opened.st_dev && named.st_ino == opened.st_ino;
}

}  // namespace

absl::StatusOr<std::unique_ptr<AuditLog>> AuditLog::Open(const Options& options, Clock& clock,
                                                         Observer observer) {
  auto log = absl::WrapUnique(new AuditLog(options, clock, std::move(observer)));
  if (options.path != kStdout) {
    MUSTER_ASSIGN_OR_RETURN(log->fd_, OpenForAppending(options.path));
  }
  MUSTER_RETURN_IF_ERROR(log->Prepare());
  log->thread_ = std::thread([raw = log.get()] { raw->Run(); });
  return log;
}

AuditLog::AuditLog(const Options& options, Clock& clock, Observer observer)
    : options_(options), clock_(clock), observer_(std::move(observer)) {}

AuditLog::~AuditLog() {
  {
    MutexLock lock(mutex_);
    stopped_ = true;
    changed_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
}

absl::Status AuditLog::Ready() const {
  MutexLock lock(mutex_);
  if (failed_.ok() || options_.fail_open) return absl::OkStatus();
  return WithDetail(
      absl::UnavailableError(absl::StrCat(
          "the audit log can't be written, so that nothing may be changed: ", failed_.message())),
      ErrorDetail{reasons::kAuditFailed, {}, absl::Seconds(1)});
}

void AuditLog::Write(std::string line, std::function<void()> written) {
  {
    MutexLock lock(mutex_);
    if (!stopped_) {
      if (waiting_.text.size() + unwritten_bytes_ + line.size() > options_.waiting_bytes_max) {
        ++left_out_;
      } else {
        waiting_.text += line;
      }
      waiting_.written.push_back(std::move(written));
      if (waiting_.written.size() == 1) changed_.NotifyOne();
      return;
    }
  }
  written();
}

void AuditLog::Run() {
  bool stopped = false;
  while (!stopped) {
    Waiting taken;
    uint64_t left_out = 0;
    {
      MutexLock lock(mutex_);
      if (waiting_.written.empty() && !stopped_) changed_.WaitFor(mutex_, options_.interval);
      std::swap(taken, waiting_);
      left_out = std::exchange(left_out_, 0);
      stopped = stopped_;
    }
    unwritten_ += taken.text;
    absl::Status status = Prepare();
    if (const absl::Status appended = Append(); !appended.ok()) status = appended;
    if (left_out > 0 && status.ok()) {
      unwritten_ = absl::StrCat("{\"left_out\":", left_out, "}\n");
      status = Append();
      left_out = 0;
    }
    Tell(status);
    {
      MutexLock lock(mutex_);
      left_out_ += left_out;
      unwritten_bytes_ = unwritten_.size();
    }
    for (const auto& written : taken.written) written();
  }
  // What came in between the last look and the end.
  MutexLock lock(mutex_);
  for (const auto& written : waiting_.written) written();
  waiting_.written.clear();
}

absl::Status AuditLog::Prepare() {
  if (options_.path == kStdout) return absl::OkStatus();
  if (!LeadsTo(options_.path, fd_.get())) {
    MUSTER_ASSIGN_OR_RETURN(fd_, OpenForAppending(options_.path));
    reserved_ = 0;
  }
  struct stat info = {};
  is_file_ = fstat(fd_.get(), &info) == 0 && S_ISREG(info.st_mode);
  if (!is_file_) return absl::OkStatus();
  const auto end = static_cast<size_t>(info.st_size);
  // Half of it may be used up before more is asked for.
  if (reserved_ >= end + kAuditReserveBytes / 2) return absl::OkStatus();
  MUSTER_RETURN_IF_ERROR(ReserveSpace(fd_.get(), options_.path,
                                      static_cast<int64_t>(end + kAuditReserveBytes),
                                      /*keep_size=*/true));
  reserved_ = end + kAuditReserveBytes;
  return absl::OkStatus();
}

absl::Status AuditLog::Append() {
  const int fd = options_.path == kStdout ? STDOUT_FILENO : fd_.get();
  size_t done = 0;
  absl::Status status;
  while (done < unwritten_.size()) {
    // A pipe that is ready takes so much without waiting for its reader; a file always is.
    pollfd ready{fd, POLLOUT, 0};
    const int found =
        poll(&ready, 1, static_cast<int>(absl::ToInt64Milliseconds(options_.interval)));
    if (found == 0) {
      status = absl::UnavailableError(absl::StrCat("nobody reads the audit log ", options_.path));
      break;
    }
    const size_t size = std::min<size_t>(unwritten_.size() - done, is_file_ ? SIZE_MAX : PIPE_BUF);
    const ssize_t count = found < 0 ? -1 : write(fd, unwritten_.data() + done, size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      status = PathError(errno, "write the audit log", options_.path);
      break;
    }
    done += static_cast<size_t>(count);
  }
  unwritten_.erase(0, done);
  return status;
}

void AuditLog::Tell(const absl::Status& status) {
  {
    MutexLock lock(mutex_);
    if (status.ok() == failed_.ok()) return;
    failed_ = status;
  }
  observer_(status);
}

}  // namespace muster
