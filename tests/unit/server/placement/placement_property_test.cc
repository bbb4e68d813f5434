// Properties that hold for every plan, checked on random inputs. Each failure prints its seed.
#include <algorithm>
#include <functional>
#include <map>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/placement/placement.h"
#include "storage/base/random.h"
#include "tests/unit/server/placement/plan_samples.h"

namespace muster {
namespace {

constexpr uint64_t kSeeds = 200;

using SampleCheck = std::function<void(PlanSample& sample, const Plan& plan, Random& random)>;

bool IsOpen(const PlanNode& node) { return node.live && node.selected && !node.draining; }

// Runs `check` on first plans and on plans after churn.
void ForRandomPlans(PlacementPolicy policy, const SampleCheck& check) {
  for (uint64_t seed = 1; seed <= kSeeds && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    const std::unique_ptr<Random> random = NewSeededRandom(seed);
    PlanSample sample = RandomSample(*random, policy);
    for (uint64_t generation = 1; generation <= 4; ++generation) {
      const Plan plan = sample.Make();
      ASSERT_EQ(plan.nodes.size(), sample.input.nodes.size());
      check(sample, plan, *random);
      sample.Accept(plan, generation);
      sample.CompleteSome(*random, 1 + random->Below(4));
      Churn(sample, *random);
    }
  }
}

class PlacementPropertyTest : public testing::TestWithParam<PlacementPolicy> {};

// Invariant 6 (docs/design.md): same state in, same plan out.
TEST_P(PlacementPropertyTest, OrderOfNodesDoesNotMatter) {
  ForRandomPlans(GetParam(), [](PlanSample& sample, const Plan& plan, Random& random) {
    PlanSample shuffled = sample;
    Shuffle(shuffled.input.nodes, random);
    const Plan other = shuffled.Make();
    for (size_t i = 0; i < plan.nodes.size(); ++i) {
      const size_t j = shuffled.Find(sample.input.nodes[i].name);
      ASSERT_EQ(plan.nodes[i].assignments, other.nodes[j].assignments);
      ASSERT_EQ(plan.nodes[i].changed, other.nodes[j].changed);
    }
    ASSERT_EQ(plan.unplaced.size(), other.unplaced.size());
    for (size_t i = 0; i < plan.unplaced.size(); ++i) {
      ASSERT_EQ(plan.unplaced[i].message, other.unplaced[i].message);
      ASSERT_EQ(plan.unplaced[i].shards, other.unplaced[i].shards);
    }
    ASSERT_EQ(plan.blocked.size(), other.blocked.size());
    for (size_t i = 0; i < plan.blocked.size(); ++i) {
      ASSERT_EQ(plan.blocked[i].message, other.blocked[i].message);
      ASSERT_EQ(plan.blocked[i].shards, other.blocked[i].shards);
    }
    ASSERT_EQ(plan.added_bytes, other.added_bytes);
    ASSERT_EQ(plan.moved_bytes, other.moved_bytes);
  });
}

// Invariant 6: planning on its own output moves nothing.
TEST_P(PlacementPropertyTest, PlanningOnItsOwnOutputChangesNothing) {
  ForRandomPlans(GetParam(), [](PlanSample& sample, const Plan& plan, Random&) {
    PlanSample again = sample;
    again.Accept(plan, 99);
    const Plan second = again.Make();
    ASSERT_FALSE(second.changed);
    ASSERT_EQ(second.blocked.size(), plan.blocked.size());
    for (size_t i = 0; i < plan.blocked.size(); ++i) {
      ASSERT_EQ(second.blocked[i].message, plan.blocked[i].message);
    }
    ASSERT_EQ(second.added_bytes + second.removed_bytes + second.moved_bytes, 0);
    ASSERT_EQ(second.unplaced.size(), plan.unplaced.size());
    for (size_t i = 0; i < plan.unplaced.size(); ++i) {
      ASSERT_EQ(second.unplaced[i].message, plan.unplaced[i].message);
    }
  });
}

TEST_P(PlacementPropertyTest, AssignmentsAreSortedUniqueAndMarkedRight) {
  ForRandomPlans(GetParam(), [](PlanSample& sample, const Plan& plan, Random&) {
    bool changed = false;
    for (size_t i = 0; i < plan.nodes.size(); ++i) {
      const PlanNode& node = sample.input.nodes[i];
      const std::vector<PlanAssignment>& assignments = plan.nodes[i].assignments;
      std::set<uint32_t> seen;
      for (size_t k = 0; k < assignments.size(); ++k) {
        ASSERT_TRUE(k == 0 || assignments[k - 1].shard < assignments[k].shard);
        const bool present =
            std::count_if(node.present.begin(), node.present.end(), [&](const PlanAssignment& was) {
              return was.shard == assignments[k].shard &&
                     was.generation == assignments[k].generation &&
                     was.ready == assignments[k].ready &&
                     (was.replaces == assignments[k].replaces || assignments[k].replaces == 0);
            }) > 0;
        ASSERT_TRUE(present || assignments[k].generation == kNewGeneration);
        ASSERT_TRUE(present || IsOpen(node));
      }
      ASSERT_EQ(plan.nodes[i].changed, assignments != node.present);
      changed |= plan.nodes[i].changed;
    }
    ASSERT_EQ(plan.changed, changed);
  });
}

// A node may be overfull from before; nothing is added to it then.
TEST_P(PlacementPropertyTest, NothingIsAddedBeyondCapacity) {
  ForRandomPlans(GetParam(), [](PlanSample& sample, const Plan& plan, Random&) {
    for (size_t i = 0; i < plan.nodes.size(); ++i) {
      const PlanNode& node = sample.input.nodes[i];
      if (node.capacity_bytes == 0 || LoadOf(sample, plan, i) <= node.capacity_bytes) continue;
      for (const PlanAssignment& assignment : plan.nodes[i].assignments) {
        ASSERT_TRUE(assignment.generation != kNewGeneration ||
                    std::count(node.already_counted.begin(), node.already_counted.end(),
                               assignment.shard) > 0)
            << "node " << node.name << " shard " << assignment.shard.value;
      }
    }
  });
}

// Whether a replica elsewhere that is ready on a live node is to replace this one.
bool IsReplaced(const PlanSample& sample, const PlanNode& node, ShardIndex shard) {
  for (const PlanNode& other : sample.input.nodes) {
    for (const PlanAssignment& assignment : other.present) {
      if (assignment.shard == shard && assignment.replaces == node.uid && assignment.ready &&
          other.live) {
        return true;
      }
    }
  }
  return false;
}

// A node may lack what is not in its run, a rank whose home is another node, or a replica more than
// wanted, once enough others have it ready.
bool IsSurplus(const PlanSample& sample, const Plan& plan, ShardIndex shard) {
  const bool ranked = sample.input.policy == PlacementPolicy::kRanked;
  if (sample.input.policy == PlacementPolicy::kFull) return false;
  const int64_t wanted = ranked ? 1 : std::max<uint32_t>(1, sample.input.replicas);
  int64_t ready = 0;
  for (size_t i = 0; i < plan.nodes.size(); ++i) {
    const std::vector<PlanAssignment>& given = plan.nodes[i].assignments;
    if (!sample.input.nodes[i].live) continue;
    ready += std::count_if(given.begin(), given.end(), [&](const PlanAssignment& assignment) {
      return assignment.shard == shard && assignment.ready && assignment.replaces == 0;
    });
  }
  return ready >= wanted;
}

// What a node is to keep can only leave it by a move that has been made, or, before it was ready,
// by one to a better place.
TEST_P(PlacementPropertyTest, ReadyAssignmentsStayUntilReplaced) {
  ForRandomPlans(GetParam(), [](PlanSample& sample, const Plan& plan, Random&) {
    for (size_t i = 0; i < plan.nodes.size(); ++i) {
      const PlanNode& node = sample.input.nodes[i];
      if ((!node.keeps_assignments && !node.live) || node.draining || !node.selected) continue;
      const std::vector<PlanAssignment>& after = plan.nodes[i].assignments;
      for (const PlanAssignment& before : node.present) {
        if (!before.ready || before.replaces != 0) continue;
        ASSERT_TRUE(std::count(after.begin(), after.end(), before) == 1 ||
                    IsReplaced(sample, node, before.shard) || IsSurplus(sample, plan, before.shard))
            << "node " << node.name << " shard " << before.shard.value;
      }
    }
  });
}

// Per shard, the ordinary replicas that are ready on live nodes.
std::vector<uint32_t> ReadyReplicas(const PlanSample& sample) {
  std::vector<uint32_t> ready(sample.shards.size());
  for (const PlanNode& node : sample.input.nodes) {
    for (const PlanAssignment& assignment : node.present) {
      if (node.live && assignment.ready && assignment.replaces == 0) {
        ++ready[assignment.shard.value];
      }
    }
  }
  return ready;
}

// Invariant 5: whatever is drained, evened out or evicted, a shard that had its replicas ready
// keeps as many. A shard that belongs to the nodes that claim it needs one of them.
TEST_P(PlacementPropertyTest, PlansTakeNoReadinessAway) {
  ForRandomPlans(GetParam(), [](PlanSample& sample, const Plan& plan, Random&) {
    const bool pooled =
        GetParam() == PlacementPolicy::kBalanced || GetParam() == PlacementPolicy::kContiguous;
    const uint32_t wanted = pooled ? std::max<uint32_t>(1, sample.input.replicas) : 1;
    PlanSample after = sample;
    after.Accept(plan, 99);
    const std::vector<uint32_t> before_ready = ReadyReplicas(sample);
    const std::vector<uint32_t> after_ready = ReadyReplicas(after);
    for (uint32_t shard = 0; shard < before_ready.size(); ++shard) {
      ASSERT_GE(after_ready[shard], std::min(before_ready[shard], wanted)) << "shard " << shard;
    }
  });
}

// Once nothing is on the move, what a node that is to be left still has is named.
TEST_P(PlacementPropertyTest, DrainsEndOrSayWhatBlocksThem) {
  ForRandomPlans(GetParam(), [](PlanSample& sample, const Plan&, Random&) {
    PlanSample settled = sample;
    // A move onto a lost node waits for it until it is released.
    for (PlanNode& node : settled.input.nodes) node.keeps_assignments = node.live;
    settled.Settle();
    const Plan plan = settled.Make();
    std::map<size_t, size_t> blocked;
    for (const BlockedMove& move : plan.blocked) blocked[move.node] += move.shards.size();
    for (size_t i = 0; i < plan.nodes.size(); ++i) {
      const PlanNode& node = settled.input.nodes[i];
      if (!node.draining && node.selected) continue;
      ASSERT_EQ(plan.nodes[i].assignments.size(), blocked[i]) << "node " << node.name;
    }
  });
}

std::string PolicyName(const testing::TestParamInfo<PlacementPolicy>& info) {
  switch (info.param) {
    case PlacementPolicy::kDeclared:
      return "Declared";
    case PlacementPolicy::kFull:
      return "Full";
    case PlacementPolicy::kBalanced:
      return "Balanced";
    case PlacementPolicy::kContiguous:
      return "Contiguous";
    case PlacementPolicy::kRanked:
      return "Ranked";
  }
  return "";
}

INSTANTIATE_TEST_SUITE_P(Policies, PlacementPropertyTest,
                         testing::Values(PlacementPolicy::kDeclared, PlacementPolicy::kFull,
                                         PlacementPolicy::kBalanced, PlacementPolicy::kContiguous,
                                         PlacementPolicy::kRanked),
                         PolicyName);

// The holders of each shard, as positions of nodes.
std::vector<std::vector<size_t>> HoldersOf(const PlanSample& sample, const Plan& plan) {
  std::vector<std::vector<size_t>> holders(sample.shards.size());
  for (size_t i = 0; i < plan.nodes.size(); ++i) {
    for (const PlanAssignment& assignment : plan.nodes[i].assignments) {
      holders[assignment.shard.value].push_back(i);
    }
  }
  return holders;
}

bool ZonesAreHard(const PlanSample& sample) {
  std::set<std::string> zones;
  for (const PlanNode& node : sample.input.nodes) {
    if (IsOpen(node)) zones.insert(node.zone);
  }
  return zones.size() >= std::max<uint32_t>(1, sample.input.replicas);
}

// What the plan gives the node of the shard; the node must have it.
const PlanAssignment& Find(const Plan& plan, size_t node, uint32_t shard) {
  const std::vector<PlanAssignment>& assignments = plan.nodes[node].assignments;
  return *std::find_if(assignments.begin(), assignments.end(),
                       [&](const PlanAssignment& given) { return given.shard.value == shard; });
}

bool IsNew(const Plan& plan, size_t node, uint32_t shard) {
  return Find(plan, node, shard).generation == kNewGeneration;
}

bool IsExtra(const Plan& plan, size_t node, uint32_t shard) {
  return Find(plan, node, shard).replaces != 0;
}

TEST(BalancedPropertyTest, EveryShardHasItsReplicasOrIsNamed) {
  ForRandomPlans(PlacementPolicy::kBalanced, [](PlanSample& sample, const Plan& plan, Random&) {
    std::set<uint32_t> named;
    for (const Unplaced& unplaced : plan.unplaced) {
      for (const ShardIndex shard : unplaced.shards) ASSERT_TRUE(named.insert(shard.value).second);
    }
    const std::vector<std::vector<size_t>> holders = HoldersOf(sample, plan);
    const size_t replicas = std::max<uint32_t>(1, sample.input.replicas);
    for (uint32_t shard = 0; shard < holders.size(); ++shard) {
      const size_t ordinary = static_cast<size_t>(
          std::count_if(holders[shard].begin(), holders[shard].end(),
                        [&](size_t node) { return !IsExtra(plan, node, shard); }));
      ASSERT_EQ(named.count(shard) > 0, ordinary < replicas);
      for (const size_t node : holders[shard]) {
        ASSERT_TRUE(ordinary <= replicas || !IsNew(plan, node, shard) ||
                    IsExtra(plan, node, shard));
      }
    }
  });
}

TEST(BalancedPropertyTest, EnoughZonesNeverShareAnAddedShard) {
  ForRandomPlans(PlacementPolicy::kBalanced, [](PlanSample& sample, const Plan& plan, Random&) {
    if (!ZonesAreHard(sample)) return;
    const std::vector<std::vector<size_t>> holders = HoldersOf(sample, plan);
    for (uint32_t shard = 0; shard < holders.size(); ++shard) {
      for (const size_t a : holders[shard]) {
        for (const size_t b : holders[shard]) {
          if (a == b || !IsNew(plan, a, shard)) continue;
          // A replica may go into the zone of the one that it replaces.
          if (Find(plan, a, shard).replaces == sample.input.nodes[b].uid) continue;
          ASSERT_NE(sample.input.nodes[a].zone, sample.input.nodes[b].zone) << "shard " << shard;
        }
      }
    }
  });
}

// A refusal is true: when the plan is done, no node could take the shard by the rules.
TEST(BalancedPropertyTest, NamedShardsFitNowhere) {
  ForRandomPlans(PlacementPolicy::kBalanced, [](PlanSample& sample, const Plan& plan, Random&) {
    const std::vector<std::vector<size_t>> holders = HoldersOf(sample, plan);
    const bool hard = ZonesAreHard(sample);
    for (const Unplaced& unplaced : plan.unplaced) {
      for (const ShardIndex shard : unplaced.shards) {
        bool allowed_anywhere = false;
        for (size_t i = 0; i < plan.nodes.size(); ++i) {
          const PlanNode& node = sample.input.nodes[i];
          bool allowed = IsOpen(node);
          for (const size_t holder : holders[shard.value]) {
            allowed &= holder != i && !(hard && sample.input.nodes[holder].zone == node.zone);
          }
          allowed_anywhere |= allowed;
          const uint64_t load = LoadOf(sample, plan, i);
          const bool fits = node.capacity_bytes == 0 ||
                            load + sample.shards[shard.value].size_bytes <= node.capacity_bytes;
          ASSERT_FALSE(allowed && fits) << "shard " << shard.value << " node " << node.name;
        }
        ASSERT_EQ(unplaced.cause,
                  allowed_anywhere ? Unplaced::Cause::kNoRoom : Unplaced::Cause::kTooFewNodes);
      }
    }
  });
}

TEST(FullPropertyTest, EveryOpenNodeHasEverythingOrIsNamed) {
  ForRandomPlans(PlacementPolicy::kFull, [](PlanSample& sample, const Plan& plan, Random&) {
    for (size_t i = 0; i < plan.nodes.size(); ++i) {
      if (!IsOpen(sample.input.nodes[i])) continue;
      size_t covered = plan.nodes[i].assignments.size();
      for (const Unplaced& unplaced : plan.unplaced) {
        if (unplaced.node == i) covered += unplaced.shards.size();
      }
      ASSERT_EQ(covered, sample.shards.size());
    }
  });
}

void CheckEveryShardIsHeldOrNamed(PlacementPolicy policy) {
  ForRandomPlans(policy, [](PlanSample& sample, const Plan& plan, Random&) {
    std::set<uint32_t> named;
    for (const Unplaced& unplaced : plan.unplaced) {
      for (const ShardIndex shard : unplaced.shards) named.insert(shard.value);
    }
    const std::vector<std::vector<size_t>> holders = HoldersOf(sample, plan);
    for (uint32_t shard = 0; shard < holders.size(); ++shard) {
      ASSERT_TRUE(!holders[shard].empty() || named.count(shard) > 0) << "shard " << shard;
    }
  });
}

TEST(DeclaredPropertyTest, EveryShardIsHeldOrNamed) {
  CheckEveryShardIsHeldOrNamed(PlacementPolicy::kDeclared);
}

TEST(RankedPropertyTest, EveryShardIsHeldOrNamed) {
  CheckEveryShardIsHeldOrNamed(PlacementPolicy::kRanked);
}

// The highest load ÷ capacity over the mean.
double Imbalance(const PlanSample& sample, const Plan& plan) {
  double load = 0;
  double weight = 0;
  double peak = 0;
  for (size_t i = 0; i < plan.nodes.size(); ++i) {
    const double node_weight =
        std::max<double>(1, static_cast<double>(sample.input.nodes[i].capacity_bytes));
    const double node_load = static_cast<double>(LoadOf(sample, plan, i));
    load += node_load;
    weight += node_weight;
    peak = std::max(peak, node_load / node_weight);
  }
  return peak / (load / weight);
}

// 30 nodes of capacities 1:2:4 in five zones, 1,500 shards of log-normal sizes, two replicas, 70 %
// full.
PlanSample RealisticSample(Random& random, bool bounded) {
  std::vector<uint64_t> sizes(1500);
  for (uint64_t& size : sizes) size = RandomSize(random, 1e9, 0.8);
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, sizes);
  sample.input.replicas = 2;
  const uint64_t total = std::accumulate(sizes.begin(), sizes.end(), uint64_t{0});
  const uint64_t unit = total * 2 * 10 / 7 / 70;
  for (int i = 0; i < 30; ++i) {
    AddNode(sample, "n" + std::to_string(i), bounded ? unit << ((i / 5) % 3) : 0,
            "z" + std::to_string(i % 5));
  }
  return sample;
}

TEST(BalancedPropertyTest, RealisticLoadsAreEven) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    const std::unique_ptr<Random> random = NewSeededRandom(seed);
    PlanSample sample = RealisticSample(*random, seed % 2 == 0);

