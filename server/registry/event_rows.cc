#include "server/registry/event_rows.h"

#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/registry/index_runs.h"
#include "server/registry/timestamps.h"
#include "storage/base/limits.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

namespace v1 = muster::v1;
using store::EventRow;
using store::EventsRow;

constexpr uint32_t kShardLimit = kMaxShardsPerVersion;

absl::Status Damaged(Revision revision) {
  return absl::DataLossError(absl::StrCat("the event row of revision ", revision.value,
                                          " can't be read: restore the data directory"));
}

void FillNames(const AssignmentChange& change, v1::Event::Kind kind, size_t shards, EventRow& out) {
  v1::Event& event = *out.mutable_event();
  event.set_kind(kind);
  event.set_node(change.node_name);
  event.set_assembly(change.assembly);
  event.set_model_version(change.model_version);
  event.set_shard_count(static_cast<uint32_t>(shards));
  out.set_about(EventRow::ASSIGNMENTS);
  out.set_node_uid(change.node.value);
  out.set_assembly_uid(change.assembly_uid.value);
  out.set_version_uid(change.version.value);
}

void Pack(const AssignmentChange& change, EventsRow& rows) {
  if (!change.unassigned.empty()) {
    EventRow& out = *rows.add_events();
    FillNames(change, v1::Event::SHARDS_UNASSIGNED, change.unassigned.size(), out);
    *out.mutable_unassigned_runs() = PackRuns(change.unassigned);
  }
  if (change.assigned.empty()) return;
  EventRow& out = *rows.add_events();
  FillNames(change, v1::Event::SHARDS_ASSIGNED, change.assigned.size(), out);
  std::map<Generation, std::vector<uint32_t>> groups;
  for (const Assignment& assignment : change.assigned) {
    groups[assignment.generation].push_back(assignment.shard);
  }
  for (const auto& [generation, shards] : groups) {
    auto* group = out.add_assigned();
    group->set_generation(generation.value);
    *group->mutable_shard_runs() = PackRuns(shards);
  }
}

void Pack(const LocationChange& location, EventsRow& rows) {
  v1::Event& event = *rows.add_events()->mutable_event();
  event.set_kind(location.suspect ? v1::Event::LOCATION_SUSPECT : v1::Event::LOCATION_TRUSTED);
  event.set_node(location.node);
  event.set_model_version(location.version_name);
  event.add_shards(location.shard);
  event.set_shard_count(1);
  event.set_old_state(location.suspect ? "TRUSTED" : "SUSPECT");
  event.set_new_state(location.suspect ? "SUSPECT" : "TRUSTED");
  event.set_message(
      absl::StrCat(location.uri, ": ",
                   location.suspect ? v1::ShardFailure::Code_Name(location.found) : "verified",
                   " by ", location.node));
}

void Pack(const NodeChange& node, EventsRow& rows) {
  EventRow& out = *rows.add_events();
  out.set_about(EventRow::NODE);
  out.set_node_uid(node.uid.value);
  out.set_epoch(node.epoch.value);
  out.set_gone(node.removed);
}

void Pack(const AssemblyChange& change, EventsRow& rows) {
  EventRow& out = *rows.add_events();
  out.set_about(EventRow::ASSEMBLY);
  out.set_assembly_uid(change.uid.value);
  if (change.message == nullptr) {
    out.set_gone(true);
  } else {
    out.set_watch_message(*change.message);
    out.set_state(change.state);
  }
  for (const v1::AssemblyMember& member : change.members) *out.add_members() = member;
  for (const std::string& node : change.left) out.add_left(node);
}

