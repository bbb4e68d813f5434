#include "tests/simulation/wire.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/simulation/watchers.h"

namespace muster {

namespace v1 = muster::v1;
using Way = Network::Way;

void Wire::Reply(const std::string& host, const OnReply& on_reply, CallReply reply) {
  network_.Send(host, Way::kFromServer, [on_reply, reply = std::move(reply)] { on_reply(reply); });
}

Attempt Wire::AttemptOf(const std::string& host, std::string what, Command command,
                        OnReply on_reply) {
  Attempt attempt;
  attempt.what = std::move(what);
  attempt.commands.push_back(std::move(command));
  attempt.check = [this, host, on_reply = std::move(on_reply)](const JobResult& result) {
    CallReply reply{result.status, nullptr};
    if (result.reply != nullptr) {
      std::shared_ptr<google::protobuf::Message> copy(result.reply->New());
      copy->CopyFrom(*result.reply);
      reply.message = std::move(copy);
    }
    Reply(host, on_reply, std::move(reply));
    return "";
  };
  return attempt;
}

void Wire::Call(const std::string& host, std::string what, Command command, OnReply on_reply) {
  Post(host, AttemptOf(host, std::move(what), std::move(command), std::move(on_reply)));
}

void Wire::Post(const std::string& host, Attempt attempt) {
  network_.Send(host, Way::kToServer,
                [this, attempt = std::move(attempt)] { calls_.push_back(attempt); });
}

void Wire::Heartbeat(const std::string& host, const v1::HeartbeatRequest& request,
                     OnReply on_reply) {
  network_.Send(host, Way::kToServer, [this, host, request, on_reply = std::move(on_reply)] {
    others_.push_back([this, host, request, on_reply] {
      CallReply reply;
      Renew(request, reply);
      Reply(host, on_reply, std::move(reply));
    });
  });
}

void Wire::Renew(const v1::HeartbeatRequest& request, CallReply& reply) {
  auto result = world_.Renew(request);
  reply.status = result.status();
  if (!result.ok() || !result->revive.has_value()) return;
  Attempt revive{.what = absl::StrCat("revive ", request.name())};
  revive.commands.push_back(ReviveNode{result->revive->node, result->revive->epoch});
  calls_.push_back(std::move(revive));
}

std::shared_ptr<AssignmentStream> Wire::Watch(
    const std::string& host, const v1::WatchAssignmentsRequest& request,
    std::function<void(const v1::WatchAssignmentsResponse&)> on_message) {
  auto stream = std::make_shared<AssignmentStream>();
  stream->host = host;
  stream->on_message = std::move(on_message);
  absl::Duration sent;
  network_.SendInOrder(
      host, Way::kToServer, &sent,
      [this, stream, request] {
        others_.push_back([this, stream, request] { OpenStream(stream, request); });
      },
      [stream] { stream->broken = true; });
  return stream;
}

void Wire::OpenStream(const std::shared_ptr<AssignmentStream>& stream,
                      const v1::WatchAssignmentsRequest& request) {
  auto opened = AssignmentCursor::Open(request, world_.registry());
  if (!opened.ok()) return EndStream(stream, opened.status());
  stream->cursor.emplace(*std::move(opened));
  streams_.push_back(stream);
}

void Wire::EndStream(const std::shared_ptr<AssignmentStream>& stream, const absl::Status& status) {
  stream->cursor.reset();
  network_.SendInOrder(
      stream->host, Way::kFromServer, &stream->last_arrival,
      [stream, status] {
        if (!stream->broken) stream->ended = status;
        stream->broken = true;
      },
      [stream] { stream->broken = true; });
}

void Wire::SendStreams() {
  for (const auto& stream : streams_) {
    v1::WatchAssignmentsResponse message;
    while (stream->cursor.has_value()) {
      const auto more = NextOf(world_, *stream->cursor, message);
      if (!more.ok()) {
        EndStream(stream, more.status());
      } else if (!*more) {
        break;
      } else {
        network_.SendInOrder(
            stream->host, Way::kFromServer, &stream->last_arrival,
            [stream, message] {
              if (!stream->broken) stream->on_message(message);
            },
            [stream] { stream->broken = true; });
      }
    }
  }
  std::erase_if(streams_,
                [](const auto& stream) { return stream->broken || !stream->cursor.has_value(); });
}

// Heartbeats and watches are not behind the calls, nor before them: either may come first.
void Wire::Serve() {
  if (process_ != world_.restarts()) {
    for (const auto& stream : streams_) stream->broken = true;
    streams_.clear();
    process_ = world_.restarts();
  }
  for (const auto& other : std::exchange(others_, {})) other();
  if (!calls_.empty()) world_.DoTogether(std::exchange(calls_, {}));
  if (!world_.failed() && process_ == world_.restarts()) SendStreams();
}

void Wire::Deliver() {
  network_.Deliver();
  if (!paused_) Serve();
}

}  // namespace muster