    const Plan plan = sample.Make();

    EXPECT_THAT(plan.unplaced, testing::IsEmpty());
    EXPECT_LE(Imbalance(sample, plan), 1.05);
  }
}

// Invariant 6: a lost node moves its own bytes and nothing else.
TEST(BalancedPropertyTest, ANodeThatLeavesMovesOnlyItsOwnBytes) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    const std::unique_ptr<Random> random = NewSeededRandom(seed);
    PlanSample sample = RealisticSample(*random, true);
    const Plan before = sample.Make();
    sample.Accept(before, 1);
    const size_t gone = random->Below(sample.input.nodes.size());
    const uint64_t lost_bytes = LoadOf(sample, before, gone);
    sample.input.nodes.erase(sample.input.nodes.begin() + static_cast<std::ptrdiff_t>(gone));

    const Plan after = sample.Make();

    EXPECT_THAT(after.unplaced, testing::IsEmpty());
    EXPECT_EQ(after.added_bytes, lost_bytes);
    EXPECT_EQ(after.removed_bytes, 0);
    EXPECT_LE(Imbalance(sample, after), 1.05);
  }
}

TEST(BalancedPropertyTest, ANodeThatJoinsMovesNothingOrWhatTheBudgetAllows) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    const std::unique_ptr<Random> random = NewSeededRandom(seed);
    PlanSample sample = RealisticSample(*random, true);
    sample.Accept(sample.Make(), 1);
    AddNode(sample, "joined", sample.input.nodes[0].capacity_bytes, "z0");
    const Plan unmoved = sample.Make();
    EXPECT_FALSE(unmoved.changed);

    sample.input.move_budget_bytes = sample.input.nodes[0].capacity_bytes / 2;
    sample.input.move_epsilon = 0;
    sample.Complete();
    const Plan moved = sample.Make();

    EXPECT_GT(moved.moved_bytes, 0);
    EXPECT_LE(moved.moved_bytes, sample.input.move_budget_bytes);
    EXPECT_EQ(moved.moved_bytes, moved.added_bytes);
    EXPECT_EQ(moved.removed_bytes, 0);
    EXPECT_THAT(moved.unplaced, testing::IsEmpty());
    const double before = Imbalance(sample, unmoved);
    sample.Accept(moved, 2);
    sample.Settle();
    EXPECT_LT(Imbalance(sample, sample.Make()), before);
  }
}

