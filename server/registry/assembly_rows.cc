// The rows of an assembly's members, there and back.

#include <map>
#include <utility>

#include "server/registry/assembly.h"
#include "server/registry/index_runs.h"
#include "server/registry/limits.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

namespace v1 = muster::v1;
using State = v1::ShardReport;

// Below it a row fits even where each shard is a group of its own: 33 bytes each, beside 16 failures
// with details and what was given up.
constexpr size_t kSmallMember = 5'000;

bool Fits(const store::ReadinessRow& row) { return row.ByteSizeLong() <= kMaxRowBytes; }

}  // namespace

store::AssignmentRow Assembly::AssignmentRowOf(const Member& member) const {
  std::map<std::pair<Generation, NodeUid>, std::vector<uint32_t>> groups;
  for (const Assignment& assignment : member.assignments) {
    const auto replaced = member.replaces.find(assignment.shard);
    const NodeUid replaces = replaced == member.replaces.end() ? NodeUid() : replaced->second;
    groups[{assignment.generation, replaces}].push_back(assignment.shard);
  }
  store::AssignmentRow row;
  for (const auto& [key, shards] : groups) {
    auto* group = row.add_groups();
    group->set_generation(key.first.value);
    group->set_replaces(key.second.value);
    *group->mutable_shard_runs() = PackRuns(shards);
  }
  if (member.shortage.has_value()) {
    row.mutable_shortage()->set_needed_bytes(member.shortage->needed_bytes);
    row.mutable_shortage()->set_free_bytes(member.shortage->free_bytes);
  }
  return row;
}

store::ReadinessRow Assembly::ReadinessRowOf(const Member& member) const {
  store::ReadinessRow row = ReadinessRowOf(member, Detail::kAll);
  // Measuring a long row takes as long as making it, and most members are far from the limit.
  if (member.assignments.size() < kSmallMember || Fits(row)) return row;
  row = ReadinessRowOf(member, Detail::kCodes);
  if (!Fits(row)) row = ReadinessRowOf(member, Detail::kReady);
  return row;
}

store::ReadinessRow Assembly::ReadinessRowOf(const Member& member, Detail detail) const {
  struct Packed {
    RunPacker ready, fetching;
    std::vector<uint32_t> detailed;
    std::map<v1::ShardFailure::Code, RunPacker> failed;
  };
  std::map<Generation, Packed> groups;
  // Neighbours mostly come from one plan.
  Packed* group = nullptr;
  Generation generation;
  for (size_t i = 0; i < member.assignments.size(); ++i) {
    const auto& [shard, of] = member.assignments[i];
    if (group == nullptr || of != generation) {
      generation = of;
      group = &groups[of];
    }
    if (member.states[i] == State::READY) group->ready.Add(shard);
    if (detail == Detail::kReady) continue;
    if (member.states[i] == State::FETCHING) group->fetching.Add(shard);
    if (member.states[i] != State::FAILED) continue;
    const v1::ShardFailure& failure = member.failures.at(shard);
    if (detail == Detail::kAll && HasDetails(failure)) {
      group->detailed.push_back(shard);
    } else {
      group->failed[failure.code()].Add(shard);
    }
  }
  store::ReadinessRow row;
  row.set_epoch(member.epoch.value);
  row.set_report_sequence(member.report_sequence);
  row.set_established(member.established);
  for (auto& [of, packed] : groups) {
    auto* out = row.add_groups();
    out->set_generation(of.value);
    *out->mutable_ready_runs() = packed.ready.Take();
    *out->mutable_fetching_runs() = packed.fetching.Take();
    for (auto& [code, shards] : packed.failed) {
      auto* runs = out->add_failed_runs();
      runs->set_code(code);
      *runs->mutable_shard_runs() = shards.Take();
    }
    for (const uint32_t shard : packed.detailed) {
      auto* failure = out->add_failures();
      failure->set_shard(shard);
      *failure->mutable_failure() = member.failures.at(shard);
    }
  }
  for (const auto& [shard, given_up] : member.given_up) *row.add_given_up() = given_up;
  return row;
}

absl::Status Assembly::LoadReadiness(const std::string& node, const store::ReadinessRow& row) {
  Member& member = At(node);
  CountMember(member, -1);
  absl::Status taken = TakeReadiness(member, row);
  member.established = WasEstablished(member, row);
  CountAgain(node, member);
  const bool stored = row.has_established() && row.established() == member.established;
  if (member.claims() && !stored) unstored_.insert(node);
  if (stored) unstored_.erase(node);
  NoteTrouble(node);
  return taken;
}

bool Assembly::WasEstablished(const Member& member, const store::ReadinessRow& row) {
  if (row.has_established()) return row.established();
  return member.claims() && member.required() >= member.own_shards &&
         member.ready == member.required();
}

absl::Status Assembly::TakeReadiness(Member& member, const store::ReadinessRow& row) {
  // What was given up stays so when the node is registered again; its reports do not.
  for (const auto& given_up : row.given_up()) member.given_up[given_up.shard()] = given_up;
  if (Epoch(row.epoch()) != member.epoch) return absl::OkStatus();
  member.report_sequence = row.report_sequence();
  const auto limit = static_cast<uint32_t>(ready_of_shard_.size());
  const auto report_loaded = [&](const v1::ShardReport& report) {
    const size_t position = member.PositionOf(report.shard());
    if (position < member.assignments.size() &&
        member.assignments[position].generation == Generation(report.generation())) {
      TakeReport(member, position, report);
    }
  };
  for (const auto& group : row.groups()) {
    v1::ShardReport report;
    report.set_generation(group.generation());
    const auto take = [&](const google::protobuf::RepeatedField<uint32_t>& runs,
                          State::State state) -> absl::Status {
      MUSTER_ASSIGN_OR_RETURN(const std::vector<uint32_t> shards, UnpackRuns(runs, limit));
      report.set_state(state);
      for (const uint32_t shard : shards) {
        report.set_shard(shard);
        report_loaded(report);
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
      report_loaded(report);
    }
  }
  return absl::OkStatus();
}

}  // namespace muster
