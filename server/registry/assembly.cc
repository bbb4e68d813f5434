// The barrier by counting
//
// state() is asked at every revision, and must not look at every assignment of a large assembly. So
// each change takes away what the old value counted for and adds what the new one counts for:
//
//   counter                    counts
//   holders_of_shard_[s]       assignments of shard s that are not extra
//   claim_holders_of_shard_[s] those of them on members whose claim covers shards by itself
//   shards_short_              shards for which IsShort holds; at first all of them
//   ready_of_shard_[s]         assignments of shard s, not extra, that are READY on a live member
//   shards_ready_              shards with ready_of_shard_ > 0
//   moves_in_progress_, moving_bytes_   extra assignments (Member::replaces), and their bytes
//   Member::ready, ready_bytes the member's READY assignments that are not extra, live or not
//   Member::assigned_bytes, incoming_bytes   all its assignments; the extra ones
//   nodes_live_, nodes_open_, nodes_able_, nodes_ready_, nodes_joining_
//                              members that are live; open(); able(); for which holds(), IsJoining() hold
//   troubled_, leaving_        names of the members that reasons are about
//
// and of the members that are waited for (Waits) alone:
//
//   replicas_required_         assignments that are not extra
//   replicas_ready_            those of them that are READY on a live member
//   members_lacking_           members for which Lacks holds
//
// What changes them:
//
// 1. AddMember, RemoveMember: CountMember; a member comes and goes without assignments.
// 2. SetAssignments: takes the member and all its assignments out of the counters, replaces them,
//    and counts them again. An assignment that stays, with its generation, keeps its state and its
//    failure; all others begin as PENDING. A replica that a plan turns from extra to ordinary stays
//    too, so it counts as READY at that moment if it is.
// 3. Report and ResetReports: SetState, the only place where a single state changes.
// 4. SetLive, SetLeaving: SetStanding. A lost member's READY replicas stop counting in the
//    assembly, but not in the member: back with the same epoch, they count again.
// 5. SetShortage, NoteReady, LoadReadiness: whom the barrier waits for.
//
// CountReady looks at Member::live; CountMember at all that a member has, with the sums over its
// assignments: so a member is taken out of the counters before any change of it, and CountAgain adds
// it after that, in a few steps however many shards it has. CountAgain alone sets `established`: when
// the member is whole(), until it has no required assignment left, which only its release or its
// own leaving makes of a member that claims. What it changed goes into unstored_, for whoever writes rows.
//
// state() then is, with `whole` for: planned, no reasons from the plan, covered(), each shard READY
// somewhere (shards_ready_):
//
//   whole, nodes_ready_ >= min_nodes and replicas_ready_ == replicas_required_   READY
//   planned, with reasons from the plan, or nodes_able_ < min_nodes              WAITING
//   not planned, too few open nodes                                              WAITING
//   else, READY once                                                             DEGRADED
//   else                                                                         LOADING
//
// covered() holds the barrier between a change of members and the next plan: a member that left
// took its assignments out of replicas_required_, so the equation alone could hold with a shard
// missing.
//
// inputs_version_ rises with each change that a plan depends on, and what has changed notes it
// (Member::touched_at). A plan names the version that it was made from; late_plan.h says what holds
// of one that arrives at a later version.
#include "server/registry/assembly.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/registry/limits.h"
#include "server/registry/validation.h"
#include "storage/base/error_info.h"
#include "storage/base/limits.h"
#include "storage/base/reasons.h"
#include "storage/base/wording.h"

namespace muster {
namespace {

namespace v1 = muster::v1;
using State = v1::ShardReport;
using Outcome = Assembly::ReportResult::Outcome;

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
  failure.set_reason(CutText(failure.reason(), kMaxFailureReasonBytes));
  return failure;
}

}  // namespace

bool Assembly::HasDetails(const v1::ShardFailure& failure) {
  return !failure.message().empty() || !failure.location().empty() ||
         !failure.expected_md5().empty() || !failure.found_md5().empty() ||
         failure.attempts() != 0 || !failure.reason().empty();
}

