// A node's process that behaves as client/agent does: register, join, watch, fetch, report, and go
// on when the network or the server comes and goes.
#ifndef MUSTER_TESTS_SIMULATION_HONEST_AGENT_H_
#define MUSTER_TESTS_SIMULATION_HONEST_AGENT_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "muster/v1/assembly.pb.h"
#include "muster/v1/node.pb.h"
#include "tests/simulation/wire.h"
#include "tests/simulation/world.h"

namespace muster {

// Every READY that an honest node has ever said: epoch, assembly, shard, generation.
using ReadySaid = std::set<std::tuple<uint64_t, std::string, uint32_t, uint64_t>>;

// Not thread-safe.
class HonestAgent {
 public:
  // How the network and the disk treat it.
  struct Chances {
    // Of a fetch, in percent.
    uint64_t fetch_fails = 0;
  };
  // What a process of the agent remembers of one shard.
  struct Held {
    uint64_t generation = 0;
    std::string content;
    muster::v1::ShardReport::State state = muster::v1::ShardReport::PENDING;
    // What the server has taken; nothing under a new epoch.
    muster::v1::ShardReport::State told = muster::v1::ShardReport::STATE_UNSPECIFIED;
    uint32_t failures = 0;
    // The end of the fetch, or of the wait after one that failed.
    absl::Duration next;
  };
  using Key = std::pair<std::string, uint32_t>;

  // The node as it registers; the assemblies that it joins, with its claim.
  HonestAgent(World& world, Wire& wire, ReadySaid& said, muster::v1::Node node,
              std::map<std::string, muster::v1::Claim> memberships);

  // Begins a new process over the cache of the last one.
  void Start();
  // The process dies; the cache stays.
  void Kill() { running_ = false; }
  void LoseCache() { cache_.clear(); }
  bool running() const { return running_; }
  // Another process has registered under its name, so that it has stopped.
  bool fenced() const { return fenced_; }
  const std::string& name() const { return node_.name(); }
  const muster::v1::Node& node() const { return node_; }
  // Of the present registration; 0 without one.
  uint64_t epoch() const { return epoch_; }
  const std::map<Key, Held>& held() const { return held_; }
  void set_chances(const Chances& chances) { chances_ = chances; }

  // Does what is due. To be called often.
  void Step();

 private:
  // One call at a time of each kind; a reply to an earlier one comes too late.
  struct Slot {
    uint64_t call = 0;
    // Unset without a call under way.
    std::optional<absl::Duration> deadline;
  };

  void Register();
  void Join();
  void Beat();
  void Watch();
  void Take(const muster::v1::WatchAssignmentsResponse& message);
  void Fetch();
  void Report();
  void Reported(const muster::v1::ReportShardsRequest& request, const CallReply& reply);
  void BeginEpoch(uint64_t epoch);
  // Takes the slot for a call, and makes of `on_reply` what ignores a late reply; nullopt while
  // another is under way.
  std::optional<Wire::OnReply> Begin(Slot& slot, absl::Duration timeout, Wire::OnReply on_reply);
  // What an error of any call means.
  void Judge(const absl::Status& status);
  absl::Duration now() const;

  World& world_;
  Wire& wire_;
  ReadySaid& said_;
  muster::v1::Node node_;
  const std::map<std::string, muster::v1::Claim> memberships_;
  Chances chances_;
  // Survives the process.
  std::set<std::string> cache_;

  bool running_ = false;
  bool fenced_ = false;
  // Counts processes and registrations, so that callbacks of earlier ones show.
  uint64_t life_ = 0;
  uint64_t calls_ = 0;
  Slot registering_, joining_, beating_, reporting_;
  std::string request_id_;
  uint64_t epoch_ = 0;
  uint64_t report_sequence_ = 0;
  absl::Duration interval_;
  absl::Duration next_beat_;
  std::set<std::string> joined_;
  std::shared_ptr<AssignmentStream> stream_;
  uint64_t revision_ = 0;
  std::map<Key, Held> held_;
  std::map<Key, Held> snapshot_;
};

}  // namespace muster

#endif  // MUSTER_TESTS_SIMULATION_HONEST_AGENT_H_