// Bytes of replicas that are on the move off nodes that stay.
uint64_t BytesOnTheMove(const PlanSample& sample, const Plan& plan) {
  std::map<uint64_t, const PlanNode*> by_uid;
  for (const PlanNode& node : sample.input.nodes) by_uid[node.uid] = &node;
  uint64_t bytes = 0;
  for (const NodePlan& node : plan.nodes) {
    for (const PlanAssignment& assignment : node.assignments) {
      if (assignment.replaces == 0) continue;
      const PlanNode& from = *by_uid[assignment.replaces];
      if (!from.draining && from.selected)
        bytes += sample.shards[assignment.shard.value].size_bytes;
    }
  }
  return bytes;
}

TEST(BalancedPropertyTest, MovesWithinABudgetConvergeAndBreakNoRule) {
  for (uint64_t seed = 1; seed <= kSeeds && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    const std::unique_ptr<Random> random = NewSeededRandom(seed);
    PlanSample sample = RandomSample(*random, PlacementPolicy::kBalanced);
    sample.input.move_budget_bytes = 1 + random->Below(20'000);
    uint64_t generation = 1;
    for (bool changed = true; changed && generation < 200; ++generation) {
      const Plan plan = sample.Make();
      for (size_t i = 0; i < plan.nodes.size(); ++i) {
        const PlanNode& node = sample.input.nodes[i];
        if (node.capacity_bytes == 0 || !plan.nodes[i].changed) continue;
        ASSERT_LE(LoadOf(sample, plan, i), std::max(node.capacity_bytes, node.used_bytes));
      }
      // Room for a shard that fits nowhere is made whatever it takes.
      if (plan.unplaced.empty()) {
        ASSERT_LE(BytesOnTheMove(sample, plan), sample.input.move_budget_bytes);
      }
      changed = plan.changed;
      sample.Accept(plan, generation);
      sample.Complete();
    }
    ASSERT_LT(generation, 200);
  }
}

}  // namespace
}  // namespace muster
