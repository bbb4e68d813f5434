// Reads the assemblies back while the store is loaded.

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/registry/assembly_table.h"
#include "server/registry/index_runs.h"
#include "storage/base/status_macros.h"

namespace muster {

namespace v1 = muster::v1;

absl::Status AssemblyTable::Load(store::AssemblyRow row) {
  Version* version = catalogue_.FindByUid(VersionUid(row.version_uid()));
  if (version == nullptr) {
    return absl::DataLossError(absl::StrCat(row.name(), " has no model version"));
  }
  auto assembly = std::make_unique<Assembly>(std::move(row), *version, move_grace_);
  version->assemblies.insert(assembly->name());
  version->IndexContent();
  shards_ += version->shards.size();
  by_uid_[assembly->uid()] = assembly.get();
  const std::string name = assembly->name();
  if (!by_name_.emplace(name, std::move(assembly)).second) {
    return absl::DataLossError(absl::StrCat("two rows are named ", name));
  }
  return absl::OkStatus();
}

Assembly* AssemblyTable::FindMemberOf(AssemblyUid uid, NodeUid node_uid, std::string* name) const {
  Assembly* assembly = FindByUid(uid);
  const Node* node = nodes_.FindByUid(node_uid);
  if (assembly == nullptr || node == nullptr) return nullptr;
  *name = node->row.name();
  return assembly->FindMember(*name) == nullptr ? nullptr : assembly;
}

absl::Status AssemblyTable::LoadMember(AssemblyUid uid, NodeUid node_uid,
                                       const store::MemberRow& row, Transaction& tx) {
  Assembly* assembly = FindByUid(uid);
  if (assembly == nullptr) {
    return absl::DataLossError(
        absl::StrCat("a member of assembly uid ", uid.value, " has no assembly"));
  }
  Node* node = nodes_.FindByUid(node_uid);
  if (node == nullptr) {
    tx.Then(ForgetMember{uid, node_uid});
    return absl::OkStatus();
  }
  Assembly::Member member;
  member.node = node_uid;
  member.claim = row.claim();
  SetStanding(*assembly, *node, member);
  assembly->AddMember(node->row.name(), std::move(member));
  node->memberships.insert(uid);
  return absl::OkStatus();
}

absl::Status AssemblyTable::LoadAssignments(AssemblyUid uid, Generation directory, NodeUid node,
                                            const store::AssignmentRow& row, Transaction& tx) {
  const Assembly* present = FindByUid(uid);
  if (present != nullptr && present->row().plan_directory() != directory.value) {
    if (orphaned_directories_.emplace(uid, directory).second) {
      tx.Then(ForgetPlanDirectory{uid, directory});
    }
    return absl::OkStatus();
  }
  std::string name;
  Assembly* assembly = FindMemberOf(uid, node, &name);
  if (assembly == nullptr) return absl::OkStatus();
  std::vector<Assignment> assignments;
  Replacements replaces;
  const auto limit = static_cast<uint32_t>(assembly->version().shards.size());
  for (const auto& group : row.groups()) {
    MUSTER_ASSIGN_OR_RETURN(const std::vector<uint32_t> shards,
                            UnpackRuns(group.shard_runs(), limit));
    for (const uint32_t shard : shards) {
      assignments.push_back(Assignment{shard, Generation(group.generation())});
      if (group.replaces() != 0) replaces[shard] = NodeUid(group.replaces());
    }
  }
  std::sort(assignments.begin(), assignments.end());
  const auto same_shard = [](const Assignment& a, const Assignment& b) {
    return a.shard == b.shard;
  };
  if (std::adjacent_find(assignments.begin(), assignments.end(), same_shard) != assignments.end()) {
    return absl::DataLossError(absl::StrCat("a shard is assigned twice to ", name));
  }
  Transaction unused(tx.revision(), tx.now_us());
  EmitChange(SetAssignments(*assembly, name, std::move(assignments), std::move(replaces), unused),
             unused);
  if (row.has_shortage()) {
    assembly->SetShortage(name,
                          PlanShortage{row.shortage().needed_bytes(), row.shortage().free_bytes()});
  }
  return absl::OkStatus();
}

absl::Status AssemblyTable::LoadReadiness(AssemblyUid uid, NodeUid node,
                                          const store::ReadinessRow& row) {
  std::string name;
  Assembly* assembly = FindMemberOf(uid, node, &name);
  if (assembly == nullptr) return absl::OkStatus();
  for (const auto& given_up : row.given_up()) {
    given_up_.emplace(given_up.expire_time_us(), std::pair(uid, node));
  }
  return assembly->LoadReadiness(name, row);
}

void AssemblyTable::FinishLoad(Revision revision, Transaction& tx) {
  for (const auto& [name, assembly] : by_name_) {
    assembly->shown_revision = revision;
    assembly->told_state = assembly->state();
    if (!assembly->row().was_ready() && assembly->state() == v1::Assembly::READY) {
      // The server stopped between the report that made it READY and the row that remembers it.
      assembly->NoteReady();
      tx.Then(RememberReady{assembly->uid()});
    }
    // It stopped between what changed a member and the row that remembers it, or the row is of 0.1.0.
    ThenRememberMembers(*assembly, tx);
    // A plan that was being made when the server stopped is made again; planning on its own output
    // changes nothing.
    if (assembly->WantsPlan()) tx.WantPlan(assembly->uid());
  }
  orphaned_directories_.clear();
  for (const auto& [name, node] : nodes_.by_name()) {
    // The server stopped between the plan that emptied the node and the row that says so.
    if (node->row.drain_state() != node->DrainState(tx.now_us())) tx.Then(NoteDrain{node->uid});
  }
}

}  // namespace muster
