// Where each row of the metadata store is. Numbers are big-endian, so that key order is number
// order and every prefix is a range.
//
//   "!events"                           EventLogRow
//   "!revision"                         RevisionRow
//   "a" assembly                        AssemblyRow
//   "b" assembly "m" node               MemberRow
//   "b" assembly "p" directory node     AssignmentRow
//   "b" assembly "r" node               ReadinessRow
//   "c" version companion path          CompanionRow
//   "e" revision part                   EventsRow
//   "h" version shard location URI      LocationHealthRow
//   "i" node                            InventoryRow
//   "j" token id                        JoinTokenRow
//   "k" revision                        EventRunRow
//   "m" node                            EnrolledNameRow
//   "n" node                            NodeRow
//   "p" version shard chunk             PiecesRow
//   "q" expiry request id               RequestRow
//   "s" version shard                   ShardRow
//   "t" version shard start             TensorsRow
//   "v" version                         VersionRow
//
// Versions, nodes and assemblies stand by their uid, but for an EnrolledNameRow, which has the full name of a node that
// need not be registered. Thread-safe: pure functions.
#ifndef MUSTER_SERVER_REGISTRY_ROW_KEYS_H_
#define MUSTER_SERVER_REGISTRY_ROW_KEYS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "server/registry/uid.h"
#include "storage/base/numbers.h"

namespace muster {

std::string RevisionKey();
std::string VersionKey(VersionUid version);
std::string ShardKey(VersionUid version, ShardIndex shard);
std::string PiecesKey(VersionUid version, ShardIndex shard, uint32_t chunk);
std::string TensorsKey(VersionUid version, ShardIndex shard, uint32_t start);
std::string CompanionKey(VersionUid version, absl::string_view path);
std::string InventoryKey(NodeUid node);
std::string NodeKey(NodeUid node);
std::string AssemblyKey(AssemblyUid assembly);
std::string MemberKey(AssemblyUid assembly, NodeUid node);
std::string AssignmentKey(AssemblyUid assembly, Generation directory, NodeUid node);
std::string ReadinessKey(AssemblyUid assembly, NodeUid node);
std::string EventLogKey();
std::string EventsKey(Revision revision, uint32_t part);
std::string EventRunKey(Revision last);
std::string LocationHealthKey(VersionUid version, ShardIndex shard, absl::string_view uri);
std::string JoinTokenKey(absl::string_view id);
std::string EnrolledNameKey(absl::string_view node);
std::string RequestKey(int64_t expire_time_us, absl::string_view request_id);

// Prefixes of whole ranges; PrefixEnd gives the key after the last one that begins with the prefix.
std::string AllShardsPrefix(VersionUid version);
std::string AllPiecesPrefix(VersionUid version);
std::string AllTensorsPrefix(VersionUid version);
std::string AllCompanionsPrefix(VersionUid version);
std::string AllLocationHealthPrefix(VersionUid version);
std::string AssemblyRowsPrefix(AssemblyUid assembly);
std::string PlanDirectoryPrefix(AssemblyUid assembly, Generation directory);
std::string PrefixEnd(absl::string_view prefix);

// Takes a key apart again while the store is loaded; nullopt for a key of another form.
std::optional<std::pair<VersionUid, ShardIndex>> ParseShardKey(absl::string_view key);
std::optional<std::pair<VersionUid, ShardIndex>> ParseLocationHealthKey(absl::string_view key);
std::optional<VersionUid> ParseCompanionKey(absl::string_view key);
std::optional<NodeUid> ParseInventoryKey(absl::string_view key);
struct AssemblyRowKey {
  AssemblyUid assembly;
  char kind = 0;  // 'm', 'p' or 'r'
  Generation directory;
  NodeUid node;
};
std::optional<AssemblyRowKey> ParseAssemblyRowKey(absl::string_view key);
// The revision of an EventsRow or an EventRunRow.
std::optional<Revision> ParseEventsKey(absl::string_view key);
std::optional<Revision> ParseEventRunKey(absl::string_view key);
struct TensorsRowKey {
  VersionUid version;
  ShardIndex shard;
  uint32_t start = 0;
};
std::optional<TensorsRowKey> ParseTensorsKey(absl::string_view key);

}  // namespace muster

#endif  // MUSTER_SERVER_REGISTRY_ROW_KEYS_H_