// Drops what only watches need, and then from the end what is beyond the room.
void CutText(EventsRow& all, size_t bytes_max) {
  all.set_cut(true);
  auto& events = *all.mutable_events();
  events.erase(std::remove_if(events.begin(), events.end(),
                              [](const EventRow& row) { return !row.has_event(); }),
               events.end());
  // Times, cause and the frames of a few rows.
  size_t bytes = 1'024;
  int kept = 0;
  for (EventRow& row : events) {
    v1::Event event;
    event.Swap(row.mutable_event());
    row.Clear();
    row.mutable_event()->Swap(&event);
    bytes += row.ByteSizeLong() + 8;
    if (bytes > bytes_max) break;
    ++kept;
  }
  events.DeleteSubrange(kept, events.size() - kept);
}

// Whether rows of the size hold it all.
bool Fits(const EventsRow& all, size_t rows_max) {
  size_t rows = 1, bytes = 0;
  for (const EventRow& row : all.events()) {
    const size_t size = row.ByteSizeLong() + 8;
    if (size > kMaxEventsRowBytes) return false;
    if (bytes + size > kMaxEventsRowBytes) {
      ++rows;
      bytes = 0;
    }
    bytes += size;
  }
  return rows <= rows_max;
}

std::vector<PackedEvents> Split(EventsRow& all) {
  std::vector<PackedEvents> out;
  EventsRow row;
  size_t bytes = 0;
  uint32_t told = 0, sequence = 0;
  const auto finish = [&] {
    row.set_time_us(all.time_us());
    row.set_server_time_ahead_us(all.server_time_ahead_us());
    row.set_cause(all.cause());
    row.set_actor(all.actor());
    row.set_cut(all.cut());
    row.set_first_sequence(sequence);
    out.push_back(PackedEvents{row.SerializeAsString(), told});
    sequence += told;
    row.Clear();
    bytes = told = 0;
  };
  for (EventRow& event : *all.mutable_events()) {
    const size_t size = event.ByteSizeLong() + 8;
    if (bytes > 0 && bytes + size > kMaxEventsRowBytes) finish();
    bytes += size;
    if (event.has_event()) ++told;
    row.add_events()->Swap(&event);
  }
  finish();
  return out;
}

absl::Status FillShards(const EventRow& row, v1::Event& event) {
  const auto take = [&](const google::protobuf::RepeatedField<uint32_t>& runs) -> absl::Status {
    MUSTER_ASSIGN_OR_RETURN(const std::vector<uint32_t> shards, UnpackRuns(runs, kShardLimit));
    for (const uint32_t shard : shards) {
      if (event.shards_size() == kMaxEventShards) break;
      event.add_shards(shard);
    }
    return absl::OkStatus();
  };
  MUSTER_RETURN_IF_ERROR(take(row.unassigned_runs()));
  for (const auto& group : row.assigned()) MUSTER_RETURN_IF_ERROR(take(group.shard_runs()));
  return absl::OkStatus();
}

absl::StatusOr<AssignmentChange> UnpackAssignments(const EventRow& row) {
  AssignmentChange change{NodeUid(row.node_uid()),
                          row.event().assembly(),
                          AssemblyUid(row.assembly_uid()),
                          VersionUid(row.version_uid()),
                          {},
                          {},
                          row.event().node(),
                          row.event().model_version()};
  for (const auto& group : row.assigned()) {
    MUSTER_ASSIGN_OR_RETURN(const std::vector<uint32_t> shards,
                            UnpackRuns(group.shard_runs(), kShardLimit));
    for (const uint32_t shard : shards) {
      change.assigned.push_back(Assignment{shard, Generation(group.generation())});
    }
  }
  std::sort(change.assigned.begin(), change.assigned.end());
  MUSTER_ASSIGN_OR_RETURN(change.unassigned, UnpackRuns(row.unassigned_runs(), kShardLimit));
  return change;
}

