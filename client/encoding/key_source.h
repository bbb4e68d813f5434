// Where master keys come from.
#ifndef MUSTER_CLIENT_ENCODING_KEY_SOURCE_H_
#define MUSTER_CLIENT_ENCODING_KEY_SOURCE_H_

#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "storage/base/clock.h"
#include "storage/base/secret_key.h"

namespace muster {

// Thread-safe; calls may block. Messages never hold a key.
class KeySource {
 public:
  virtual ~KeySource() = default;

  // The key that `key_id` names; sources of one key give it whatever the name is. kCancelled soon after
  // `stop` was requested.
  virtual absl::StatusOr<SecretKey> KeyFor(absl::string_view key_id,
                                           const std::stop_token& stop = {}) = 0;

  // The same for a shard, by its resource name, of which sources look at more than the key's id where a right to it is
  // asked for.
  virtual absl::StatusOr<SecretKey> KeyOfShard(absl::string_view /*shard_name*/,
                                               absl::string_view key_id,
                                               const std::stop_token& stop) {
    return KeyFor(key_id, stop);
  }

  // False: it is known without asking that there is no such key here.
  virtual bool Knows(absl::string_view /*key_id*/) const { return true; }
};

std::shared_ptr<KeySource> NewFixedKey(const SecretKey& key);

// Reads the file now. kFailedPrecondition KEY_FILE_EXPOSED when others than its owner may read or
// write it; kInvalidArgument when it holds no key.
absl::StatusOr<std::shared_ptr<KeySource>> ReadKeyFile(const std::string& path);

// A command that asks a person has time enough, and one that hangs holds nobody for long.
inline constexpr absl::Duration kKeyCommandLimit = absl::Minutes(1);

struct KeyCommandOptions {
  // For /bin/sh.
  std::string command;
  // Names of environment variables that it doesn't get.
  std::vector<std::string> without = {};
  absl::Duration limit = kKeyCommandLimit;
};

// Runs the command once for each key id, with the id in MUSTER_KEY_ID, and takes what it prints for the
// key. Keys are remembered as long as the source lives. kFailedPrecondition KEY_COMMAND_FAILED: it ended
// with an error, printed no key, or had not ended in time. `clock` outlives the source.
std::shared_ptr<KeySource> NewKeyCommand(KeyCommandOptions options, Clock& clock);

}  // namespace muster

#endif  // MUSTER_CLIENT_ENCODING_KEY_SOURCE_H_
