#include "client/shell/shell_command.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// Between two looks at the stop token.
constexpr int kLookIntervalMs = 100;

absl::Status SystemError(int error, absl::string_view what) {
  return absl::InternalError(absl::StrCat(what, ": ", std::strerror(error)));
}

std::vector<std::string> EnvironmentOf(const ShellCommand& command) {
  std::vector<std::string> all;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const bool replaced = std::any_of(
        command.variables.begin(), command.variables.end(), [entry](const auto& variable) {
          return absl::StartsWith(*entry, absl::StrCat(variable.first, "="));
        });
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

void SetSignals(posix_spawnattr_t& attributes) {
  sigset_t signals;
  sigemptyset(&signals);
  posix_spawnattr_setsigmask(&attributes, &signals);
  for (const int number : {SIGPIPE, SIGXFSZ, SIGINT, SIGTERM}) sigaddset(&signals, number);
  posix_spawnattr_setsigdefault(&attributes, &signals);
}

// With the standard output `output`, or this process's where it is negative.
absl::StatusOr<pid_t> Spawn(const ShellCommand& command, int output, short more_flags) {
  std::vector<std::string> words = {"/bin/sh", "-c", command.text};
  std::vector<std::string> environment = EnvironmentOf(command);
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_t actions;
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_init(&actions);
  SetSignals(attributes);
  posix_spawnattr_setflags(
      &attributes, static_cast<short>(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | more_flags));
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  if (output >= 0) posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  pid_t pid = 0;
  const int error = posix_spawn(&pid, "/bin/sh", &actions, &attributes, Pointers(words).data(),
                                Pointers(environment).data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) return SystemError(error, "can't start /bin/sh");
  return pid;
}

// False once `stop` was requested; true when a waitpid will not wait long.
bool AwaitEnd(pid_t pid, const std::stop_token& stop) {
  const int end = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  if (end < 0) return true;
  bool ended = false;
  while (!ended && !stop.stop_requested()) {
    pollfd poll_end{end, POLLIN, 0};
    ended = poll(&poll_end, 1, kLookIntervalMs) > 0;
  }
  close(end);
  return ended;
}

absl::StatusOr<int> ExitCodeOf(pid_t pid) {
  int status = 0;
  while (waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) {
      return SystemError(errno, absl::StrCat("process ", pid, ": can't learn how it ended"));
    }
  }
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

// Until the end, or until `output` is full.
absl::StatusOr<size_t> ReadAll(int fd, absl::Span<char> output) {
  size_t size = 0;
  while (size < output.size()) {
    const ssize_t count = read(fd, output.data() + size, output.size() - size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return SystemError(errno, "can't read what it prints");
    if (count == 0) break;
    size += static_cast<size_t>(count);
  }
  return size;
}

}  // namespace

absl::StatusOr<int> RunShell(const ShellCommand& command, const std::stop_token& stop) {
  MUSTER_ASSIGN_OR_RETURN(const pid_t pid, Spawn(command, -1, POSIX_SPAWN_SETPGROUP));
  if (AwaitEnd(pid, stop)) return ExitCodeOf(pid);
  return absl::CancelledError(absl::StrCat("process ", pid, " runs on, and nobody waits for it"));
}

absl::StatusOr<ShellOutput> ReadFromShell(const ShellCommand& command, absl::Span<char> output) {
  int ends[2] = {-1, -1};
  if (pipe2(ends, O_CLOEXEC) != 0) return SystemError(errno, "can't make a pipe");
  const absl::StatusOr<pid_t> pid = Spawn(command, ends[1], 0);
  close(ends[1]);
  absl::StatusOr<size_t> size = 0;
  if (pid.ok()) size = ReadAll(ends[0], output);
  close(ends[0]);
  MUSTER_RETURN_IF_ERROR(pid.status());
  MUSTER_ASSIGN_OR_RETURN(const int exit_code, ExitCodeOf(*pid));
  MUSTER_RETURN_IF_ERROR(size.status());
  return ShellOutput{.exit_code = exit_code, .size = *size};
}

}  // namespace muster
