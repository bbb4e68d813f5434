// The assemblies, and what the life of nodes does to them.
#ifndef MUSTER_SERVER_REGISTRY_ASSEMBLY_TABLE_H_
#define MUSTER_SERVER_REGISTRY_ASSEMBLY_TABLE_H_

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "muster/v1/assembly.pb.h"
#include "server/registry/assembly.h"
#include "server/registry/catalogue.h"
#include "server/registry/late_plan.h"
#include "server/registry/node_table.h"
#include "server/registry/transaction.h"

namespace muster {

// Not thread-safe: written by the committer, read under the shared lock.
class AssemblyTable {
 public:
  // The catalogue and the nodes outlive it.
  AssemblyTable(std::string uid_prefix, absl::Duration move_grace, Catalogue& catalogue,
                NodeTable& nodes)
      : uid_prefix_(std::move(uid_prefix)),
        move_grace_(move_grace),
        catalogue_(catalogue),
        nodes_(nodes) {}

  absl::Status Create(const muster::v1::CreateAssemblyRequest& request, Transaction& tx,
                      muster::v1::CreateAssemblyResponse& response);
  absl::Status Update(const muster::v1::UpdateAssemblyRequest& request, Transaction& tx,
                      muster::v1::UpdateAssemblyResponse& response);
  absl::Status Join(const muster::v1::JoinAssemblyRequest& request, Transaction& tx,
                    muster::v1::JoinAssemblyResponse& response);
  absl::Status Leave(const muster::v1::LeaveAssemblyRequest& request, Transaction& tx);
  absl::Status Delete(const muster::v1::DeleteAssemblyRequest& request, Transaction& tx);
  absl::Status Report(const muster::v1::ReportShardsRequest& request, Transaction& tx,
                      muster::v1::ReportShardsResponse& response);

  // ABORTED PLAN_OUTDATED when another plan has come in since, or nothing of this one holds; see
  // late_plan.h.
  absl::Status Apply(const ApplyPlan& command, Transaction& tx);
  absl::Status Note(const NotePlanFailure& command, Transaction& tx);

  // A node was registered (again): its reports start over.
  void NodeRegistered(const Node& node, Transaction& tx);
  // Its labels or its capacity changed.
  void NodeUpdated(const Node& node, Transaction& tx);
  void NodeLostOrRevived(const Node& node, Transaction& tx);
  // A lost node's shards are to go elsewhere.
  void NodeReleased(const Node& node, Transaction& tx);
  // The node's drain has begun or ended.
  void NodeDrained(const Node& node, Transaction& tx);
  // A node goes: its memberships go, in transactions that follow.
  void NodeRemoved(Node& node, Transaction& tx);

  // Asks for the end of what was given up ten minutes ago.
  void Tick(Transaction& tx);
  void Expire(const ExpireGivenUp& command, Transaction& tx);
  // Asks for a plan of every assembly that has one, or could have.
  void WantPlans(Transaction& tx) const;

  // The next members of an assembly that was deleted; their rows are gone already.
  void Remove(const RemoveMembers& command, Transaction& tx);
  // Rows of what is gone from memory already.
  void Forget(const ForgetMember& command, Transaction& tx) const;
  void Forget(const ForgetPlanDirectory& command, Transaction& tx) const;
  void Remember(const RememberReady& command, Transaction& tx);
  void Remember(const RememberMember& command, Transaction& tx);

  // NOT_FOUND ASSEMBLY_UNKNOWN.
  absl::StatusOr<const Assembly*> Find(absl::string_view name) const;
  bool HasMember(const std::string& assembly, const std::string& node) const;
  // Null when there is none.
  Assembly* FindByUid(AssemblyUid uid) const;
  const std::map<std::string, std::unique_ptr<Assembly>>& by_name() const { return by_name_; }
  muster::v1::Assembly Describe(const Assembly& assembly) const;
  // What keeps shards on a node that is being drained.
  void AddBlockers(const Node& node, muster::v1::Drain& drain) const;

  // What a node has to say of its membership: whether it lives, fits and stays, and what it holds.
  static void SetStanding(const Assembly& assembly, const Node& node, Assembly::Member& member);

