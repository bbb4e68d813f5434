#include "client/cli/plan_preview.h"

#include "absl/strings/str_cat.h"
#include "client/cli/display.h"
#include "client/cli/table.h"
#include "client/cli/values.h"

namespace muster {
namespace {

constexpr size_t kMaxPlannedShardsBytes = 40;

std::string PlannedSize(uint64_t bytes) { return FormatSize(static_cast<int64_t>(bytes)); }

std::string PlannedShards(const google::protobuf::RepeatedField<uint32_t>& shards) {
  if (shards.empty()) return "-";
  return ShortText(FormatShardList({shards.begin(), shards.end()}), kMaxPlannedShardsBytes);
}

}  // namespace

std::string PlanPreviewText(const v1::PlanPreview& preview) {
  const std::string name = ShortName(preview.assembly());
  std::string out;
  if (preview.nodes_size() == 0) {
    absl::StrAppend(&out, name, ": no shard would move\n");
  } else {
    absl::StrAppend(&out, name, ": ", PlannedSize(preview.added_bytes()), " to fetch, ",
                    PlannedSize(preview.removed_bytes()), " to drop; ",
                    PlannedSize(preview.moved_bytes()), " of it from one node to another\n");
    Table table({{"NODE"},
                 {"ADDED"},
                 {"REMOVED"},
                 {"FETCHES", Table::Align::kRight},
                 {"DROPS", Table::Align::kRight},
                 {"THEN HOLDS", Table::Align::kRight}});
    for (const v1::PlanPreview::NodeChange& node : preview.nodes()) {
      table.Add({ShortName(node.node()), PlannedShards(node.added_shards()),
                 PlannedShards(node.removed_shards()), PlannedSize(node.added_bytes()),
                 PlannedSize(node.removed_bytes()), PlannedSize(node.assigned_bytes())});
    }
    absl::StrAppend(&out, table.ToString());
  }
  for (const v1::AssemblyReason& reason : preview.reasons()) {
    absl::StrAppend(&out, "  - ", Printable(reason.message()), "\n");
  }
  return out;
}

std::string PlanPreviewsText(const google::protobuf::RepeatedPtrField<v1::PlanPreview>& previews) {
  if (previews.empty()) return "no shard would move\n";
  std::string out;
  for (const v1::PlanPreview& preview : previews) {
    absl::StrAppend(&out, out.empty() ? "" : "\n", PlanPreviewText(preview));
  }
  return out;
}

}  // namespace muster
