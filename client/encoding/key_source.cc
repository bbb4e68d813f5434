#include "client/encoding/key_source.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <map>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/shell/shell_command.h"
#include "storage/base/error_info.h"
#include "storage/base/mutex.h"
#include "storage/base/reasons.h"
#include "storage/base/secret_memory.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

constexpr char kKeyIdVariable[] = "MUSTER_KEY_ID";
// More than any key has: 64 hex digits and a line break.
constexpr size_t kMaxKeyText = 128;
// How often a thread that waits for another's command looks whether it is to stop.
constexpr absl::Duration kStopLookInterval = absl::Milliseconds(20);

// Text that may be a key.
struct KeyText {
  SecretMemory memory;
  size_t size = 0;

  absl::Span<char> bytes() { return memory.bytes().first(kMaxKeyText); }
  absl::string_view text() { return {memory.bytes().data(), size}; }
};
static_assert(kMaxKeyText <= SecretMemory::kBytes);

class FixedKey final : public KeySource {
 public:
  explicit FixedKey(const SecretKey& key) : key_(key) {}
  absl::StatusOr<SecretKey> KeyFor(absl::string_view, const std::stop_token&) override {
    return key_;
  }

 private:
  const SecretKey key_;
};

// Reads until the end, or until it is too much for a key. The text then has the full size.
absl::Status ReadText(int fd, KeyText& text) {
  const absl::Span<char> bytes = text.bytes();
  while (text.size < bytes.size()) {
    const ssize_t count = read(fd, bytes.data() + text.size, bytes.size() - text.size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return absl::InternalError(std::strerror(errno));
    if (count == 0) break;
    text.size += static_cast<size_t>(count);
  }
  return absl::OkStatus();
}

class CommandKeys final : public KeySource {
 public:
  CommandKeys(KeyCommandOptions options, Clock& clock)
      : options_(std::move(options)), clock_(clock) {}

  // One command at a time, so that a vault is not asked twice for one key: who comes meanwhile waits for
  // it, and takes its answer.
  absl::StatusOr<SecretKey> KeyFor(absl::string_view key_id, const std::stop_token& stop) override {
    const std::string id(key_id);
    {
      MutexLock lock(mutex_);
      bool waited = false;
      while (running_.has_value() && !stop.stop_requested()) {
        waited = *running_ == id;
        ended_.WaitFor(mutex_, kStopLookInterval);
      }
      if (stop.stop_requested()) return Stopped();
      const auto known = answers_.find(id);
      if (known != answers_.end() && (known->second.ok() || waited)) return known->second;
      running_ = id;
    }
    absl::StatusOr<SecretKey> answer = Run(id, stop);
    MutexLock lock(mutex_);
    running_.reset();
    ended_.NotifyAll();
    answers_.erase(id);
    // That somebody else was stopped is no answer.
    if (!absl::IsCancelled(answer.status())) answers_.emplace(id, answer);
    return answer;
  }

 private:
  static absl::Status Stopped() { return absl::CancelledError("waiting for a key was cancelled"); }

  absl::StatusOr<SecretKey> Run(const std::string& key_id, const std::stop_token& stop) const {
    absl::StatusOr<SecretKey> key = Ask(key_id, stop);
    if (key.ok()) return key;
    if (absl::IsCancelled(key.status())) return Stopped();
    return MakeError(absl::StatusCode::kFailedPrecondition, reasons::kKeyCommandFailed,
                     absl::StrCat("the key command gave no key for key id \"", key_id,
                                  "\": ", key.status().message()),
                     {{"key_id", key_id}});
  }

  absl::StatusOr<SecretKey> Ask(const std::string& key_id, const std::stop_token& stop) const {
    KeyText text;
    MUSTER_ASSIGN_OR_RETURN(const ShellOutput output,
                            ReadFromShell({.text = options_.command,
                                           .variables = {{kKeyIdVariable, key_id}},
                                           .without = options_.without},
                                          text.bytes(), {clock_, options_.limit, stop}));
    if (output.exit_code != 0) {
      return absl::InternalError(absl::StrCat("it ended with exit code ", output.exit_code));
    }
    text.size = output.size;
    return SecretKey::Parse(text.text());
  }

  const KeyCommandOptions options_;
  Clock& clock_;
  Mutex mutex_;
  CondVar ended_;
  // The key id that a command runs for.
  std::optional<std::string> running_ MUSTER_GUARDED_BY(mutex_);
  // By key id; an error is for those who waited for it.
  std::map<std::string, absl::StatusOr<SecretKey>> answers_ MUSTER_GUARDED_BY(mutex_);
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
    return MakeError(
        absl::StatusCode::kFailedPrecondition, reasons::kKeyFileExposed,
        absl::StrCat(path, ": not only its owner can open the key file; `chmod 600` it"),
        {{"path", path}});
  }
  MUSTER_RETURN_IF_ERROR(Annotate(read, path));
  absl::StatusOr<SecretKey> key = SecretKey::Parse(text.text());
  if (!key.ok()) return Annotate(key.status(), path);
  return NewFixedKey(*key);
}

std::shared_ptr<KeySource> NewKeyCommand(KeyCommandOptions options, Clock& clock) {
  return std::make_shared<CommandKeys>(std::move(options), clock);
}

}  // namespace muster
