#include "client/shell/shell_command.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
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

// Between two looks whether a command has ended: longer and longer, up to this.
constexpr int kLookIntervalMs = 100;

absl::Status SystemError(int error, absl::string_view what) {
  return absl::InternalError(absl::StrCat(what, ": ", std::strerror(error)));
}

std::vector<std::string> EnvironmentOf(const ShellCommand& command) {
  std::vector<std::string> all;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const absl::string_view whole(*entry);
    const absl::string_view name = whole.substr(0, whole.find('='));
    const auto is_it = [name](const auto& variable) { return variable.first == name; };
    const bool replaced = std::any_of(command.variables.begin(), command.variables.end(), is_it);
    const bool withheld =
        std::find(command.without.begin(), command.without.end(), name) != command.without.end();
    if (!replaced && !withheld) all.emplace_back(whole);
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

bool HasTerminal() {
  const int terminal = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
  if (terminal < 0) return false;
  close(terminal);
  return true;
}

// Leaves it to be waited for.
bool HasEnded(pid_t pid) {
  siginfo_t ended{};
  return waitid(P_PID, static_cast<id_t>(pid), &ended, WEXITED | WNOWAIT | WNOHANG) != 0 ||
         ended.si_pid == pid;
}

// Looks at growing intervals until `is_over`. There are ways to be told of a process's end, but sandboxes
// and older kernels don't have them all.
template <typename IsOver>
void LookUntil(IsOver is_over) {
  for (int wait_ms = 1; !is_over(); wait_ms = std::min(2 * wait_ms, kLookIntervalMs)) {
    poll(nullptr, 0, wait_ms);
  }
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

// Reads what is there, as far as it fits. False once there will be no more.
absl::StatusOr<bool> ReadSome(int fd, absl::Span<char> output, size_t& size) {
  while (size < output.size()) {
    const ssize_t count = read(fd, output.data() + size, output.size() - size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) return true;
    if (count < 0) return SystemError(errno, "can't read what it prints");
    if (count == 0) return false;
    size += static_cast<size_t>(count);
  }
  return false;
}

absl::Status CheckPatience(const ShellPatience& patience, absl::Duration give_up) {
  if (patience.stop.stop_requested()) return absl::CancelledError("the command was stopped");
  if (patience.clock.Monotonic() < give_up) return absl::OkStatus();
  return absl::DeadlineExceededError(
      absl::StrCat("it did not end within ", absl::FormatDuration(patience.limit)));
}

// Until the command has printed all, or `output` is full.
absl::StatusOr<size_t> ReadAll(int fd, pid_t pid, absl::Span<char> output,
                               const ShellPatience& patience, absl::Duration give_up) {
  size_t size = 0;
  for (;;) {
    // In this order: what it printed before it ended is there.
    const bool ended = HasEnded(pid);
    MUSTER_ASSIGN_OR_RETURN(const bool more, ReadSome(fd, output, size));
    if (ended || !more) return size;
    MUSTER_RETURN_IF_ERROR(CheckPatience(patience, give_up));
    pollfd readable{fd, POLLIN, 0};
    poll(&readable, 1, kLookIntervalMs);
  }
}

}  // namespace

absl::StatusOr<int> RunShell(const ShellCommand& command, const std::stop_token& stop) {
  MUSTER_ASSIGN_OR_RETURN(const pid_t pid, Spawn(command, -1, POSIX_SPAWN_SETPGROUP));
  LookUntil([&] { return stop.stop_requested() || HasEnded(pid); });
  if (HasEnded(pid)) return ExitCodeOf(pid);
  return absl::CancelledError(absl::StrCat("process ", pid, " runs on, and nobody waits for it"));
}

absl::StatusOr<ShellOutput> ReadFromShell(const ShellCommand& command, absl::Span<char> output,
                                          const ShellPatience& patience) {
  const absl::Duration give_up = patience.clock.Monotonic() + patience.limit;
  int ends[2] = {-1, -1};
  if (pipe2(ends, O_CLOEXEC) != 0) return SystemError(errno, "can't make a pipe");
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  const bool own_group = !HasTerminal();
  const absl::StatusOr<pid_t> pid =
      Spawn(command, ends[1], static_cast<short>(own_group ? POSIX_SPAWN_SETPGROUP : 0));
  close(ends[1]);
  absl::StatusOr<size_t> size = 0;
  if (pid.ok()) size = ReadAll(ends[0], *pid, output, patience, give_up);
  close(ends[0]);
  MUSTER_RETURN_IF_ERROR(pid.status());
  // One that closed its output may go on, and one that printed too much is about to hear of that.
  absl::Status status = size.status();
  LookUntil([&] {
    if (status.ok()) status = CheckPatience(patience, give_up);
    return !status.ok() || HasEnded(*pid);
  });
  if (!status.ok()) kill(own_group ? -*pid : *pid, SIGKILL);
  MUSTER_ASSIGN_OR_RETURN(const int exit_code, ExitCodeOf(*pid));
  MUSTER_RETURN_IF_ERROR(status);
  return ShellOutput{.exit_code = exit_code, .size = *size};
}

}  // namespace muster
