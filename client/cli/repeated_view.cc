#include "client/cli/repeated_view.h"

#include <functional>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/cli/exit_code.h"
#include "client/cli/live_screen.h"
#include "client/cli/values.h"
#include "storage/base/mutex.h"

namespace muster {
namespace {

constexpr absl::Duration kViewInterval = absl::Seconds(2);

std::vector<std::string> LinesOf(const std::string& text) {
  std::vector<std::string> lines = absl::StrSplit(text, '\n');
  if (lines.back().empty()) lines.pop_back();
  return lines;
}

}  // namespace

bool PauseUnless(const std::stop_token& stop, absl::Duration duration) {
  Mutex mutex;
  CondVar changed;
  const std::stop_callback<std::function<void()>> wake(stop, [&] {
    MutexLock lock(mutex);
    changed.NotifyAll();
  });
  MutexLock lock(mutex);
  // One that wakes too early only shows something a little earlier.
  if (!stop.stop_requested()) changed.WaitFor(mutex, duration);
  return stop.stop_requested();
}

absl::Status ShowRepeatedly(Invocation& invocation, absl::FunctionRef<absl::StatusOr<View>()> make,
                            const std::stop_token& stop) {
  LiveScreen screen(invocation.json() ? Terminal() : invocation.terminal());
  std::string shown;
  std::optional<std::string> content;
  std::string trouble;
  absl::Status status;
  do {
    absl::StatusOr<View> view = make();
    if (view.ok()) {
      trouble.clear();
      if (!screen.can_redraw() && content != view->content) invocation.Print(view->text);
      shown = std::move(view->text);
      content = std::move(view->content);
    } else if (ExitCodeOf(view.status()) != kExitUnreachable) {
      status = view.status();
      break;
    } else {
      const std::string line = absl::StrCat("waiting for the server: ", view.status().message());
      if (!screen.can_redraw() && line != trouble) invocation.Note(line);
      trouble = line;
    }
    std::vector<std::string> lines = LinesOf(shown);
    if (!trouble.empty()) lines.insert(lines.begin(), Printable(trouble));
    screen.Show(lines);
  } while (invocation.IsRead() && !PauseUnless(stop, kViewInterval));
  const bool stays = screen.can_redraw();
  screen.Wipe();
  if (stays) invocation.Print(shown);
  return absl::IsCancelled(status) ? absl::OkStatus() : status;
}

}  // namespace muster
