#include "client/sdk/grpc_channel.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/codegen/proto_utils.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>

#include <algorithm>
#include <atomic>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/sdk/bearer_token.h"
#include "client/sdk/server_address.h"
#include "client/sdk/status_from_wire.h"
#include "storage/base/clock.h"
#include "storage/base/error_info.h"
#include "storage/base/limits.h"
#include "storage/base/mutex.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"
#include "storage/tls/tls_probe.h"

namespace muster {
namespace {

// A server that vanished without closing its connections is noticed after the sum of both. The
// server allows pings from every 5 s on; oftener would make it cut the connection.
constexpr int kKeepaliveTimeMs = 20'000;
constexpr int kKeepaliveTimeoutMs = 10'000;
// Attempts to connect begin at most this far apart once a few have failed. An attempt may last as
// long as the wait after it, so an address that swallows packets does not hold up the ones behind
// it.
constexpr int kMaxReconnectBackoffMs = 2'000;
// gRPC waits at least this long from one attempt to the next, also after one that was refused at
// once: longer, and a restart of the server would cost a node with a short lease its life.
constexpr int kMinReconnectBackoffMs = 300;
// How long a call waits for a connection that is to come back, and how soon it notices its stop
// meanwhile.
constexpr absl::Duration kReconnectWait = absl::Milliseconds(kMinReconnectBackoffMs);
constexpr absl::Duration kReconnectWaitSlice = absl::Milliseconds(50);

using google::protobuf::MessageLite;

grpc::ChannelArguments Arguments() {
  grpc::ChannelArguments arguments;
  arguments.SetUserAgentPrefix("muster/" MUSTER_VERSION);
  arguments.SetMaxReceiveMessageSize(kMaxGrpcMessageBytes);
  arguments.SetMaxSendMessageSize(kMaxGrpcMessageBytes);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveTimeMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kMinReconnectBackoffMs);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kMinReconnectBackoffMs);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kMaxReconnectBackoffMs);
  // Servers are inside the cluster; an http_proxy that is set for the outside must not swallow the
  // calls.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return arguments;
}

// gRPC's connections get on only while a thread polls them, and a call that fails at once, because
// the last attempt to connect failed, does not. So where that is the state, the caller polls here
// until the next attempt has succeeded or its turn is over.
void AwaitReconnect(grpc::Channel& channel, const CallOptions& options) {
  absl::Duration left = std::min(options.timeout.value_or(kReconnectWait), kReconnectWait);
  while (left > absl::ZeroDuration() && !options.stop.stop_requested() &&
         channel.GetState(/*try_to_connect=*/true) == GRPC_CHANNEL_TRANSIENT_FAILURE) {
    channel.WaitForStateChange(
        GRPC_CHANNEL_TRANSIENT_FAILURE,
        gpr_time_from_millis(absl::ToInt64Milliseconds(kReconnectWaitSlice), GPR_TIMESPAN));
    left -= kReconnectWaitSlice;
  }
}

// A private queue per call lets the calling thread block for its own events, with no thread of ours
// behind it.
class CallQueue {
 public:
  CallQueue() = default;
  ~CallQueue() {
    queue_.Shutdown();
    void* tag = nullptr;
    bool ok = false;
    while (queue_.Next(&tag, &ok)) {
    }
  }

  grpc::CompletionQueue* get() { return &queue_; }

  // Waits for the one operation under way; false when it failed.
  bool Wait() {
    void* tag = nullptr;
    bool ok = false;
    return queue_.Next(&tag, &ok) && ok;
  }

 private:
  grpc::CompletionQueue queue_;
};

void SetDeadline(grpc::ClientContext& context, const CallOptions& options) {
  if (!options.timeout.has_value() || *options.timeout == absl::InfiniteDuration()) return;
  // A span counts from the moment of the call, by gRPC's own monotonic clock.
  context.set_deadline(
      gpr_time_from_millis(absl::ToInt64Milliseconds(*options.timeout), GPR_TIMESPAN));
}

// gRPC's words for an answer that is HTTP and not gRPC: of a web server, or of a proxy.
constexpr absl::string_view kNotGrpc = "Received http2 header with status:";