Assembly::Assembly(store::AssemblyRow row, const Version& version, absl::Duration move_grace)
    : row_(std::move(row)),
      version_(version),
      move_grace_(move_grace),
      holders_of_shard_(version.shards.size(), 0),
      claim_holders_of_shard_(version.shards.size(), 0),
      shards_short_(static_cast<uint32_t>(version.shards.size())),
      ready_of_shard_(version.shards.size(), 0) {}

const Assembly::Member* Assembly::FindMember(const std::string& node) const {
  const auto found = members_.find(node);
  return found == members_.end() ? nullptr : &found->second;
}

bool Assembly::Selects(const google::protobuf::Map<std::string, std::string>& labels) const {
  for (const auto& [key, value] : row_.node_selector()) {
    const auto label = labels.find(key);
    if (label == labels.end() || label->second != value) return false;
  }
  return true;
}

uint64_t Assembly::move_budget_bytes() const {
  // A tenth lets a fleet of ten take in one more node with a single plan.
  return row_.has_move_budget_bytes() ? row_.move_budget_bytes() : version_.size_bytes / 10;
}

void Assembly::NoteReady() {
  for (const auto& [node, member] : members_) CountMember(member, -1);
  row_.set_was_ready(true);
  for (const auto& [node, member] : members_) CountMember(member, 1);
}

void Assembly::SetSettings(store::AssemblyRow row) {
  row_ = std::move(row);
  shards_short_ = 0;
  for (uint32_t shard = 0; shard < holders_of_shard_.size(); ++shard) {
    if (IsShort(shard)) ++shards_short_;
  }
}

absl::Status Assembly::CheckRoomFor(const v1::Claim& claim) const {
  Member member;
  member.claim = claim;
  member.meaning = MeaningOf(PolicyOf(row_.policy()), ClaimKindOf(claim.kind()));
  const uint64_t assignments = claimed_assignments_ + OwnShards(member);
  if (assignments <= kMaxClaimedAssignments) return absl::OkStatus();
  return MakeError(
      absl::StatusCode::kResourceExhausted, reasons::kTooManyItems,
      absl::StrCat(row_.name(), " would come to ", assignments, " assignments with this member, ",
                   "and an assembly may have ", kMaxClaimedAssignments,
                   ": publish in fewer shards, or use a policy that shares them out"),
      {{"field", "assignments"},
       {"assembly", row_.name()},
       {"count", absl::StrCat(assignments)},
       {"limit", absl::StrCat(kMaxClaimedAssignments)}});
}

void Assembly::AddMember(const std::string& node, Member member) {
  member.meaning = MeaningOf(PolicyOf(row_.policy()), ClaimKindOf(member.claim.kind()));
  member.own_shards = OwnShards(member);
  claimed_assignments_ += member.own_shards;
  CountMember(member, 1);
  if (member.leaving()) leaving_.insert(node);
  Touch(member);
  members_.emplace(node, std::move(member));
}

void Assembly::RemoveMember(const std::string& node) {
  SetAssignments(node, {}, {});
  CountMember(At(node), -1);
  claimed_assignments_ -= At(node).own_shards;
  leaving_.erase(node);
  troubled_.erase(node);
  unstored_.erase(node);
  members_.erase(node);
  TouchInputs();
}

template <typename Take>
void Assembly::ForEachOwn(ClaimKind meaning, const v1::Claim& claim, Take take) const {
  if (meaning == ClaimKind::kShards) {
    for (const uint32_t shard : claim.shards()) take(shard);
    return;
  }
  if (meaning == ClaimKind::kAny) return;
  for (uint32_t shard = 0; shard < version_.shards.size(); ++shard) {
    if (Covers(meaning, claim.ranks(), shard, version_.shards[shard].rank)) take(shard);
  }
}

uint32_t Assembly::OwnShards(const Member& member) const {
  // So that a load of many members looks at no shard.
  if (member.meaning == ClaimKind::kAll) return static_cast<uint32_t>(version_.shards.size());
  uint32_t count = 0;
  ForEachOwn(member.meaning, member.claim, [&](uint32_t) { ++count; });
  return count;
}

uint64_t Assembly::ClaimedBytes(const v1::Claim& claim) const {
  uint64_t bytes = 0;
  ForEachOwn(MeaningOf(PolicyOf(row_.policy()), ClaimKindOf(claim.kind())), claim,
             [&](uint32_t shard) { bytes += version_.shards[shard].size_bytes; });
  return bytes;
}