  // While the store is loaded: assemblies, then members, assignments, readiness. A row that belongs
  // to nothing any more makes a command that removes it.
  absl::Status Load(muster::store::AssemblyRow row);
  absl::Status LoadMember(AssemblyUid assembly, NodeUid node, const muster::store::MemberRow& row,
                          Transaction& tx);
  absl::Status LoadAssignments(AssemblyUid assembly, Generation directory, NodeUid node,
                               const muster::store::AssignmentRow& row, Transaction& tx);
  absl::Status LoadReadiness(AssemblyUid assembly, NodeUid node,
                             const muster::store::ReadinessRow& row);
  void FinishLoad(Revision revision, Transaction& tx);

 private:
  absl::StatusOr<Assembly*> FindMutable(absl::string_view name);
  // As clients know it.
  std::string UidText(const Assembly& assembly) const;
  Assembly* FindMemberOf(AssemblyUid assembly, NodeUid node, std::string* name) const;
  // A plan whose first members are the assembly's already.
  struct ArrivingPlan {
    std::shared_ptr<const PlannedAssembly> plan;
    // Members of it.
    size_t taken = 0;
    Generation generation;
    // What its event will say.
    Generation old_generation;
    uint64_t assigned = 0;
    uint64_t unassigned = 0;
    uint64_t assigned_bytes = 0;
    absl::flat_hash_set<NodeUid> nodes;
  };

  // What the node's watchers have to see, which the caller sees to.
  AssignmentChange SetAssignments(Assembly& assembly, const std::string& node,
                                  std::vector<Assignment> assignments, Replacements replaces,
                                  Transaction& tx);
  static void EmitChange(AssignmentChange change, Transaction& tx);
  // The parts of Apply. Begin makes generation and reasons the assembly's.
  ArrivingPlan& Begin(const std::shared_ptr<const PlannedAssembly>& plan, Assembly& assembly,
                      Transaction& tx);
  // Of each of the command's members.
  using Losses = std::vector<std::optional<LatePlan::Held>>;
  // Nullopt where the command is all of the plan, and nothing of it holds.
  static std::optional<Losses> LossesOf(const ApplyPlan& command, const LatePlan& late);
  // By the nodes' names.
  using AssignmentChanges = std::map<std::string, AssignmentChange>;
  // Sets what a member holds, if it is one still.
  void Hold(Assembly& assembly, NodeUid node, LatePlan::Held held, AssignmentChanges& changes,
            Transaction& tx);
  // Takes over what the plan says of a member's room, if it is one still.
  void SetShortage(Assembly& assembly, const PlannedAssembly::Member& planned,
                   AssignmentChanges& changes) const;
  static void TellPlan(const Assembly& assembly, const ArrivingPlan& plan, Transaction& tx);
  void RemoveMember(Assembly& assembly, const std::string& node, Transaction& tx);
  // What one assembly has on a node is room that the node's other assemblies lack: their plans have
  // to be made again.
  void NoteRoom(const Node& node, AssemblyUid changed, Transaction& tx) const;
  // Announces a change: the state as it is, with the members that it concerns; stores the first
  // READY; asks for a plan when `plan_wanted`.
  void Announce(Assembly& assembly, const std::vector<std::string>& members, bool plan_wanted,
                Transaction& tx);
  // Has what became of `established` stored.
  static void ThenRememberMembers(Assembly& assembly, Transaction& tx);
  // Logs the state as an event if it is not the one logged last.
  void TellState(Assembly& assembly, const muster::v1::Assembly& shown, Transaction& tx);
  // Logs that a node has given a shard up, and has a tick end that.
  void NoteGivenUp(const Assembly& assembly, const std::string& node, uint32_t shard,
                   Transaction& tx);
  void DeleteMemberRows(const Assembly& assembly, NodeUid node, Transaction& tx) const;

  const std::string uid_prefix_;
  const absl::Duration move_grace_;
  Catalogue& catalogue_;
  NodeTable& nodes_;
  std::map<std::string, std::unique_ptr<Assembly>> by_name_;
  // Over all of them.
  uint64_t shards_ = 0;
  absl::flat_hash_map<AssemblyUid, Assembly*> by_uid_;
  absl::flat_hash_map<AssemblyUid, ArrivingPlan> arriving_;
  // Deleted, with members still: while the commands that follow the deletion are carried out.
  absl::flat_hash_map<AssemblyUid, std::unique_ptr<Assembly>> departing_;
  // By the time at which something that a node has given up may be tried again.
  std::multimap<int64_t, std::pair<AssemblyUid, NodeUid>> given_up_;
  absl::flat_hash_set<std::pair<AssemblyUid, Generation>> orphaned_directories_;
};

}  // namespace muster

#endif  // MUSTER_SERVER_REGISTRY_ASSEMBLY_TABLE_H_
