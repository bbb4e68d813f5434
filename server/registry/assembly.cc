#include "server/registry/assembly.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/registry/index_runs.h"
#include "server/registry/limits.h"
#include "server/registry/timestamps.h"
#include "server/registry/validation.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

namespace v1 = muster::v1;
using State = v1::ShardReport;

// The position of an assignment of `shard`, or the size of the list.
size_t PositionOf(const Assembly::Member& member, uint32_t shard) {
  const auto found = std::lower_bound(
      member.assignments.begin(), member.assignments.end(), shard,
      [](const Assignment& assignment, uint32_t wanted) { return assignment.shard < wanted; });
  if (found == member.assignments.end() || found->shard != shard) return member.assignments.size();
  return static_cast<size_t>(found - member.assignments.begin());
}

bool HasDetails(const v1::ShardFailure& failure) {
  return !failure.message().empty() || !failure.location().empty() ||
         !failure.expected_md5().empty() || !failure.found_md5().empty();
}

v1::ShardFailure Cut(v1::ShardFailure failure, bool detailed) {
  if (!detailed) {
    const v1::ShardFailure::Code code = failure.code();
    failure.Clear();
    failure.set_code(code);
    return failure;
  }
  failure.set_message(CutText(failure.message(), kMaxFailureMessageBytes));
  failure.set_location(CutText(failure.location(), kMaxFailureMessageBytes));
  failure.set_expected_md5(CutText(failure.expected_md5(), 32));
  failure.set_found_md5(CutText(failure.found_md5(), 32));
  return failure;
}

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
  bool full() const { return count_ > 4 * kMaxReasons; }
  void Finish() {
    if (count_ < kMaxReasons) return;
    v1::AssemblyReason* reason = out_.add_reasons();
    reason->set_code(v1::AssemblyReason::SHARDS_LOADING);
    reason->set_message(
        absl::StrCat(full() ? "at least " : "", count_ - kMaxReasons + 1, " more reasons"));
  }

 private:
  v1::Assembly& out_;
  v1::AssemblyReason rest_;
  int count_ = 0;
};

}  // namespace

Assembly::Assembly(store::AssemblyRow row, const Version& version)
    : row_(std::move(row)),
      version_(version),
      holders_of_shard_(version.shards.size(), 0),
      claim_holders_of_shard_(version.shards.size(), 0),
      shards_short_(static_cast<uint32_t>(version.shards.size())),
      ready_of_shard_(version.shards.size(), 0) {}

const Assembly::Member* Assembly::FindMember(const std::string& node) const {
  const auto found = members_.find(node);
  return found == members_.end() ? nullptr : &found->second;
}

void Assembly::AddMember(const std::string& node, Member member) {
  if (member.live) ++nodes_live_;
  if (Lacks(member)) ++members_lacking_;
  members_.emplace(node, std::move(member));
  TouchInputs();
}

void Assembly::RemoveMember(const std::string& node) {
  SetAssignments(node, {});
  const Member& member = At(node);
  if (member.live) --nodes_live_;
  if (Lacks(member)) --members_lacking_;
  members_.erase(node);
  TouchInputs();
}

bool Assembly::Lacks(const Member& member) const {
  if (!member.live) return false;
  size_t own = 0;
  if (row_.policy() == v1::Assembly::FULL ||
      (row_.policy() == v1::Assembly::DECLARED && member.claim.kind() == v1::Claim::ALL)) {
    own = version_.shards.size();
  } else if (row_.policy() == v1::Assembly::DECLARED) {
    own = static_cast<size_t>(member.claim.shards_size());
  }
  return member.assignments.size() < own;
}

bool Assembly::IsShort(uint32_t shard) const {
  switch (row_.policy()) {
    case v1::Assembly::FULL:
      return holders_of_shard_[shard] == 0;
    case v1::Assembly::DECLARED:
      return claim_holders_of_shard_[shard] == 0 && holders_of_shard_[shard] < row_.replicas();
    default:
      return holders_of_shard_[shard] < row_.replicas();
  }
}

