// A server stream that follows a cursor through the feed.
//
// 1. Pump (the hub's threads) asks the cursor for the next message, under the registry's shared
//    lock; no two at once.
// 2. The message is written once what it shows is durable.
// 3. A cursor that is behind the feed has a store reader read the event log, and the hub pumps
// again.
// 4. OnWriteDone has the hub pump again when there may be more; otherwise the feed's next wake
// does.
// 5. Finish is called exactly once: by the cursor's error or end, by a cancel, or by End. What
//    comes later is dropped.
// 6. Each step asks the gate whether the caller may still follow: its membership may have ended. With another policy, or
//    when the caller's time has come, a pump asks first of all, so that a stream whose client reads nothing ends, too.
// 7. The hub lets go of the stream in OnDone; callbacks that are under way keep it alive until they
//    have returned.
#ifndef MUSTER_SERVER_RPC_WATCH_STREAM_H_
#define MUSTER_SERVER_RPC_WATCH_STREAM_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <atomic>
#include <memory>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "muster/v1/assembly.pb.h"
#include "muster/v1/event.pb.h"
#include "server/rpc/calls.h"
#include "server/rpc/members.h"
#include "server/rpc/watch_hub.h"
#include "server/rpc/wire_message.h"
#include "server/watch/feed_reader.h"
#include "storage/base/error_info.h"
#include "storage/base/mutex.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"