absl::Status ToStatus(const grpc::Status& status, const CallOptions& options) {
  // A proxy's "unavailable" is tried again, like a server's own.
  if (absl::StartsWith(status.error_message(), kNotGrpc) &&
      status.error_code() != grpc::StatusCode::UNAVAILABLE) {
    return MakeError(
        static_cast<absl::StatusCode>(status.error_code()), reasons::kServerUnreachable,
        absl::StrCat("a web server or a proxy answers there, not musterd (", status.error_message(),
                     "); name the address that musterd listens on"));
  }
  if (options.stop.stop_requested() && status.error_code() == grpc::StatusCode::CANCELLED) {
    return absl::CancelledError("the call was stopped");
  }
  return StatusFromWire(static_cast<int>(status.error_code()), status.error_message(),
                        status.error_details());
}

// One way to one server, and what its calls carry.
struct Route {
  std::shared_ptr<grpc::Channel> channel;
  // "" for none; a secret.
  std::string token;
};

void SetUp(grpc::ClientContext& context, const Route& route, const CallOptions& options) {
  SetDeadline(context, options);
  // Sent once the server's certificate was checked: without TLS there is no token.
  if (!route.token.empty())
    context.AddMetadata("authorization", absl::StrCat("Bearer ", route.token));
}

absl::Status UnaryOnce(const Route& route, const std::string& method,
                       const Channel::Message& request, Channel::Message& response,
                       const CallOptions& options) {
  grpc::TemplatedGenericStub<MessageLite, MessageLite> stub(route.channel);
  grpc::ClientContext context;
  SetUp(context, route, options);
  CallQueue queue;
  grpc::Status status;
  auto call = stub.PrepareUnaryCall(&context, method, request, queue.get());
  call->StartCall();
  const std::stop_callback cancel(options.stop, [&context] { context.TryCancel(); });
  call->Finish(&response, &status, nullptr);
  queue.Wait();
  return ToStatus(status, options);
}

// Messages are read as bytes and parsed here: gRPC's own parsing would not distinguish a message
// that can't be parsed from the end of the stream, and the wait for that end could last for ever.
absl::Status StreamOnce(const Route& route, const std::string& method,
                        const Channel::Message& request, Channel::Message& message,
                        absl::FunctionRef<bool()> on_message, const CallOptions& options) {
  grpc::TemplatedGenericStub<MessageLite, grpc::ByteBuffer> stub(route.channel);
  grpc::ClientContext context;
  SetUp(context, route, options);
  CallQueue queue;
  auto call = stub.PrepareCall(&context, method, queue.get());
  call->StartCall(nullptr);
  const std::stop_callback cancel(options.stop, [&context] { context.TryCancel(); });
  bool open = queue.Wait();
  if (open) {
    call->WriteLast(request, grpc::WriteOptions(), nullptr);
    open = queue.Wait();
  }
  std::optional<absl::Status> ended_here;
  while (open && !ended_here.has_value()) {
    grpc::ByteBuffer bytes;
    call->Read(&bytes, nullptr);
    open = queue.Wait();
    if (!open) break;
    MessageLite& target = message;
    if (!grpc::SerializationTraits<MessageLite>::Deserialize(&bytes, &target).ok()) {
      ended_here = absl::InternalError(
          absl::StrCat("the server sent a message of ", method, " that can't be read"));
    } else if (!on_message()) {
      ended_here = absl::OkStatus();
    }
  }
  if (ended_here.has_value()) context.TryCancel();
  grpc::Status status;
  call->Finish(&status, nullptr);
  queue.Wait();
  return ended_here.value_or(ToStatus(status, options));
}

// How often gRPC looks whether the files were renewed.
constexpr unsigned int kLookAtFilesEverySeconds = 5;
// A failed handshake is tried once more to say why, at most so often.
constexpr absl::Duration kProbeInterval = absl::Seconds(5);
// An address that swallows packets must not hold up those who don't ask for TLS.
constexpr absl::Duration kPlaintextProbeTimeout = absl::Milliseconds(500);

std::shared_ptr<grpc::ChannelCredentials> CredentialsOf(const ChannelSecurity& security) {
  if (!security.tls) return grpc::InsecureChannelCredentials();
  const TlsFiles& files = security.files;
  grpc::experimental::TlsChannelCredentialsOptions options;
  if (!files.empty()) {
    options.set_certificate_provider(
        std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(
            files.key, files.certificate, files.authority, kLookAtFilesEverySeconds));
    if (!files.certificate.empty()) options.watch_identity_key_cert_pairs();
    if (!files.authority.empty()) options.watch_root_certs();
  }
  return grpc::experimental::TlsCredentials(options);
}