bool Assembly::Lacks(const Member& member) const {
  return Waits(member) && member.open() && member.required() < member.own_shards;
}

bool Assembly::IsShort(uint32_t shard) const {
  return claim_holders_of_shard_[shard] == 0 && holders_of_shard_[shard] < row_.replicas();
}

bool Assembly::IsLeaving(uint32_t shard) const {
  return std::any_of(leaving_.begin(), leaving_.end(), [&](const std::string& node) {
    const Member& member = members_.at(node);
    return member.PositionOf(shard) < member.assignments.size();
  });
}

void Assembly::CountHolder(const Member& member, uint32_t shard, int sign) {
  const bool was_short = IsShort(shard);
  holders_of_shard_[shard] += sign;
  if (member.meaning != ClaimKind::kAny) claim_holders_of_shard_[shard] += sign;
  shards_short_ += static_cast<uint32_t>(IsShort(shard)) - static_cast<uint32_t>(was_short);
}

void Assembly::CountReady(const Member& member, uint32_t shard, int sign) {
  if (!member.live) return;
  uint32_t& ready = ready_of_shard_[shard];
  if (sign > 0 ? ready == 0 : ready == 1) shards_ready_ += sign;
  ready += sign;
}

void Assembly::CountMember(const Member& member, int sign) {
  if (member.live) nodes_live_ += sign;
  if (member.open()) nodes_open_ += sign;
  if (member.able()) nodes_able_ += sign;
  if (member.holds()) nodes_ready_ += sign;
  if (IsJoining(member)) nodes_joining_ += sign;
  if (!Waits(member)) return;
  if (Lacks(member)) members_lacking_ += sign;
  replicas_required_ += sign * static_cast<uint64_t>(member.required());
  if (member.live) replicas_ready_ += sign * static_cast<uint64_t>(member.ready);
}

void Assembly::CountAgain(const std::string& node, Member& member) {
  const bool established =
      member.claims() && member.required() > 0 && (member.established || member.whole());
  if (std::exchange(member.established, established) != established) unstored_.insert(node);
  CountMember(member, 1);
}

void Assembly::CountAssignments(Member& member, int sign) {
  for (size_t i = 0; i < member.assignments.size(); ++i) {
    const uint32_t shard = member.assignments[i].shard;
    const uint64_t bytes = version_.shards[shard].size_bytes;
    member.assigned_bytes += sign * bytes;
    if (member.IsExtra(shard)) {
      member.incoming_bytes += sign * bytes;
      moving_bytes_ += sign * bytes;
      moves_in_progress_ += sign;
      continue;
    }
    CountHolder(member, shard, sign);
    if (member.states[i] != State::READY) continue;
    member.ready += sign;
    member.ready_bytes += sign * bytes;
    CountReady(member, shard, sign);
  }
}

void Assembly::SetStanding(const std::string& node, bool live, bool draining, bool selected) {
  Member& member = At(node);
  CountMember(member, -1);
  if (member.live != live) {
    // CountReady counts for live members only, both on the way in and on the way out.
    member.live = true;
    for (size_t i = 0; i < member.assignments.size(); ++i) {
      const uint32_t shard = member.assignments[i].shard;
      if (member.states[i] == State::READY && !member.IsExtra(shard)) {
        CountReady(member, shard, live ? 1 : -1);
      }
    }
    member.live = live;
  }
  member.draining = draining;
  member.selected = selected;
  if (member.leaving()) {
    leaving_.insert(node);
  } else {
    leaving_.erase(node);
  }
  CountAgain(node, member);
  NoteTrouble(node);
  Touch(member);
}

bool Assembly::HasTrouble(const Member& member) {
  // What a lost node has failed at helps nobody while it is away.
  if (!member.live) return member.required() > 0;
  return !member.failures.empty() || !member.given_up.empty() || member.shortage.has_value();
}

void Assembly::NoteTrouble(const std::string& node) {
  if (HasTrouble(At(node))) {
    troubled_.insert(node);
  } else {
    troubled_.erase(node);
  }
}

void Assembly::SetLive(const std::string& node, bool live) {
  const Member& member = At(node);
  if (member.live != live) SetStanding(node, live, member.draining, member.selected);
}

