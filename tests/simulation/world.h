// What one simulated run consists of: the server, its callers' memory, and the rules that every
// step is checked against.
#ifndef MUSTER_TESTS_SIMULATION_WORLD_H_
#define MUSTER_TESTS_SIMULATION_WORLD_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "server/registry/command.h"
#include "storage/base/random.h"
#include "tests/simulation/lease_judge.h"
#include "tests/simulation/time_judge.h"
#include "tests/simulation/true_events.h"
#include "tests/support/fake_clock.h"
#include "tests/support/simulated_server.h"

namespace muster {

// Nodes whose agents behave like the real one are named with this prefix and a number.
inline constexpr char kHonestNodes[] = "nodes/h";

// One call on the server, and what has to come of it.
struct Attempt {
  std::string what;
  std::vector<Command> commands = {};
  // "" for any outcome, "OK", or the reason of an error.
  std::string expect = {};
  // The call must leave everything as it is.
  bool changes_nothing = false;
  // The very same call may come again and then changes nothing.
  bool idempotent = false;
  // Set for calls that carry one.
  std::string request_id = {};
  // Runs when the call was answered; returns what is wrong, or "".
  std::function<std::string(const JobResult&)> check = [](const JobResult&) { return ""; };
};

// A node's process, as far as the simulation needs it.
struct SimulatedAgent {
  uint64_t epoch = 0;
  std::vector<uint64_t> old_epochs;
  bool beats = true;
};

// A call that was answered under a request id.
struct AnsweredRequest {
  Attempt attempt;
  std::string reply;
  absl::Time at;
};

// What a plan was made from.
enum class MadeFrom {
  // The state as it is.
  kPresent,
  // One that something may have changed since.
  kEarlier,
  // Such a one, and a plan that was made later is on its way.
  kOvertaken,
};

// What a publisher means to publish under a name; fixed by the name and the incarnation.
struct IntendedVersion {
  muster::v1::ModelVersion announced;
  std::vector<muster::v1::Shard> shards;
  // By shard; batches of two.
  std::vector<std::vector<muster::v1::Tensor>> tensors;
  std::vector<muster::v1::Companion> companions;
};

// Not thread-safe.
class World {
 public:
  explicit World(uint64_t seed);

  // Submits the attempts as one group, runs them and checks what came of them. What an attempt
  // expects is not asked of one that is not alone.
  void Do(Attempt attempt);
  void DoTogether(std::vector<Attempt> attempts);
  // One plan's commands, for the assembly.
  void DoPlan(const std::string& assembly, std::vector<Command> commands, MadeFrom made_from);
  void DoTick();
  void RestartCleanly();
  // The process dies between two groups.
  void Kill();
  // A heartbeat; what comes of it is the caller's to check.
  absl::StatusOr<LeaseTable::HeartbeatResult> Renew(const muster::v1::HeartbeatRequest& request);

  // Everything that holds after every step.
  void CheckInvariants();

  // Records the first thing that is wrong; `invariant` names the rule.
  void Fail(absl::string_view invariant, absl::string_view text);
  bool failed() const { return !failure_.empty(); }
  std::string Report() const;
  void Log(std::string text);

  bool Chance(uint64_t percent) { return random_->Below(100) < percent; }
  uint64_t Below(uint64_t limit) { return random_->Below(limit); }
  // "" when there are none.
  template <typename Map>
  std::string PickName(const Map& map) {
    if (map.empty()) return "";
    return std::next(map.begin(), static_cast<long>(Below(map.size())))->first;
  }

  FakeClock& clock() { return clock_; }
  SimulatedServer& server() { return server_; }
  const Registry& registry() const { return server_.registry(); }
  uint64_t seed() const { return seed_; }
  // Whether the node has at any time been registered again with less capacity than it had.
  bool HasShrunk(const Node& node) const { return shrunk_.contains(node.uid.value); }
  // How often the process has died or was restarted.
  int restarts() const { return restarts_; }
  // All that has happened so far.
  const TrueEvents& TruthNow() {
    truth_.Read(server_.store());
    return truth_;
  }
  std::string NextRequestId();
  // What ages in the server go by, as of its last tick. Whatever befalls the time of day.
  absl::Time server_time() const { return server_time_; }
  // Sets the time of day, by hours, by days or by a month, or back; nothing but what is shown may
  // notice.
  void StepTimeOfDay();

  std::map<std::string, SimulatedAgent> agents;
  std::map<std::string, IntendedVersion> intended;
  std::vector<AnsweredRequest> answered;
  bool big = false;
  // Percentage of calls during which the store fails.
  uint64_t fault_percent = 3;

 private:
  // Runs what is queued with a fault that may strike; false when the process died, and was started
  // again.
  bool RunWithFaults(const std::vector<Attempt>& attempts, const std::string& planned);
  void HandleCrash(const std::vector<Attempt>& attempts, const std::string& planned);
  void CheckStoredPrefix(const std::vector<Attempt>& attempts);
  void CheckPlanCrash(const std::string& planned);
  void Restart();
  void CheckOutcome(const Attempt& attempt, const JobResult& result, const std::string& before,
                    Revision revision);
  void CheckRepeat(const Attempt& attempt, const JobResult& result);
  void Remember(const Attempt& attempt, const JobResult& result);
  void CheckAssemblies();
  void NoteCapacities();
  void NoteReady(const Assembly& assembly);
  // Takes over what a change shows of members: which of them hold what is theirs, or nothing.
  void NoteEstablished(const Assembly& assembly, const AssemblyChange& change);
  void CheckContents();
  void CheckReload();
  void NoteStart();
  void ReadWhileCommitting();

  const uint64_t seed_;
  std::unique_ptr<Random> random_;
  FakeClock clock_;
  SimulatedServer server_;
  std::string failure_;
  std::deque<std::string> log_;
  int steps_ = 0;
  int restarts_ = 0;
  uint64_t next_request_id_ = 0;
  absl::Time server_time_;
  // As of the last tick.
  absl::Time time_of_day_;
  absl::Duration last_tick_;
  // How far the time of day is off.
  absl::Duration stepped_;
  TimeJudge time_judge_;
  LeaseJudge judge_{SimulatedServer::LiveOptions().leases};
  // The one reply of each request id, and until when it is sure to be remembered.
  std::map<std::string, std::pair<std::string, absl::Time>> replies_;
  Revision acknowledged_;
  TrueEvents truth_;
  // The state before the call that is under way.
  StoreContent content_before_;
  std::set<NodeUid> released_before_;
  std::string facts_before_;
  std::string other_facts_before_;
  Generation generation_before_;
  // By version uid.
  std::map<uint64_t, std::string> committed_;
  // By node uid: the capacity as it was after the last commit, and the nodes that had more before.
  std::map<uint64_t, uint64_t> capacities_;
  std::set<uint64_t> shrunk_;
  // Assemblies that were READY once, and up to where their events were read.
  std::set<uint64_t> was_ready_;
  std::map<uint64_t, Revision> events_seen_;
  // By assembly uid: the members that have held what is theirs, and not nothing since.
  std::map<uint64_t, std::set<std::string>> established_;
  // Counts processes, so that a late reply of a dead one shows.
  std::shared_ptr<int> process_ = std::make_shared<int>(0);
};

}  // namespace muster

#endif  // MUSTER_TESTS_SIMULATION_WORLD_H_
