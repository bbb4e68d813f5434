// What one of the process's outputs is shown on.
#ifndef MUSTER_CLIENT_CLI_TERMINAL_H_
#define MUSTER_CLIENT_CLI_TERMINAL_H_

#include <cstddef>
#include <cstdio>
#include <functional>

#include "storage/object/environment.h"

namespace muster {

struct TerminalSize {
  size_t columns = 100;
  size_t rows = 40;
};

// Without any value: a stream that goes nowhere, as in tests.
struct Terminal {
  std::FILE* stream = nullptr;
  // People watch it, and it can draw over what it shows; a file, a pipe and TERM=dumb can't.
  bool can_redraw = false;
  bool has_colour = false;
  // To be asked whenever something is drawn, since people resize windows. Thread-safe.
  std::function<TerminalSize()> size = [] { return TerminalSize(); };
};

// `variables` says TERM and NO_COLOR. The size of what is no terminal is TerminalSize's default.
Terminal TerminalOf(std::FILE* stream, const EnvironmentLookup& variables);

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_TERMINAL_H_