// What is wrong between this end and `server`, or "" where a handshake does not show it.
std::string WhatTlsSays(const std::string& server, const ChannelSecurity& security) {
  const auto files = ReadTlsFiles(security.files, SystemClock().Now());
  if (!files.ok()) return std::string(files.status().message());
  TlsProbeOptions options{server, security.files, security.server_name};
  if (!security.tls) options.timeout = kPlaintextProbeTimeout;
  TlsProbe probe = ProbeTls(options);
  using Outcome = TlsProbe::Outcome;
  if (!security.tls) {
    const bool speaks = probe.outcome != Outcome::kNoConnection &&
                        probe.outcome != Outcome::kPlaintext && probe.outcome != Outcome::kClosed;
    return speaks ? "it speaks TLS only: name its authority with --tls-ca" : "";
  }
  // A server that is being stopped seems to refuse once, and then does not answer.
  if (probe.outcome == Outcome::kClientRefused) probe = ProbeTls(options);
  switch (probe.outcome) {
    case Outcome::kNoConnection:
    case Outcome::kClosed:
    case Outcome::kGood:
      return "";
    case Outcome::kPlaintext:
      return "it speaks no TLS: leave --tls-ca and its like out, or give the server a certificate";
    case Outcome::kServerRefused:
      return absl::StrCat("its certificate is not believed: ", probe.why,
                          security.files.authority.empty() ? "; --tls-ca names its authority" : "");
    case Outcome::kNameDiffers:
      return "its certificate names another server; --tls-server-name says which one is meant";
    case Outcome::kClientRefused:
      return absl::StrCat("it refuses this end: ", probe.why,
                          files->subject.empty()
                              ? "; --tls-cert and --tls-key name a certificate to show"
                              : absl::StrCat("; shown was the certificate of ", files->subject));
  }
  return "";
}

class GrpcChannel final : public Channel {
 public:
  GrpcChannel(const std::vector<std::string>& servers, const ChannelSecurity& security)
      : servers_(servers), security_(security), token_(security.token, security.token_file) {}

  // Whether the token can be used.
  absl::Status CheckToken() { return token_.Get().status(); }

  absl::Status Unary(absl::string_view method, const Message& request, Message& response,
                     const CallOptions& options) override {
    const std::string path(method);
    const bool began = false;
    return OnFirstReachable(began, options, [&](const Route& route) {
      return UnaryOnce(route, path, request, response, options);
    });
  }

  absl::Status Stream(absl::string_view method, const Message& request, Message& message,
                      absl::FunctionRef<bool()> on_message, const CallOptions& options) override {
    const std::string path(method);
    bool began = false;
    const auto deliver = [&] {
      began = true;
      return on_message();
    };
    return OnFirstReachable(began, options, [&](const Route& route) {
      return StreamOnce(route, path, request, message, deliver, options);
    });
  }

 private:
  // One for each server.
  using Channels = std::vector<std::shared_ptr<grpc::Channel>>;

  // Those made with the present certificate. Streams keep the ones before until they end.
  std::shared_ptr<const Channels> PresentChannels() {
    const uint64_t renewals = security_.renewals == nullptr ? 0 : security_.renewals->load();
    MutexLock lock(channels_mutex_);
    if (channels_ == nullptr || renewals != made_after_) {
      channels_ = std::make_shared<const Channels>(MakeChannels());
      made_after_ = renewals;
    }
    return channels_;
  }

  Channels MakeChannels() const {
    const auto credentials = CredentialsOf(security_);
    grpc::ChannelArguments arguments = Arguments();
    if (security_.tls && !security_.server_name.empty()) {
      arguments.SetSslTargetNameOverride(security_.server_name);
    }
    // Or gRPC would go on with the connections of the channels before.
    if (security_.renewals != nullptr) arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    Channels channels;
    for (const std::string& server : servers_) {
      channels.push_back(grpc::CreateCustomChannel(server, credentials, arguments));
    }
    return channels;
  }

