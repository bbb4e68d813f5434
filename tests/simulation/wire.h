// The server as hosts see it: calls, heartbeats and watches over the network.
#ifndef MUSTER_TESTS_SIMULATION_WIRE_H_
#define MUSTER_TESTS_SIMULATION_WIRE_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "google/protobuf/message.h"
#include "muster/v1/assembly.pb.h"
#include "muster/v1/node.pb.h"
#include "server/registry/command.h"
#include "server/watch/assignment_cursor.h"
#include "tests/simulation/network.h"
#include "tests/simulation/world.h"

namespace muster {

// What became of a call, as far as its caller knows.
struct CallReply {
  absl::Status status;
  // Null with an error.
  std::shared_ptr<const google::protobuf::Message> message;
};

// One WatchAssignments stream; both ends have it.
struct AssignmentStream {
  std::string host;
  std::function<void(const muster::v1::WatchAssignmentsResponse&)> on_message;
  // The server's end; unset before the request has arrived, and after the end.
  std::optional<AssignmentCursor> cursor;
  // Of the last message that is under way.
  absl::Duration last_arrival;
  // Nothing comes any more.
  bool broken = false;
  // Why the server ended it, once that has arrived.
  absl::Status ended;
};

// Not thread-safe. Callbacks run in Deliver, or not at all; a repeated reply runs one twice.
class Wire {
 public:
  using OnReply = std::function<void(const CallReply&)>;

  Wire(World& world, Network& network) : world_(world), network_(network) {}

  void Call(const std::string& host, std::string what, Command command, OnReply on_reply);
  // A call of somebody who does not wait: it may come late, twice, or after a later one.
  void Post(const std::string& host, Attempt attempt);
  void Heartbeat(const std::string& host, const muster::v1::HeartbeatRequest& request,
                 OnReply on_reply);
  std::shared_ptr<AssignmentStream> Watch(
      const std::string& host, const muster::v1::WatchAssignmentsRequest& request,
      std::function<void(const muster::v1::WatchAssignmentsResponse&)> on_message);

  // While the server is paused, what arrives at it waits.
  void SetPaused(bool paused) { paused_ = paused; }
  bool paused() const { return paused_; }
  // Lets messages arrive; the server carries out the calls among them as one group, and sends on
  // its streams.
  void Deliver();

 private:
  Attempt AttemptOf(const std::string& host, std::string what, Command command, OnReply on_reply);
  void Serve();
  void Renew(const muster::v1::HeartbeatRequest& request, CallReply& reply);
  void OpenStream(const std::shared_ptr<AssignmentStream>& stream,
                  const muster::v1::WatchAssignmentsRequest& request);
  void SendStreams();
  void EndStream(const std::shared_ptr<AssignmentStream>& stream, const absl::Status& status);
  void Reply(const std::string& host, const OnReply& on_reply, CallReply reply);

  World& world_;
  Network& network_;
  bool paused_ = false;
  // What has arrived at the server.
  std::vector<Attempt> calls_;
  std::vector<std::function<void()>> others_;
  std::vector<std::shared_ptr<AssignmentStream>> streams_;
  // The process that the streams belong to.
  int process_ = 0;
};

}  // namespace muster

#endif  // MUSTER_TESTS_SIMULATION_WIRE_H_
