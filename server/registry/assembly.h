// One assembly: its members, its plan, their reports, and the barrier.
//
// The barrier (design invariant 5) is kept by counting: each change of an assignment, a report or a
// node's life adjusts the counters by what it changed, so that the state is known at every revision
// at no cost.
#ifndef MUSTER_SERVER_REGISTRY_ASSEMBLY_H_
#define MUSTER_SERVER_REGISTRY_ASSEMBLY_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "muster/store/rows.pb.h"
#include "muster/v1/assembly.pb.h"
#include "server/registry/catalogue.h"
#include "server/registry/event.h"
#include "server/registry/uid.h"
#include "storage/base/numbers.h"

namespace muster {

// Not thread-safe: written by the committer, read under the shared lock.
class Assembly {
 public:
  // One node in the assembly.
  struct Member {
    NodeUid node;
    muster::v1::Claim claim;
    bool live = false;
    // The epoch that the reports are of.
    Epoch epoch;
    // In shard order; `states` stands beside it, a ShardReport::State each.
    std::vector<Assignment> assignments;
    std::vector<uint8_t> states;
    // By shard, for those that are FAILED.
    std::map<uint32_t, muster::v1::ShardFailure> failures;
    // Those of them that say more than a code.
    size_t detailed_failures = 0;
    uint32_t ready = 0;
    uint64_t assigned_bytes = 0;
    uint64_t ready_bytes = 0;
  };
  // What became of one report.
  enum class ReportOutcome { kGone, kUnchanged, kChanged };

  // `version` is committed and outlives the assembly.
  Assembly(muster::store::AssemblyRow row, const Version& version);

  AssemblyUid uid() const { return AssemblyUid(row_.uid()); }
  const std::string& name() const { return row_.name(); }
  const muster::store::AssemblyRow& row() const { return row_; }
  muster::store::AssemblyRow& mutable_row() { return row_; }
  const Version& version() const { return version_; }
  // By the node's full name.
  const std::map<std::string, Member>& members() const { return members_; }
  const Member* FindMember(const std::string& node) const;

  // The node must not be a member.
  void AddMember(const std::string& node, Member member);
  // The node must be a member, as for all that follow.
  void RemoveMember(const std::string& node);
  void SetLive(const std::string& node, bool live);
  // Starts the reports of another epoch: all are PENDING again.
  void ResetReports(const std::string& node, Epoch epoch);
  // Replaces a member's assignments; those that stay keep their state. Returns the difference for
  // the node.
  AssignmentEvent SetAssignments(const std::string& node, std::vector<Assignment> assignments);
  // Sets `old_state`, unless null, to what was reported before.
  ReportOutcome Report(const std::string& node, const muster::v1::ShardReport& report,
                       muster::v1::ShardReport::State* old_state);

  muster::v1::Assembly::State state() const;
  // Enough nodes have joined for a plan, or there is one.
  bool WantsPlan() const;
  // The members hold what the policy asks for, so that the plan needs no other one to be READY: not
  // so from the moment when a member with assignments has left, or one that lacks some has come, to
  // the next plan.
  bool covered() const { return shards_short_ == 0 && members_lacking_ == 0; }
  uint32_t nodes_live() const { return nodes_live_; }
  // Everything but `uid` and `revision`, which the table knows.
  muster::v1::Assembly Describe() const;
  muster::v1::AssemblyMember DescribeMember(const std::string& node, const Member& member) const;

  // The rows of one member.
  muster::store::AssignmentRow AssignmentRowOf(const Member& member) const;
  muster::store::ReadinessRow ReadinessRowOf(const Member& member) const;
  // Takes up a stored ReadinessRow; entries without an assignment are dropped.
  absl::Status LoadReadiness(const std::string& node, const muster::store::ReadinessRow& row);

  // Changes whenever something does that a plan depends on.
  uint64_t inputs_version() const { return inputs_version_; }
  void TouchInputs() { ++inputs_version_; }

  // The state that the last event told of; unspecified before the first.
  muster::v1::Assembly::State told_state = muster::v1::Assembly::STATE_UNSPECIFIED;
  // The last revision that changed anything shown.
  Revision shown_revision;

 private:
  Member& At(const std::string& node) { return members_.at(node); }
  // Adds (`sign` 1) or takes away (-1) what a READY assignment counts for.
  void Count(const Member& member, uint32_t shard, int sign);
  void SetState(Member& member, size_t position, muster::v1::ShardReport::State state);
  // Whether a live member lacks shards that the policy or its claim gives it by itself.
  bool Lacks(const Member& member) const;
  // Whether the shard has fewer holders than the policy asks for.
  bool IsShort(uint32_t shard) const;
  // Adds (`sign` 1) or takes away (-1) a holder.
  void CountHolder(const Member& member, uint32_t shard, int sign);
  void AddReasons(muster::v1::Assembly& out) const;

  muster::store::AssemblyRow row_;
  const Version& version_;
  std::map<std::string, Member> members_;
  uint32_t nodes_live_ = 0;
  uint64_t inputs_version_ = 1;
  // Assignments over all members, and those of them that count as READY.
  uint64_t replicas_required_ = 0;
  uint64_t replicas_ready_ = 0;
  // Assignments of each shard, and those of them on members that claim by themselves.
  std::vector<uint32_t> holders_of_shard_;
  std::vector<uint32_t> claim_holders_of_shard_;
  uint32_t shards_short_ = 0;
  uint32_t members_lacking_ = 0;
  // Counted READY replicas of each shard, and the shards that have one.
  std::vector<uint32_t> ready_of_shard_;
  uint32_t shards_ready_ = 0;
};

}  // namespace muster

#endif  // MUSTER_SERVER_REGISTRY_ASSEMBLY_H_
