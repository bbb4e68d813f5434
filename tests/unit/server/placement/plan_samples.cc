#include "tests/unit/server/placement/plan_samples.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "gtest/gtest.h"
#include "server/placement/placement.h"
#include "tests/support/status_matchers.h"

namespace muster {

const PlanInput& PlanSample::Ready() {
  input.shards = shards;
  return input;
}

Plan PlanSample::Make() {
  absl::StatusOr<Plan> plan = MakePlan(Ready());
  EXPECT_THAT(plan, IsOk());
  return plan.ok() ? *std::move(plan) : Plan{};
}

void PlanSample::Accept(const Plan& plan, uint64_t generation) {
  for (size_t i = 0; i < input.nodes.size(); ++i) {
    input.nodes[i].present = plan.nodes[i].assignments;
    for (PlanAssignment& assignment : input.nodes[i].present) {
      if (assignment.generation == kNewGeneration) assignment.generation = Generation(generation);
    }
  }
}

void PlanSample::Complete() {
  for (PlanNode& node : input.nodes) {
    for (PlanAssignment& assignment : node.present) assignment.ready |= node.live;
  }
}

void PlanSample::CompleteSome(Random& random, uint64_t odds) {
  for (PlanNode& node : input.nodes) {
    for (PlanAssignment& assignment : node.present) {
      assignment.ready |= node.live && random.Below(odds) == 0;
    }
  }
}

void PlanSample::Settle() {
  for (uint64_t generation = 1000; generation < 1200; ++generation) {
    const Plan plan = Make();
    Accept(plan, generation);
    Complete();
    if (!plan.changed && !Make().changed) return;
  }
  ADD_FAILURE() << "moves never end";
}

size_t PlanSample::Find(const std::string& name) const {
  for (size_t i = 0; i < input.nodes.size(); ++i) {
    if (input.nodes[i].name == name) return i;
  }
  ADD_FAILURE() << "no node " << name;
  return 0;
}

PlanSample SampleWithSizes(PlacementPolicy policy, const std::vector<uint64_t>& sizes) {
  PlanSample sample;
  sample.input.policy = policy;
  sample.shards.resize(sizes.size());
  for (size_t i = 0; i < sizes.size(); ++i) sample.shards[i] = {sizes[i], {77, i + 1}, {}};
  return sample;
}

PlanNode& AddNode(PlanSample& sample, const std::string& name, uint64_t capacity_bytes,
                  const std::string& zone) {
  uint64_t uid = 1000;
  for (const PlanNode& node : sample.input.nodes) uid = std::max(uid, node.uid);
  PlanNode& node = sample.input.nodes.emplace_back();
  node.uid = uid + 1;
  node.name = name;
  node.zone = zone;
  node.capacity_bytes = capacity_bytes;
  return node;
}

PlanClaim ClaimAll() {
  PlanClaim claim;
  claim.kind = PlanClaim::Kind::kAll;
  return claim;
}

PlanClaim ClaimShards(const std::vector<uint32_t>& shards) {
  PlanClaim claim;
  claim.kind = PlanClaim::Kind::kShards;
  claim.shards.reserve(shards.size());
  for (const uint32_t shard : shards) claim.shards.push_back(ShardIndex(shard));
  return claim;
}

std::vector<uint32_t> ShardsOf(const PlanSample& sample, const Plan& plan,
                               const std::string& name) {
  std::vector<uint32_t> shards;
  for (const PlanAssignment& assignment : plan.nodes[sample.Find(name)].assignments) {
    shards.push_back(assignment.shard.value);
  }
  return shards;
}

std::vector<uint32_t> Indices(const std::vector<ShardIndex>& shards) {
  std::vector<uint32_t> indices;
  indices.reserve(shards.size());
  for (const ShardIndex shard : shards) indices.push_back(shard.value);
  return indices;
}

uint64_t LoadOf(const PlanSample& sample, const Plan& plan, size_t node) {
  const PlanNode& from = sample.input.nodes[node];
  uint64_t load = from.used_bytes;
  for (const PlanAssignment& assignment : plan.nodes[node].assignments) {
    const bool counted = std::find(from.already_counted.begin(), from.already_counted.end(),
                                   assignment.shard) != from.already_counted.end();
    if (!counted) load += sample.shards[assignment.shard.value].size_bytes;
  }
  return load;
}

uint64_t RandomSize(Random& random, double median_bytes, double sigma) {
  const double u = 1 - random.NextDouble();
  const double normal =
      std::sqrt(-2 * std::log(u)) * std::cos(6.283185307179586 * random.NextDouble());
  return static_cast<uint64_t>(median_bytes * std::exp(sigma * normal));
}

namespace {

PlanClaim RandomClaim(Random& random, uint32_t shard_count) {
  PlanClaim claim;
  switch (random.Below(5)) {
    case 0:
      return ClaimAll();
    case 1:
      claim.kind = PlanClaim::Kind::kRanks;
      claim.ranks = {static_cast<uint32_t>(random.Below(4)), 1};
      return claim;
    case 2:
      claim.kind = PlanClaim::Kind::kShards;
      for (uint64_t n = random.Below(12); n > 0 && shard_count > 0; --n) {
        claim.shards.push_back(ShardIndex(static_cast<uint32_t>(random.Below(shard_count))));
      }
      return claim;
    default:
      return claim;
  }
}

// Ascending.
std::vector<ShardIndex> RandomShards(Random& random, uint32_t shard_count) {
  std::set<ShardIndex> shards;
  for (uint64_t n = random.Below(20); n > 0 && shard_count > 0; --n) {
    shards.insert(ShardIndex(static_cast<uint32_t>(random.Below(shard_count))));
  }
  return {shards.begin(), shards.end()};
}

void AddRandomNode(PlanSample& sample, Random& random, uint64_t zones, uint64_t capacity_scale) {
  PlanNode& node = AddNode(sample, "n" + std::to_string(random.Below(1'000'000)));
  node.uid = node.uid + random.Below(1000);
  if (zones > 0) node.zone = "z" + std::to_string(random.Below(zones));
  if (capacity_scale > 0 && random.Below(8) > 0) {
    node.capacity_bytes = capacity_scale * (uint64_t{1} << random.Below(3)) + random.Below(2);
  }
  if (random.Below(3) == 0) node.used_bytes = random.Below(capacity_scale + 1000);
  const uint32_t shard_count = static_cast<uint32_t>(sample.shards.size());
  if (random.Below(4) == 0 && shard_count > 0) {
    for (uint64_t n = random.Below(10); n > 0; --n) {
      const uint32_t shard = static_cast<uint32_t>(random.Below(shard_count));
      node.already_counted.push_back(ShardIndex(shard));
    }
  }
  if (random.Below(4) == 0) node.cached = RandomShards(random, shard_count);
  if (random.Below(8) == 0) node.unfit = RandomShards(random, shard_count);
  node.live = random.Below(10) > 0;
  node.draining = random.Below(10) == 0;
  node.selected = random.Below(20) > 0;
  node.claim = RandomClaim(random, shard_count);
}

}  // namespace

PlanSample RandomSample(Random& random, PlacementPolicy policy) {
  const bool equal_sizes = random.Below(4) == 0;
  std::vector<uint64_t> sizes(random.Below(120));
  uint64_t total = 0;
  for (uint64_t& size : sizes) {
    size = equal_sizes ? 1000 : RandomSize(random, 1000, 1.2);
    total += size;
  }
  PlanSample sample = SampleWithSizes(policy, sizes);
  for (PlanShard& shard : sample.shards) {
    if (policy == PlacementPolicy::kRanked || random.Below(2) == 0) {
      shard.rank = static_cast<uint32_t>(random.Below(4));
    }
  }
  sample.input.replicas = static_cast<uint32_t>(random.Below(4));
  if (random.Below(2) == 0) sample.input.move_budget_bytes = 1 + random.Below(20'000);
  if (random.Below(3) == 0) {
    sample.input.location_zones = {{}, {"z0"}, {"z1", "z3"}, {"elsewhere"}};
    for (PlanShard& shard : sample.shards) {
      shard.location_zones = static_cast<uint32_t>(random.Below(4));
    }
  }
  const uint64_t nodes = random.Below(25);
  const uint64_t zones = random.Below(6);
  // From far too little to more than enough for all replicas.
  const uint64_t capacity_scale =
      random.Below(3) == 0 ? 0 : total * random.Below(40) / (nodes * 8 + 1);
  for (uint64_t i = 0; i < nodes; ++i) AddRandomNode(sample, random, zones, capacity_scale);
  return sample;
}

void Churn(PlanSample& sample, Random& random) {
  std::vector<PlanNode>& nodes = sample.input.nodes;
  for (size_t i = 0; i < nodes.size();) {
    switch (random.Below(10)) {
      case 0:
        nodes[i].live = !nodes[i].live;
        break;
      case 1:
        nodes.erase(nodes.begin() + static_cast<std::ptrdiff_t>(i));
        continue;
      case 2:
        nodes[i].keeps_assignments = nodes[i].live;
        break;
      case 3:
        nodes[i].capacity_bytes /= 2;
        break;
      case 4:
        nodes[i].draining = !nodes[i].draining;
        break;
      case 5:
        nodes[i].selected = random.Below(3) > 0;
        break;
      default:
        break;
    }
    ++i;
  }
  for (uint64_t n = random.Below(3); n > 0; --n) AddRandomNode(sample, random, 3, 5000);
}

void Shuffle(std::vector<PlanNode>& nodes, Random& random) {
  for (size_t i = nodes.size(); i > 1; --i) std::swap(nodes[i - 1], nodes[random.Below(i)]);
}

}  // namespace muster
