#include "client/cli/progress_bar.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/values.h"

namespace muster {
namespace {

constexpr int kBarWidth = 24;
constexpr absl::Duration kDrawInterval = absl::Milliseconds(200);
// Nothing is drawn for what is done in a moment.
constexpr absl::Duration kFirstDraw = absl::Milliseconds(500);

}  // namespace

std::string ProgressLine(absl::string_view label, int64_t done_bytes, int64_t total_bytes,
                         absl::Duration elapsed) {
  const double fraction =
      total_bytes <= 0
          ? 0.0
          : std::clamp(static_cast<double>(done_bytes) / static_cast<double>(total_bytes), 0.0,
                       1.0);
  const auto filled = static_cast<size_t>(fraction * kBarWidth);
  std::string bar(filled, '=');
  if (bar.size() < kBarWidth) bar.push_back('>');
  bar.resize(kBarWidth, ' ');
  std::string line =
      absl::StrFormat("%s %3d%%  [%s]  %s of %s", label, static_cast<int>(fraction * 100), bar,
                      FormatSize(done_bytes), FormatSize(total_bytes));
  const double seconds = absl::ToDoubleSeconds(elapsed);
  if (seconds <= 0 || done_bytes <= 0) return line;
  const double rate = static_cast<double>(done_bytes) / seconds;
  const double left = static_cast<double>(std::max<int64_t>(total_bytes - done_bytes, 0)) / rate;
  absl::StrAppend(&line, "  ", FormatSize(static_cast<int64_t>(rate)), "/s  ",
                  HumanDuration(absl::Seconds(left)), " left");
  return line;
}

ProgressBar::ProgressBar(Clock& clock, std::FILE* out, bool enabled, std::string label)
    : clock_(clock),
      out_(out),
      enabled_(enabled),
      label_(std::move(label)),
      begin_(clock.Monotonic()),
      next_draw_(begin_ + kFirstDraw) {}

ProgressBar::~ProgressBar() {
  MutexLock lock(mutex_);
  Wipe();
}

void ProgressBar::SetTotal(int64_t total_bytes) {
  MutexLock lock(mutex_);
  total_bytes_ = total_bytes;
}

void ProgressBar::Add(int64_t bytes) {
  MutexLock lock(mutex_);
  done_bytes_ += bytes;
  if (!enabled_) return;
  const absl::Duration now = clock_.Monotonic();
  if (now < next_draw_) return;
  next_draw_ = now + kDrawInterval;
  std::fprintf(out_, "\r\033[K%s",
               ProgressLine(label_, done_bytes_, total_bytes_, now - begin_).c_str());
  std::fflush(out_);
  drawn_ = true;
}

void ProgressBar::Say(absl::string_view line) {
  MutexLock lock(mutex_);
  Wipe();
  std::fprintf(out_, "%s\n", Printable(line).c_str());
  std::fflush(out_);
}

void ProgressBar::Wipe() {
  if (!drawn_) return;
  std::fputs("\r\033[K", out_);
  std::fflush(out_);
  drawn_ = false;
}

}  // namespace muster
