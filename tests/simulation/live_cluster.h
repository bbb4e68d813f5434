// Honest agents over a bad network, and what befalls them and the server while time goes on.
#ifndef MUSTER_TESTS_SIMULATION_LIVE_CLUSTER_H_
#define MUSTER_TESTS_SIMULATION_LIVE_CLUSTER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "tests/simulation/honest_agent.h"
#include "tests/simulation/network.h"
#include "tests/simulation/wire.h"
#include "tests/simulation/world.h"

namespace muster {

// Not thread-safe.
class LiveCluster {
 public:
  // `plan` makes one step of the planner.
  LiveCluster(World& world, std::function<void()> plan);

  // Publishes what the agents are to load, and starts them.
  void SetUp();
  // Lets time go on by so many ticks, with everything that befalls machines meanwhile.
  void PassTime(uint64_t ticks);
  // A call of somebody else, over the same network.
  void Post(Attempt attempt) { wire_.Post("a caller", std::move(attempt)); }
  // Ends all faults and waits until every honest assembly is READY.
  void Settle();

  // READY in the registry is what an agent has said in this epoch, and what it was told is stored
  // is there (invariants 1, 3 and 4, docs/design.md).
  void Check();

 private:
  // What is wrong with one agent's machine, and until when.
  struct Trouble {
    enum class Kind { kNone, kPaused, kDead, kCutOff, kDeaf, kMute };
    Kind kind = Kind::kNone;
    absl::Duration until;
  };
  struct Machine {
    std::unique_ptr<HonestAgent> agent;
    Trouble trouble;
  };

  void CreateAssemblies();
  void AddAgents();
  void Disturb();
  void DisturbServer();
  void Begin(Machine& machine, Trouble::Kind kind, absl::Duration length);
  void End(Machine& machine);
  void StepAgents();
  void Tick();
  void Call(Attempt attempt);
  bool AllReady() const;
  void CheckAgent(const HonestAgent& agent);

  World& world_;
  const std::function<void()> plan_;
  Network network_;
  Wire wire_;
  ReadySaid said_;
  std::map<std::string, Machine> machines_;
  std::vector<std::string> assemblies_;
  // While the server is stopped (SIGSTOP): until when.
  absl::Duration server_paused_until_;
  bool faults_ = true;
};

}  // namespace muster

#endif  // MUSTER_TESTS_SIMULATION_LIVE_CLUSTER_H_
