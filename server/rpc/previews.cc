#include "server/rpc/previews.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <set>

#include "storage/base/limits.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

namespace v1 = muster::v1;

constexpr size_t kMaxPreviews = 100;

// Drops nodes from the end until the preview fits.
void CutTo(size_t max_bytes, v1::PlanPreview& preview) {
  size_t bytes = 0;
  int kept = 0;
  for (const v1::PlanPreview::NodeChange& node : preview.nodes()) {
    bytes += node.ByteSizeLong();
    if (bytes > max_bytes) break;
    ++kept;
  }
  preview.mutable_nodes()->DeleteSubrange(kept, preview.nodes_size() - kept);
}

// Of an assembly that would still wait for nodes.
v1::PlanPreview WithoutAPlan(const std::string& assembly) {
  v1::PlanPreview preview;
  preview.set_assembly(assembly);
  v1::AssemblyReason& reason = *preview.add_reasons();
  reason.set_code(v1::AssemblyReason::TOO_FEW_NODES);
  reason.set_message("too few nodes would have joined for a first plan");
  return preview;
}

}  // namespace

Supposed SupposeForNodes(const Registry& registry, std::vector<WhatIf> changes) {
  std::set<AssemblyUid> assemblies;
  for (const WhatIf& change : changes) {
    const Node* node = registry.nodes().FindByUid(change.node);
    if (node != nullptr) assemblies.insert(node->memberships.begin(), node->memberships.end());
  }
  Supposed supposed;
  supposed.changes = std::move(changes);
  for (const AssemblyUid assembly : assemblies) {
    if (supposed.assemblies.size() == kMaxPreviews) break;
    supposed.assemblies.push_back(assembly);
  }
  return supposed;
}

absl::Status MakePreviews(Committer& committer, const Supposed& supposed,
                          const std::function<void(v1::PlanPreview)>& add) {
  size_t bytes_left = kMaxPageBytes;
  for (const AssemblyUid uid : supposed.assemblies) {
    std::optional<PlanTask> task;
    std::string name;
    committer.Read(
        [&](const Registry& registry) {
          const Assembly* assembly = registry.assemblies().FindByUid(uid);
          if (assembly == nullptr) return;
          name = assembly->name();
          task = TakePlanTask(registry, uid, supposed.changes);
        },
        [](Revision) {});
    // It was deleted meanwhile.
    if (name.empty()) continue;
    v1::PlanPreview preview = WithoutAPlan(name);
    if (task.has_value()) {
      MUSTER_ASSIGN_OR_RETURN(preview, PreviewOf(*std::move(task)));
      CutTo(bytes_left, preview);
    }
    bytes_left -= std::min(bytes_left, preview.ByteSizeLong());
    add(std::move(preview));
  }
  return absl::OkStatus();
}

}  // namespace muster