  // Makes `call` at one server after the other until one is reached. `began` is set by a stream
  // that has delivered a message: where it breaks afterwards its reader resumes it, and nothing is
  // begun again elsewhere.
  absl::Status OnFirstReachable(const bool& began, const CallOptions& options,
                                absl::FunctionRef<absl::Status(const Route&)> call) {
    const size_t first = current_.load(std::memory_order_relaxed);
    MUSTER_ASSIGN_OR_RETURN(const std::string token, token_.Get());
    const std::shared_ptr<const Channels> channels = PresentChannels();
    absl::Status last;
    for (size_t i = 0; i < channels->size(); ++i) {
      const size_t server = (first + i) % channels->size();
      AwaitReconnect(*(*channels)[server], options);
      last = call(Route{(*channels)[server], token});
      if (absl::IsUnavailable(last) && !began) continue;
      // A server that is too slow is passed over by the next call.
      const bool too_slow = absl::IsDeadlineExceeded(last);
      current_.store((too_slow ? server + 1 : server) % channels->size(),
                     std::memory_order_relaxed);
      if (!too_slow || !ReasonOf(last).empty()) return last;
      return MakeError(absl::StatusCode::kDeadlineExceeded, reasons::kServerTimedOut,
                       absl::StrCat("the Muster server at ", servers_[server],
                                    " gave no answer in time; it may be overloaded or stopped. "
                                    "--timeout waits longer"),
                       {{"server", servers_[server]}});
    }
    // With a reason the error is a server's own word, and says more than we could.
    if (!ReasonOf(last).empty()) return last;
    const std::string all = absl::StrJoin(servers_, ", ");
    if (const std::string why = WhatTlsSaysOf(servers_[first]); !why.empty()) {
      return MakeError(
          absl::StatusCode::kUnavailable, reasons::kTlsFailed,
          absl::StrCat("no secure connection to the Muster server at ", servers_[first], ": ", why),
          {{"server", servers_[first]}});
    }
    return MakeError(absl::StatusCode::kUnavailable, reasons::kServerUnreachable,
                     absl::StrCat("no Muster server answers at ", all, " (", last.message(),
                                  "). Is musterd running there? --server names another address"),
                     {{"servers", all}});
  }

  // Asks the server, or has its answer of a moment ago.
  std::string WhatTlsSaysOf(const std::string& server) {
    MutexLock lock(probe_mutex_);
    const absl::Duration now = SystemClock().Monotonic();
    if (probed_ != server || now >= next_probe_) {
      probed_ = server;
      said_ = WhatTlsSays(server, security_);
      next_probe_ = now + kProbeInterval;
    }
    return said_;
  }

  const std::vector<std::string> servers_;
  const ChannelSecurity security_;
  BearerToken token_;
  Mutex channels_mutex_;
  std::shared_ptr<const Channels> channels_ MUSTER_GUARDED_BY(channels_mutex_);
  uint64_t made_after_ MUSTER_GUARDED_BY(channels_mutex_) = 0;
  Mutex probe_mutex_;
  std::string probed_ MUSTER_GUARDED_BY(probe_mutex_);
  std::string said_ MUSTER_GUARDED_BY(probe_mutex_);
  absl::Duration next_probe_ MUSTER_GUARDED_BY(probe_mutex_);
  std::atomic<size_t> current_{0};
};

}  // namespace

absl::StatusOr<std::unique_ptr<Channel>> NewGrpcChannel(const std::vector<std::string>& servers,
                                                        const ChannelSecurity& security) {
  if (servers.empty())
    return absl::InvalidArgumentError("no server is given; --server names one, as host:port");
  std::vector<std::string> addresses;
  for (const std::string& server : servers) {
    MUSTER_ASSIGN_OR_RETURN(addresses.emplace_back(), ParseServerAddress(server));
  }
  if (security.tls) {
    MUSTER_RETURN_IF_ERROR(ReadTlsFiles(security.files, SystemClock().Now()).status());
  }
  const bool has_token = BearerToken(security.token, security.token_file).wanted();
  if (has_token && !security.tls) {
    return MakeError(absl::StatusCode::kInvalidArgument, reasons::kCredentialRefused,
                     "a token is sent over TLS only, or whoever listens would have it: name the "
                     "server's authority with --tls-ca, or leave the token out");
  }
  auto channel = std::make_unique<GrpcChannel>(addresses, security);
  MUSTER_RETURN_IF_ERROR(channel->CheckToken());
  return channel;
}

}  // namespace muster