void Assembly::CountHolder(const Member& member, uint32_t shard, int sign) {
  const bool was_short = IsShort(shard);
  holders_of_shard_[shard] += sign;
  if (member.claim.kind() != v1::Claim::ANY) claim_holders_of_shard_[shard] += sign;
  shards_short_ += static_cast<uint32_t>(IsShort(shard)) - static_cast<uint32_t>(was_short);
}

void Assembly::Count(const Member& member, uint32_t shard, int sign) {
  if (!member.live) return;
  replicas_ready_ += sign;
  uint32_t& ready = ready_of_shard_[shard];
  if (sign > 0 ? ready == 0 : ready == 1) shards_ready_ += sign;
  ready += sign;
}

void Assembly::SetLive(const std::string& node, bool live) {
  Member& member = At(node);
  if (member.live == live) return;
  if (Lacks(member)) --members_lacking_;
  member.live = true;
  for (size_t i = 0; i < member.assignments.size(); ++i) {
    if (member.states[i] == State::READY) Count(member, member.assignments[i].shard, live ? 1 : -1);
  }
  member.live = live;
  nodes_live_ += live ? 1 : -1;
  if (Lacks(member)) ++members_lacking_;
  TouchInputs();
}

void Assembly::SetState(Member& member, size_t position, State::State state) {
  const uint32_t shard = member.assignments[position].shard;
  uint8_t& present = member.states[position];
  if (present == State::READY) {
    --member.ready;
    member.ready_bytes -= version_.shards[shard].size_bytes;
    Count(member, shard, -1);
  }
  if (present == State::FAILED) {
    const auto failure = member.failures.find(shard);
    if (HasDetails(failure->second)) --member.detailed_failures;
    member.failures.erase(failure);
  }
  present = static_cast<uint8_t>(state);
  if (state == State::READY) {
    ++member.ready;
    member.ready_bytes += version_.shards[shard].size_bytes;
    Count(member, shard, 1);
  }
}

void Assembly::ResetReports(const std::string& node, Epoch epoch) {
  Member& member = At(node);
  member.epoch = epoch;
  for (size_t i = 0; i < member.states.size(); ++i) SetState(member, i, State::PENDING);
}

AssignmentEvent Assembly::SetAssignments(const std::string& node,
                                         std::vector<Assignment> assignments) {
  Member& member = At(node);
  AssignmentEvent event{member.node, row_.name(), uid(), version_.uid,
                        {},          {},          node,  version_.row.name()};
  std::vector<uint8_t> states(assignments.size(), State::PENDING);
  size_t old = 0;
  for (size_t i = 0; i <= assignments.size(); ++i) {
    const bool end = i == assignments.size();
    for (; old < member.assignments.size() &&
           (end || member.assignments[old].shard < assignments[i].shard);
         ++old) {
      SetState(member, old, State::PENDING);
      event.unassigned.push_back(member.assignments[old].shard);
    }
    if (end) break;
    if (old < member.assignments.size() && member.assignments[old].shard == assignments[i].shard) {
      if (member.assignments[old] == assignments[i]) {
        states[i] = member.states[old];
      } else {
        SetState(member, old, State::PENDING);
        event.assigned.push_back(assignments[i]);
      }
      ++old;
    } else {
      event.assigned.push_back(assignments[i]);
    }
  }
  replicas_required_ += assignments.size();
  replicas_required_ -= member.assignments.size();
  for (const Assignment& assignment : member.assignments) CountHolder(member, assignment.shard, -1);
  if (Lacks(member)) --members_lacking_;
  member.assigned_bytes = 0;
  for (const Assignment& assignment : assignments) {
    member.assigned_bytes += version_.shards[assignment.shard].size_bytes;
    CountHolder(member, assignment.shard, 1);
  }
  member.assignments = std::move(assignments);
  member.states = std::move(states);
  if (Lacks(member)) ++members_lacking_;
  return event;
}

