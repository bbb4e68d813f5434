// How far a long copy is, with rate and time left.
#ifndef MUSTER_CLIENT_CLI_PROGRESS_BAR_H_
#define MUSTER_CLIENT_CLI_PROGRESS_BAR_H_

#include <cstdint>
#include <cstdio>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "storage/base/clock.h"
#include "storage/base/mutex.h"

namespace muster {

// One line: "publishing  45%  [=========>          ]  1.2 GiB of 2.6 GiB  512.0 MiB/s  3 s left".
std::string ProgressLine(absl::string_view label, int64_t done_bytes, int64_t total_bytes,
                         absl::Duration elapsed);

// Draws the line again and again at the bottom of a terminal; does nothing where there is none.
// Thread-safe. The line is wiped when the bar is destroyed.
class ProgressBar {
 public:
  // `out` and `clock` outlive the bar.
  ProgressBar(Clock& clock, std::FILE* out, bool enabled, std::string label);
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void SetTotal(int64_t total_bytes);
  // Negative when bytes have to be done again.
  void Add(int64_t bytes);
  // Writes a line of text above the bar; also where there is no terminal.
  void Say(absl::string_view line);

 private:
  void Wipe() MUSTER_REQUIRES(mutex_);

  Clock& clock_;
  std::FILE* const out_;
  const bool enabled_;
  const std::string label_;
  const absl::Duration begin_;
  Mutex mutex_;
  int64_t total_bytes_ MUSTER_GUARDED_BY(mutex_) = 0;
  int64_t done_bytes_ MUSTER_GUARDED_BY(mutex_) = 0;
  absl::Duration next_draw_ MUSTER_GUARDED_BY(mutex_);
  bool drawn_ MUSTER_GUARDED_BY(mutex_) = false;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_PROGRESS_BAR_H_
