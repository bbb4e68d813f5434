#include "client/sdk/follow_events.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"

namespace muster {
namespace {

class Follower {
 public:
  Follower(Client& client, Clock& clock, Random& random, const FollowEventsOptions& options,
           absl::FunctionRef<bool(const v1::Event&)> on_event)
      : client_(client),
        options_(options),
        on_event_(on_event),
        retry_(clock, random, options.retry),
        resume_revision_(options.start_revision) {}

  absl::Status Run() {
    while (true) {
      const absl::Status status = WatchOnce();
      if (ended_) return absl::OkStatus();
      if (absl::IsOutOfRange(status)) return status;
      switch (retry_.After(status)) {
        case WatchRetry::Next::kWatchAgain:
          break;
        case WatchRetry::Next::kStopped:
          return absl::CancelledError("following events was stopped");
        case WatchRetry::Next::kTimedOut:
          return MakeError(absl::StatusCode::kDeadlineExceeded, reasons::kWaitTimedOut,
                           absl::StrCat("following events ended after ",
                                        absl::FormatDuration(options_.retry.timeout)));
        default:
          return status;
      }
    }
  }

 private:
  absl::Status WatchOnce() {
    v1::WatchEventsRequest request;
    *request.mutable_filter() = options_.filter;
    request.set_start_revision(resume_revision_);
    request.set_history_id(history_id_);
    CallOptions call;
    call.stop = options_.retry.stop;
    call.timeout = retry_.Left();
    return client_.WatchEvents(
        request, [&](const v1::WatchEventsResponse& message) { return OnMessage(message); }, call);
  }

  bool OnMessage(const v1::WatchEventsResponse& message) {
    retry_.Heard();
    if (!message.history_id().empty()) history_id_ = message.history_id();
    for (const v1::Event& event : message.events()) {
      // Those of a revision that came in part before the watch broke come again.
      const std::pair<uint64_t, uint32_t> position(event.revision(), event.sequence());
      if (seen_any_ && position <= seen_) continue;
      seen_any_ = true;
      seen_ = position;
      if (on_event_(event)) continue;
      ended_ = true;
      return false;
    }
    // A message of a higher revision ends the ones before; its own may go on in the next message.
    const bool whole = message.complete() || message.progress();
    const uint64_t reached = message.revision() - (whole || message.revision() == 0 ? 0 : 1);
    resume_revision_ = std::max(resume_revision_, reached);
    return true;
  }

  Client& client_;
  const FollowEventsOptions& options_;
  absl::FunctionRef<bool(const v1::Event&)> on_event_;
  WatchRetry retry_;
  uint64_t resume_revision_;
  // That the revision is of; "" until a message tells.
  std::string history_id_;
  bool seen_any_ = false;
  std::pair<uint64_t, uint32_t> seen_;
  bool ended_ = false;
};

}  // namespace

absl::Status FollowEvents(Client& client, Clock& clock, Random& random,
                          const FollowEventsOptions& options,
                          absl::FunctionRef<bool(const v1::Event&)> on_event) {
  return Follower(client, clock, random, options, on_event).Run();
}

}  // namespace muster
