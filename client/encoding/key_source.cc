#include "client/encoding/key_source.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/shell/shell_command.h"
#include "storage/base/error_info.h"
#include "storage/base/mutex.h"
#include "storage/base/reasons.h"
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
      return MakeError(absl::StatusCode::kFailedPrecondition, reasons::kKeyCommandFailed,
                       absl::StrCat("the key command gave no key for key id \"", id,
                                    "\": ", key.status().message()),
                       {{"key_id", id}});
    }
    keys_.emplace(id, *key);
    return key;
  }

 private:
  absl::StatusOr<SecretKey> Run(const std::string& key_id) const {
    KeyText text;
    MUSTER_ASSIGN_OR_RETURN(
        const ShellOutput output,
        ReadFromShell({.text = command_, .variables = {{kKeyIdVariable, key_id}}},
                      absl::MakeSpan(text.bytes)));
    if (output.exit_code != 0) {
      return absl::InternalError(absl::StrCat("it ended with exit code ", output.exit_code));
    }
    text.size = output.size;
    return SecretKey::Parse(text.text());
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

std::shared_ptr<KeySource> NewKeyCommand(std::string command) {
  return std::make_shared<CommandKeys>(std::move(command));
}

}  // namespace muster
