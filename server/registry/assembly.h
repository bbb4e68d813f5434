// One assembly: its members, its plan, their reports, and the barrier.
//
// The barrier (invariant 5, docs/design.md) is kept by counting: each change of an assignment, a
// report or a node's life adjusts the counters by what it changed, so that the state is known at
// every revision at no cost. Whom it waits for is Waits(), what a member has to have is Holds().
#ifndef MUSTER_SERVER_REGISTRY_ASSEMBLY_H_
#define MUSTER_SERVER_REGISTRY_ASSEMBLY_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "google/protobuf/map.h"
#include "muster/store/rows.pb.h"
#include "muster/v1/assembly.pb.h"
#include "server/registry/catalogue.h"
#include "server/registry/change.h"
#include "server/registry/member_state.h"
#include "server/registry/planned_assembly.h"
#include "server/registry/uid.h"
#include "storage/base/numbers.h"
#include "storage/base/placement_policy.h"

namespace muster {

class ReasonList;

// "gpu=h100,pool=a", for people.
std::string SelectorText(const google::protobuf::Map<std::string, std::string>& selector);

// Not thread-safe: written by the committer, read under the shared lock.
class Assembly {
 public:
  using Member = MemberState;
  // What became of one report.
  struct ReportResult {
    enum class Outcome { kGone, kUnchanged, kChanged };
    Outcome outcome = Outcome::kGone;
    muster::v1::ShardReport::State before = muster::v1::ShardReport::PENDING;
    // The node has failed at the shard so often that another one is asked for.
    bool given_up = false;
    // A plan would make use of it.
    bool wants_plan = false;
  };
  // `version` is committed and outlives the assembly. `move_grace` is for messages.
  Assembly(muster::store::AssemblyRow row, const Version& version, absl::Duration move_grace);

  AssemblyUid uid() const { return AssemblyUid(row_.uid()); }
  const std::string& name() const { return row_.name(); }
  const muster::store::AssemblyRow& row() const { return row_; }
  muster::store::AssemblyRow& mutable_row() { return row_; }
  // Takes over `min_nodes`, `replicas` and the move budget of `row`, which is this assembly's.
  void SetSettings(muster::store::AssemblyRow row);
  // It has been READY: from now on it waits for no member that has never been.
  void NoteReady();
  const Version& version() const { return version_; }
  // By the node's full name.
  const std::map<std::string, Member>& members() const { return members_; }
  const Member* FindMember(const std::string& node) const;
  // What the claims come to, over all members.
  uint64_t claimed_assignments() const { return claimed_assignments_; }
  // Whether the shard has fewer holders than the policy asks for.
  bool IsShort(uint32_t shard) const;
  // Whether a node with these labels gets shards.
  bool Selects(const google::protobuf::Map<std::string, std::string>& labels) const;
  // Of the model version's shards.
  uint64_t move_budget_bytes() const;

  // RESOURCE_EXHAUSTED TOO_MANY_ITEMS: with another member of this claim, claims would come to more
  // assignments than an assembly may have.
  absl::Status CheckRoomFor(const muster::v1::Claim& claim) const;
  // The bytes of the shards that are a node's by the claim; 0 where the planner chooses.
  uint64_t ClaimedBytes(const muster::v1::Claim& claim) const;
  // The node must not be a member. Sets `own_shards`.
  void AddMember(const std::string& node, Member member);
  // The node must be a member, as for all that follow.
  void RemoveMember(const std::string& node);
  void SetLive(const std::string& node, bool live);
  void SetLeaving(const std::string& node, bool draining, bool selected);
  void SetCached(const std::string& node, std::vector<uint32_t> shards);
  // Starts the reports of another epoch: all are PENDING again.
  void ResetReports(const std::string& node, Epoch epoch);
  // Replaces a member's assignments; those that stay keep their state. Returns the difference for
  // the node.
  AssignmentChange SetAssignments(const std::string& node, std::vector<Assignment> assignments,
                                  Replacements replaces);
  // What the last plan said of the room for the member's own claim.
  void SetShortage(const std::string& node, std::optional<PlanShortage> shortage);
  // Notes the number of a report; false when a later one has come. 0 says nothing.
  bool TakeReportSequence(const std::string& node, uint64_t sequence);
  ReportResult Report(const std::string& node, const muster::v1::ShardReport& report,
                      int64_t now_us);
  // Forgets what was given up until `now_us`; false when nothing has expired.
  bool ExpireGivenUp(const std::string& node, int64_t now_us);

