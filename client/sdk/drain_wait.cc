#include "client/sdk/drain_wait.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/sdk/follow_events.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"

namespace muster {
namespace {

// A wait that is over does not last much longer for saying what is left.
constexpr absl::Duration kLastLookTimeout = absl::Seconds(2);

bool IsOfTheWay(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status);
}

class DrainWaiter {
 public:
  DrainWaiter(Client& client, Clock& clock, Random& random, const DrainWaitOptions& options)
      : client_(client),
        clock_(clock),
        random_(random),
        options_(options),
        end_(clock.Monotonic() + options.retry.timeout) {}

  DrainWaitResult Run() {
    while (Look()) {
      absl::Status followed = Follow();
      // The last look ended the wait.
      if (followed.ok()) break;
      // The server no longer keeps the events in between; the node's state says what they led to.
      if (absl::IsOutOfRange(followed)) continue;
      if (ReasonOf(followed) != reasons::kWaitTimedOut) {
        result_ = std::move(followed);
      } else if (Look()) {
        // Blockers may have changed without an event of this node.
        result_ = TimedOut();
      }
      break;
    }
    return {std::move(result_), std::move(last_)};
  }

 private:
  // Reads the node; false when that ends the wait, with result_ set.
  bool Look() {
    v1::GetNodeRequest request;
    request.set_name(options_.node);
    CallOptions call;
    call.stop = options_.retry.stop;
    if (options_.retry.timeout < absl::InfiniteDuration()) {
      call.timeout = std::max(end_ - clock_.Monotonic(), kLastLookTimeout);
    }
    auto response = client_.GetNode(request, call);
    if (!response.ok()) {
      // Once the time is over that is the news, whether the server answers just now or not.
      const bool late = !last_.name().empty() && clock_.Monotonic() >= end_;
      result_ = late && IsOfTheWay(response.status()) ? TimedOut() : response.status();
      return false;
    }
    revision_ = response->revision();
    last_ = std::move(*response->mutable_node());
    if (options_.on_state) options_.on_state(last_);
    result_ = Outcome();
    return last_.has_drain() && last_.drain().state() == v1::Drain::DRAINING;
  }

  absl::Status Follow() {
    FollowEventsOptions follow;
    follow.filter.set_node(options_.node);
    follow.start_revision = revision_;
    follow.retry = options_.retry;
    follow.retry.reached = true;
    follow.retry.timeout = std::max(end_ - clock_.Monotonic(), absl::ZeroDuration());
    return FollowEvents(client_, clock_, random_, follow, [&](const v1::Event& event) {
      // What was read already knows of this event.
      return event.revision() <= revision_ || Look();
    });
  }

  // What the present state means for a wait that ends here.
  absl::Status Outcome() const {
    if (!last_.has_drain()) {
      return MakeError(absl::StatusCode::kFailedPrecondition, reasons::kNotDraining,
                       absl::StrCat(last_.name(), " is not being drained any more"),
                       {{"node", last_.name()}});
    }
    if (last_.drain().state() != v1::Drain::OVERDUE) return absl::OkStatus();
    return MakeError(absl::StatusCode::kDeadlineExceeded, reasons::kDrainOverdue,
                     absl::StrCat(last_.name(), " is not drained, and the deadline of its drain ",
                                  "has passed: ", DescribeDrain(last_.drain())),
                     {{"node", last_.name()}});
  }

  absl::Status TimedOut() const {
    const std::string timeout = absl::FormatDuration(options_.retry.timeout);
    return MakeError(absl::StatusCode::kDeadlineExceeded, reasons::kWaitTimedOut,
                     absl::StrCat(last_.name(), " is not drained after ", timeout, ": ",
                                  DescribeDrain(last_.drain()), "; its drain stays on"),
                     {{"node", last_.name()}, {"timeout", timeout}});
  }

  Client& client_;
  Clock& clock_;
  Random& random_;
  const DrainWaitOptions& options_;
  const absl::Duration end_;
  uint64_t revision_ = 0;
  v1::Node last_;
  absl::Status result_;
};

}  // namespace

DrainWaitResult WaitUntilDrained(Client& client, Clock& clock, Random& random,
                                 const DrainWaitOptions& options) {
  return DrainWaiter(client, clock, random, options).Run();
}

std::string DescribeDrain(const v1::Drain& drain) {
  std::string text =
      absl::StrCat(drain.shards_left(), drain.shards_left() == 1 ? " shard left" : " shards left");
  for (const v1::Drain::Blocker& blocker : drain.blockers()) {
    absl::StrAppend(&text, "; ", blocker.assembly(), ": ", blocker.message());
  }
  return text;
}

}  // namespace muster
