// A server stream that follows a cursor through the feed.
//
// 1. Pump (the hub's thread) asks the cursor for the next message, under the registry's shared
//    lock; no two at once.
// 2. The message is written once what it shows is durable.
// 3. OnWriteDone has the hub pump again; when the cursor has nothing, the feed's next wake does.
// 4. Finish is called exactly once: by the cursor's error or end, by a cancel, or by End. What
//    comes later is dropped.
// 5. The hub lets go of the stream in OnDone; callbacks that are under way keep it alive until they
//    have returned.
#ifndef MUSTER_SERVER_RPC_WATCH_STREAM_H_
#define MUSTER_SERVER_RPC_WATCH_STREAM_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <memory>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/rpc/calls.h"
#include "server/rpc/watch_hub.h"
#include "storage/base/mutex.h"

namespace muster {

// Whether the cursor has come to the end that its request named.
template <typename Cursor>
bool HasReachedEnd(const Cursor& cursor) {
  if constexpr (requires { cursor.reached(); }) {
    return cursor.reached();
  } else {
    return false;
  }
}

template <typename Cursor, typename Request, typename Response>
class WatchStream final
    : public Watch,
      public grpc::ServerWriteReactor<Response>,
      public std::enable_shared_from_this<WatchStream<Cursor, Request, Response>> {
 public:
  WatchStream(ServiceContext& services, WatchHub& hub, grpc::CallbackServerContext* context,
              const char* method, const Request& request)
      : services_(services),
        hub_(hub),
        request_(request),
        call_(services.stats.Begin(method, context->peer())) {}

  // Here and not in OnDone: a pump that was under way then may subscribe after it.
  ~WatchStream() override {
    if (subscription_.has_value()) services_.feed.Unsubscribe(cursor_->key(), *subscription_);
  }

  void Pump() override {
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
    auto has_message = std::make_shared<absl::StatusOr<bool>>(false);
    services_.committer.Read([&](const Registry& registry) { *has_message = Step(registry); },
                             [self, has_message](Revision) { self->Deliver(*has_message); });
  }

  void End(const absl::Status& status) override { FinishOnce(status); }

  void OnWriteDone(bool ok) override {
    if (!ok) {
      FinishOnce(absl::CancelledError("the client has gone"));
    } else if (HasReachedEnd(*cursor_)) {
      FinishOnce(absl::OkStatus());
    } else {
      Rest(true);
    }
  }

  void OnCancel() override { FinishOnce(absl::CancelledError("cancelled by the client")); }

  void OnDone() override { hub_.Remove(this); }

 private:
  absl::StatusOr<bool> Step(const Registry& registry) {
    if (!cursor_.has_value()) {
      auto opened = Cursor::Open(request_, registry, services_.feed);
      if (!opened.ok()) return opened.status();
      cursor_.emplace(*std::move(opened));
      // Before the first look at the feed, so that no event falls between the two.
      subscription_ = services_.feed.Subscribe(cursor_->key(), [this] { hub_.Schedule(this); });
    }
    return cursor_->Next(registry, services_.feed, message_);
  }

  void Deliver(const absl::StatusOr<bool>& has_message) {
    if (!has_message.ok()) {
      FinishOnce(has_message.status());
      return;
    }
    if (!*has_message) {
      if (HasReachedEnd(*cursor_)) {
        FinishOnce(absl::OkStatus());
      } else {
        Rest(false);
      }
      return;
    }
    MutexLock lock(mutex_);
    if (!finished_) this->StartWrite(&message_);
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

  void FinishOnce(const absl::Status& status) {
    {
      MutexLock lock(mutex_);
      if (finished_) return;
      finished_ = true;
    }
    const bool left = status.code() == absl::StatusCode::kCancelled;
    // A client that leaves its watch is no failure.
    services_.stats.End(call_, left ? absl::OkStatus() : status);
    this->Finish(StatusToGrpc(status));
  }

  ServiceContext& services_;
  WatchHub& hub_;
  const Request request_;
  const CallStats::Call call_;
  std::optional<Cursor> cursor_;
  std::optional<uint64_t> subscription_;
  Response message_;
  Mutex mutex_;
  // A pump or a write is under way.
  bool busy_ MUSTER_GUARDED_BY(mutex_) = false;
  bool again_ MUSTER_GUARDED_BY(mutex_) = false;
  bool finished_ MUSTER_GUARDED_BY(mutex_) = false;
};

}  // namespace muster

#endif  // MUSTER_SERVER_RPC_WATCH_STREAM_H_
