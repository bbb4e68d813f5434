#include "client/cli/quit_key.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "absl/strings/string_view.h"

namespace muster {
namespace {

// How soon the end of the object ends the thread.
constexpr int kPollMs = 100;

}  // namespace

QuitKey::QuitKey(int descriptor, const std::stop_token& parent)
    : descriptor_(descriptor), of_parent_(parent, [this] { source_.request_stop(); }) {
  termios settings{};
  // In the background it would be stopped for reading. A terminal that controls nobody stops nobody.
  const pid_t foreground = tcgetpgrp(descriptor_);
  if (foreground >= 0 && foreground != getpgrp()) return;
  if (tcgetattr(descriptor_, &settings) != 0) return;
  termios changed = settings;
  changed.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
  if (tcsetattr(descriptor_, TCSANOW, &changed) != 0) return;
  settings_ = settings;
  reader_ = std::jthread([this](const std::stop_token& end) { Read(end); });
}

QuitKey::~QuitKey() {
  reader_ = {};
  if (settings_.has_value()) tcsetattr(descriptor_, TCSANOW, &*settings_);
}

void QuitKey::Read(const std::stop_token& end) {
  while (!end.stop_requested()) {
    pollfd input{descriptor_, POLLIN, 0};
    const int ready = poll(&input, 1, kPollMs);
    if (ready < 0 && errno != EINTR) return;
    if (ready <= 0) continue;
    char typed[64];
    const ssize_t got = read(descriptor_, typed, sizeof(typed));
    if (got <= 0) return;
    if (absl::string_view(typed, static_cast<size_t>(got)).find_first_of("qQ") !=
        absl::string_view::npos) {
      source_.request_stop();
      return;
    }
  }
}

}  // namespace muster
