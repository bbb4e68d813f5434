#include "client/cli/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <string>

namespace muster {

Terminal TerminalOf(std::FILE* stream, const EnvironmentLookup& variables) {
  const int descriptor = fileno(stream);
  const std::string kind = variables("TERM");
  Terminal terminal;
  terminal.stream = stream;
  terminal.can_redraw = isatty(descriptor) != 0 && !kind.empty() && kind != "dumb";
  // https://no-color.org: set and not empty.
  terminal.has_colour = terminal.can_redraw && variables("NO_COLOR").empty();
  terminal.size = [descriptor] {
    TerminalSize size;
    struct winsize window {};
    if (ioctl(descriptor, TIOCGWINSZ, &window) == 0 && window.ws_col > 0 && window.ws_row > 0) {
      size = {window.ws_col, window.ws_row};
    }
    return size;
  };
  return terminal;
}

}  // namespace muster
