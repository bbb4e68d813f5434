// What a transaction changed, for watchers. Immutable once made. What people get to see of it are
// events (v1::Event): they go through Transaction::Tell, and come back as StoredEvents
// (event_log.h).
#ifndef MUSTER_SERVER_REGISTRY_CHANGE_H_
#define MUSTER_SERVER_REGISTRY_CHANGE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "muster/v1/assembly.pb.h"
#include "muster/v1/node.pb.h"
#include "server/registry/uid.h"
#include "storage/base/numbers.h"

namespace muster {

// A shard given to a node, and the plan that gave it.
struct Assignment {
  uint32_t shard = 0;
  Generation generation;

  auto operator<=>(const Assignment&) const = default;
};

// A node was registered, lost, released, revived or removed, or its drain has got further.
struct NodeChange {
  NodeUid uid;
  std::string name;
  Epoch epoch;
  int64_t lease_ttl_us = 0;
  bool lost = false;
  bool released = false;
  bool removed = false;
  std::string zone;
  // Unspecified while it is not being drained.
  muster::v1::Drain::State drain = muster::v1::Drain::STATE_UNSPECIFIED;
};

// One node's assignments in one assembly changed.
struct AssignmentChange {
  NodeUid node;
  std::string assembly;
  AssemblyUid assembly_uid;
  VersionUid version;
  // In shard order.
  std::vector<Assignment> assigned;
  std::vector<uint32_t> unassigned;
  // Full names.
  std::string node_name = {};
  std::string model_version = {};
};

// Something that GetAssembly shows changed.
struct AssemblyChange {
  AssemblyUid uid;
  // The WatchAssemblyResponse for all watchers, without `member`: serialised once, for the event
  // log and for every follower of the assembly. Null: the assembly is gone.
  std::shared_ptr<const std::string> message;
  muster::v1::Assembly::State state = muster::v1::Assembly::STATE_UNSPECIFIED;
  // The members that changed, without their claims, which may list every shard and never change.
  std::vector<muster::v1::AssemblyMember> members;
  // Full names of the nodes that are members no longer.
  std::vector<std::string> left;
};

// A location of a shard became suspect, or is trusted again.
struct LocationChange {
  VersionUid version;
  // The model version's full name.
  std::string version_name;
  uint32_t shard = 0;
  std::string uri;
  bool suspect = false;
  // Full name of the node whose report made the difference, and what it found; unspecified where it
  // verified what it read.
  std::string node;
  muster::v1::ShardFailure::Code found = muster::v1::ShardFailure::CODE_UNSPECIFIED;
};

// What the event log has stored of a transaction; see event_rows.h.
struct StoredEvents {
  // A serialised EventsRow.
  std::string row;
};

struct Change {
  Revision revision;
  std::variant<NodeChange, AssignmentChange, AssemblyChange, LocationChange, StoredEvents> what;
};

}  // namespace muster

#endif  // MUSTER_SERVER_REGISTRY_CHANGE_H_
