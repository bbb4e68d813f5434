// Lines at the bottom of a terminal that are drawn over again and again.
#ifndef MUSTER_CLIENT_CLI_LIVE_SCREEN_H_
#define MUSTER_CLIENT_CLI_LIVE_SCREEN_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "client/cli/terminal.h"
#include "storage/base/mutex.h"

namespace muster {

// As much of `text` as `columns` have room for. Sequences that colour take no room and are kept.
std::string CutToColumns(absl::string_view text, size_t columns);

// Draws nothing where the terminal can't redraw. Thread-safe. What it shows is wiped when it is destroyed.
//
// Whoever prints to the same terminal wipes it first; the next Show draws below what was printed.
class LiveScreen {
 public:
  explicit LiveScreen(Terminal terminal) : terminal_(std::move(terminal)) {}
  ~LiveScreen() { Wipe(); }
  LiveScreen(const LiveScreen&) = delete;
  LiveScreen& operator=(const LiveScreen&) = delete;

  bool can_redraw() const { return terminal_.can_redraw; }
  // That of now.
  TerminalSize size() const { return terminal_.size(); }

  // Replaces what is shown. Lines are cut to the terminal's width, and the last ones are left out where it has fewer
  // rows: a line that wraps or scrolls could not be drawn over.
  void Show(const std::vector<std::string>& lines) MUSTER_EXCLUDES(mutex_);
  void Wipe() MUSTER_EXCLUDES(mutex_);
  // Lines that stay, above what is shown; also where nothing can be redrawn.
  void PrintAbove(absl::string_view text) MUSTER_EXCLUDES(mutex_);

 private:
  // Back to the first line that is shown, with all of them wiped.
  std::string Home() MUSTER_REQUIRES(mutex_);
  void Write(absl::string_view text) MUSTER_REQUIRES(mutex_);

  const Terminal terminal_;
  Mutex mutex_;
  size_t shown_lines_ MUSTER_GUARDED_BY(mutex_) = 0;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_LIVE_SCREEN_H_
