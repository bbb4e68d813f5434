#include "client/encoding/key_source.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "storage/base/error_info.h"
#include "storage/base/mutex.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

constexpr char kKeyIdVariable[] = "MUSTER_KEY_ID";
// More than any key has: 64 hex digits and a line break.
constexpr size_t kMaxKeyText = 128;

// Text that may be a key, wiped when it goes.
struct KeyText {
  std::array<char, kMaxKeyText> bytes{};
  size_t size = 0;

  ~KeyText() { Wipe(absl::MakeSpan(bytes)); }
  absl::string_view text() const { return {bytes.data(), size}; }
};

class FixedKey final : public KeySource {
 public:
  explicit FixedKey(const SecretKey& key) : key_(key) {}
  absl::StatusOr<SecretKey> KeyFor(absl::string_view) override { return key_; }

 private:
  const SecretKey key_;
};

// Reads until the end, or until it is too much for a key. The text then has the full size.
absl::Status ReadText(int fd, KeyText& text) {
  while (text.size < text.bytes.size()) {
    const ssize_t count = read(fd, text.bytes.data() + text.size, text.bytes.size() - text.size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return absl::InternalError(std::strerror(errno));
    if (count == 0) break;
    text.size += static_cast<size_t>(count);
  }
  return absl::OkStatus();
}

class CommandKeys final : public KeySource {
 public:
  explicit CommandKeys(std::string command) : command_(std::move(command)) {}

  // One command at a time, so that a vault is not asked twice for one key.
  absl::StatusOr<SecretKey> KeyFor(absl::string_view key_id) override {
    MutexLock lock(mutex_);
    const std::string id(key_id);
    if (const auto known = keys_.find(id); known != keys_.end()) return known->second;
    absl::StatusOr<SecretKey> key = Run(id);
    if (!key.ok()) {
      return MakeError(absl::StatusCode::kFailedPrecondition, "KEY_COMMAND_FAILED",
                       absl::StrCat("the key command gave no key for key id \"", id,
                                    "\": ", key.status().message()),
                       {{"key_id", id}});
    }
    keys_.emplace(id, *key);
    return key;
  }

 private:
  absl::StatusOr<SecretKey> Run(const std::string& key_id) const {
    int ends[2] = {-1, -1};
    if (pipe2(ends, O_CLOEXEC) != 0) return absl::InternalError(std::strerror(errno));
    pid_t pid = 0;
    const int error = Spawn(key_id, ends[1], pid);
    close(ends[1]);
    KeyText text;
    const absl::Status read = error == 0 ? ReadText(ends[0], text) : absl::OkStatus();
    close(ends[0]);
    if (error != 0) return absl::InternalError(std::strerror(error));
    int status = 0;
    while (waitpid(pid, &status, 0) < 0) {
      if (errno != EINTR) return absl::InternalError(std::strerror(errno));
    }
    MUSTER_RETURN_IF_ERROR(read);
    if (WIFSIGNALED(status)) {
      return absl::InternalError(absl::StrCat("it was ended by signal ", WTERMSIG(status)));
    }
    if (WEXITSTATUS(status) != 0) {
      return absl::InternalError(absl::StrCat("it ended with exit code ", WEXITSTATUS(status)));
    }
    return SecretKey::Parse(text.text());
  }

  int Spawn(const std::string& key_id, int output, pid_t& pid) const {
    std::vector<std::string> words = {"/bin/sh", "-c", command_};
    std::vector<std::string> environment;
    for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
      if (!absl::StartsWith(*entry, absl::StrCat(kKeyIdVariable, "="))) {
        environment.emplace_back(*entry);
      }
    }
    environment.push_back(absl::StrCat(kKeyIdVariable, "=", key_id));
    const auto pointers = [](std::vector<std::string>& texts) {
      std::vector<char*> all;
      for (std::string& text : texts) all.push_back(text.data());
      all.push_back(nullptr);
      return all;
    };
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_t actions;
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_init(&actions);
    // Signals are as a program expects them, whatever this process blocks and ignores.
    sigset_t signals;
    sigemptyset(&signals);
    posix_spawnattr_setsigmask(&attributes, &signals);
    for (const int number : {SIGPIPE, SIGXFSZ}) sigaddset(&signals, number);
    posix_spawnattr_setsigdefault(&attributes, &signals);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    const int error = posix_spawn(&pid, "/bin/sh", &actions, &attributes, pointers(words).data(),
                                  pointers(environment).data());
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return error;
  }

  const std::string command_;
  Mutex mutex_;
  std::map<std::string, SecretKey> keys_ MUSTER_GUARDED_BY(mutex_);
};

}  // namespace

std::shared_ptr<KeySource> NewFixedKey(const SecretKey& key) {
  return std::make_shared<FixedKey>(key);
}

absl::StatusOr<std::shared_ptr<KeySource>> ReadKeyFile(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    const int error = errno;
    const std::string message =
        absl::StrCat(path, ": can't open the key file: ", std::strerror(error));
    if (error == ENOENT) return absl::NotFoundError(message);
    return absl::PermissionDeniedError(message);
  }
  struct stat state {};
  KeyText text;
  const bool known = fstat(fd, &state) == 0;
  const absl::Status read = ReadText(fd, text);
  close(fd);
  if (known && S_ISREG(state.st_mode) && (state.st_mode & 0077) != 0) {
    return MakeError(absl::StatusCode::kFailedPrecondition, "KEY_FILE_EXPOSED",
                     absl::StrCat(path,
                                  ": others than its owner may open the key file; `chmod "
                                  "600` it"),
                     {{"path", path}});
  }
  MUSTER_RETURN_IF_ERROR(Annotate(read, path));
  absl::StatusOr<SecretKey> key = SecretKey::Parse(text.text());
  if (!key.ok()) return Annotate(key.status(), path);
  return NewFixedKey(*key);
}

std::shared_ptr<KeySource> NewKeyCommand(std::string command) {
  return std::make_shared<CommandKeys>(std::move(command));
}

}  // namespace muster
