// Who wraps content keys. The one that there is has master keys in a file; a command, or a token that never gives its
// key away, would be others.
#ifndef MUSTER_SERVER_KEYS_KEY_WRAPPER_H_
#define MUSTER_SERVER_KEYS_KEY_WRAPPER_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/base/secret_key.h"

namespace muster {

struct WrappedKey {
  std::string master_key_id;
  std::string bytes;
};

// What a wrapped key is bound to. Equal only for one content key of one model version.
std::string ContentKeyContext(absl::string_view version_uid, absl::string_view key_id);

// 32 bytes, and "muster/" with 32 hex digits, by the operating system's means.
SecretKey DrawKey();
std::string DrawContentKeyId();

// Thread-safe; calls may block. Messages never hold a key.
class KeyWrapper {
 public:
  virtual ~KeyWrapper() = default;

  // By the current master key.
  virtual absl::StatusOr<WrappedKey> Wrap(const SecretKey& key, absl::string_view context) = 0;
  // kDataLoss MASTER_KEY_MISSING, CONTENT_KEY_DAMAGED.
  virtual absl::StatusOr<SecretKey> Unwrap(const WrappedKey& wrapped,
                                           absl::string_view context) = 0;

  virtual std::string current_id() = 0;
  // Ascending.
  virtual std::vector<std::string> ids() = 0;

  // Takes over what was changed outside, unless it lacks a master key that is in `needed`; true where something was.
  // An error changes nothing and is returned once for each state of what is outside. By one thread.
  virtual absl::StatusOr<bool> Refresh(const std::map<std::string, uint64_t>& needed) = 0;
};

}  // namespace muster

#endif  // MUSTER_SERVER_KEYS_KEY_WRAPPER_H_
