#include "server/log_writer.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"

namespace muster {
namespace {

// A pipe that is ready takes this much (PIPE_BUF) without blocking.
constexpr size_t kBytesPerWrite = 4'096;
constexpr int kPollMs = 100;
constexpr absl::Duration kFlushLimit = absl::Seconds(1);

}  // namespace

LogWriter::LogWriter(Clock& clock, int descriptor, size_t limit_bytes)
    : clock_(clock),
      descriptor_(descriptor),
      limit_bytes_(limit_bytes),
      thread_([this] { Run(); }) {}

LogWriter::~LogWriter() {
  Flush();
  {
    MutexLock lock(mutex_);
    ending_ = true;
    changed_.NotifyAll();
  }
  thread_.join();
}

void LogWriter::Add(std::string line) {
  MutexLock lock(mutex_);
  if (waiting_bytes_ + line.size() > limit_bytes_) {
    ++dropped_;
    return;
  }
  waiting_bytes_ += line.size();
  waiting_.push_back(std::move(line));
  changed_.NotifyAll();
}

void LogWriter::Flush() {
  const absl::Duration end = clock_.Monotonic() + kFlushLimit;
  MutexLock lock(mutex_);
  while (!waiting_.empty() || writing_) {
    const absl::Duration left = end - clock_.Monotonic();
    if (left <= absl::ZeroDuration()) return;
    changed_.WaitFor(mutex_, left);
  }
}

bool LogWriter::IsEnding() {
  MutexLock lock(mutex_);
  return ending_;
}

void LogWriter::Write(absl::string_view text) {
  while (!text.empty() && !IsEnding()) {
    pollfd ready{descriptor_, POLLOUT, 0};
    if (poll(&ready, 1, kPollMs) <= 0) continue;
    const ssize_t written = write(descriptor_, text.data(), std::min(text.size(), kBytesPerWrite));
    if (written > 0) text.remove_prefix(static_cast<size_t>(written));
    // Whoever read it has gone, or the disk is full: there is nobody to tell.
    if (written < 0 && errno != EINTR && errno != EAGAIN) return;
  }
}

void LogWriter::Run() {
  while (true) {
    std::string text;
    {
      MutexLock lock(mutex_);
      writing_ = false;
      changed_.NotifyAll();
      while (waiting_.empty() && !ending_) changed_.Wait(mutex_);
      if (waiting_.empty() || ending_) return;
      writing_ = true;
      while (!waiting_.empty()) {
        text += waiting_.front();
        waiting_.pop_front();
      }
      waiting_bytes_ = 0;
      if (const uint64_t dropped = std::exchange(dropped_, 0); dropped > 0) {
        absl::StrAppend(&text, "log=dropped lines=", dropped,
                        " reason=\"stderr took them too slowly\"\n");
      }
    }
    Write(text);
  }
}

}  // namespace muster
