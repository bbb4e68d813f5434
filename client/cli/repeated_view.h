// What is shown again and again until somebody presses Ctrl-C: `--watch`.
#ifndef MUSTER_CLIENT_CLI_REPEATED_VIEW_H_
#define MUSTER_CLIENT_CLI_REPEATED_VIEW_H_

#include <stop_token>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/cli/command.h"

namespace muster {

// Waits for `duration`, or until `stop` is requested: then it is true.
bool PauseUnless(const std::stop_token& stop, absl::Duration duration);

// What is shown.
struct View {
  std::string text;
  // What of it counts as a change, where that is less than all: ages change all the time.
  std::string content = text;
};

// Shows what `make` returns, asked for every two seconds: on a terminal in place of the one before; elsewhere it is printed
// whenever its content is another one. A server that can't be reached is waited for. OK when `stop` is requested, with the
// last text left on the terminal, or when nobody reads any more; other errors of `make` end it, too.
absl::Status ShowRepeatedly(Invocation& invocation, absl::FunctionRef<absl::StatusOr<View>()> make,
                            const std::stop_token& stop);

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_REPEATED_VIEW_H_
