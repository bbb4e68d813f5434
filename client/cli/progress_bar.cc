#include "client/cli/progress_bar.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/table.h"
#include "client/cli/values.h"

namespace muster {
namespace {

constexpr size_t kMaxBarWidth = 24;
constexpr size_t kMinBarWidth = 8;
constexpr absl::Duration kDrawInterval = absl::Milliseconds(200);
// Nothing is drawn for what is done in a moment.
constexpr absl::Duration kFirstDraw = absl::Milliseconds(500);

double ShareDone(const ProgressState& state) {
  if (state.total_bytes <= 0) return 0;
  const double share =
      static_cast<double>(state.done_bytes) / static_cast<double>(state.total_bytes);
  return std::clamp(share, 0.0, 1.0);
}

std::string TimeLeftText(const ProgressState& state) {
  const int64_t left = state.total_bytes - state.done_bytes;
  if (state.bytes_per_second <= 0 || left <= 0) return "";
  const double seconds = static_cast<double>(left) / state.bytes_per_second;
  return absl::StrCat(HumanDuration(absl::Seconds(seconds)), " left");
}

std::string ProgressPicture(double share, size_t width) {
  const size_t filled = static_cast<size_t>(share * static_cast<double>(width));
  std::string bar(filled, '=');
  if (filled < width) bar.push_back('>');
  bar.resize(width, ' ');
  return absl::StrCat("[", bar, "]");
}

}  // namespace

std::string ProgressLine(const ProgressState& state, size_t columns) {
  const double share = ShareDone(state);
  const bool is_known = state.total_bytes > 0;
  const std::string head =
      is_known ? absl::StrFormat("%s %3d%%", state.label, static_cast<int>(share * 100))
               : state.label;
  std::string rate;
  if (state.bytes_per_second > 0) {
    rate = absl::StrCat(FormatSize(static_cast<int64_t>(state.bytes_per_second)), "/s");
  }
  std::string bytes = FormatSize(state.done_bytes);
  if (is_known) absl::StrAppend(&bytes, " of ", FormatSize(state.total_bytes));
  // What matters most comes first here, and gets the room.
  const std::string left = TimeLeftText(state);
  size_t used = DisplayWidth(head);
  const auto fits = [&](const std::string& part) {
    const size_t width = part.empty() ? 0 : DisplayWidth(part) + 2;
    if (part.empty() || used + width > columns) return std::string();
    used += width;
    return absl::StrCat("  ", part);
  };
  const std::string left_part = fits(left), rate_part = fits(rate), note_part = fits(state.note),
                    bytes_part = fits(bytes);
  std::string bar_part;
  constexpr size_t kAroundBar = 4;
  if (is_known && used + kAroundBar + kMinBarWidth <= columns) {
    bar_part = absl::StrCat(
        "  ", ProgressPicture(share, std::min(columns - used - kAroundBar, kMaxBarWidth)));
  }
  return CutToColumns(absl::StrCat(head, bar_part, bytes_part, rate_part, left_part, note_part),
                      columns);
}

ProgressBar::ProgressBar(Clock& clock, LiveScreen& screen, std::string label)
    : clock_(clock), screen_(screen) {
  state_.label = std::move(label);
  const absl::Duration now = clock_.Monotonic();
  next_draw_ = now + kFirstDraw;
  rate_.Add(now, 0);
}

ProgressBar::~ProgressBar() { screen_.Wipe(); }

void ProgressBar::SetTotal(int64_t total_bytes) {
  MutexLock lock(mutex_);
  state_.total_bytes = total_bytes;
}

void ProgressBar::Add(int64_t bytes) {
  MutexLock lock(mutex_);
  state_.done_bytes += bytes;
  if (!screen_.can_redraw()) return;
  const absl::Duration now = clock_.Monotonic();
  const bool done = drawn_ && state_.done_bytes == state_.total_bytes;
  if (now < next_draw_ && !done) return;
  next_draw_ = now + kDrawInterval;
  rate_.Add(now, state_.done_bytes);
  state_.bytes_per_second = rate_.PerSecond();
  screen_.Show({ProgressLine(state_, screen_.size().columns - 1)});
  drawn_ = true;
}

void ProgressBar::Say(absl::string_view line) {
  screen_.PrintAbove(absl::StrCat(Printable(line), "\n"));
}

}  // namespace muster
