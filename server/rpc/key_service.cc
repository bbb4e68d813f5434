#include "server/rpc/key_service.h"

#include <grpc/grpc_security_constants.h>
#include <grpcpp/security/auth_context.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "muster/v1/key.grpc.pb.h"
#include "server/rpc/work_pool.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {

bool IsPrivate(absl::string_view peer, bool encrypted) {
  if (encrypted || absl::StartsWith(peer, "unix:")) return true;
  if (absl::StartsWith(peer, "ipv4:127.")) return true;
  if (!absl::ConsumePrefix(&peer, "ipv6:")) return false;
  // The brackets are escaped, or not.
  if (!absl::ConsumePrefix(&peer, "%5B") && !absl::ConsumePrefix(&peer, "[")) return false;
  return absl::StartsWith(peer, "::1]") || absl::StartsWith(peer, "::1%5D") ||
         absl::StartsWith(peer, "::ffff:127.");
}

namespace {

namespace v1 = muster::v1;
using grpc::CallbackServerContext;
using grpc::ServerUnaryReactor;

// A wrapper may ask another machine.
constexpr size_t kThreads = 2;
constexpr size_t kQueueLimit = 1'024;
constexpr int kMaxMasterKeysShown = 1'000;

bool IsEncrypted(const CallbackServerContext& context) {
  const auto kinds =
      context.auth_context()->FindPropertyValues(GRPC_TRANSPORT_SECURITY_TYPE_PROPERTY_NAME);
  return std::any_of(kinds.begin(), kinds.end(), [](const grpc::string_ref& kind) {
    return kind == GRPC_SSL_TRANSPORT_SECURITY_TYPE || kind == GRPC_TLS_TRANSPORT_SECURITY_TYPE;
  });
}

// A model version, as far as its content key is concerned.
struct KeyedVersion {
  VersionUid uid{0};
  std::string uid_text;
  bool is_draft = false;
  store::WrappedKeyRow key;
};

absl::StatusOr<KeyedVersion> FindVersion(const Registry& registry, const std::string& name) {
  MUSTER_ASSIGN_OR_RETURN(const Version* version, registry.catalogue().Find(name));
  return KeyedVersion{version->uid, registry.catalogue().UidText(*version),
                      version->draft != nullptr, version->row.content_key()};
}

absl::Status NoContentKey(const std::string& name) {
  return MakeError(absl::StatusCode::kNotFound, reasons::kNoContentKey,
                   absl::StrCat(name,
                                " has no content key: its shards are not encrypted, or with "
                                "keys that the server does not have"),
                   {{"name", name}});
}

absl::Status NotDraft(const std::string& name) {
  return MakeError(absl::StatusCode::kFailedPrecondition, reasons::kVersionNotDraft,
                   absl::StrCat(name,
                                " is COMMITTED and its content never changes: publish under "
                                "another version"),
                   {{"name", name}, {"state", "COMMITTED"}});
}

class KeyServiceRpc final : public v1::KeyService::CallbackService {
 public:
  KeyServiceRpc(ServiceContext& services, KeyWrapper* wrapper)
      : services_(services), wrapper_(wrapper), pool_("content keys", kThreads, kQueueLimit) {}

  ServerUnaryReactor* CreateContentKey(CallbackServerContext* context,
                                       const v1::CreateContentKeyRequest* request,
                                       v1::CreateContentKeyResponse* response) override {
    const UnaryCall call(services_, context, "CreateContentKey", *request);
    if (call.refused()) return call.reactor();
    if (const absl::Status possible = CheckPossible(*context, request->name()); !possible.ok()) {
      call.Finish(possible);
      return call.reactor();
    }
    WithVersion(call, request->name(), response,
                [this, call, request, response](KeyedVersion version) {
                  if (!version.is_draft) return call.Finish(NotDraft(request->name()));
                  if (!version.key.key_id().empty()) return Give(call, version, response);
                  MakeKey(call, request->name(), version, response);
                });
    return call.reactor();
  }

  ServerUnaryReactor* GetContentKey(CallbackServerContext* context,
                                    const v1::GetContentKeyRequest* request,
                                    v1::GetContentKeyResponse* response) override {
    const UnaryCall call(services_, context, "GetContentKey", *request);
    if (call.refused()) return call.reactor();
    if (const absl::Status possible = CheckPossible(*context, request->name()); !possible.ok()) {
      call.Finish(possible);
      return call.reactor();
    }
    WithVersion(call, request->name(), response,
                [this, call, request, response](KeyedVersion version) {
                  if (version.key.key_id().empty())
                    return call.Finish(NoContentKey(request->name()));
                  Give(call, version, response);
                });
    return call.reactor();
  }

