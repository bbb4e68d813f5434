#include "client/agent/ready_command.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "client/transfer/posix_file.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// Between two looks at the stop token.
constexpr int kLookIntervalMs = 100;

// This process's environment with the command's variables in place of its own.
std::vector<std::string> EnvironmentOf(const ShellCommand& command) {
  std::vector<std::string> all;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    bool replaced = false;
    for (const auto& [name, value] : command.variables) {
      replaced = replaced || absl::StartsWith(*entry, absl::StrCat(name, "="));
    }
    if (!replaced) all.emplace_back(*entry);
  }
  for (const auto& [name, value] : command.variables) {
    all.push_back(absl::StrCat(name, "=", value));
  }
  return all;
}

std::vector<char*> Pointers(std::vector<std::string>& words) {
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  return pointers;
}

// Signals are as a program expects them, whatever this process blocks and ignores.
void SetAttributes(posix_spawnattr_t& attributes) {
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  sigset_t defaults;
  sigemptyset(&defaults);
  for (const int number : {SIGPIPE, SIGXFSZ, SIGINT, SIGTERM}) sigaddset(&defaults, number);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
}

absl::StatusOr<pid_t> Spawn(const ShellCommand& command) {
  std::vector<std::string> words = {"/bin/sh", "-c", command.text};
  std::vector<std::string> environment = EnvironmentOf(command);
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_t actions;
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_init(&actions);
  SetAttributes(attributes);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  pid_t pid = 0;
  const int error = posix_spawn(&pid, "/bin/sh", &actions, &attributes, Pointers(words).data(),
                                Pointers(environment).data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) return PathError(error, "start", "/bin/sh");
  return pid;
}

// False once `stop` was requested; true when a waitpid will not wait long.
bool AwaitEnd(pid_t pid, const std::stop_token& stop) {
  const UniqueFd end(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!end.valid()) return true;
  while (!stop.stop_requested()) {
    pollfd poll_end{end.get(), POLLIN, 0};
    if (poll(&poll_end, 1, kLookIntervalMs) > 0) return true;
  }
  return false;
}

}  // namespace

absl::StatusOr<int> RunShell(const ShellCommand& command, const std::stop_token& stop) {
  MUSTER_ASSIGN_OR_RETURN(const pid_t pid, Spawn(command));
  if (!AwaitEnd(pid, stop)) {
    return absl::CancelledError(absl::StrCat("process ", pid, " runs on, and nobody waits for it"));
  }
  int status = 0;
  while (waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) {
      return absl::InternalError(
          absl::StrCat("process ", pid, ": its end can't be told: ", std::strerror(errno)));
    }
  }
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace muster
