#include "client/sdk/wait.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"
#include "storage/base/wording.h"

namespace muster {
namespace {

// A wait that is over does not last much longer for saying why.
constexpr absl::Duration kReasonsTimeout = absl::Seconds(2);

// Of a line that people read; `muster explain` has all of it.
constexpr size_t kMaxStateBytes = 300;

class Waiter {
 public:
  Waiter(Client& client, Clock& clock, Random& random, const WaitOptions& options)
      : client_(client), options_(options), retry_(clock, random, options.retry) {}

  WaitResult Run() {
    absl::Status status;
    do {
      status = WatchOnce();
    } while (!reached_ && MayGoOn(status));
    return {reached_ ? absl::OkStatus() : result_, std::move(last_)};
  }

 private:
  absl::Status WatchOnce() {
    v1::WatchAssemblyRequest request;
    request.set_name(options_.assembly);
    request.set_node(options_.node);
    if (options_.nodes == 0) request.set_until(v1::Assembly::READY);
    request.set_start_revision(revision_);
    request.set_history_id(history_id_);
    CallOptions call;
    call.stop = options_.retry.stop;
    call.timeout = retry_.Left();
    return client_.WatchAssembly(
        request, [&](const v1::WatchAssemblyResponse& message) { return OnMessage(message); },
        call);
  }

  bool OnMessage(const v1::WatchAssemblyResponse& message) {
    retry_.Heard();
    revision_ = std::max(revision_, message.revision());
    if (!message.history_id().empty()) history_id_ = message.history_id();
    if (message.progress()) return true;
    last_ = message;
    if (options_.on_state) options_.on_state(message);
    reached_ = IsReached(message);
    return !reached_;
  }

  bool IsReached(const v1::WatchAssemblyResponse& message) const {
    if (options_.nodes > 0) return message.assembly().nodes_ready() >= options_.nodes;
    if (!options_.node.empty()) return message.member().ready();
    return message.assembly().state() == v1::Assembly::READY;
  }

  // False when the wait is over, with result_ set.
  bool MayGoOn(const absl::Status& status) {
    if (absl::IsOutOfRange(status)) revision_ = 0;
    switch (retry_.After(status)) {
      case WatchRetry::Next::kWatchAgain:
        return true;
      case WatchRetry::Next::kStopped:
        result_ =
            absl::CancelledError(absl::StrCat("waiting for ", options_.assembly, " was stopped"));
        return false;
      case WatchRetry::Next::kTimedOut:
        AskForReasons();
        result_ = TimedOut();
        return false;
      default:
        result_ = status;
        return false;
    }
  }

  // Reasons that come and go with readers and locations are not on the watch.
  void AskForReasons() {
    if (!last_.has_assembly()) return;
    v1::GetAssemblyRequest request;
    request.set_name(options_.assembly);
    CallOptions call;
    call.stop = options_.retry.stop;
    call.timeout = kReasonsTimeout;
    absl::StatusOr<v1::GetAssemblyResponse> response = client_.GetAssembly(request, call);
    const bool ready = response.ok() && response->assembly().state() == v1::Assembly::READY;
    if (!response.ok() || (ready && options_.nodes == 0)) return;
    last_.mutable_assembly()->Swap(response->mutable_assembly());
  }

  // What was last heard of what is waited for.
  std::string LastState() const {
    if (!last_.has_assembly()) return "the server sent no state";
    const std::string assembly = DescribeState(last_.assembly());
    if (options_.nodes > 0) {
      return absl::StrCat(last_.assembly().nodes_ready(), " are; the assembly is ", assembly);
    }
    if (options_.node.empty()) return assembly;
    if (!last_.has_member()) return absl::StrCat("it has not joined; the assembly is ", assembly);
    const v1::AssemblyMember& member = last_.member();
    if (!member.problem().empty()) {
      return absl::StrCat("it ", member.problem(), "; the assembly is ", assembly);
    }
    return absl::StrCat(member.live() ? "" : "it is lost; ", member.shards_ready(), " of its ",
                        member.shards_assigned(), " shards are ready, ", member.shards_failed(),
                        " failed; the assembly is ", assembly);
  }

  absl::Status TimedOut() const {
    std::string what = absl::StrCat(options_.assembly, " is not READY");
    if (!options_.node.empty()) {
      what = absl::StrCat(options_.node, " in ", options_.assembly, " is not READY");
    } else if (options_.nodes > 0) {
      what = absl::StrCat("fewer than ", options_.nodes, " nodes of ", options_.assembly,
                          " are ready");
    }
    return MakeError(absl::StatusCode::kDeadlineExceeded, reasons::kWaitTimedOut,
                     absl::StrCat(what, " after ", absl::FormatDuration(options_.retry.timeout),
                                  ": ", LastState()),
                     {{"assembly", options_.assembly},
                      {"node", options_.node},
                      {"timeout", absl::FormatDuration(options_.retry.timeout)}});
  }

  Client& client_;
  const WaitOptions& options_;
  WatchRetry retry_;
  uint64_t revision_ = 0;
  // That the revision is of.
  std::string history_id_;
  bool reached_ = false;
  v1::WatchAssemblyResponse last_;
  absl::Status result_;
};

}  // namespace

WaitResult WaitUntilReady(Client& client, Clock& clock, Random& random,
                          const WaitOptions& options) {
  return Waiter(client, clock, random, options).Run();
}

std::string DescribeState(const v1::Assembly& assembly) {
  std::string text = v1::Assembly::State_Name(assembly.state());
  int said = 0;
  for (const v1::AssemblyReason& reason : assembly.reasons()) {
    if (said > 0 && text.size() + reason.message().size() > kMaxStateBytes) break;
    absl::StrAppend(&text, said == 0 ? ": " : "; ", ShortText(reason.message(), kMaxStateBytes));
    ++said;
  }
  const int rest = assembly.reasons_size() - said;
  if (rest > 0)
    absl::StrAppend(&text, "; and ", rest, rest == 1 ? " more reason" : " more reasons");
  return text;
}

}  // namespace muster
