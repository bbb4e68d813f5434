// The places that the node has at bounded locations: asked for, given back, and claimed again from
// a server that was restarted.
#ifndef MUSTER_CLIENT_AGENT_READ_PLACES_H_
#define MUSTER_CLIENT_AGENT_READ_PLACES_H_

#include <cstdint>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/agent/agent_state.h"
#include "client/sdk/client.h"

namespace muster {

// Thread-safe. Outlives sessions, since fetches do. A place that could not be claimed again is lost
// to the node, but a read that is under way continues.
class ReadPlaces {
 public:
  // The arguments outlive it. `node` is the full name.
  ReadPlaces(AgentState& state, Client& client, std::string node)
      : state_(state), client_(client), node_(std::move(node)) {}

  // Asks for a place at location `uri` of `shard` (full name). True: granted. False, only without
  // `wait`: not now. With `wait` it goes on until there is a place, also over restarts of the
  // server. kCancelled once `stop` was requested; otherwise there will be no place.
  absl::StatusOr<bool> Acquire(const std::string& shard, const std::string& uri, bool wait,
                               const std::stop_token& stop);
  // The place is given back by Serve, or by Flush.
  void Release(const std::string& shard, const std::string& uri);

  // Under this epoch calls are made from now on; what is held has to be claimed.
  void BeginEpoch(uint64_t epoch);
  // The server may be another process now: what is held has to be claimed.
  void ClaimAgain();

  // Gives places back and claims them again, as that becomes necessary, until `stop`.
  void Serve(const std::stop_token& stop);
  // Gives everything back, or tries to for `timeout` a call.
  void Flush(absl::Duration timeout);

 private:
  // A shard and a URI.
  using Place = std::pair<std::string, std::string>;

  absl::StatusOr<bool> Ask(const Place& place, uint64_t epoch, absl::Duration max_wait, bool held,
                           const CallOptions& call);
  absl::Status GiveBack(const Place& place, uint64_t epoch, const CallOptions& call);
  // The epoch, once there is one and nothing about the place is on its way to the server.
  uint64_t AwaitTurn(const Place& place, const std::stop_token& stop);
  // One call of Serve: false when there is nothing to do.
  bool ServeOne(const std::stop_token& stop);

  AgentState& state_;
  Client& client_;
  const std::string node_;
  uint64_t epoch_ MUSTER_GUARDED_BY(state_.mutex) = 0;
  std::set<Place> held_ MUSTER_GUARDED_BY(state_.mutex);
  std::set<Place> unclaimed_ MUSTER_GUARDED_BY(state_.mutex);
  std::set<Place> to_release_ MUSTER_GUARDED_BY(state_.mutex);
  // The one that Serve is giving back just now.
  std::optional<Place> releasing_ MUSTER_GUARDED_BY(state_.mutex);
};

}  // namespace muster

#endif  // MUSTER_CLIENT_AGENT_READ_PLACES_H_
