// The core: commands in; replies, rows and changes out.
//
// Pure: no I/O, no clock, no gRPC. Time comes in as Tick commands. The committer applies commands
// one after the other and makes their rows durable; reads run beside that under a shared lock
// (server/commit).
//
// Reading order: command.h, transaction.h, then one file pair per noun: catalogue, node_table,
// assembly, assembly_table, lease_table, request_log.
#ifndef MUSTER_SERVER_REGISTRY_REGISTRY_H_
#define MUSTER_SERVER_REGISTRY_REGISTRY_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/message.h"
#include "server/registry/assembly_table.h"
#include "server/registry/catalogue.h"
#include "server/registry/command.h"
#include "server/registry/enrolment_table.h"
#include "server/registry/event_log.h"
#include "server/registry/live_tables.h"
#include "server/registry/node_table.h"
#include "server/registry/request_log.h"
#include "server/registry/transaction.h"
#include "storage/metadata/metadata_store.h"

namespace muster {

// What came of one command.
struct Applied {
  // The caller's answer; with an error nothing has changed.
  absl::Status status;
  // The response message of commands that are requests; null otherwise.
  std::unique_ptr<google::protobuf::Message> reply;
  bool changed = false;
  // Of the state after the command.
  Revision revision;
  // To be committed as one, in order with those of other commands.
  std::vector<MetadataBatch::Operation> operations;
  // To be published once the operations are durable.
  std::vector<Change> changes;
  // To be applied next, each in a transaction of its own.
  std::vector<Command> follow_ups;
  // Assemblies to be planned.
  std::vector<AssemblyUid> plans_wanted;
};

// Not thread-safe: Load and Apply under an exclusive lock, the rest, which writes nothing, under a
// shared one.
class Registry {
 public:
  struct Options {
    // Makes uids unique over all clusters.
    std::string cluster_id;
    // Of the store; see StoreIdentity.
    std::string history_id;
    int64_t default_lease_ttl_us = 10'000'000;
    // A node whose shards were given away so long ago is forgotten; 0 keeps them all.
    int64_t forget_nodes_us = int64_t{24} * 3'600 * 1'000'000;
    // Mutations that add data are refused while the store's device has less than this left.
    int64_t min_free_bytes = int64_t{256} << 20;
    EventLog::Options event_log;
  };

  // `live` outlives the registry, which gives it the nodes when it loads, and asks it which are
  // alive.
  Registry(const Options& options, LiveTables& live);

  // Reads the whole state back. Once, before anything else; the result holds follow-ups and plans
  // wanted, and the tables in memory know of the nodes already. kDataLoss: a row that can't
  // be read or fits nothing.
  absl::StatusOr<Applied> Load(MetadataStore& store);

  // Carries out one command. `caller` is the connection that it came by; see RequestLog. `actor` is who asked for it, as
  // events name it.
  Applied Apply(const Command& command, absl::string_view caller = "",
                absl::string_view actor = "");

  Revision revision() const { return revision_; }
  const std::string& history_id() const { return options_.history_id; }
  // The row that stores the last revision of a batch; part of every batch.
  MetadataBatch::Put RevisionRow(Revision revision) const;

  const Catalogue& catalogue() const { return catalogue_; }
  const NodeTable& nodes() const { return nodes_; }
  const AssemblyTable& assemblies() const { return assemblies_; }
  const EnrolmentTable& enrolment() const { return enrolment_; }
  const EventLog& event_log() const { return event_log_; }
  // Beside the registry; each has a lock of its own.
  const LeaseTable& leases() const { return live_.leases; }
  const ReadPlaceTable& read_places() const { return live_.read_places; }

  // As the tables describe them, with what is in memory only: what blocks a drain, and what the
  // brake holds back. The latter changes with time and without a revision, so that a watch shows it
  // with the next change only.
  muster::v1::Node DescribeNode(const Node& node) const;
  muster::v1::Assembly DescribeAssembly(const Assembly& assembly) const;

 private:
  // Carries a command out by its line of the switchboard; a request fills `reply`.
  absl::Status Dispatch(const Command& command, absl::string_view caller, Transaction& tx,
                        std::unique_ptr<google::protobuf::Message>& reply);
  // A request: looks its request id up, carries it out, and remembers the reply.
  template <typename Lines, typename Request>
  absl::Status Answer(const Lines& lines, const Request& request, absl::string_view caller,
                      Transaction& tx, std::unique_ptr<google::protobuf::Message>& reply);

  // The lines that concern more than one table.
  absl::Status RegisterNode(const muster::v1::RegisterNodeRequest& request, Transaction& tx,
                            muster::v1::RegisterNodeResponse& reply);
  absl::Status UpdateNode(const muster::v1::UpdateNodeRequest& request, Transaction& tx,
                          muster::v1::UpdateNodeResponse& reply);
  absl::Status DeregisterNode(const muster::v1::DeregisterNodeRequest& request, Transaction& tx);
  absl::Status DrainNode(const muster::v1::DrainNodeRequest& request, Transaction& tx,
                         muster::v1::DrainNodeResponse& reply);
  absl::Status ResumeMoves(const muster::v1::ResumeMovesRequest& request, Transaction& tx,
                           muster::v1::ResumeMovesResponse& reply);
  void TakeTime(const Tick& command, Transaction& tx);
  void LoseNode(const ExpireLease& command, Transaction& tx);
  void ReleaseShards(const ReleaseNode& command, Transaction& tx);
  void Forget(const ForgetNode& command, Transaction& tx);
  void TakeNodeBack(const ReviveNode& command, Transaction& tx);
  void EndGuard(const ResumePlans& command, Transaction& tx);
  absl::Status Note(const NoteLocations& command, Transaction& tx);

  // RESOURCE_EXHAUSTED STORE_FULL below the floor of free space.
  absl::Status CheckSpace() const;

  const Options options_;
  LiveTables& live_;
  const std::string uid_prefix_;
  Revision revision_;
  // As of the last tick; see Transaction.
  int64_t now_us_ = 0;
  int64_t wall_us_ = 0;
  std::optional<int64_t> last_tick_us_;
  std::optional<int64_t> free_bytes_;
  Catalogue catalogue_;
  NodeTable nodes_;
  AssemblyTable assemblies_;
  EnrolmentTable enrolment_;
  RequestLog requests_;
  EventLog event_log_;
};

}  // namespace muster

#endif  // MUSTER_SERVER_REGISTRY_REGISTRY_H_
