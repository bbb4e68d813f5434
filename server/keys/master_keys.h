// A set of master keys, one of which is the current one.
#ifndef MUSTER_SERVER_KEYS_MASTER_KEYS_H_
#define MUSTER_SERVER_KEYS_MASTER_KEYS_H_

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/keys/key_wrapper.h"
#include "server/keys/secret_text.h"
#include "storage/base/secret_key.h"

namespace muster {

// A value that never changes. Thread-safe.
class MasterKeys {
 public:
  // Those that were current, until they are retired.
  static constexpr size_t kMaxKeys = 64;
  // Of a file: its keys, and some comments.
  static constexpr size_t kMaxTextBytes = 16u << 10;

  // What README.md says. kInvalidArgument MASTER_KEY_FILE with the number of the line, which is not quoted.
  static absl::StatusOr<MasterKeys> Parse(absl::string_view text);
  // A set of one. `id` as CheckId wants it.
  static MasterKeys Of(const std::string& id, const SecretKey& key);
  // kInvalidArgument: 1 to 63 letters, digits, ".", "_" and "-".
  static absl::Status CheckId(absl::string_view id);

  // As Parse takes it; `out` has room for kMaxTextBytes.
  void Print(SecretText& out) const;

  // With another key, which is the current one then. kAlreadyExists: the id is taken; kResourceExhausted: there are
  // kMaxKeys.
  absl::StatusOr<MasterKeys> With(const std::string& id, const SecretKey& key) const;
  // kNotFound; kFailedPrecondition MASTER_KEY_IN_USE: it is the current one.
  absl::StatusOr<MasterKeys> Without(const std::string& id) const;

  const std::string& current_id() const { return current_; }
  bool Has(const std::string& id) const { return keys_.contains(id); }
  // Ascending.
  std::vector<std::string> ids() const;

  // As KeyWrapper.
  WrappedKey Wrap(const SecretKey& key, absl::string_view context) const;
  absl::StatusOr<SecretKey> Unwrap(const WrappedKey& wrapped, absl::string_view context) const;

 private:
  MasterKeys() = default;

  std::map<std::string, SecretKey> keys_;
  std::string current_;
};

}  // namespace muster

#endif  // MUSTER_SERVER_KEYS_MASTER_KEYS_H_