Assembly::ReportOutcome Assembly::Report(const std::string& node, const v1::ShardReport& report,
                                         v1::ShardReport::State* old_state) {
  Member& member = At(node);
  const size_t position = PositionOf(member, report.shard());
  if (position == member.assignments.size() ||
      member.assignments[position].generation != Generation(report.generation())) {
    return ReportOutcome::kGone;
  }
  if (old_state != nullptr) *old_state = static_cast<State::State>(member.states[position]);
  if (report.state() != State::FAILED) {
    if (member.states[position] == report.state()) return ReportOutcome::kUnchanged;
    SetState(member, position, report.state());
    return ReportOutcome::kChanged;
  }
  const auto present = member.failures.find(report.shard());
  const bool has_slot = present != member.failures.end() && HasDetails(present->second);
  const bool detailed = has_slot || member.detailed_failures < kMaxDetailedFailures;
  v1::ShardFailure failure = Cut(report.failure(), detailed);
  if (present != member.failures.end() &&
      present->second.SerializeAsString() == failure.SerializeAsString()) {
    return ReportOutcome::kUnchanged;
  }
  SetState(member, position, State::FAILED);
  if (HasDetails(failure)) ++member.detailed_failures;
  member.failures[report.shard()] = std::move(failure);
  return ReportOutcome::kChanged;
}

v1::Assembly::State Assembly::state() const {
  const bool planned = row_.generation() != 0;
  const bool whole = planned && row_.plan_reasons().empty() && covered();
  if (whole && replicas_ready_ == replicas_required_) return v1::Assembly::READY;
  // min_nodes is a gate for the first plan: once it was passed, losing nodes makes DEGRADED, not
  // WAITING.
  if (planned ? !row_.plan_reasons().empty() : nodes_live_ < row_.min_nodes()) {
    return v1::Assembly::WAITING;
  }
  return row_.was_ready() ? v1::Assembly::DEGRADED : v1::Assembly::LOADING;
}

bool Assembly::WantsPlan() const {
  return row_.generation() != 0 || nodes_live_ >= row_.min_nodes();
}

void Assembly::AddReasons(v1::Assembly& out) const {
  ReasonList reasons(out);
  if (row_.generation() == 0) {
    const bool waiting = nodes_live_ < row_.min_nodes();
    v1::AssemblyReason* reason =
        reasons.Add(waiting ? v1::AssemblyReason::TOO_FEW_NODES : v1::AssemblyReason::PLANNING);
    reason->set_message(waiting
                            ? absl::StrCat(nodes_live_, " of ", row_.min_nodes(), " nodes joined")
                            : "a plan is being made");
  } else if (row_.plan_reasons().empty() && !covered()) {
    reasons.Add(v1::AssemblyReason::PLANNING)
        ->set_message("a plan is being made, as members have come or gone");
  }
  for (const auto& stored : row_.plan_reasons()) *reasons.Add(stored.code()) = stored;
  for (const auto& [node, member] : members_) {
    if (reasons.full()) break;
    if (!member.live && !member.assignments.empty()) {
      v1::AssemblyReason* reason = reasons.Add(v1::AssemblyReason::NODE_LOST);
      reason->set_node(node);
      reason->set_message(absl::StrCat(node, " is lost: its lease ran out; it holds ",
                                       member.assignments.size(), " shards of this assembly"));
    }
    for (const auto& [shard, failure] : member.failures) {
      if (reasons.full()) break;
      v1::AssemblyReason* reason = reasons.Add(v1::AssemblyReason::SHARD_FAILED);
      reason->set_node(node);
      reason->add_shards(shard);
      reason->set_message(absl::StrCat("shard ", shard, " failed on ", node, ": ",
                                       v1::ShardFailure::Code_Name(failure.code()), " ",
                                       failure.message()));
    }
  }
  const uint64_t open = replicas_required_ - replicas_ready_;
  if (open > 0) {
    v1::AssemblyReason* reason = reasons.Add(v1::AssemblyReason::SHARDS_LOADING);
    reason->set_message(
        absl::StrCat(replicas_ready_, " of ", replicas_required_, " shard replicas are ready"));
  }
  reasons.Finish();
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
  if (out.state() != v1::Assembly::READY) AddReasons(out);
  return out;
}