  muster::v1::Assembly::State state() const;
  // Enough nodes have joined for a plan, or there is one.
  bool WantsPlan() const;
  // Each shard has the holders that the policy asks for, and the members that are waited for have
  // what is theirs, so that the plan needs no other one to be READY: not so from the moment when a
  // member with assignments has left, or one that is waited for and lacks some has come, to the next
  // plan.
  bool covered() const { return shards_short_ == 0 && members_lacking_ == 0; }
  uint32_t nodes_live() const { return nodes_live_; }
  // Members that may get shards.
  uint32_t nodes_open() const { return nodes_open_; }
  // Members that hold what is theirs, or may come to: those that can't fit and those that have
  // nothing left don't.
  uint32_t nodes_able() const { return nodes_able_; }
  // Before the first plan nobody is to have anything.
  uint32_t nodes_ready() const { return row_.generation() == 0 ? 0 : nodes_ready_; }
  // Planned, and with too few nodes left for `min_nodes`.
  bool too_few_left() const { return row_.generation() != 0 && nodes_able_ < row_.min_nodes(); }
  // Whether the barrier waits for what the member has, or is to have.
  bool Waits(const Member& member) const {
    if (!member.claims()) return true;
    return !member.shortage.has_value() && (member.established || !row_.was_ready());
  }
  // Whether it came after the first READY and is on its way.
  bool IsJoining(const Member& member) const {
    return !Waits(member) && member.able() && member.open() && !member.holds();
  }
  // The members whose `established` has changed since their readiness was last stored.
  std::set<std::string> TakeUnstored() { return std::exchange(unstored_, {}); }
  // The member's readiness is being stored as it is.
  void NoteStored(const std::string& node) { unstored_.erase(node); }
  // Everything but `uid` and `revision`, which the table knows.
  muster::v1::Assembly Describe() const;
  muster::v1::AssemblyMember DescribeMember(const std::string& node, const Member& member) const;
  // The same, with the first `claim_max` shards or ranks of its claim.
  muster::v1::AssemblyMember DescribeMember(const std::string& node, const Member& member,
                                            int claim_max) const;
  // The same without the claim, which may list every shard and never changes.
  muster::v1::AssemblyMember DescribeProgress(const std::string& node, const Member& member) const;

  // The rows of one member.
  muster::store::AssignmentRow AssignmentRowOf(const Member& member) const;
  // Where it would not fit it says less of failures, then nothing of what is being fetched or has
  // failed: after a restart that is PENDING until the node reports again. READY is always there.
  muster::store::ReadinessRow ReadinessRowOf(const Member& member) const;
  // Takes up a stored ReadinessRow; entries without an assignment are dropped.
  absl::Status LoadReadiness(const std::string& node, const muster::store::ReadinessRow& row);

  // Why no plan can be made from the present inputs; "" where that is not known. In memory only, as a
  // server that starts plans again.
  absl::string_view plan_failure() const {
    return failed_inputs_ == inputs_version_ ? plan_failure_ : absl::string_view();
  }
  void NotePlanFailure(std::string why) {
    plan_failure_ = std::move(why);
    failed_inputs_ = inputs_version_;
  }

  // Changes whenever something does that a plan depends on. A plan that was made from an older one
  // is late: Member::touched_at and the room on the nodes say what of it still holds (late_plan.h).
  uint64_t inputs_version() const { return inputs_version_; }
  void TouchInputs() { ++inputs_version_; }
  // Changes whenever a plan does. A plan that was made from another base is refused: it would give
  // the same shards away again.
  uint64_t plan_base() const { return plan_base_; }
  void RefuseOlderPlans() { ++plan_base_; }

  // The state that the last event showed; unspecified before the first.
  muster::v1::Assembly::State told_state = muster::v1::Assembly::STATE_UNSPECIFIED;
  // The last revision that changed anything shown.
  Revision shown_revision;
  // From the last plan. In memory only: a server that starts plans again.
  std::vector<PlannedAssembly::Blocked> blocked;

