// Content keys that the server made and keeps.
#ifndef MUSTER_CLIENT_KEYS_SERVER_KEYS_H_
#define MUSTER_CLIENT_KEYS_SERVER_KEYS_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "client/encoding/key_source.h"
#include "client/sdk/client.h"

namespace muster {

// The key of a draft, which is made by the first call. Blocks, as all calls of `client`; its errors.
struct DraftKey {
  std::string key_id;
  SecretKey key;
};
absl::StatusOr<DraftKey> CreateServerKey(Client& client, const std::string& model_version,
                                         const CallOptions& call);

// Asks the server for keys that it made, once for each version, and `own`, which may be null, for all others.
//
// Errors of the former: kFailedPrecondition, KEY_DENIED where this caller may not read the version, else with the
// server's reason; kUnavailable; kCancelled. Keys are remembered as long as the source lives.
std::shared_ptr<KeySource> NewServerKeys(std::shared_ptr<Client> client,
                                         std::shared_ptr<KeySource> own);
// The same for a client that outlives the source.
std::shared_ptr<KeySource> NewServerKeys(Client& client, std::shared_ptr<KeySource> own);

}  // namespace muster

#endif  // MUSTER_CLIENT_KEYS_SERVER_KEYS_H_
