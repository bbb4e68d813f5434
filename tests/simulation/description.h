// The registry's state as text, so that two states can be compared and a difference can be read.
//
// Thread-safe, but for DescribeReadably.
#ifndef MUSTER_TESTS_SIMULATION_DESCRIPTION_H_
#define MUSTER_TESTS_SIMULATION_DESCRIPTION_H_

#include <set>
#include <string>

#include "absl/strings/string_view.h"
#include "server/registry/registry.h"
#include "storage/metadata/metadata_store.h"

namespace muster {

// From here on messages are written out. Before that they are hashes: to print them takes most of a
// run's time, and only a run that fails is read.
void DescribeReadably();

// All that the API shows, but for what is kept in memory only (progress) or starts over with a load
// (an assembly's revision).
std::string DescribeAll(const Registry& registry);

// What no passing of time changes: content, registrations, memberships, assignments, reports.
// Leaves out drafts, the assembly named `without`, and the nodes of `leaving` with their memberships.
std::string DescribeFacts(const Registry& registry, absl::string_view without,
                          const std::set<NodeUid>& leaving);
// The nodes that may be forgotten as time passes.
std::set<NodeUid> ReleasedNodes(const Registry& registry);

// A committed version's content: all that may never change, with the rows that only the store has.
std::string DescribeContent(const Registry& registry, const Version& version, MetadataStore& store);

// The first line in which two descriptions differ.
std::string FirstDifference(absl::string_view before, absl::string_view after);

}  // namespace muster

#endif  // MUSTER_TESTS_SIMULATION_DESCRIPTION_H_