 private:
  Member& At(const std::string& node) { return members_.at(node); }
  void Touch(Member& member) { member.touched_at = ++inputs_version_; }
  // Changes what decides whether a member may get shards.
  void SetStanding(const std::string& node, bool live, bool draining, bool selected);
  // Each of these adds (`sign` 1) or takes away (-1) what it names: a READY assignment that is not
  // extra, a holder of a shard, a member with the sums over its assignments, a member's assignments.
  void CountReady(const Member& member, uint32_t shard, int sign);
  void CountHolder(const Member& member, uint32_t shard, int sign);
  void CountMember(const Member& member, int sign);
  void CountAssignments(Member& member, int sign);
  // CountMember(member, 1) after a change, before which it was taken away: what the change made of
  // `established` comes first.
  void CountAgain(const std::string& node, Member& member);
  void SetState(Member& member, size_t position, muster::v1::ShardReport::State state);
  // Drops what is known of the failure of a shard.
  void ClearFailure(Member& member, uint32_t shard);
  // How much a ReadinessRow says, most first.
  enum class Detail { kAll, kCodes, kReady };
  muster::store::ReadinessRow ReadinessRowOf(const Member& member, Detail detail) const;
  absl::Status TakeReadiness(Member& member, const muster::store::ReadinessRow& row);
  // Whether the stored row makes a member, whose reports were read from it, an established one.
  static bool WasEstablished(const Member& member, const muster::store::ReadinessRow& row);
  // Whether a reason why the assembly is not READY is about the member, but for one that gets no shards.
  static bool HasTrouble(const Member& member);
  // Keeps `troubled_`; after each change of what HasTrouble looks at.
  void NoteTrouble(const std::string& node);
  // Adds the reasons that are about members, in the order of their names: those that are waited for,
  // or all, as where one more would have to hold what is its.
  void AddMembersReasons(bool waiting, bool of_all, ReasonList& reasons) const;
  // Whether it says more than a code; few that do are kept.
  static bool HasDetails(const muster::v1::ShardFailure& failure);
  // Takes a report over; false when it says nothing new.
  bool TakeReport(Member& member, size_t position, const muster::v1::ShardReport& report);
  // Notes the failure where it is one too many; false otherwise.
  bool GiveUp(Member& member, const muster::v1::ShardReport& report, int64_t now_us);
  // Calls `take` with the index of each shard that is the member's by its claim.
  template <typename Take>
  void ForEachOwn(ClaimKind meaning, const muster::v1::Claim& claim, Take take) const;
  uint32_t OwnShards(const Member& member) const;
  // Whether a member that is waited for and may get shards lacks some that the policy or its claim
  // gives it by itself.
  bool Lacks(const Member& member) const;
  // Whether the shard is on a node that it is to leave.
  bool IsLeaving(uint32_t shard) const;

  muster::store::AssemblyRow row_;
  const Version& version_;
  const absl::Duration move_grace_;
  std::map<std::string, Member> members_;
  // Names of the members whose shards are to go elsewhere.
  std::set<std::string> leaving_;
  // Names of those of which HasTrouble holds, so that a description looks at no others.
  std::set<std::string> troubled_;
  uint32_t nodes_live_ = 0;
  uint32_t nodes_open_ = 0;
  uint32_t nodes_able_ = 0;
  uint32_t nodes_ready_ = 0;
  uint32_t nodes_joining_ = 0;
  // Names of the members that TakeUnstored tells.
  std::set<std::string> unstored_;
  uint64_t inputs_version_ = 1;
  uint64_t plan_base_ = 1;
  uint64_t failed_inputs_ = 0;
  std::string plan_failure_;
  // Over the members that are waited for: assignments that are not extra, and those of them that
  // count as READY.
  uint64_t replicas_required_ = 0;
  uint64_t replicas_ready_ = 0;
  // The extra ones.
  uint32_t moves_in_progress_ = 0;
  uint64_t moving_bytes_ = 0;
  // Assignments of each shard, and those of them on members that claim by themselves; extra ones
  // are in neither.
  std::vector<uint32_t> holders_of_shard_;
  std::vector<uint32_t> claim_holders_of_shard_;
  // What claims come to, over all members.
  uint64_t claimed_assignments_ = 0;
  uint32_t shards_short_ = 0;
  uint32_t members_lacking_ = 0;
  // Counted READY replicas of each shard, and the shards that have one.
  std::vector<uint32_t> ready_of_shard_;
  uint32_t shards_ready_ = 0;
};

}  // namespace muster

#endif  // MUSTER_SERVER_REGISTRY_ASSEMBLY_H_
