// What callers are shown of an assembly.

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/placement/shortage.h"
#include "server/registry/assembly.h"
#include "server/registry/failure_reasons.h"
#include "server/registry/limits.h"
#include "server/registry/timestamps.h"
#include "storage/base/limits.h"
#include "storage/base/placement_policy.h"

namespace muster {

namespace v1 = muster::v1;

// Collects reasons and cuts the list at kMaxReasons, the last one counting the rest.
class ReasonList {
 public:
  explicit ReasonList(v1::Assembly& out) : out_(out) {}

  // The reason to fill in; one that is not kept once the list is full.
  v1::AssemblyReason* Add(v1::AssemblyReason::Code code) {
    ++count_;
    if (count_ >= kMaxReasons) {
      rest_.Clear();
      return &rest_;
    }
    v1::AssemblyReason* reason = out_.add_reasons();
    reason->set_code(code);
    return reason;
  }
  // About a node.
  v1::AssemblyReason* Add(v1::AssemblyReason::Code code, const std::string& node) {
    v1::AssemblyReason* reason = Add(code);
    reason->set_node(node);
    return reason;
  }
  bool empty() const { return count_ == 0; }
  void Add(std::vector<v1::AssemblyReason> reasons) {
    for (v1::AssemblyReason& reason : reasons) *Add(reason.code()) = std::move(reason);
  }
  bool full() const { return count_ > 4 * kMaxReasons; }
  void Finish() {
    if (count_ < kMaxReasons) return;
    v1::AssemblyReason* reason = out_.add_reasons();
    reason->set_message(
        absl::StrCat(full() ? "at least " : "", count_ - kMaxReasons + 1, " more reasons"));
  }

