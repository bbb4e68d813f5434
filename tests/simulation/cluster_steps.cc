#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "storage/base/limits.h"
#include "tests/simulation/steps.h"

namespace muster {
namespace {

namespace v1 = muster::v1;

uint64_t NodeCount(const World& world) { return world.big ? 60 : 6; }

const Node* FindNode(const World& world, const std::string& name) {
  const auto found = world.registry().nodes().Find(name);
  return found.ok() ? *found : nullptr;
}

// In some of the cases a dry run, in some of the others a call that may be repeated.
template <typename Request>
void CheckOrMakeRepeatable(World& world, uint64_t dry_run_percent, Request& request,
                           Attempt& attempt) {
  if (world.Chance(dry_run_percent)) {
    request.set_validate_only(true);
    attempt.changes_nothing = true;
  } else if (world.Chance(30)) {
    request.set_request_id(attempt.request_id = world.NextRequestId());
  }
}

std::string SomeNode(World& world) {
  return absl::StrCat("nodes/n", world.Below(NodeCount(world)));
}

// Notes the epoch that the call gave; it may be an older call's, answered again.
void NoteEpoch(World& world, const std::string& name, const JobResult& result) {
  const auto* reply = dynamic_cast<const v1::RegisterNodeResponse*>(result.reply.get());
  if (reply == nullptr) return;
  SimulatedAgent& agent = world.agents[name];
  if (agent.epoch != 0) agent.old_epochs.push_back(agent.epoch);
  agent.epoch = reply->epoch();
}

Attempt DeregisterAttempt(World& world, const std::string& name) {
  Attempt attempt{.what = absl::StrCat("deregister ", name)};
  const Node* node = FindNode(world, name);
  v1::DeregisterNodeRequest request;
  request.set_name(name);
  attempt.expect = node == nullptr ? "NODE_UNKNOWN" : "OK";
  const SimulatedAgent& agent = world.agents[name];
  if (world.Chance(50)) {
    const bool stale = world.Chance(30) && !agent.old_epochs.empty();
    request.set_epoch(stale ? agent.old_epochs.back() : agent.epoch);
    if (node != nullptr && node->epoch().value != request.epoch()) attempt.expect = "NODE_FENCED";
  }
  CheckOrMakeRepeatable(world, 20, request, attempt);
  attempt.commands.push_back(std::move(request));
  return attempt;
}

// Of a shard that somebody means to publish, or of none.
std::string SomeDigest(World& world) {
  const std::string name = world.PickName(world.intended);
  if (name.empty() || world.Chance(20)) return std::string(16, 'x');
  const auto& shards = world.intended[name].shards;
  const v1::Shard& shard = shards[world.Below(shards.size())];
  return absl::HexStringToBytes(shard.root().empty() ? shard.md5() : shard.root());
}

Attempt DrainAttempt(World& world, const std::string& name) {
  v1::DrainNodeRequest request;
  request.set_name(name);
  request.set_cancel(world.Chance(40));
  Attempt attempt{.what = absl::StrCat(request.cancel() ? "cancel the drain of " : "drain ", name)};
  if (!request.cancel() && world.Chance(50)) {
    request.mutable_deadline()->set_seconds(1 + static_cast<int64_t>(world.Below(60)));
  }
  const Node* node = FindNode(world, name);
  attempt.expect = node == nullptr ? "NODE_UNKNOWN" : "OK";
  const SimulatedAgent& agent = world.agents[name];
  if (world.Chance(20) && !agent.old_epochs.empty()) {
    request.set_epoch(agent.old_epochs.back());
    if (node != nullptr && node->epoch().value != request.epoch()) attempt.expect = "NODE_FENCED";
  }
  CheckOrMakeRepeatable(world, 20, request, attempt);
  attempt.commands.push_back(std::move(request));
  return attempt;
}

Attempt UpdateNodeAttempt(World& world, const std::string& name) {
  Attempt attempt{.what = absl::StrCat("update ", name)};
  v1::UpdateNodeRequest request;
  v1::Node& node = *request.mutable_node();
  node.set_name(name);
  if (world.Chance(70)) {
    request.mutable_update_mask()->add_paths("capacity_bytes");
    if (world.Chance(60)) node.set_capacity_bytes(1 + world.Below(world.big ? 60'000 : 6'000));
  }
  if (world.Chance(50) || request.update_mask().paths().empty()) {
    request.mutable_update_mask()->add_paths("labels");
    (*node.mutable_labels())["pool"] = world.Chance(70) ? "a" : "b";
  }
  attempt.expect = FindNode(world, name) == nullptr ? "NODE_UNKNOWN" : "OK";
  CheckOrMakeRepeatable(world, 10, request, attempt);
  attempt.commands.push_back(std::move(request));
  return attempt;
}

Attempt UpdateAssemblyAttempt(World& world, const std::string& name) {
  Attempt attempt{.what = absl::StrCat("update ", name)};
  v1::UpdateAssemblyRequest request;
  v1::Assembly& assembly = *request.mutable_assembly();
  assembly.set_name(name);
  request.mutable_update_mask()->add_paths("replicas");
  assembly.set_replicas(static_cast<uint32_t>(world.Below(4)));
  if (world.Chance(50)) {
    request.mutable_update_mask()->add_paths("min_nodes");
    assembly.set_min_nodes(static_cast<uint32_t>(world.Below(4)));
  }
  const auto found = world.registry().assemblies().Find(name);
  attempt.expect = found.ok() ? "OK" : "ASSEMBLY_UNKNOWN";
  if (found.ok() && world.Chance(30)) {
    const bool stale = world.Chance(30);
    request.set_uid(stale ? "stale" : world.registry().assemblies().Describe(**found).uid());
    if (stale) attempt.expect = "UID_DIFFERS";
  }
  if (world.Chance(10)) {
    request.set_validate_only(true);
    attempt.changes_nothing = true;
  }
  // Without a request id: a reply that is kept would show the revision that the assembly was last
  // shown under, which no row has.
  attempt.idempotent = attempt.expect == "OK";
  attempt.commands.push_back(std::move(request));
  return attempt;
}

Attempt CreateAssemblyAttempt(World& world, const std::string& name) {
  Attempt attempt{.what = absl::StrCat("create ", name)};
  v1::CreateAssemblyRequest request;
  v1::Assembly& assembly = *request.mutable_assembly();
  assembly.set_name(name);
  const std::string version =
      world.big ? "models/big/versions/v" : absl::StrCat("models/m/versions/v", world.Below(4));
  assembly.set_model_version(version);
  assembly.set_policy(static_cast<v1::Assembly::Policy>(1 + world.Below(3)));
  if (world.Chance(20)) (*assembly.mutable_node_selector())["pool"] = "a";
  assembly.set_min_nodes(static_cast<uint32_t>(world.Below(world.big ? 50 : 4)));
  assembly.set_replicas(static_cast<uint32_t>(world.Below(3)));
  const auto found = world.registry().catalogue().Find(version);
  attempt.expect = world.registry().assemblies().Find(name).ok() ? "ASSEMBLY_EXISTS"
                   : !found.ok()                                 ? "VERSION_UNKNOWN"
                   : (*found)->draft != nullptr                  ? "VERSION_NOT_COMMITTED"
                                                                 : "OK";
  CheckOrMakeRepeatable(world, 10, request, attempt);
  attempt.what += absl::StrCat(" ", v1::Assembly::Policy_Name(assembly.policy()), " of ", version);
  attempt.commands.push_back(std::move(request));
  return attempt;
}

Attempt LeaveAttempt(World& world, const std::string& assembly, const std::string& node) {
  Attempt attempt{.what = absl::StrCat(node, " leaves ", assembly)};
  v1::LeaveAssemblyRequest request;
  request.set_name(assembly);
  request.set_node(node);
  if (world.Chance(50)) request.set_epoch(world.agents[node].epoch);
  attempt.idempotent = true;
  attempt.commands.push_back(std::move(request));
  return attempt;
}

Attempt DeleteAssemblyAttempt(World& world, const std::string& name) {
  Attempt attempt{.what = absl::StrCat("delete ", name)};
  v1::DeleteAssemblyRequest request;
  request.set_name(name);
  attempt.expect = world.registry().assemblies().Find(name).ok() ? "OK" : "ASSEMBLY_UNKNOWN";
  CheckOrMakeRepeatable(world, 20, request, attempt);
  attempt.commands.push_back(std::move(request));
  return attempt;
}

v1::ShardReport RandomReport(World& world, const Assignment& assignment) {
  v1::ShardReport report;
  report.set_shard(assignment.shard);
  report.set_generation(assignment.generation.value);
  const uint64_t what = world.Below(10);
  report.set_state(what < 6   ? v1::ShardReport::READY
                   : what < 8 ? v1::ShardReport::FETCHING
                   : what < 9 ? v1::ShardReport::FAILED
                              : v1::ShardReport::PENDING);
  if (report.state() == v1::ShardReport::FAILED) {
    report.mutable_failure()->set_code(v1::ShardFailure::CORRUPT);
    report.mutable_failure()->set_attempts(static_cast<uint32_t>(world.Below(5)));
    report.mutable_failure()->set_message(std::string(world.Below(2'000), 'x'));
    report.mutable_failure()->set_found_md5(std::string(32, 'f'));
  }
  return report;
}

// A node with a membership that has assignments; "" when there is none.
std::string AssignedNode(World& world, const std::string& wanted, std::string& assembly) {
  for (int tries = 0; tries < 4; ++tries) {
    const std::string name = wanted.empty() ? SomeNode(world) : wanted;
    const Node* node = FindNode(world, name);
    if (node == nullptr || node->memberships.empty()) continue;
    auto uid = node->memberships.begin();
    std::advance(uid, world.Below(node->memberships.size()));
    const Assembly* found = world.registry().assemblies().FindByUid(*uid);
    if (found->FindMember(name)->assignments.empty()) continue;
    assembly = found->name();
    return name;
  }
  return "";
}

// Whether the node, which is no member yet, claims all shards and has too little room for them at any time.
bool CanNeverHold(const World& world, const std::string& assembly, const Node& node,
                  const v1::Claim& claim) {
  const auto found = world.registry().assemblies().Find(assembly);
  if (!found.ok() || (*found)->FindMember(node.row.name()) != nullptr) return false;
  const v1::Assembly::Policy policy = (*found)->row().policy();
  const bool all = policy == v1::Assembly::FULL || policy == v1::Assembly::DECLARED;
  return all && claim.kind() == v1::Claim::ALL && node.row.capacity_bytes() != 0 &&
         (*found)->version().size_bytes > node.row.capacity_bytes();
}

}  // namespace

Attempt Registration(World& world, const std::string& name) {
  Attempt attempt{.what = absl::StrCat("register ", name), .expect = "OK"};
  v1::RegisterNodeRequest request;
  v1::Node& node = *request.mutable_node();
  node.set_name(name);
  node.set_zone(absl::StrCat("z", world.Below(3)));
  node.set_instance_id(absl::StrCat("i", world.Below(1'000'000)));
  (*node.mutable_labels())["pool"] = world.Chance(70) ? "a" : "b";
  if (world.Chance(30)) {
    for (uint32_t i = 0; i < 4; ++i) request.mutable_cached_digests()->append(SomeDigest(world));
  }
  if (world.Chance(60)) node.set_capacity_bytes(1 + world.Below(world.big ? 60'000 : 6'000));
  if (world.Chance(30))
    request.mutable_lease_ttl()->set_seconds(1 + static_cast<int64_t>(world.Below(30)));
  CheckOrMakeRepeatable(world, 10, request, attempt);
  attempt.commands.push_back(std::move(request));
  if (attempt.changes_nothing) return attempt;
  attempt.check = [&world, name](const JobResult& result) {
    NoteEpoch(world, name, result);
    return "";
  };
  return attempt;
}

std::optional<Attempt> NodeAttempt(World& world) {
  const std::string name = SomeNode(world);
  SimulatedAgent& agent = world.agents[name];
  const Node* node = FindNode(world, name);
  // An agent that died with its node's registration under way finds out.
  if (node != nullptr && agent.epoch != node->epoch().value && world.Chance(50)) {
    agent.epoch = node->epoch().value;
  }
  if (node == nullptr || world.Chance(25)) return Registration(world, name);
  if (world.Chance(20)) return DeregisterAttempt(world, name);
  if (world.Chance(25)) return DrainAttempt(world, name);
  if (world.Chance(15)) return UpdateNodeAttempt(world, name);
  agent.beats = world.Chance(60);
  return std::nullopt;
}

Attempt Joining(World& world, const std::string& assembly, const std::string& node) {
  Attempt attempt{.what = absl::StrCat(node, " joins ", assembly)};
  v1::JoinAssemblyRequest request;
  request.set_name(assembly);
  request.set_node(node);
  request.set_epoch(world.agents[node].epoch);
  v1::Claim& claim = *request.mutable_claim();
  const uint64_t kind = world.Below(10);
  claim.set_kind(kind < 5 ? v1::Claim::ANY : kind < 7 ? v1::Claim::ALL : v1::Claim::SHARDS);
  if (claim.kind() == v1::Claim::SHARDS) {
    for (uint64_t i = 0; i <= world.Below(4); ++i) {
      claim.add_shards(static_cast<uint32_t>(world.Below(world.big ? 40 : 4)));
    }
  }
  const Node* there = FindNode(world, node);
  if (there != nullptr && world.registry().assemblies().Find(assembly).ok() &&
      there->epoch().value != request.epoch()) {
    attempt.expect = "NODE_FENCED";
  } else if (there != nullptr && CanNeverHold(world, assembly, *there, claim)) {
    attempt.expect = "NODE_TOO_SMALL";
  }
  attempt.idempotent = true;
  attempt.commands.push_back(std::move(request));
  return attempt;
}

std::optional<Attempt> AssemblyAttempt(World& world) {
  const std::string name = absl::StrCat("assemblies/a", world.Below(3));
  const bool there = world.registry().assemblies().Find(name).ok();
  if (!there) return CreateAssemblyAttempt(world, name);
  const uint64_t what = world.Below(100);
  if (what < 70) return Joining(world, name, SomeNode(world));
  if (what < 90) return LeaveAttempt(world, name, SomeNode(world));
  if (what < 92) return UpdateAssemblyAttempt(world, name);
  if (what < 96) return DeleteAssemblyAttempt(world, name);
  return CreateAssemblyAttempt(world, name);
}

std::optional<Attempt> ReportAttempt(World& world) {
  std::string assembly;
  const std::string node = AssignedNode(world, "", assembly);
  if (node.empty()) return std::nullopt;
  const auto found = world.registry().assemblies().Find(assembly);
  const Assembly::Member& member = *(*found)->FindMember(node);
  const SimulatedAgent& agent = world.agents[node];
  Attempt attempt{.what = absl::StrCat(node, " reports to ", assembly)};
  attempt.idempotent = true;
  v1::ReportShardsRequest request;
  request.set_node(node);
  request.set_assembly(assembly);
  request.set_epoch(FindNode(world, node)->epoch().value);
  const bool stale_epoch =
      world.Chance(10) && !agent.old_epochs.empty() && agent.old_epochs.back() != request.epoch();
  if (stale_epoch) request.set_epoch(agent.old_epochs.back());
  const bool stale_generation = world.Chance(10);
  for (const Assignment& assignment : member.assignments) {
    if (!world.Chance(70) || request.reports_size() == 1'000) continue;
    *request.add_reports() = RandomReport(world, assignment);
    if (!stale_generation) continue;
    request.mutable_reports()->rbegin()->set_generation(assignment.generation.value - 1);
  }
  if (request.reports().empty()) return std::nullopt;
  attempt.expect = stale_epoch ? "NODE_FENCED" : stale_generation ? "ASSIGNMENT_GONE" : "OK";
  absl::StrAppend(&attempt.what, " ", request.reports_size(), " shards");
  attempt.commands.push_back(std::move(request));
  return attempt;
}

std::optional<Attempt> HonestReport(World& world, const std::string& name) {
  std::string assembly;
  const std::string node = AssignedNode(world, name, assembly);
  if (node.empty()) return std::nullopt;
  const auto found = world.registry().assemblies().Find(assembly);
  v1::ReportShardsRequest request;
  request.set_node(node);
  request.set_assembly(assembly);
  request.set_epoch(FindNode(world, node)->epoch().value);
  for (const Assignment& assignment : (*found)->FindMember(node)->assignments) {
    v1::ShardReport& report = *request.add_reports();
    report.set_shard(assignment.shard);
    report.set_generation(assignment.generation.value);
    report.set_state(v1::ShardReport::READY);
  }
  Attempt attempt{.what = absl::StrCat(node, " is ready in ", assembly), .expect = "OK"};
  attempt.idempotent = true;
  attempt.commands.push_back(std::move(request));
  return attempt;
}

std::optional<Attempt> RepeatAttempt(World& world) {
  if (world.answered.empty()) return std::nullopt;
  const AnsweredRequest& old = world.answered[world.Below(world.answered.size())];
  // Close to the end of the ten minutes either answer is right.
  if (world.server_time() - old.at > absl::Microseconds(kRequestIdTtlUs) - absl::Seconds(60)) {
    return std::nullopt;
  }
  Attempt attempt = old.attempt;
  const std::string request_id = attempt.request_id;
  attempt.what = absl::StrCat("again, ", attempt.what, " ", request_id);
  attempt.changes_nothing = true;
  attempt.expect = "OK";
  // It is remembered already.
  attempt.request_id.clear();
  if (!world.Chance(30)) {
    attempt.check = [reply = old.reply](const JobResult& result) {
      const bool same = result.reply != nullptr && result.reply->SerializeAsString() == reply;
      return same ? "" : "the reply of a repeat differs";
    };
    return attempt;
  }
  attempt.what += " with another body";
  attempt.expect = "REQUEST_ID_REUSED";
  v1::CreateModelVersionRequest other;
  other.mutable_model_version()->set_name("models/other/versions/v");
  other.mutable_model_version()->set_shard_count(1);
  other.set_request_id(request_id);
  attempt.commands = {other};
  return attempt;
}

void SendHeartbeats(World& world) {
  for (auto& [name, agent] : world.agents) {
    if (!agent.beats || agent.epoch == 0) continue;
    v1::HeartbeatRequest request;
    request.set_name(name);
    const bool stale = world.Chance(3) && !agent.old_epochs.empty();
    request.set_epoch(stale ? agent.old_epochs.back() : agent.epoch);
    const Node* node = FindNode(world, name);
    const bool current = node != nullptr && node->epoch().value == request.epoch();
    auto result = world.Renew(request);
    if (result.ok() != current) {
      return world.Fail("4", absl::StrCat("a heartbeat of ", name, " with epoch ", request.epoch(),
                                          " got ", result.status().ToString()));
    }
    if (!result.ok() || !result->revive.has_value()) continue;
    Attempt revive{.what = absl::StrCat("revive ", name)};
    revive.commands.push_back(ReviveNode{result->revive->node, result->revive->epoch});
    world.Do(std::move(revive));
    if (world.failed()) return;
  }
}

}  // namespace muster