v1::AssemblyMember Assembly::DescribeMember(const std::string& node, const Member& member) const {
  v1::AssemblyMember out;
  out.set_node(node);
  *out.mutable_claim() = member.claim;
  out.set_live(member.live);
  out.set_shards_assigned(static_cast<uint32_t>(member.assignments.size()));
  out.set_shards_ready(member.ready);
  out.set_shards_failed(static_cast<uint32_t>(member.failures.size()));
  out.set_assigned_bytes(member.assigned_bytes);
  out.set_ready_bytes(member.ready_bytes);
  out.set_ready(member.live && !member.assignments.empty() &&
                member.ready == member.assignments.size());
  return out;
}

store::AssignmentRow Assembly::AssignmentRowOf(const Member& member) const {
  std::map<Generation, std::vector<uint32_t>> groups;
  for (const Assignment& assignment : member.assignments) {
    groups[assignment.generation].push_back(assignment.shard);
  }
  store::AssignmentRow row;
  for (const auto& [generation, shards] : groups) {
    auto* group = row.add_groups();
    group->set_generation(generation.value);
    *group->mutable_shard_runs() = PackRuns(shards);
  }
  return row;
}

store::ReadinessRow Assembly::ReadinessRowOf(const Member& member) const {
  struct Lists {
    std::vector<uint32_t> ready, fetching, detailed;
    std::map<v1::ShardFailure::Code, std::vector<uint32_t>> failed;
  };
  std::map<Generation, Lists> lists;
  for (size_t i = 0; i < member.assignments.size(); ++i) {
    Lists& group = lists[member.assignments[i].generation];
    const uint32_t shard = member.assignments[i].shard;
    if (member.states[i] == State::READY) group.ready.push_back(shard);
    if (member.states[i] == State::FETCHING) group.fetching.push_back(shard);
    if (member.states[i] != State::FAILED) continue;
    const v1::ShardFailure& failure = member.failures.at(shard);
    (HasDetails(failure) ? group.detailed : group.failed[failure.code()]).push_back(shard);
  }
  store::ReadinessRow row;
  row.set_epoch(member.epoch.value);
  for (const auto& [generation, group] : lists) {
    auto* out = row.add_groups();
    out->set_generation(generation.value);
    *out->mutable_ready_runs() = PackRuns(group.ready);
    *out->mutable_fetching_runs() = PackRuns(group.fetching);
    for (const auto& [code, shards] : group.failed) {
      auto* runs = out->add_failed_runs();
      runs->set_code(code);
      *runs->mutable_shard_runs() = PackRuns(shards);
    }
    for (const uint32_t shard : group.detailed) {
      auto* failure = out->add_failures();
      failure->set_shard(shard);
      *failure->mutable_failure() = member.failures.at(shard);
    }
  }
  return row;
}

absl::Status Assembly::LoadReadiness(const std::string& node, const store::ReadinessRow& row) {
  if (Epoch(row.epoch()) != At(node).epoch) return absl::OkStatus();
  const auto limit = static_cast<uint32_t>(ready_of_shard_.size());
  for (const auto& group : row.groups()) {
    v1::ShardReport report;
    report.set_generation(group.generation());
    const auto take = [&](const google::protobuf::RepeatedField<uint32_t>& runs,
                          State::State state) -> absl::Status {
      MUSTER_ASSIGN_OR_RETURN(const std::vector<uint32_t> shards, UnpackRuns(runs, limit));
      report.set_state(state);
      for (const uint32_t shard : shards) {
        report.set_shard(shard);
        Report(node, report, nullptr);
      }
      return absl::OkStatus();
    };
    MUSTER_RETURN_IF_ERROR(take(group.ready_runs(), State::READY));
    MUSTER_RETURN_IF_ERROR(take(group.fetching_runs(), State::FETCHING));
    for (const auto& failed : group.failed_runs()) {
      report.mutable_failure()->Clear();
      report.mutable_failure()->set_code(failed.code());
      MUSTER_RETURN_IF_ERROR(take(failed.shard_runs(), State::FAILED));
    }
    for (const auto& failure : group.failures()) {
      report.set_state(State::FAILED);
      report.set_shard(failure.shard());
      *report.mutable_failure() = failure.failure();
      Report(node, report, nullptr);
    }
  }
  return absl::OkStatus();
}

}  // namespace muster
