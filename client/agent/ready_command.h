// Runs a command of the user's.
#ifndef MUSTER_CLIENT_AGENT_READY_COMMAND_H_
#define MUSTER_CLIENT_AGENT_READY_COMMAND_H_

#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace muster {

struct ShellCommand {
  // For /bin/sh -c.
  std::string text;
  // Beside this process's environment.
  std::vector<std::pair<std::string, std::string>> variables;
};

// Runs the command to its end and returns its exit code; 128 and the signal's number where one ended
// it. It has a process group of its own, so that a Ctrl-C at the terminal does not reach it.
// kCancelled once `stop` was requested: the command runs on. kInternal: it can't be started.
absl::StatusOr<int> RunShell(const ShellCommand& command, const std::stop_token& stop);

}  // namespace muster

#endif  // MUSTER_CLIENT_AGENT_READY_COMMAND_H_
