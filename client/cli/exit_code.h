// How errors reach people and scripts: exit codes, messages, hints and JSON.
//
// Pure functions; thread-safe.
#ifndef MUSTER_CLIENT_CLI_EXIT_CODE_H_
#define MUSTER_CLIENT_CLI_EXIT_CODE_H_

#include <string>

#include "absl/status/status.h"

namespace muster {

// kExitCodeHelp says the same to users.
enum ExitCode {
  kExitOk = 0,
  kExitFailed = 1,
  kExitUsage = 2,
  kExitTimedOut = 3,
  kExitUnreachable = 4,
  kExitFenced = 5,
  kExitTooSmall = 6,
  kExitNameTaken = 7,
  // As shells say of a program that was ended by SIGINT.
  kExitInterrupted = 130,
};

inline constexpr char kExitCodeHelp[] =
    "Exit codes:\n"
    "  0    done\n"
    "  1    failed\n"
    "  2    wrong usage\n"
    "  3    timed out (muster wait), or not drained in time (muster nodes drain --wait)\n"
    "  4    no server can be reached\n"
    "  5    fenced off: another process registered under the node's name (muster agent)\n"
    "  6    the node can't hold what it is to hold: its capacity is too small (muster agent)\n"
    "  7    the node's name is another machine's, which is alive (muster agent)\n"
    "  130  interrupted";

ExitCode ExitCodeOf(const absl::Status& status);

// What the user can do about it, as one sentence; "" where there is nothing to add.
std::string HintFor(const absl::Status& status);

// "muster: message" and a line with the hint, each ended by a newline; control characters are
// replaced.
std::string ErrorText(const absl::Status& status);

// One line: {"code": …, "reason": …, "message": …, "metadata": {…}}.
std::string ErrorJson(const absl::Status& status);

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_EXIT_CODE_H_
