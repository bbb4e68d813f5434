#include "tests/simulation/live_cluster.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/simulation/steps.h"

namespace muster {
namespace {

namespace v1 = muster::v1;
using Way = Network::Way;

constexpr char kVersion[] = "models/live/versions/v";
constexpr uint64_t kAgents = 5;
// Failed fetches keep a shard from a node for ten minutes; then there is time to load it.
constexpr absl::Duration kTimeToSettle = absl::Minutes(14);

v1::Claim ClaimOf(v1::Claim::Kind kind) {
  v1::Claim claim;
  claim.set_kind(kind);
  return claim;
}

}  // namespace

LiveCluster::LiveCluster(World& world, std::function<void()> plan)
    : world_(world), plan_(std::move(plan)), network_(world), wire_(world, network_) {}

// Alone and without the network: this is what there is when the run begins.
void LiveCluster::Call(Attempt attempt) {
  attempt.expect = "OK";
  world_.Do(std::move(attempt));
}

void LiveCluster::CreateAssemblies() {
  PublishVersion(world_, kVersion, 3 + static_cast<uint32_t>(world_.Below(10)));
  constexpr v1::Assembly::Policy kPolicies[] = {v1::Assembly::BALANCED, v1::Assembly::FULL,
                                                v1::Assembly::DECLARED};
  for (uint64_t i = 0; i < 1 + world_.Below(2); ++i) {
    const std::string name = absl::StrCat("assemblies/live", i);
    v1::CreateAssemblyRequest request;
    v1::Assembly& assembly = *request.mutable_assembly();
    assembly.set_name(name);
    assembly.set_model_version(kVersion);
    assembly.set_policy(kPolicies[world_.Below(3)]);
    assembly.set_min_nodes(static_cast<uint32_t>(1 + world_.Below(3)));
    assembly.set_replicas(static_cast<uint32_t>(1 + world_.Below(2)));
    Attempt attempt{.what = absl::StrCat("create ", name)};
    attempt.commands.push_back(std::move(request));
    Call(std::move(attempt));
    assemblies_.push_back(name);
  }
}

void LiveCluster::AddAgents() {
  for (uint64_t i = 0; i < kAgents; ++i) {
    v1::Node node;
    node.set_name(absl::StrCat(kHonestNodes, i));
    node.set_zone(absl::StrCat("z", i % 2));
    // Room for all, so that everything can be READY in the end.
    if (world_.Chance(30)) node.set_capacity_bytes(uint64_t{1} << 40);
    std::map<std::string, v1::Claim> memberships;
    for (const std::string& assembly : assemblies_) {
      memberships[assembly] =
          ClaimOf(i == 0 || world_.Chance(20) ? v1::Claim::ALL : v1::Claim::ANY);
    }
    Machine& machine = machines_[node.name()];
    machine.agent = std::make_unique<HonestAgent>(world_, wire_, said_, std::move(node),
                                                  std::move(memberships));
    machine.agent->set_chances({.fetch_fails = 10});
    machine.agent->Start();
  }
}

void LiveCluster::SetUp() {
  const uint64_t faults = std::exchange(world_.fault_percent, 0);
  CreateAssemblies();
  AddAgents();
  network_.SetFaults(
      {.lost = world_.Below(8), .repeated = world_.Below(8), .late = world_.Below(5)});
  world_.fault_percent = faults;
}

void LiveCluster::Begin(Machine& machine, Trouble::Kind kind, absl::Duration length) {
  const std::string& name = machine.agent->name();
  machine.trouble = {kind, world_.clock().Monotonic() + length};
  switch (kind) {
    case Trouble::Kind::kDead:
      machine.agent->Kill();
      break;
    case Trouble::Kind::kCutOff:
      network_.Cut(name, Way::kToServer);
      network_.Cut(name, Way::kFromServer);
      break;
    case Trouble::Kind::kDeaf:
      network_.Cut(name, Way::kFromServer);
      break;
    case Trouble::Kind::kMute:
      network_.Cut(name, Way::kToServer);
      break;
    default:
      break;
  }
}

void LiveCluster::End(Machine& machine) {
  const bool was_dead = machine.trouble.kind == Trouble::Kind::kDead;
  machine.trouble = {};
  network_.Heal(machine.agent->name());
  if (was_dead && world_.Chance(20)) machine.agent->LoseCache();
  if (was_dead) machine.agent->Start();
}

void LiveCluster::Disturb() {
  auto at = machines_.begin();
  std::advance(at, world_.Below(machines_.size()));
  Machine& machine = at->second;
  const std::string& name = machine.agent->name();
  if (world_.Chance(10)) {
    // Somebody else takes the node's name, or an operator its registration.
    Attempt attempt;
    if (world_.Chance(50)) {
      v1::RegisterNodeRequest request;
      *request.mutable_node() = machine.agent->node();
      request.mutable_node()->set_instance_id("another");
      attempt.what = absl::StrCat("another process registers ", name);
      attempt.commands.push_back(std::move(request));
    } else {
      v1::DeregisterNodeRequest request;
      request.set_name(name);
      attempt.what = absl::StrCat("an operator deregisters ", name);
      attempt.commands.push_back(std::move(request));
    }
    return Post(std::move(attempt));
  }
  if (machine.trouble.kind != Trouble::Kind::kNone) return;
  const auto kind = static_cast<Trouble::Kind>(1 + world_.Below(5));
  const absl::Duration length = world_.Chance(70) ? absl::Seconds(1 + world_.Below(15))
                                                  : absl::Seconds(15 + world_.Below(60));
  world_.Log(absl::StrCat("  ", name, " has trouble ", static_cast<int>(kind), " for ",
                          absl::FormatDuration(length)));
  Begin(machine, kind, length);
}

void LiveCluster::DisturbServer() {
  const uint64_t what = world_.Below(100);
  if (what < 40) {
    const absl::Duration length = absl::Milliseconds(300 + world_.Below(30'000));
    world_.Log(absl::StrCat("  the server is stopped for ", absl::FormatDuration(length)));
    server_paused_until_ = world_.clock().Monotonic() + length;
    wire_.SetPaused(true);
  } else if (what < 80) {
    world_.StepTimeOfDay();
  } else {
    world_.Kill();
  }
}

void LiveCluster::StepAgents() {
  const absl::Duration now = world_.clock().Monotonic();
  for (auto& [name, machine] : machines_) {
    if (machine.trouble.kind != Trouble::Kind::kNone && machine.trouble.until <= now) End(machine);
    if (!machine.agent->running() && machine.trouble.kind != Trouble::Kind::kDead) {
      // A supervisor starts an agent again that was fenced off.
      Begin(machine, Trouble::Kind::kDead, absl::Seconds(1 + world_.Below(10)));
    }
    if (machine.trouble.kind != Trouble::Kind::kPaused) machine.agent->Step();
  }
}

void LiveCluster::Tick() {
  world_.clock().Advance(
      absl::Milliseconds(world_.Chance(80) ? 100 + world_.Below(800) : 100 + world_.Below(1'800)));
  if (wire_.paused() && world_.clock().Monotonic() >= server_paused_until_) wire_.SetPaused(false);
  // A server that goes on after a stop may look at the clock before it reads its sockets, or after.
  const bool tick_first = world_.Chance(50);
  if (tick_first && !wire_.paused()) world_.DoTick();
  if (!world_.failed()) wire_.Deliver();
  if (!tick_first && !wire_.paused() && !world_.failed()) world_.DoTick();
  if (world_.failed()) return;
  if (!wire_.paused() && world_.Chance(60)) plan_();
  StepAgents();
}

void LiveCluster::PassTime(uint64_t ticks) {
  for (uint64_t i = 0; i < ticks && !world_.failed(); ++i) {
    if (faults_ && world_.Chance(6)) Disturb();
    if (faults_ && world_.Chance(2)) DisturbServer();
    Tick();
    if (!wire_.paused() && !world_.failed()) Check();
  }
}

void LiveCluster::CheckAgent(const HonestAgent& agent) {
  const auto node = world_.registry().nodes().Find(agent.name());
  if (!node.ok()) return;
  const uint64_t epoch = (*node)->epoch().value;
  const bool current = agent.running() && agent.epoch() == epoch;
  for (const AssemblyUid uid : (*node)->memberships) {
    const Assembly& assembly = *world_.registry().assemblies().FindByUid(uid);
    const Assembly::Member& member = *assembly.FindMember(agent.name());
    for (size_t i = 0; i < member.assignments.size(); ++i) {
      const Assignment& assignment = member.assignments[i];
      const bool ready = member.states[i] == v1::ShardReport::READY;
      if (ready && said_.count({epoch, assembly.name(), assignment.shard,
                                assignment.generation.value}) == 0) {
        return world_.Fail("3/4", absl::StrCat("shard ", assignment.shard, " of ", assembly.name(),
                                               " counts as READY on ", agent.name(),
                                               ", which has not said so in epoch ", epoch));
      }
      if (!current) continue;
      const auto held = agent.held().find({assembly.name(), assignment.shard});
      if (held == agent.held().end() || held->second.generation != assignment.generation.value ||
          held->second.told != v1::ShardReport::READY || ready) {
        continue;
      }
      return world_.Fail(
          "1", absl::StrCat(agent.name(), " was told that shard ", assignment.shard, " of ",
                            assembly.name(), " is stored as READY, and it is not"));
    }
  }
}

void LiveCluster::Check() {
  for (const auto& [name, machine] : machines_) CheckAgent(*machine.agent);
}

bool LiveCluster::AllReady() const {
  return std::all_of(assemblies_.begin(), assemblies_.end(), [this](const std::string& name) {
    const auto found = world_.registry().assemblies().Find(name);
    return found.ok() && (*found)->state() == v1::Assembly::READY;
  });
}

void LiveCluster::Settle() {
  world_.Log("faults end");
  faults_ = false;
  network_.SetFaults({});
  wire_.SetPaused(false);
  for (auto& [name, machine] : machines_) {
    machine.agent->set_chances({});
    if (machine.trouble.kind != Trouble::Kind::kNone) End(machine);
  }
  const absl::Duration end = world_.clock().Monotonic() + kTimeToSettle;
  while (!world_.failed() && !AllReady() && world_.clock().Monotonic() < end) PassTime(10);
  if (world_.failed() || AllReady()) return;
  std::vector<std::string> shown;
  for (const std::string& name : assemblies_) {
    const auto found = world_.registry().assemblies().Find(name);
    shown.push_back(found.ok() ? (*found)->Describe().ShortDebugString()
                               : absl::StrCat("no ", name));
  }
  world_.Fail("settling",
              absl::StrCat("not READY long after the faults: ", absl::StrJoin(shown, "; ")));
}

}  // namespace muster