absl::StatusOr<Change> UnpackOne(Revision revision, EventRow& row) {
  Change out;
  out.revision = revision;
  if (row.about() == EventRow::NODE) {
    auto& node = out.what.emplace<NodeChange>();
    node.uid = NodeUid(row.node_uid());
    node.epoch = Epoch(row.epoch());
    node.removed = row.gone();
  } else if (row.about() == EventRow::ASSIGNMENTS) {
    MUSTER_ASSIGN_OR_RETURN(out.what.emplace<AssignmentChange>(), UnpackAssignments(row));
  } else {
    auto& change = out.what.emplace<AssemblyChange>();
    change.uid = AssemblyUid(row.assembly_uid());
    change.state = row.state();
    if (!row.gone()) {
      change.message = std::make_shared<const std::string>(std::move(*row.mutable_watch_message()));
    }
    for (v1::AssemblyMember& member : *row.mutable_members())
      change.members.push_back(std::move(member));
    for (std::string& node : *row.mutable_left()) change.left.push_back(std::move(node));
  }
  return out;
}

}  // namespace

std::vector<PackedEvents> PackEvents(std::vector<v1::Event> told,
                                     const std::vector<Change>& changes, const EventsOrigin& origin,
                                     size_t rows_max, size_t bytes_max) {
  EventsRow all;
  all.set_time_us(origin.wall_us);
  all.set_server_time_ahead_us(origin.now_us - origin.wall_us);
  all.set_cause(origin.cause.data(), origin.cause.size());
  all.set_actor(origin.actor.data(), origin.actor.size());
  for (v1::Event& event : told) all.add_events()->mutable_event()->Swap(&event);
  for (const Change& change : changes) {
    if (const auto* given = std::get_if<AssignmentChange>(&change.what)) Pack(*given, all);
    if (const auto* location = std::get_if<LocationChange>(&change.what)) Pack(*location, all);
  }
  const auto visible = static_cast<uint32_t>(all.events_size());
  for (const Change& change : changes) {
    if (const auto* node = std::get_if<NodeChange>(&change.what)) Pack(*node, all);
    if (const auto* assembly = std::get_if<AssemblyChange>(&change.what)) Pack(*assembly, all);
  }
  std::string row = all.SerializeAsString();
  std::vector<PackedEvents> out;
  if (row.size() <= std::min(kMaxEventsRowBytes, bytes_max)) {
    out.push_back(PackedEvents{std::move(row), visible});
    return out;
  }
  if (row.size() + 4'096 > bytes_max || !Fits(all, rows_max)) {
    CutText(all, std::min(bytes_max, rows_max * kMaxEventsRowBytes / 2));
  }
  return Split(all);
}

absl::StatusOr<std::vector<v1::Event>> UnpackTold(Revision revision, absl::string_view packed) {
  EventsRow rows;
  if (!rows.ParseFromArray(packed.data(), static_cast<int>(packed.size())))
    return Damaged(revision);
  std::vector<v1::Event> out;
  uint32_t sequence = rows.first_sequence();
  for (EventRow& row : *rows.mutable_events()) {
    if (!row.has_event()) continue;
    v1::Event& event = out.emplace_back();
    event.Swap(row.mutable_event());
    event.set_revision(revision.value);
    event.set_sequence(sequence++);
    *event.mutable_time() = ToTimestamp(rows.time_us());
    event.set_cause(rows.cause());
    event.set_actor(rows.actor());
    MUSTER_RETURN_IF_ERROR(FillShards(row, event));
  }
  return out;
}

absl::Status UnpackWatched(Revision revision, absl::string_view packed,
                           const std::function<bool(const EventRow&)>& wanted,
                           std::vector<Change>& changes) {
  EventsRow rows;
  if (!rows.ParseFromArray(packed.data(), static_cast<int>(packed.size())))
    return Damaged(revision);
  if (rows.cut()) {
    return absl::OutOfRangeError(
        absl::StrCat("revision ", revision.value, " changed too much to be read again"));
  }
  for (EventRow& row : *rows.mutable_events()) {
    if (row.about() == EventRow::NOTHING || !wanted(row)) continue;
    MUSTER_ASSIGN_OR_RETURN(Change change, UnpackOne(revision, row));
    changes.push_back(std::move(change));
  }
  return absl::OkStatus();
}

}  // namespace muster