namespace muster {

// Visits of the hub without a message in between, after which a watch is quiet: two a progress
// interval.
inline constexpr int kQuietVisits = 2;

// Whether the cursor has come to the end that its request named.
template <typename Cursor>
bool HasReachedEnd(const Cursor& cursor) {
  if constexpr (requires { cursor.reached(); }) {
    return cursor.reached();
  } else {
    return false;
  }
}

// Takes out of a message what the caller may not see.
template <typename Message>
void HideOthers(const Gate&, const Admitted&, const Registry&, Message&) {}
void HideOthers(const Gate& gate, const Admitted& admitted, const Registry& registry,
                muster::v1::WatchEventsResponse& message);
void HideOthers(const Gate& gate, const Admitted& admitted, const Registry& registry,
                muster::v1::WatchAssignmentsResponse& message);

template <typename Cursor, typename Request, typename Response>
class WatchStream final
    : public Watch,
      public grpc::ServerWriteReactor<Response>,
      public std::enable_shared_from_this<WatchStream<Cursor, Request, Response>> {
 public:
  WatchStream(ServiceContext& services, WatchHub& hub, grpc::CallbackServerContext* context,
              const char* method, const Request& request, AdmittedPtr admitted)
      : services_(services),
        hub_(hub),
        request_(request),
        call_(services.stats.Begin(method, context->peer())),
        admitted_(std::move(admitted)) {}

  // Here and not in OnDone: a pump that was under way then may follow after it.
  ~WatchStream() override {
    if (cursor_.has_value()) services_.feed.Unfollow(cursor_->reader().key());
  }

  void Pump() override {
    const AdmittedPtr follower = admitted();
    // Nobody got in: End is on its way.
    if (follower == nullptr) return;
    if (services_.gate.IsStale(*follower)) {
      if (const absl::Status allowed = AdmitAgain(); !allowed.ok()) return FinishOnce(allowed);
    }
    {
      MutexLock lock(mutex_);
      if (finished_) return;
      if (busy_) {
        again_ = true;
        return;
      }
      busy_ = true;
    }
    // Only the pump that set busy_ touches the cursor and the message.
    auto self = this->shared_from_this();
    auto step = std::make_shared<absl::StatusOr<CursorStep>>(CursorStep::kWait);
    services_.committer.Read([&](const Registry& registry) { *step = Step(registry); },
                             [self, step](Revision) { self->Deliver(*step); });
  }

  bool IsQuiet() override {
    const AdmittedPtr follower = admitted();
    if (follower == nullptr) return false;
    if (services_.gate.IsStale(*follower)) return true;
    if (++quiet_visits_ < kQuietVisits) return false;
    progress_wanted_ = true;
    return true;
  }

  void End(const absl::Status& status) override { FinishOnce(status); }

  void OnWriteDone(bool ok) override {
    response_ = Response();
    if (!ok) {
      FinishOnce(absl::CancelledError("the client has gone"));
    } else if (HasReachedEnd(*cursor_)) {
      FinishOnce(absl::OkStatus());
    } else {
      Rest(cursor_->more());
    }
  }

  void OnCancel() override { FinishOnce(absl::CancelledError("cancelled by the client")); }

  void OnDone() override { hub_.Remove(this); }

 private:
  AdmittedPtr admitted() {
    MutexLock lock(mutex_);
    return admitted_;
  }

  absl::Status AdmitAgain() {
    // Its client may have renewed it, and shows the new one on a new connection.
    if (services_.gate.HasExpired(*admitted())) {
      return MakeError(absl::StatusCode::kUnavailable, reasons::kCredentialExpired,
                       "what was shown for this stream has expired: watch again");
    }
    MUSTER_ASSIGN_OR_RETURN(AdmittedPtr again, services_.gate.AdmitAgain(admitted()));
    MUSTER_RETURN_IF_ERROR(
        services_.gate.Check(*again, request_, CommittedMembers(services_.committer)).status);
    MutexLock lock(mutex_);
    admitted_ = std::move(again);
    return absl::OkStatus();
  }

  absl::StatusOr<CursorStep> Step(const Registry& registry) {
    const AdmittedPtr follower = admitted();
    if (follower->is_local()) return StepOfAll(registry);
    MUSTER_RETURN_IF_ERROR(
        services_.gate.Check(*follower, request_, RegistryMembers(registry)).status);
    MUSTER_ASSIGN_OR_RETURN(const CursorStep step, StepOfAll(registry));
    if (step == CursorStep::kMessage) {
      HideOthers(services_.gate, *follower, registry, message_);
    }
    return step;
  }

  // As if the caller might see everything.
  absl::StatusOr<CursorStep> StepOfAll(const Registry& registry) {
    if (!cursor_.has_value()) {
      MUSTER_ASSIGN_OR_RETURN(Cursor cursor, Cursor::Open(request_, registry));
      cursor_.emplace(std::move(cursor));
      // Before the first look at the feed, so that no event falls between the two.
      services_.feed.Follow(cursor_->reader().key());
      hub_.Follow(this, cursor_->reader().key());
    }
    // Before the look at the feed, which may go on while it is looked at.
    const Revision durable = services_.feed.durable();
    MUSTER_ASSIGN_OR_RETURN(const CursorStep step,
                            cursor_->Next(registry, services_.feed, message_));
    if (step == CursorStep::kReadLog) return step;
    const bool progress_wanted = progress_wanted_.exchange(false);
    if (step != CursorStep::kWait || !progress_wanted || cursor_->more() || HasReachedEnd(*cursor_))
      return step;
    message_ = cursor_->Progress(durable);
    return CursorStep::kMessage;
  }

  void Deliver(const absl::StatusOr<CursorStep>& step) {
    if (!step.ok()) {
      FinishOnce(step.status());
    } else if (*step == CursorStep::kReadLog) {
      ReadBehind();
    } else if (*step == CursorStep::kMessage) {
      ToWire(message_, response_);
      message_ = typename Cursor::Message();
      quiet_visits_ = 0;
      MutexLock lock(mutex_);
      if (!finished_) this->StartWrite(&response_);
    } else if (HasReachedEnd(*cursor_)) {
      FinishOnce(absl::OkStatus());
    } else {
      Rest(cursor_->more());
    }
  }

  // The stream stays busy until the part is there.
  void ReadBehind() {
    bool begun = hub_.BeginLogRead();
    if (begun) {
      auto self = this->shared_from_this();
      begun = services_.store_readers
                  .Submit([self] {
                    if (self->HasFinished()) return self->hub_.EndLogRead();
                    absl::StatusOr<LogPart> part =
                        ReadLog(self->services_.store, self->cursor_->reader().log_span());
                    self->hub_.EndLogRead();
                    if (!part.ok()) return self->FinishOnce(part.status());
                    self->cursor_->reader().Supply(*std::move(part));
                    self->Rest(true);
                  })
                  .ok();
      if (!begun) hub_.EndLogRead();
    }
    if (begun) return;
    hub_.ScheduleLater(this);
    Rest(false);
  }

  // The pump is over; another one follows when `more` is likely or was asked for meanwhile.
  void Rest(bool more) {
    {
      MutexLock lock(mutex_);
      busy_ = false;
      more = more || again_;
      again_ = false;
    }
    if (more) hub_.Schedule(this);
  }

  bool HasFinished() {
    MutexLock lock(mutex_);
    return finished_;
  }

  void FinishOnce(const absl::Status& status) {
    {
      MutexLock lock(mutex_);
      if (finished_) return;
      finished_ = true;
    }
    const bool left = status.code() == absl::StatusCode::kCancelled;
    // A client that leaves its watch is not a failure.
    services_.stats.End(call_, left ? absl::OkStatus() : status);
    this->Finish(StatusToGrpc(status));
  }

  ServiceContext& services_;
  WatchHub& hub_;
  const Request request_;
  const CallStats::Call call_;
  std::optional<Cursor> cursor_;
  typename Cursor::Message message_;
  // What is being written.
  Response response_;
  std::atomic<int> quiet_visits_ = 0;
  std::atomic<bool> progress_wanted_ = false;
  Mutex mutex_;
  // A pump or a write is under way.
  bool busy_ MUSTER_GUARDED_BY(mutex_) = false;
  bool again_ MUSTER_GUARDED_BY(mutex_) = false;
  bool finished_ MUSTER_GUARDED_BY(mutex_) = false;
  AdmittedPtr admitted_ MUSTER_GUARDED_BY(mutex_);
};

// Begins a watch of a service's method.
template <typename Cursor, typename Response, typename Request>
grpc::ServerWriteReactor<Response>* OpenWatch(ServiceContext& services, WatchHub& hub,
                                              grpc::CallbackServerContext* context,
                                              const char* method, const Request& request) {
  const Entry entry = Enter(services, *context, method, request);
  auto stream = std::make_shared<WatchStream<Cursor, Request, Response>>(
      services, hub, context, method, request, entry.admitted);
  grpc::ServerWriteReactor<Response>* reactor = stream.get();
  if (!entry.status.ok()) {
    hub.Add(stream);
    Tell(services, entry.audit, entry.status, absl::ZeroDuration(),
         [stream, status = entry.status] { stream->End(status); });
    return reactor;
  }
  // Of a stream its beginning is told.
  Tell(services, entry.audit, entry.status, absl::ZeroDuration(), [] {});
  hub.Add(std::move(stream));
  return reactor;
}

}  // namespace muster

#endif  // MUSTER_SERVER_RPC_WATCH_STREAM_H_
