// How far a long copy is, with rate and time left.
#ifndef MUSTER_CLIENT_CLI_PROGRESS_BAR_H_
#define MUSTER_CLIENT_CLI_PROGRESS_BAR_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "client/cli/live_screen.h"
#include "client/cli/rate_meter.h"
#include "storage/base/clock.h"
#include "storage/base/mutex.h"

namespace muster {

struct ProgressState {
  std::string label;
  int64_t done_bytes = 0;
  // 0 while it is not known.
  int64_t total_bytes = 0;
  // 0 while it is not known.
  double bytes_per_second = 0;
  // What else is worth a few words; may be empty.
  std::string note;
};

// "publishing  45%  [=========>          ]  1.2 GiB of 2.6 GiB  512.0 MiB/s  3 s left", without what `columns` have no
// room for; the share and the time left stay longest.
std::string ProgressLine(const ProgressState& state, size_t columns);

// Draws the line again and again, and ends at 100 % where all was done. Thread-safe.
class ProgressBar {
 public:
  // `clock` and `screen` outlive the bar.
  ProgressBar(Clock& clock, LiveScreen& screen, std::string label);
  // The line is wiped.
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void SetTotal(int64_t total_bytes);
  // Negative when bytes have to be done again.
  void Add(int64_t bytes);
  // Writes a line of text above the bar; also where there is no terminal.
  void Say(absl::string_view line);

 private:
  Clock& clock_;
  LiveScreen& screen_;
  Mutex mutex_;
  ProgressState state_ MUSTER_GUARDED_BY(mutex_);
  RateMeter rate_ MUSTER_GUARDED_BY(mutex_);
  absl::Duration next_draw_ MUSTER_GUARDED_BY(mutex_);
  bool drawn_ MUSTER_GUARDED_BY(mutex_) = false;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_PROGRESS_BAR_H_
