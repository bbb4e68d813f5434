#include "tests/simulation/true_events.h"

#include "absl/strings/str_cat.h"
#include "muster/store/rows.pb.h"
#include "server/registry/event_rows.h"
#include "server/registry/index_runs.h"
#include "server/registry/row_keys.h"
#include "storage/base/limits.h"
#include "storage/base/resource_name.h"

namespace muster {

using store::EventRow;

std::string TrueEvents::Given(const std::string& assembly, uint32_t shard, uint64_t generation) {
  return absl::StrCat("+", assembly, "/", shard, "@", generation);
}

std::string TrueEvents::Taken(const std::string& assembly, uint32_t shard) {
  return absl::StrCat("-", assembly, "/", shard);
}

void TrueEvents::Take(Revision revision, const std::string& packed) {
  store::EventsRow rows;
  rows.ParseFromString(packed);
  const auto runs = [](const auto& packed_runs) {
    auto shards = UnpackRuns(packed_runs, kMaxShardsPerVersion);
    return shards.ok() ? *std::move(shards) : std::vector<uint32_t>();
  };
  for (const EventRow& row : rows.events()) {
    if (row.about() == EventRow::ASSIGNMENTS) {
      auto& items = nodes_[row.node_uid()][revision.value];
      const std::string& assembly = row.event().assembly();
      for (const uint32_t shard : runs(row.unassigned_runs())) {
        items.push_back({Taken(assembly, shard), 0});
      }
      for (const auto& group : row.assigned()) {
        for (const uint32_t shard : runs(group.shard_runs())) {
          items.push_back({Given(assembly, shard, group.generation()), row.version_uid()});
        }
      }
    } else if (row.about() == EventRow::ASSEMBLY && !row.gone()) {
      // The last one of a revision is what watches send of it.
      assemblies_[row.assembly_uid()][revision.value] = {TrueItem{row.watch_message()}};
    }
  }
  const auto told = UnpackTold(revision, packed);
  if (!told.ok()) return;
  for (const auto& event : *told) {
    told_[revision.value].push_back(TrueItem{event.SerializeAsString()});
  }
}

void TrueEvents::Read(MetadataStore& store) {
  std::string begin = EventsKey(Revision(read_.value + 1), 0);
  while (true) {
    const auto rows = store.Scan(begin, PrefixEnd("e"), 1'000);
    if (!rows.ok() || rows->empty()) return;
    for (const MetadataStore::Row& row : *rows) {
      const auto revision = ParseEventsKey(row.key);
      if (!revision.has_value()) continue;
      Take(*revision, row.value);
      read_ = *revision;
    }
    begin = rows->back().key + '\0';
  }
}

TrueItems TrueEvents::OfNode(NodeUid node, const std::function<bool(VersionUid)>& exists) const {
  TrueItems out;
  const auto found = nodes_.find(node.value);
  if (found == nodes_.end()) return out;
  for (const auto& [revision, items] : found->second) {
    for (const Item& item : items) {
      const bool optional = item.version != 0 && !exists(VersionUid(item.version));
      out[revision].push_back(TrueItem{item.text, optional});
    }
  }
  return out;
}

TrueItems TrueEvents::OfAssembly(AssemblyUid assembly) const {
  const auto found = assemblies_.find(assembly.value);
  return found == assemblies_.end() ? TrueItems() : found->second;
}

}  // namespace muster
