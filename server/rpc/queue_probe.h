// Notices that calls wait long before anybody looks at them.
//
// Heartbeats share gRPC's threads with all other calls, but the clock of the leases doesn't wait for them: a server that
// is overloaded would take its nodes for dead. So the server calls itself, by a connection like everybody's, and while
// that call is not answered it knows that heartbeats may be waiting, too.
#ifndef MUSTER_SERVER_RPC_QUEUE_PROBE_H_
#define MUSTER_SERVER_RPC_QUEUE_PROBE_H_

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/byte_buffer.h>

#include <functional>
#include <memory>
#include <thread>

#include "absl/time/time.h"
#include "storage/base/clock.h"
#include "storage/base/mutex.h"

namespace muster {

class QueueProbe {
 public:
  struct Options {
    absl::Duration interval = absl::Milliseconds(250);
    // Calls that wait longer are late.
    absl::Duration late = absl::Seconds(1);
  };

  using Connect = std::function<std::shared_ptr<grpc::Channel>()>;

  // Calls the health service over a channel of `connect` at each interval, one call at a time. `late` is called again
  // and again, while a call is late. A call that fails says nothing, and has `connect` called again; nor does one that
  // has no connection say anything: a server that can't reach itself is not an overloaded one. Both
  // functions are called on a thread of the probe's. The clock outlives it.
  QueueProbe(Clock& clock, const Options& options, Connect connect,
             std::function<void(absl::Duration waiting)> late);
  ~QueueProbe();
  QueueProbe(const QueueProbe&) = delete;
  QueueProbe& operator=(const QueueProbe&) = delete;

 private:
  struct Call {
    absl::Duration begin;
    grpc::ClientContext context;
    grpc::ByteBuffer request;
    grpc::ByteBuffer response;
  };

  void Run();
  // Not under the lock: gRPC may call back at once, on this thread.
  void Send(const std::shared_ptr<Call>& call) MUSTER_EXCLUDES(mutex_);
  // How long the call that is under way waits, once there is a connection; begins one where there is
  // none.
  absl::Duration Look() MUSTER_EXCLUDES(mutex_);

  Clock& clock_;
  const Options options_;
  const std::function<void(absl::Duration)> late_;
  const Connect connect_;
  // Of the probe's thread.
  std::shared_ptr<grpc::Channel> channel_;
  Mutex mutex_;
  CondVar changed_;
  // Under way.
  std::shared_ptr<Call> call_ MUSTER_GUARDED_BY(mutex_);
  bool broken_ MUSTER_GUARDED_BY(mutex_) = true;
  bool stopped_ MUSTER_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace muster

#endif  // MUSTER_SERVER_RPC_QUEUE_PROBE_H_