void Assembly::SetLeaving(const std::string& node, bool draining, bool selected) {
  const Member& member = At(node);
  if (member.draining != draining || member.selected != selected) {
    SetStanding(node, member.live, draining, selected);
  }
}

void Assembly::SetCached(const std::string& node, std::vector<uint32_t> shards) {
  At(node).cached = std::move(shards);
  Touch(At(node));
}

void Assembly::ClearFailure(Member& member, uint32_t shard) {
  const auto failure = member.failures.find(shard);
  if (HasDetails(failure->second)) --member.detailed_failures;
  member.failures.erase(failure);
}

void Assembly::SetState(Member& member, size_t position, State::State state) {
  const uint32_t shard = member.assignments[position].shard;
  const bool extra = member.IsExtra(shard);
  uint8_t& present = member.states[position];
  if (present == State::READY && !extra) {
    --member.ready;
    member.ready_bytes -= version_.shards[shard].size_bytes;
    CountReady(member, shard, -1);
  }
  if (present == State::FAILED) ClearFailure(member, shard);
  present = static_cast<uint8_t>(state);
  if (state == State::READY && !extra) {
    ++member.ready;
    member.ready_bytes += version_.shards[shard].size_bytes;
    CountReady(member, shard, 1);
  }
}

void Assembly::ResetReports(const std::string& node, Epoch epoch) {
  Member& member = At(node);
  member.epoch = epoch;
  member.report_sequence = 0;
  CountMember(member, -1);
  for (size_t i = 0; i < member.states.size(); ++i) SetState(member, i, State::PENDING);
  CountAgain(node, member);
  NoteTrouble(node);
  Touch(member);
}

AssignmentChange Assembly::SetAssignments(const std::string& node,
                                          std::vector<Assignment> assignments,
                                          Replacements replaces) {
  Member& member = At(node);
  AssignmentChange change{member.node, row_.name(), uid(), version_.uid,
                          {},          {},          node,  version_.row.name()};
  CountMember(member, -1);
  CountAssignments(member, -1);
  // Both lists are in shard order, so one walk over them, as in a merge, finds what left (old
  // only), what is new (new only), and what stays or has another generation (both). The last turn
  // of the outer loop, beyond the new list's end, takes the rest of the old one.
  std::vector<uint8_t> states(assignments.size(), State::PENDING);
  const auto forget = [&](size_t position) {
    if (member.states[position] != State::FAILED) return;
    ClearFailure(member, member.assignments[position].shard);
  };
  size_t old = 0;
  for (size_t i = 0; i <= assignments.size(); ++i) {
    const bool end = i == assignments.size();
    for (; old < member.assignments.size() &&
           (end || member.assignments[old].shard < assignments[i].shard);
         ++old) {
      forget(old);
      change.unassigned.push_back(member.assignments[old].shard);
    }
    if (end) break;
    if (old < member.assignments.size() && member.assignments[old].shard == assignments[i].shard) {
      if (member.assignments[old] == assignments[i]) {
        states[i] = member.states[old];
      } else {
        forget(old);
        change.assigned.push_back(assignments[i]);
      }
      ++old;
    } else {
      change.assigned.push_back(assignments[i]);
    }
  }
  member.assignments = std::move(assignments);
  member.states = std::move(states);
  member.replaces = std::move(replaces);
  CountAssignments(member, 1);
  CountAgain(node, member);
  NoteTrouble(node);
  return change;
}

void Assembly::SetShortage(const std::string& node, std::optional<PlanShortage> shortage) {
  Member& member = At(node);
  CountMember(member, -1);
  member.shortage = shortage;
  CountAgain(node, member);
  NoteTrouble(node);
}

bool Assembly::TakeReport(Member& member, size_t position, const v1::ShardReport& report) {
  if (report.state() != State::FAILED) {
    if (member.states[position] == report.state()) return false;
    SetState(member, position, report.state());
    return true;
  }
  // Few failures are kept with details (kMaxDetailedFailures); one that has them keeps its place.
  const auto present = member.failures.find(report.shard());
  const bool has_slot = present != member.failures.end() && HasDetails(present->second);
  const bool detailed = has_slot || member.detailed_failures < kMaxDetailedFailures;
  v1::ShardFailure failure = Cut(report.failure(), detailed);
  if (present != member.failures.end() &&
      present->second.SerializeAsString() == failure.SerializeAsString()) {
    return false;
  }
  SetState(member, position, State::FAILED);
  if (HasDetails(failure)) ++member.detailed_failures;
  member.failures[report.shard()] = std::move(failure);
  return true;
}

