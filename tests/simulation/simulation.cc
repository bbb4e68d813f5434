#include "tests/simulation/simulation.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/planning/planning.h"
#include "tests/simulation/checks.h"
#include "tests/simulation/live_cluster.h"
#include "tests/simulation/steps.h"
#include "tests/simulation/watchers.h"
#include "tests/simulation/world.h"

namespace muster {
namespace {

// Every so many-th seed has an assembly whose plans need several transactions.
constexpr uint64_t kBigEvery = 20;
// So many seeds of three have honest agents over a bad network, besides the random callers.
constexpr uint64_t kLiveOfThree = 2;
constexpr int kSteps = 120;
constexpr int kBigSteps = 40;
constexpr int kBigNodes = 60;
constexpr int kRoundsToSettle = 60;

struct DelayedPlan {
  std::string assembly;
  std::vector<Command> commands;
};

class Simulation {
 public:
  explicit Simulation(uint64_t seed) : world_(seed) {
    world_.big = seed % kBigEvery == 7;
    for (int i = 0; i < 3; ++i) {
      node_watchers_.emplace_back(absl::StrCat("nodes/n", i));
      assembly_watchers_.emplace_back(absl::StrCat("assemblies/a", i));
    }
    if (!world_.big && seed % 3 < kLiveOfThree) {
      cluster_.emplace(world_, [this] { PlanStep(!settling_); });
    }
  }

  std::string Run() {
    if (world_.big) {
      SetUpBig();
    } else {
      PublishVersion(world_, "models/m/versions/v0", 1 + static_cast<uint32_t>(world_.Below(8)));
      PublishVersion(world_, "models/m/versions/v1", 1 + static_cast<uint32_t>(world_.Below(30)));
    }
    if (cluster_.has_value()) cluster_->SetUp();
    for (int step = 0; step < (world_.big ? kBigSteps : kSteps) && !world_.failed(); ++step) {
      Step();
      world_.CheckInvariants();
    }
    Settle();
    world_.CheckInvariants();
    return world_.failed() ? world_.Report() : "";
  }

 private:
  void SetUpBig();
  void Step();
  void PlanStep(bool may_delay);
  void Arrive(std::vector<DelayedPlan>::iterator at);
  void TimeStep();
  void QuietTime();
  std::optional<Attempt> AnyAttempt();
  std::optional<Attempt> NewAttempt();
  void GroupStep();
  void Settle();
  void FinishMoves();
  void CheckSettled();

