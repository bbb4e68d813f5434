// The invariants, checked by other means than those that keep them.
//
// Thread-safe: pure functions. Each returns what is wrong, or "".
#ifndef MUSTER_TESTS_SIMULATION_CHECKS_H_
#define MUSTER_TESTS_SIMULATION_CHECKS_H_

#include <cstdint>
#include <set>
#include <string>

#include "server/registry/registry.h"
#include "storage/metadata/metadata_store.h"

namespace muster {

// Invariant 5 (docs/design.md): the state and every counter, from the members' claims, assignments,
// reports and leases. `was_ready`: the assembly was READY at some revision up to this one. `established`: full names of the
// members that have held what is theirs since they last had nothing, as watchers were shown it.
std::string CheckBarrier(const Registry& registry, const Assembly& assembly, bool was_ready,
                         const std::set<std::string>& established);

// How many shards are the node's by its claim, or by the policy.
size_t OwnShardsOf(const Assembly& assembly, const muster::v1::Claim& claim);

// Invariant 2: the version's rows are complete, by the rows alone.
std::string CheckComplete(const Version& version, MetadataStore& store);

// What the assignments on a node take; those of assemblies of one model version share their bytes.
uint64_t BytesOn(const Registry& registry, const Node& node);

// Each node's books agree with its assemblies'.
std::string CheckNodes(const Registry& registry);

}  // namespace muster

#endif  // MUSTER_TESTS_SIMULATION_CHECKS_H_