  ServerUnaryReactor* GetKeyStatus(CallbackServerContext* context,
                                   const v1::GetKeyStatusRequest* request,
                                   v1::GetKeyStatusResponse* response) override {
    return Read(services_, context, "GetKeyStatus", request, response,
                [this](const Registry& registry, v1::GetKeyStatusResponse& out) {
                  FillStatus(registry.catalogue().content_keys().by_master_key(), out);
                  return absl::OkStatus();
                });
  }

 private:
  absl::Status CheckPossible(const CallbackServerContext& context, const std::string& name) const {
    MUSTER_RETURN_IF_ERROR(ParseModelVersionName(name).status());
    if (!IsPrivate(context.peer(), IsEncrypted(context))) {
      return MakeError(absl::StatusCode::kFailedPrecondition, reasons::kKeysNeedTls,
                       "the server gives keys to other machines over TLS only: start it with "
                       "--tls-cert and --tls-key");
    }
    if (wrapper_ != nullptr) return absl::OkStatus();
    return MakeError(absl::StatusCode::kFailedPrecondition, reasons::kNoMasterKey,
                     "the server has no master key: make one with `musterd master-key new FILE`, "
                     "and start it with --master-key FILE");
  }

  // Looks at the version and runs `next` once what was seen is durable; an error finishes the call then.
  template <typename Response, typename Next>
  void WithVersion(const UnaryCall& call, const std::string& name, Response* response, Next next) {
    auto version = std::make_shared<absl::StatusOr<KeyedVersion>>(KeyedVersion());
    services_.committer.Read(
        [&](const Registry& registry) {
          *version = FindVersion(registry, name);
          response->set_revision(registry.revision().value);
        },
        [call, version, next = std::move(next)](Revision) {
          if (!version->ok()) return call.Finish(version->status());
          next(**std::move(version));
        });
  }

  template <typename Response>
  void Give(const UnaryCall& call, const KeyedVersion& version, Response* response) {
    call.Work(pool_, [this, call, version, response] {
      const store::WrappedKeyRow& row = version.key;
      const absl::StatusOr<SecretKey> key = wrapper_->Unwrap(
          {row.master_key_id(), row.wrapped()}, ContentKeyContext(version.uid_text, row.key_id()));
      if (key.ok()) {
        response->mutable_content_key()->set_key_id(row.key_id());
        response->mutable_content_key()->set_key(key->data(), SecretKey::kBytes);
      }
      call.Finish(key.status());
    });
  }

  // Of two calls at a time one is first, and both give what that one made.
  void MakeKey(const UnaryCall& call, const std::string& name, const KeyedVersion& version,
               v1::CreateContentKeyResponse* response) {
    call.Work(pool_, [this, call, name, version, response] {
      SetContentKey command{name, version.uid, {}};
      command.key.set_key_id(DrawContentKeyId());
      absl::StatusOr<WrappedKey> wrapped =
          wrapper_->Wrap(DrawKey(), ContentKeyContext(version.uid_text, command.key.key_id()));
      if (!wrapped.ok()) return call.Finish(wrapped.status());
      command.key.set_master_key_id(std::move(wrapped->master_key_id));
      command.key.set_wrapped(std::move(wrapped->bytes));
      Job job;
      job.commands.push_back(std::move(command));
      job.actor = call.actor();
      job.done = [this, call, name, response](JobResult result) {
        if (!result.status.ok()) return call.Finish(result.status);
        // Not on the committer's thread.
        call.Work(pool_, [this, call, name, response] { GiveNow(call, name, response); });
      };
      services_.committer.Submit(std::move(job));
    });
  }

  void GiveNow(const UnaryCall& call, const std::string& name,
               v1::CreateContentKeyResponse* response) {
    WithVersion(call, name, response, [this, call, name, response](KeyedVersion version) {
      // Deleted and made again meanwhile.
      if (version.key.key_id().empty()) return call.Finish(NoContentKey(name));
      Give(call, version, response);
    });
  }

  void FillStatus(const std::map<std::string, uint64_t>& counts, v1::GetKeyStatusResponse& out) {
    std::map<std::string, v1::MasterKey> keys;
    for (const auto& [id, count] : counts) keys[id].set_content_keys(count);
    if (wrapper_ != nullptr) {
      for (const std::string& id : wrapper_->ids()) keys[id].set_present(true);
      keys[wrapper_->current_id()].set_current(true);
    }
    for (auto& [id, key] : keys) {
      if (out.master_keys_size() == kMaxMasterKeysShown) return;
      key.set_id(id);
      *out.add_master_keys() = std::move(key);
    }
  }

  ServiceContext& services_;
  KeyWrapper* const wrapper_;
  // Last: its work uses the others.
  WorkPool pool_;
};

}  // namespace

std::unique_ptr<grpc::Service> NewKeyService(ServiceContext& services, KeyWrapper* wrapper) {
  return std::make_unique<KeyServiceRpc>(services, wrapper);
}

}  // namespace muster