  World world_;
  std::vector<AssignmentWatcher> node_watchers_;
  std::vector<AssemblyWatcher> assembly_watchers_;
  EventsWatcher events_watcher_;
  // In the order in which they were made.
  std::vector<DelayedPlan> delayed_;
  int planning_process_ = 0;
  // No plan is held back any more.
  bool settling_ = false;
  std::optional<LiveCluster> cluster_;
};

void Simulation::SetUpBig() {
  // What is set up below needs it; a publisher that died has left a draft.
  const uint64_t faults = std::exchange(world_.fault_percent, 0);
  PublishVersion(world_, "models/big/versions/v", 40);
  world_.fault_percent = faults;
  for (int i = 0; i < kBigNodes && !world_.failed(); ++i) {
    world_.Do(Registration(world_, absl::StrCat("nodes/n", i)));
  }
  const auto there = [this](const char* name) {
    return world_.registry().assemblies().Find(name).ok();
  };
  while (!world_.failed() && !(there("assemblies/a0") && there("assemblies/a1"))) {
    if (auto attempt = AssemblyAttempt(world_)) world_.Do(*std::move(attempt));
  }
  for (int i = 0; i < kBigNodes && !world_.failed(); ++i) {
    const std::string assembly = absl::StrCat("assemblies/a", i % 5 == 0 ? 1 : 0);
    world_.Do(Joining(world_, assembly, absl::StrCat("nodes/n", i)));
  }
}

std::optional<Attempt> Simulation::AnyAttempt() {
  return world_.Chance(7) ? RepeatAttempt(world_) : NewAttempt();
}

std::optional<Attempt> Simulation::NewAttempt() {
  const uint64_t what = world_.Below(93);
  if (what < 30) return CatalogueAttempt(world_);
  if (what < 45) return NodeAttempt(world_);
  if (what < 70) return AssemblyAttempt(world_);
  if (what < 85) return ReportAttempt(world_);
  return HonestReport(world_, "");
}

void Simulation::GroupStep() {
  std::vector<Attempt> attempts;
  for (uint64_t i = 0; i < 2 + world_.Below(4); ++i) {
    if (auto attempt = AnyAttempt()) attempts.push_back(*std::move(attempt));
  }
  world_.DoTogether(std::move(attempts));
}

void Simulation::PlanStep(bool may_delay) {
  // What a dead process has planned does not arrive.
  if (std::exchange(planning_process_, world_.restarts()) != world_.restarts()) delayed_.clear();
  if (may_delay && !delayed_.empty() && world_.Chance(30)) {
    return Arrive(delayed_.begin() + static_cast<long>(world_.Below(delayed_.size())));
  }
  auto& wanted = world_.server().plans_wanted();
  if (wanted.empty()) return;
  auto next = wanted.begin();
  std::advance(next, world_.Below(wanted.size()));
  const AssemblyUid uid = *next;
  wanted.erase(next);
  auto task = TakePlanTask(world_.registry(), uid);
  if (!task.has_value()) return;
  auto commands = MakePlanCommands(*std::move(task));
  if (!commands.ok()) return world_.Fail("plans", commands.status().ToString());
  if (!commands->has_value()) return;
  const std::string name = world_.registry().assemblies().FindByUid(uid)->name();
  if (may_delay && world_.Chance(30)) {
    world_.Log(absl::StrCat("plan of ", name, " is made and waits"));
    // The planner may be asked again before the plan arrives.
    if (world_.Chance(50)) wanted.insert(uid);
    delayed_.push_back({name, **std::move(commands)});
  } else {
    world_.DoPlan(name, **std::move(commands), MadeFrom::kPresent);
  }
}

void Simulation::Arrive(std::vector<DelayedPlan>::iterator at) {
  DelayedPlan plan = std::move(*at);
  const bool overtaken = std::any_of(
      at + 1, delayed_.end(), [&](const DelayedPlan& o) { return o.assembly == plan.assembly; });
  delayed_.erase(at);
  world_.DoPlan(plan.assembly, std::move(plan.commands),
                overtaken ? MadeFrom::kOvertaken : MadeFrom::kEarlier);
}

// Time that goes on evenly, so that leases run out; a jump gives every lease its whole TTL.
void Simulation::QuietTime() {
  const uint64_t ticks = 2 + world_.Below(14);
  world_.Log(absl::StrCat("time goes on by ", ticks, " ticks of 900 ms"));
  for (uint64_t i = 0; i < ticks && !world_.failed(); ++i) {
    world_.clock().Advance(absl::Milliseconds(900));
    world_.DoTick();
    if (!world_.failed()) SendHeartbeats(world_);
  }
}

void Simulation::TimeStep() {
  if (world_.Chance(10)) world_.StepTimeOfDay();
  if (world_.Chance(40)) return QuietTime();
  const uint64_t what = world_.Below(20);
  const absl::Duration by = what < 14   ? absl::Milliseconds(100 + world_.Below(800))
                            : what < 18 ? absl::Seconds(1 + world_.Below(20))
                            : what < 19 ? absl::Minutes(1 + world_.Below(12))
                                        : absl::Hours(world_.Below(30));
  world_.clock().Advance(by);
  world_.Log(absl::StrCat("time goes on by ", absl::FormatDuration(by)));
  world_.DoTick();
  if (world_.failed()) return;
  SendHeartbeats(world_);
}

void Simulation::Step() {
  if (cluster_.has_value() && world_.Chance(15)) {
    const uint64_t ticks = 1 + world_.Below(30);
    world_.Log(absl::StrCat("the cluster lives for ", ticks, " ticks"));
    return cluster_->PassTime(ticks);
  }
  if (cluster_.has_value() && world_.Chance(5)) {
    if (auto attempt = NewAttempt()) cluster_->Post(*std::move(attempt));
    return;
  }
  const uint64_t what = world_.Below(100);
  if (what < 10) return TimeStep();
  if (what < 30) return PlanStep(true);
  if (what < 31) return world_.RestartCleanly();
  if (what < 38) return node_watchers_[world_.Below(node_watchers_.size())].Read(world_);
  if (what < 43) return assembly_watchers_[world_.Below(assembly_watchers_.size())].Read(world_);
  if (what < 45) return events_watcher_.Read(world_);
  if (what < 52) return GroupStep();
  if (auto attempt = AnyAttempt()) world_.Do(*std::move(attempt));
}

// With every node alive and honest and no more faults, plans come to an end, and what can be READY
// is.
void Simulation::Settle() {
  world_.fault_percent = 0;
  settling_ = true;
  // What the planner has made arrives, late as it is.
  if (planning_process_ != world_.restarts()) delayed_.clear();
  while (!delayed_.empty()) Arrive(delayed_.begin());
  if (cluster_.has_value()) cluster_->Settle();
  for (int round = 0; round < kRoundsToSettle && !world_.failed(); ++round) {
    if (cluster_.has_value()) {
      cluster_->PassTime(1);
    } else {
      world_.clock().Advance(absl::Milliseconds(900));
      world_.DoTick();
    }
    for (auto& [name, agent] : world_.agents) {
      const auto node = world_.registry().nodes().Find(name);
      agent.beats = node.ok();
      if (node.ok()) agent.epoch = (*node)->epoch().value;
    }
    SendHeartbeats(world_);
    for (int i = 0; i < 5 && !world_.failed(); ++i) PlanStep(false);
    bool lost = false;
    for (const auto& [name, node] : world_.registry().nodes().by_name()) lost |= node->row.lost();
    if (!lost && world_.server().plans_wanted().empty()) break;
  }
  FinishMoves();
  if (!world_.failed()) CheckSettled();
}

// Every node reports what it has, and the plans that this asks for end moves and begin the next.
void Simulation::FinishMoves() {
  std::vector<std::string> names;
  for (const auto& [name, node] : world_.registry().nodes().by_name()) names.push_back(name);
  for (int round = 0; round < kRoundsToSettle && !world_.failed(); ++round) {
    for (const std::string& name : names) {
      for (int i = 0; i < 8; ++i) {
        if (auto attempt = HonestReport(world_, name)) world_.Do(*std::move(attempt));
      }
    }
    if (world_.server().plans_wanted().empty()) return;
    for (int i = 0; i < 20 && !world_.failed(); ++i) PlanStep(false);
  }
  world_.Fail("6", "moves do not come to an end");
}

void Simulation::CheckSettled() {
  for (const auto& [name, node] : world_.registry().nodes().by_name()) {
    const uint64_t capacity = node->row.capacity_bytes();
    if (capacity != 0 && BytesOn(world_.registry(), *node) > capacity && !world_.HasShrunk(*node)) {
      return world_.Fail("6",
                         absl::StrCat(name, " holds ", node->assigned_bytes, " of ", capacity));
    }
  }
  for (const auto& [name, assembly] : world_.registry().assemblies().by_name()) {
    auto task = TakePlanTask(world_.registry(), assembly->uid());
    if (!task.has_value()) continue;
    // What other assemblies do on a node shifts its load, and asks nobody to even it out.
    task->input.move_budget_bytes = 0;
    const auto commands = MakePlanCommands(*std::move(task));
    if (!commands.ok() || commands->has_value()) {
      return world_.Fail("6", absl::StrCat(name, " could be planned better, and nobody asked"));
    }
  }
  for (const auto& [name, assembly] : world_.registry().assemblies().by_name()) {
    if (assembly->row().generation() == 0 || !assembly->row().plan_reasons().empty()) continue;
    bool all = true;
    for (const auto& [node, member] : assembly->members()) {
      all = all && member.ready == member.required();
    }
    // With fewer than it was told to have it waits, whatever they have.
    all = all && assembly->nodes_ready() >= assembly->row().min_nodes();
    if (all && assembly->state() != muster::v1::Assembly::READY) {
      world_.Fail("5", absl::StrCat(name, " has all reports and is ",
                                    assembly->Describe().ShortDebugString()));
    }
  }
}

}  // namespace

std::string RunSimulation(uint64_t seed) { return Simulation(seed).Run(); }

}  // namespace muster
