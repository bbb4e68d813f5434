#include "server/rpc/queue_probe.h"

#include <grpcpp/support/stub_options.h>

#include <utility>

namespace muster {
namespace {

constexpr char kMethod[] = "/grpc.health.v1.Health/Check";

}  // namespace

QueueProbe::QueueProbe(Clock& clock, const Options& options, Connect connect,
                       std::function<void(absl::Duration)> late)
    : clock_(clock),
      options_(options),
      late_(std::move(late)),
      connect_(std::move(connect)),
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
  grpc::GenericStub stub(channel_);
  stub.UnaryCall(&call->context, kMethod, grpc::StubOptions(), &call->request, &call->response,
                 [this, call](const grpc::Status& status) {
                   MutexLock lock(mutex_);
                   call_.reset();
                   if (!status.ok()) broken_ = true;
                   changed_.NotifyAll();
                 });
}

absl::Duration QueueProbe::Look() {
  std::shared_ptr<Call> call;
  bool broken = false;
  {
    MutexLock lock(mutex_);
    if (call_ != nullptr) {
      const bool connected = channel_->GetState(/*try_to_connect=*/false) == GRPC_CHANNEL_READY;
      return connected ? clock_.Monotonic() - call_->begin : absl::ZeroDuration();
    }
    call = std::make_shared<Call>();
    call->begin = clock_.Monotonic();
    call_ = call;
    broken = std::exchange(broken_, false);
  }
  if (broken) channel_ = connect_();
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
