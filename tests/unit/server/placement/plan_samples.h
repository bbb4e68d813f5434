// Inputs for placement tests: by hand, and at random from a seed.
#ifndef MUSTER_TESTS_UNIT_SERVER_PLACEMENT_PLAN_SAMPLES_H_
#define MUSTER_TESTS_UNIT_SERVER_PLACEMENT_PLAN_SAMPLES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "server/placement/plan.h"
#include "storage/base/random.h"

namespace muster {

inline constexpr uint64_t kGiB = uint64_t{1} << 30;

// An input that owns its shards. Copies are whole.
struct PlanSample {
  PlanInput input;
  std::vector<PlanShard> shards;

  // The input with its shards attached.
  const PlanInput& Ready();
  // The plan, which must succeed. Failures of the test otherwise.
  Plan Make();
  // What the plan says becomes what is present, as of `generation`.
  void Accept(const Plan& plan, uint64_t generation);

  // Everything on live nodes becomes ready.
  void Complete();
  // The same for some of it, one in `odds`.
  void CompleteSome(Random& random, uint64_t odds);
  // Plans and completes until nothing is on the move. Failures of the test if that never ends.
  void Settle();

  // The node's position by name; the node must exist.
  size_t Find(const std::string& name) const;
};

PlanSample SampleWithSizes(PlacementPolicy policy, const std::vector<uint64_t>& sizes);

// Adds a live node with the claim "any".
PlanNode& AddNode(PlanSample& sample, const std::string& name, uint64_t capacity_bytes = 0,
                  const std::string& zone = "");

PlanClaim ClaimAll();
PlanClaim ClaimShards(const std::vector<uint32_t>& shards);

// The indices that the plan gives to the node.
std::vector<uint32_t> ShardsOf(const PlanSample& sample, const Plan& plan, const std::string& name);

std::vector<uint32_t> Indices(const std::vector<ShardIndex>& shards);

// Bytes on the node under the plan, those of other assemblies included. A replica on the move counts
// on both of its nodes.
uint64_t LoadOf(const PlanSample& sample, const Plan& plan, size_t node);

// Log-normal around `median_bytes`.
uint64_t RandomSize(Random& random, double median_bytes, double sigma);

// Anything that may happen: few or many nodes, zones or none, tight or no capacity, lost, draining
// and unselected nodes, shards that other assemblies hold, that are in caches or failed somewhere,
// all claims, with a move budget or without.
PlanSample RandomSample(Random& random, PlacementPolicy policy);

// Changes some nodes: lost, back, gone, joined, released, drained, not selected.
void Churn(PlanSample& sample, Random& random);

void Shuffle(std::vector<PlanNode>& nodes, Random& random);

}  // namespace muster

#endif  // MUSTER_TESTS_UNIT_SERVER_PLACEMENT_PLAN_SAMPLES_H_