bool Assembly::GiveUp(Member& member, const v1::ShardReport& report, int64_t now_us) {
  if (report.state() != State::FAILED || report.failure().attempts() < kAttemptsBeforeGivingUp ||
      member.given_up.contains(report.shard())) {
    return false;
  }
  if (member.given_up.size() >= kMaxGivenUpShards) {
    // The one that would be forgotten first makes room.
    member.given_up.erase(std::min_element(
        member.given_up.begin(), member.given_up.end(), [](const auto& a, const auto& b) {
          return a.second.expire_time_us() < b.second.expire_time_us();
        }));
  }
  auto& given_up = member.given_up[report.shard()];
  given_up.set_shard(report.shard());
  given_up.set_expire_time_us(now_us + kGivenUpUs);
  given_up.mutable_failure()->set_code(report.failure().code());
  given_up.mutable_failure()->set_attempts(report.failure().attempts());
  given_up.mutable_failure()->set_message(
      ShortText(report.failure().message(), kMaxGivenUpMessageBytes));
  given_up.mutable_failure()->set_reason(
      CutText(report.failure().reason(), kMaxFailureReasonBytes));
  given_up.mutable_failure()->set_needed_bytes(report.failure().needed_bytes());
  given_up.mutable_failure()->set_free_bytes(report.failure().free_bytes());
  return true;
}

bool Assembly::TakeReportSequence(const std::string& node, uint64_t sequence) {
  if (sequence == 0) return true;
  Member& member = At(node);
  if (sequence < member.report_sequence) return false;
  member.report_sequence = sequence;
  return true;
}

Assembly::ReportResult Assembly::Report(const std::string& node, const v1::ShardReport& report,
                                        int64_t now_us) {
  Member& member = At(node);
  const uint32_t shard = report.shard();
  const size_t position = member.PositionOf(shard);
  ReportResult result;
  if (position == member.assignments.size() ||
      member.assignments[position].generation != Generation(report.generation())) {
    return result;
  }
  result.outcome = Outcome::kUnchanged;
  result.before = static_cast<State::State>(member.states[position]);
  result.given_up = GiveUp(member, report, now_us);
  CountMember(member, -1);
  const bool taken = TakeReport(member, position, report);
  CountAgain(node, member);
  if (!taken && !result.given_up) return result;
  result.outcome = Outcome::kChanged;
  result.wants_plan = result.given_up;
  if (result.given_up) TouchInputs();
  // A plan that is being made may count on what was READY, or take away what is only now.
  bool touched = result.before == State::READY;
  if (report.state() == State::READY) {
    if (member.given_up.erase(shard) > 0) touched = true;
    result.wants_plan = member.IsExtra(shard) || IsLeaving(shard);
  }
  NoteTrouble(node);
  if (touched) Touch(member);
  return result;
}

bool Assembly::ExpireGivenUp(const std::string& node, int64_t now_us) {
  const size_t expired = std::erase_if(At(node).given_up, [&](const auto& entry) {
    return entry.second.expire_time_us() <= now_us;
  });
  if (expired == 0) return false;
  NoteTrouble(node);
  TouchInputs();
  return true;
}

v1::Assembly::State Assembly::state() const {
  const bool planned = row_.generation() != 0;
  const bool whole = planned && row_.plan_reasons().empty() && covered() &&
                     shards_ready_ == ready_of_shard_.size();
  if (whole && replicas_ready_ == replicas_required_ && nodes_ready_ >= row_.min_nodes()) {
    return v1::Assembly::READY;
  }
  if (planned ? !row_.plan_reasons().empty() || too_few_left() : nodes_open_ < row_.min_nodes()) {
    return v1::Assembly::WAITING;
  }
  return row_.was_ready() ? v1::Assembly::DEGRADED : v1::Assembly::LOADING;
}

bool Assembly::WantsPlan() const {
  return row_.generation() != 0 || nodes_open_ >= row_.min_nodes();
}

}  // namespace muster
