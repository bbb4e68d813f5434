// Where master keys come from.
#ifndef MUSTER_CLIENT_ENCODING_KEY_SOURCE_H_
#define MUSTER_CLIENT_ENCODING_KEY_SOURCE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/encoding/secret_key.h"

namespace muster {

// Thread-safe; calls may block. Messages never hold a key.
class KeySource {
 public:
  virtual ~KeySource() = default;

  // The key that `key_id` names; sources of one key give it whatever the name is.
  virtual absl::StatusOr<SecretKey> KeyFor(absl::string_view key_id) = 0;
};

std::shared_ptr<KeySource> NewFixedKey(const SecretKey& key);

// Reads the file now. kFailedPrecondition KEY_FILE_EXPOSED when others than its owner may read or
// write it; kInvalidArgument when it holds no key.
absl::StatusOr<std::shared_ptr<KeySource>> ReadKeyFile(const std::string& path);

// Runs `command` with /bin/sh once for each key id, with the id in MUSTER_KEY_ID, and takes what it
// prints for the key. Keys are remembered as long as the source lives. kFailedPrecondition
// KEY_COMMAND_FAILED: it ended with an error, or printed no key.
std::shared_ptr<KeySource> NewKeyCommand(std::string command);

}  // namespace muster

#endif  // MUSTER_CLIENT_ENCODING_KEY_SOURCE_H_
