// Reads the registry's state back from the store: once, in key order per kind, bounded memory per
// step.

#include <functional>
#include <string>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "server/registry/registry.h"
#include "server/registry/row_keys.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

constexpr size_t kRowsPerScan = 1'000;

absl::Status DamagedRow(absl::string_view key) {
  return absl::DataLossError(absl::StrCat("the row '", absl::CHexEscape(key),
                                          "' can't be read: restore the data directory"));
}

absl::Status ForEachRow(
    MetadataStore& store, std::string begin, const std::string& end,
    const std::function<absl::Status(const std::string& key, std::string& value)>& visit) {
  while (true) {
    MUSTER_ASSIGN_OR_RETURN(std::vector<MetadataStore::Row> rows,
                            store.Scan(begin, end, kRowsPerScan));
    for (MetadataStore::Row& row : rows) MUSTER_RETURN_IF_ERROR(visit(row.key, row.value));
    if (rows.size() < kRowsPerScan) return absl::OkStatus();
    begin = rows.back().key + '\0';
  }
}

// Visits the rows of one kind as messages.
template <typename Row>
absl::Status ForEach(MetadataStore& store, const std::string& prefix,
                     const std::function<absl::Status(const std::string& key, Row& row)>& visit) {
  return ForEachRow(store, prefix, PrefixEnd(prefix),
                    [&](const std::string& key, std::string& value) {
                      Row row;
                      if (!row.ParseFromString(value)) return DamagedRow(key);
                      return visit(key, row);
                    });
}

absl::Status LoadCatalogue(MetadataStore& store, Catalogue& catalogue) {
  MUSTER_RETURN_IF_ERROR(ForEach<store::VersionRow>(
      store, "v",
      [&](const std::string&, store::VersionRow& row) { return catalogue.Load(std::move(row)); }));
  MUSTER_RETURN_IF_ERROR(ForEachRow(
      store, "s", PrefixEnd("s"), [&](const std::string& key, std::string& value) -> absl::Status {
        const auto parsed = ParseShardKey(key);
        if (!parsed.has_value()) return DamagedRow(key);
        return catalogue.LoadShard(parsed->first, parsed->second.value, value);
      }));
  MUSTER_RETURN_IF_ERROR(ForEach<store::CompanionRow>(
      store, "c", [&](const std::string& key, store::CompanionRow& row) -> absl::Status {
        const auto uid = ParseCompanionKey(key);
        return uid.has_value() ? catalogue.LoadCompanion(*uid, row) : DamagedRow(key);
      }));
  MUSTER_RETURN_IF_ERROR(ForEach<store::LocationHealthRow>(
      store, "h", [&](const std::string& key, store::LocationHealthRow& row) {
        const auto parsed = ParseLocationHealthKey(key);
        if (!parsed.has_value()) return DamagedRow(key);
        catalogue.health().Load(parsed->first, parsed->second.value, std::move(row));
        return absl::OkStatus();
      }));
  for (const VersionUid uid : catalogue.Drafts()) {
    MUSTER_RETURN_IF_ERROR(ForEach<store::TensorsRow>(
        store, AllTensorsPrefix(uid),
        [&](const std::string& key, store::TensorsRow& row) -> absl::Status {
          const auto parsed = ParseTensorsKey(key);
          if (!parsed.has_value()) return DamagedRow(key);
          return catalogue.LoadTensors(uid, parsed->shard.value, parsed->start, row);
        }));
  }
  return absl::OkStatus();
}

absl::Status LoadAssemblies(MetadataStore& store, AssemblyTable& assemblies, Transaction& tx) {
  MUSTER_RETURN_IF_ERROR(
      ForEach<store::AssemblyRow>(store, "a", [&](const std::string&, store::AssemblyRow& row) {
        return assemblies.Load(std::move(row));
      }));
  // Within an assembly the rows are in the order in which they build on one another: members, plan,
  // readiness.
  return ForEachRow(store, "b", PrefixEnd("b"),
                    [&](const std::string& key, std::string& value) -> absl::Status {
                      const auto parsed = ParseAssemblyRowKey(key);
                      if (!parsed.has_value()) return DamagedRow(key);
                      if (parsed->kind == 'm') {
                        store::MemberRow row;
                        if (!row.ParseFromString(value)) return DamagedRow(key);
                        return assemblies.LoadMember(parsed->assembly, parsed->node, row, tx);
                      }
                      if (parsed->kind == 'p') {
                        store::AssignmentRow row;
                        if (!row.ParseFromString(value)) return DamagedRow(key);
                        return assemblies.LoadAssignments(parsed->assembly, parsed->directory,
                                                          parsed->node, row, tx);
                      }
                      store::ReadinessRow row;
                      if (!row.ParseFromString(value)) return DamagedRow(key);
                      return assemblies.LoadReadiness(parsed->assembly, parsed->node, row);
                    });
}

