#include "server/rpc/queue_probe.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>
#include <grpcpp/support/stub_options.h>

#include <utility>

namespace muster {
namespace {

constexpr char kMethod[] = "/grpc.health.v1.Health/Check";

std::shared_ptr<grpc::Channel> ChannelTo(const std::string& address) {
  grpc::ChannelArguments arguments;
  // The environment's proxy is for others.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

}  // namespace

QueueProbe::QueueProbe(Clock& clock, const Options& options, const std::string& address,
                       std::function<void(absl::Duration)> late)
    : clock_(clock),
      options_(options),
      late_(std::move(late)),
      channel_(ChannelTo(address)),
      stub_(channel_),
      thread_([this] { Run(); }) {}

QueueProbe::~QueueProbe() {
  {
    MutexLock lock(mutex_);
    stopped_ = true;
    changed_.NotifyAll();
  }
  thread_.join();
  std::shared_ptr<Call> last;
  {
    MutexLock lock(mutex_);
    last = call_;
  }
  if (last != nullptr) last->context.TryCancel();
  MutexLock lock(mutex_);
  while (call_ != nullptr) changed_.Wait(mutex_);
}

void QueueProbe::Send(const std::shared_ptr<Call>& call) {
  // An empty message: the server as a whole.
  const grpc::Slice empty;
  call->request = grpc::ByteBuffer(&empty, 1);
  stub_.UnaryCall(&call->context, kMethod, grpc::StubOptions(), &call->request, &call->response,
                  [this, call](const grpc::Status&) {
                    MutexLock lock(mutex_);
                    call_.reset();
                    changed_.NotifyAll();
                  });
}

absl::Duration QueueProbe::Look() {
  std::shared_ptr<Call> call;
  {
    MutexLock lock(mutex_);
    if (call_ != nullptr) {
      const bool connected = channel_->GetState(/*try_to_connect=*/false) == GRPC_CHANNEL_READY;
      return connected ? clock_.Monotonic() - call_->begin : absl::ZeroDuration();
    }
    call = std::make_shared<Call>();
    call->begin = clock_.Monotonic();
    call_ = call;
  }
  Send(call);
  return absl::ZeroDuration();
}

void QueueProbe::Run() {
  while (true) {
    if (const absl::Duration waiting = Look(); waiting > options_.late) late_(waiting);
    MutexLock lock(mutex_);
    // Also woken by an answer; the next call is not due then.
    const absl::Duration next = clock_.Monotonic() + options_.interval;
    while (!stopped_ && clock_.Monotonic() < next) {
      changed_.WaitFor(mutex_, next - clock_.Monotonic());
    }
    if (stopped_) return;
  }
}

}  // namespace muster