 private:
  v1::Assembly& out_;
  v1::AssemblyReason rest_;
  int count_ = 0;
};

namespace {

bool EveryNodeHoldsAll(const Assembly& assembly) {
  return MeaningOf(PolicyOf(assembly.row().policy()), ClaimKind::kAny) == ClaimKind::kAll;
}

// The nodes that the assembly waits for will not all be let in.
void AddTooBig(const Assembly& assembly, ReasonList& reasons) {
  const uint64_t shards = assembly.version().shards.size();
  const bool everyone = EveryNodeHoldsAll(assembly);
  const uint64_t claimed = assembly.claimed_assignments();
  std::string message;
  if (everyone && shards * assembly.row().min_nodes() > kMaxClaimedAssignments) {
    message = absl::StrCat(shards, " shards on each of ", assembly.row().min_nodes(), " nodes are ",
                           shards * assembly.row().min_nodes(),
                           " assignments, and an assembly may "
                           "have ",
                           kMaxClaimedAssignments, ": at most ", kMaxClaimedAssignments / shards,
                           " nodes can join");
  } else if (!everyone && claimed > 0 && claimed + shards > kMaxClaimedAssignments) {
    message = absl::StrCat("the claims of its members come to ", claimed,
                           " assignments, and an "
                           "assembly may have ",
                           kMaxClaimedAssignments, ": another node that claims all ", shards,
                           " shards can't join");
  } else {
    return;
  }
  reasons.Add(v1::AssemblyReason::TOO_BIG)->set_message(std::move(message));
}

void AddPlanReasons(const Assembly& assembly, ReasonList& reasons) {
  const store::AssemblyRow& row = assembly.row();
  if (!assembly.plan_failure().empty()) {
    reasons.Add(v1::AssemblyReason::PLAN_FAILED)
        ->set_message(absl::StrCat("no plan can be made: ", assembly.plan_failure()));
  } else if (row.generation() == 0) {
    const bool waiting = assembly.nodes_open() < row.min_nodes();
    reasons.Add(waiting ? v1::AssemblyReason::TOO_FEW_NODES : v1::AssemblyReason::PLANNING)
        ->set_message(
            waiting ? absl::StrCat(assembly.nodes_open(), " of ", row.min_nodes(), " nodes joined")
                    : "a plan is being made");
    if (waiting) AddTooBig(assembly, reasons);
  } else if (row.plan_reasons().empty() && !assembly.covered()) {
    reasons.Add(v1::AssemblyReason::PLANNING)
        ->set_message("a plan is being made, or brought in step by step");
  }
  if (assembly.too_few_left()) {
    reasons.Add(v1::AssemblyReason::TOO_FEW_NODES)
        ->set_message(
            absl::StrCat(assembly.nodes_able(), " of ", row.min_nodes(),
                         " nodes: the others have left or were released, or have no room"));
  }
  for (const auto& stored : row.plan_reasons()) *reasons.Add(stored.code()) = stored;
}

// Why a member gets no shards, where the assembly waits for a node that can take them.
void AddClosedMember(const Assembly& assembly, const std::string& node,
                     const Assembly::Member& member, ReasonList& reasons) {
  if (!member.live) return;
  if (!member.selected) {
    reasons.Add(v1::AssemblyReason::LABELS_DIFFER, node)
        ->set_message(absl::StrCat(node, " gets no shards: its labels don't fit the selector ",
                                   SelectorText(assembly.row().node_selector())));
  }
  if (member.draining) {
    reasons.Add(v1::AssemblyReason::NODE_DRAINING, node)
        ->set_message(absl::StrCat(node, " gets no shards: it is being drained"));
  }
}

// What the assembly still waits for, once nothing else is in the way.
void AddLoading(const v1::Assembly& shown, bool too_few_left, ReasonList& reasons) {
  std::string message;
  if (shown.replicas_ready() < shown.replicas_required()) {
    message = absl::StrCat(shown.replicas_ready(), " of ", shown.replicas_required(),
                           " shard replicas are ready");
  } else if (shown.generation() == 0) {
    return;
  } else if (shown.nodes_ready() < shown.min_nodes() && !too_few_left) {
    message =
        absl::StrCat(shown.nodes_ready(), " of ", shown.min_nodes(), " nodes hold what is theirs");
  } else if (!shown.complete() && reasons.empty()) {
    message = absl::StrCat(shown.shards_ready(), " of ", shown.shard_count(), " shards are ready");
  } else {
    return;
  }
  reasons.Add(v1::AssemblyReason::SHARDS_LOADING)->set_message(std::move(message));
}

// That the member's own claim does not fit, where the plan's reasons don't say so already.
void AddShortage(const Assembly& assembly, const std::string& node, const Assembly::Member& member,
                 ReasonList& reasons) {
  const auto& of_plan = assembly.row().plan_reasons();
  const bool is_said = std::any_of(of_plan.begin(), of_plan.end(),
                                   [&](const auto& reason) { return reason.node() == node; });
  if (!member.shortage.has_value() || is_said) return;
  reasons.Add(v1::AssemblyReason::NO_ROOM, node)
      ->set_message(absl::StrCat(node, " ", FormatShortage(*member.shortage)));
}

void AddLostMember(const Assembly& assembly, const std::string& node,
                   const Assembly::Member& member, absl::Duration move_grace, ReasonList& reasons) {
  const std::string fate =
      EveryNodeHoldsAll(assembly)
          ? std::string("which every node holds for itself, so that none of them moves")
          : absl::StrCat("which move to other nodes after a grace of ",
                         absl::FormatDuration(move_grace), " unless moves are braked");
  reasons.Add(v1::AssemblyReason::NODE_LOST, node)
      ->set_message(absl::StrCat(node, " is lost: its lease ran out; it holds ", member.required(),
                                 " shards of this assembly, ", fate));
}

}  // namespace

std::string SelectorText(const google::protobuf::Map<std::string, std::string>& selector) {
  const std::map<std::string, std::string> sorted(selector.begin(), selector.end());
  return absl::StrJoin(sorted, ",", absl::PairFormatter("="));
}

v1::Assembly Assembly::Describe() const {
  v1::Assembly out;
  out.set_name(row_.name());
  out.set_model_version(version_.row.name());
  out.set_policy(row_.policy());
  out.set_min_nodes(row_.min_nodes());
  out.set_replicas(row_.replicas());
  out.set_state(state());
  out.set_generation(row_.generation());
  out.set_shard_count(static_cast<uint32_t>(ready_of_shard_.size()));
  out.set_shards_ready(shards_ready_);
  out.set_complete(shards_ready_ == ready_of_shard_.size());
  out.set_replicas_required(replicas_required_);
  out.set_replicas_ready(replicas_ready_);
  out.set_nodes_joined(static_cast<uint32_t>(members_.size()));
  out.set_nodes_live(nodes_live_);
  *out.mutable_create_time() = ToTimestamp(row_.create_time_us());
  *out.mutable_node_selector() = row_.node_selector();
  if (row_.has_move_budget_bytes()) out.set_move_budget_bytes(row_.move_budget_bytes());
  out.set_moves_in_progress(moves_in_progress_);
  out.set_moving_bytes(moving_bytes_);
  out.set_nodes_ready(nodes_ready());
  out.set_nodes_joining(nodes_joining_);
  if (out.state() == v1::Assembly::READY) return out;
  ReasonList reasons(out);
  AddPlanReasons(*this, reasons);
  const bool of_all = nodes_ready() < row_.min_nodes() || shards_short_ > 0 || !out.complete();
  AddMembersReasons(out.state() == v1::Assembly::WAITING, of_all, reasons);
  AddLoading(out, too_few_left(), reasons);
  reasons.Finish();
  return out;
}

// Two sorted lists walked as in a merge: an assembly of thousands is described after each report.
void Assembly::AddMembersReasons(bool waiting, bool of_all, ReasonList& reasons) const {
  auto closed = waiting ? leaving_.begin() : leaving_.end();
  auto troubled = troubled_.begin();
  while (!reasons.full() && (closed != leaving_.end() || troubled != troubled_.end())) {
    const bool is_closed =
        closed != leaving_.end() && (troubled == troubled_.end() || *closed <= *troubled);
    const std::string& node = is_closed ? *closed : *troubled;
    const Member& member = members_.at(node);
    if (is_closed) {
      AddClosedMember(*this, node, member, reasons);
      ++closed;
    }
    if (troubled != troubled_.end() && *troubled == node) {
      if (!of_all && !Waits(member)) {
        // It takes nothing from the others.
      } else if (member.live) {
        AddShortage(*this, node, member, reasons);
        const auto held = [&](uint32_t shard) { return holders_of_shard_[shard] > 0; };
        reasons.Add(FailureReasons(node, member, held));
      } else {
        AddLostMember(*this, node, member, move_grace_, reasons);
      }
      ++troubled;
    }
  }
}

v1::AssemblyMember Assembly::DescribeMember(const std::string& node, const Member& member) const {
  return DescribeMember(node, member, std::numeric_limits<int>::max());
}

v1::AssemblyMember Assembly::DescribeMember(const std::string& node, const Member& member,
                                            int claim_max) const {
  v1::AssemblyMember out = DescribeProgress(node, member);
  const v1::Claim& claim = member.claim;
  out.mutable_claim()->set_kind(claim.kind());
  const int shards = std::min(claim.shards_size(), claim_max);
  out.mutable_claim()->mutable_shards()->Add(claim.shards().begin(),
                                             claim.shards().begin() + shards);
  const int ranks = std::min(claim.ranks_size(), claim_max);
  out.mutable_claim()->mutable_ranks()->Add(claim.ranks().begin(), claim.ranks().begin() + ranks);
  out.set_claim_cut(shards < claim.shards_size() || ranks < claim.ranks_size());
  return out;
}

v1::AssemblyMember Assembly::DescribeProgress(const std::string& node, const Member& member) const {
  v1::AssemblyMember out;
  out.set_node(node);
  out.set_live(member.live);
  out.set_draining(member.draining);
  out.set_shards_assigned(member.required());
  out.set_shards_ready(member.ready);
  out.set_shards_failed(static_cast<uint32_t>(member.failures.size()));
  out.set_shards_incoming(static_cast<uint32_t>(member.replaces.size()));
  out.set_shards_given_up(static_cast<uint32_t>(member.given_up.size()));
  out.set_assigned_bytes(member.assigned_bytes - member.incoming_bytes);
  out.set_ready_bytes(member.ready_bytes);
  out.set_ready(member.required() > 0 && member.holds());
  out.set_joining(IsJoining(member));
  if (member.shortage.has_value()) out.set_problem(FormatShortage(*member.shortage));
  return out;
}

}  // namespace muster