// Reads the counts of the runs, and the rows behind the last run.
absl::Status LoadEventLog(MetadataStore& store, Revision newest, EventLog& log) {
  MUSTER_RETURN_IF_ERROR(ForEach<store::EventLogRow>(
      store, EventLogKey(), [&](const std::string&, store::EventLogRow& row) {
        log.LoadHead(row);
        return absl::OkStatus();
      }));
  MUSTER_RETURN_IF_ERROR(ForEach<store::EventRunRow>(
      store, "k", [&](const std::string& key, store::EventRunRow& row) -> absl::Status {
        const auto last = ParseEventRunKey(key);
        if (!last.has_value()) return DamagedRow(key);
        log.LoadRun(*last, row);
        return absl::OkStatus();
      }));
  const Revision next(log.loaded_runs_end().value + 1);
  MUSTER_RETURN_IF_ERROR(
      ForEachRow(store, EventsKey(next, 0), PrefixEnd("e"),
                 [&](const std::string& key, std::string& value) -> absl::Status {
                   const auto revision = ParseEventsKey(key);
                   if (!revision.has_value()) return DamagedRow(key);
                   return log.LoadEvents(*revision, key.size(), value);
                 }));
  log.FinishLoad(newest);
  return absl::OkStatus();
}

absl::Status LoadEnrolment(MetadataStore& store, EnrolmentTable& table) {
  MUSTER_RETURN_IF_ERROR(
      ForEach<store::JoinTokenRow>(store, "j", [&](const std::string&, store::JoinTokenRow& row) {
        table.Load(std::move(row));
        return absl::OkStatus();
      }));
  return ForEach<store::EnrolledNameRow>(store, "m",
                                         [&](const std::string&, store::EnrolledNameRow& row) {
                                           table.Load(std::move(row));
                                           return absl::OkStatus();
                                         });
}

}  // namespace

absl::StatusOr<Applied> Registry::Load(MetadataStore& store) {
  Applied applied;
  const absl::StatusOr<std::string> packed = store.Get(RevisionKey());
  if (!packed.ok()) {
    if (packed.status().code() == absl::StatusCode::kNotFound) return applied;
    return packed.status();
  }
  store::RevisionRow revision;
  if (!revision.ParseFromString(*packed)) return DamagedRow(RevisionKey());
  revision_ = Revision(revision.revision());
  now_us_ = revision.time_us();
  // Until the first tick.
  wall_us_ = now_us_ + revision.time_of_day_ahead_us();
  Transaction tx(revision_, now_us_, wall_us_);
  MUSTER_RETURN_IF_ERROR(LoadCatalogue(store, catalogue_));
  MUSTER_RETURN_IF_ERROR(
      ForEach<store::NodeRow>(store, "n", [&](const std::string&, store::NodeRow& row) {
        return nodes_.Load(std::move(row), now_us_);
      }));
  MUSTER_RETURN_IF_ERROR(ForEach<store::InventoryRow>(
      store, "i", [&](const std::string& key, store::InventoryRow& row) -> absl::Status {
        const auto uid = ParseInventoryKey(key);
        return uid.has_value() ? nodes_.LoadInventory(*uid, row) : DamagedRow(key);
      }));
  MUSTER_RETURN_IF_ERROR(LoadAssemblies(store, assemblies_, tx));
  MUSTER_RETURN_IF_ERROR(LoadEnrolment(store, enrolment_));
  MUSTER_RETURN_IF_ERROR(
      ForEach<store::RequestRow>(store, "q", [&](const std::string&, store::RequestRow& row) {
        requests_.Load(std::move(row));
        return absl::OkStatus();
      }));
  MUSTER_RETURN_IF_ERROR(LoadEventLog(store, revision_, event_log_));
  assemblies_.FinishLoad(revision_, tx);
  for (const auto& [name, node] : nodes_.by_name()) {
    const NodeChange change = NodeTable::ChangeOf(*node);
    live_.leases.Apply(change);
    live_.read_places.Apply(change);
  }
  if (!nodes_.by_name().empty()) live_.read_places.BeginGuard();
  applied.revision = revision_;
  applied.follow_ups = tx.TakeFollowUps();
  applied.plans_wanted = tx.TakePlansWanted();
  return applied;
}

}  // namespace muster
