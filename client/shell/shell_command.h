// Runs commands of the user's.
//
// They have this process's environment but for what they are not to know, the usual signals, whatever this
// process blocks and ignores, and read nothing. A command that a signal ended has the exit code 128 and its
// number. kInternal: it can't be started. Thread-safe; calls block.
#ifndef MUSTER_CLIENT_SHELL_SHELL_COMMAND_H_
#define MUSTER_CLIENT_SHELL_SHELL_COMMAND_H_

#include <cstddef>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "storage/base/clock.h"

namespace muster {

struct ShellCommand {
  // For /bin/sh -c.
  std::string text;
  // In place of the environment's own.
  std::vector<std::pair<std::string, std::string>> variables = {};
  // The names of those that it doesn't get.
  std::vector<std::string> without = {};
};

// Runs the command to its end and returns its exit code. It has a process group of its own, so that a
// Ctrl-C at the terminal does not reach it. kCancelled once `stop` was requested: the command runs on.
absl::StatusOr<int> RunShell(const ShellCommand& command, const std::stop_token& stop);

struct ShellOutput {
  int exit_code = 0;
  // Bytes of it.
  size_t size = 0;
};

// How long a command may take.
struct ShellPatience {
  Clock& clock;
  absl::Duration limit;
  const std::stop_token& stop;
};

// Runs the command to its end and fills `output` with what it prints, which is kept nowhere else. A
// command that prints more than fits finds nobody reading; what it leaves running is not waited for.
// kDeadlineExceeded or kCancelled once patience has run out: the command is killed, and what it started
// with it unless there is a terminal, from which it may ask for a passphrase.
absl::StatusOr<ShellOutput> ReadFromShell(const ShellCommand& command, absl::Span<char> output,
                                          const ShellPatience& patience);

}  // namespace muster

#endif  // MUSTER_CLIENT_SHELL_SHELL_COMMAND_H_
