#include "client/cli/activity.h"

#include <stop_token>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cli/repeated_view.h"
#include "client/cli/values.h"

namespace muster {
namespace {

constexpr absl::Duration kActivityInterval = absl::Seconds(1);

}  // namespace

Activity::Activity(Clock& clock, LiveScreen& screen, std::string label)
    : screen_(screen), label_(std::move(label)) {
  if (!screen_.can_redraw()) return;
  drawing_ = std::jthread([this, &clock, begin = clock.Monotonic()](const std::stop_token& stop) {
    while (!PauseUnless(stop, kActivityInterval)) Draw(clock.Monotonic() - begin);
  });
}

Activity::~Activity() {
  if (drawing_.joinable()) {
    drawing_.request_stop();
    drawing_.join();
  }
  screen_.Wipe();
}

void Activity::At(std::string item) {
  MutexLock lock(mutex_);
  item_ = std::move(item);
}

void Activity::Draw(absl::Duration elapsed) {
  std::string line = label_;
  {
    MutexLock lock(mutex_);
    if (!item_.empty()) absl::StrAppend(&line, "  ", Printable(item_));
  }
  const std::string time = absl::StrCat("  ", HumanDuration(elapsed));
  const size_t columns = screen_.size().columns - 1;
  const size_t room = columns > time.size() ? columns - time.size() : 0;
  screen_.Show({absl::StrCat(CutToColumns(line, room), time)});
}

}  // namespace muster
