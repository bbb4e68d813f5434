#include "client/keys/server_keys.h"

#include <cstring>
#include <map>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "muster/v1/key.pb.h"
#include "storage/base/error_info.h"
#include "storage/base/limits.h"
#include "storage/base/mutex.h"
#include "storage/base/reasons.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// Of a program that loads one version after the other; those beyond are asked for again.
constexpr size_t kMaxKeys = 256;

// Takes the key out of the message and wipes it there.
absl::StatusOr<SecretKey> TakeKey(v1::ContentKey& message) {
  std::string& bytes = *message.mutable_key();
  SecretKey key;
  const bool whole = bytes.size() == SecretKey::kBytes;
  if (whole) std::memcpy(key.Fill().data(), bytes.data(), SecretKey::kBytes);
  Wipe({bytes.data(), bytes.size()});
  bytes.clear();
  if (whole) return key;
  return absl::InternalError("the server gave a key of another length");
}

// Those of the key, of which none is to be mistaken for one of the stored bytes or of the node's disk.
absl::Status KeyError(const absl::Status& status, const std::string& version) {
  const std::string said = absl::StrCat("the server gives no key for ",
                                        ShortModelVersionName(version), ": ", status.message());
  std::string reason = ReasonOf(status);
  auto metadata = DetailOf(status).metadata;
  metadata["model_version"] = version;
  switch (status.code()) {
    case absl::StatusCode::kCancelled:
      return absl::CancelledError("waiting for a key was cancelled");
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kResourceExhausted:
      if (reason.empty()) reason = reasons::kServerUnreachable;
      return MakeError(absl::StatusCode::kUnavailable, reason, said, std::move(metadata));
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
      reason = reasons::kKeyDenied;
      break;
    default:
      if (reason.empty()) reason = reasons::kKeyMissing;
  }
  return MakeError(absl::StatusCode::kFailedPrecondition, reason, said, std::move(metadata));
}

class ServerKeys final : public KeySource {
 public:
  ServerKeys(std::shared_ptr<Client> client, std::shared_ptr<KeySource> own)
      : client_(std::move(client)), own_(std::move(own)) {}

  bool Knows(absl::string_view key_id) const override {
    return IsOfServer(key_id) || (own_ != nullptr && own_->Knows(key_id));
  }

  absl::StatusOr<SecretKey> KeyFor(absl::string_view key_id, const std::stop_token& stop) override {
    if (own_ != nullptr && !IsOfServer(key_id)) return own_->KeyFor(key_id, stop);
    return MakeError(absl::StatusCode::kFailedPrecondition, reasons::kKeyMissing,
                     absl::StrCat("no key was given for key id \"", key_id, "\""),
                     {{"key_id", std::string(key_id)}});
  }

  absl::StatusOr<SecretKey> KeyOfShard(absl::string_view shard_name, absl::string_view key_id,
                                       const std::stop_token& stop) override {
    if (!IsOfServer(key_id)) return KeyFor(key_id, stop);
    MUSTER_ASSIGN_OR_RETURN(const ShardName name, ParseShardName(shard_name));
    const std::string version = name.version.ToString();
    const auto place = std::pair(version, std::string(key_id));
    {
      MutexLock lock(mutex_);
      const auto known = keys_.find(place);
      if (known != keys_.end()) return known->second;
    }
    // Two threads at a time may both ask; both get the same.
    MUSTER_ASSIGN_OR_RETURN(SecretKey key, Ask(version, place.second, stop));
    MutexLock lock(mutex_);
    if (keys_.size() >= kMaxKeys) keys_.clear();
    keys_.emplace(place, key);
    return key;
  }

 private:
  static bool IsOfServer(absl::string_view key_id) {
    return absl::StartsWith(key_id, kContentKeyIdPrefix);
  }

  absl::StatusOr<SecretKey> Ask(const std::string& version, const std::string& key_id,
                                const std::stop_token& stop) {
    v1::GetContentKeyRequest request;
    request.set_name(version);
    auto response = client_->GetContentKey(request, {.timeout = std::nullopt, .stop = stop});
    if (!response.ok()) return KeyError(response.status(), version);
    const absl::StatusOr<SecretKey> key = TakeKey(*response->mutable_content_key());
    if (!key.ok()) return KeyError(key.status(), version);
    const std::string& given = response->content_key().key_id();
    if (given == key_id) return key;
    return MakeError(
        absl::StatusCode::kFailedPrecondition, reasons::kWrongKey,
        absl::StrCat("is encrypted with the key \"", key_id, "\", and the server has \"", given,
                     "\" for this version: it was published again since"),
        {{"key_id", key_id}});
  }

  const std::shared_ptr<Client> client_;
  const std::shared_ptr<KeySource> own_;
  Mutex mutex_;
  // By version and key id.
  std::map<std::pair<std::string, std::string>, SecretKey> keys_ MUSTER_GUARDED_BY(mutex_);
};

}  // namespace

absl::StatusOr<DraftKey> CreateServerKey(Client& client, const std::string& model_version,
                                         const CallOptions& call) {
  v1::CreateContentKeyRequest request;
  request.set_name(model_version);
  MUSTER_ASSIGN_OR_RETURN(v1::CreateContentKeyResponse response,
                          client.CreateContentKey(request, call));
  DraftKey made;
  made.key_id = response.content_key().key_id();
  MUSTER_ASSIGN_OR_RETURN(made.key, TakeKey(*response.mutable_content_key()));
  if (absl::StartsWith(made.key_id, kContentKeyIdPrefix)) return made;
  return absl::InternalError(absl::StrCat("the server gave a key with the id \"", made.key_id,
                                          "\", which is not one of its own"));
}

std::shared_ptr<KeySource> NewServerKeys(std::shared_ptr<Client> client,
                                         std::shared_ptr<KeySource> own) {
  return std::make_shared<ServerKeys>(std::move(client), std::move(own));
}

std::shared_ptr<KeySource> NewServerKeys(Client& client, std::shared_ptr<KeySource> own) {
  return NewServerKeys(std::shared_ptr<Client>(std::shared_ptr<Client>(), &client), std::move(own));
}

}  // namespace muster
