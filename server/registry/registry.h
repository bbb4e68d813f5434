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
#include "google/protobuf/message.h"
#include "server/registry/assembly_table.h"
#include "server/registry/catalogue.h"
#include "server/registry/command.h"
#include "server/registry/event_log.h"
#include "server/registry/lease_table.h"
#include "server/registry/node_table.h"
#include "server/registry/read_place_table.h"
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

// Not thread-safe but for leases() and read_places(): Apply under an exclusive lock, the rest under a
// shared one.
class Registry {
 public:
  struct Options {
    // Makes uids unique over all clusters.
    std::string cluster_id;
    int64_t default_lease_ttl_us = 10'000'000;
    // Mutations that add data are refused while the store's device has less than this left.
    int64_t min_free_bytes = int64_t{256} << 20;
    LeaseTable::Options leases;
    EventLog::Options event_log;
    ReadPlaceTable::Options read_places;
  };

  explicit Registry(const Options& options);

  // Reads the whole state back. Once, before anything else; the result holds follow-ups and plans
  // wanted, and the tables in memory know of the nodes already. kDataLoss: a row that can't
  // be read or fits nothing.
  absl::StatusOr<Applied> Load(MetadataStore& store);

  // Carries out one command.
  Applied Apply(const Command& command);

  Revision revision() const { return revision_; }
  // The row that stores the last revision of a batch; part of every batch.
  MetadataBatch::Put RevisionRow(Revision revision) const;

  const Catalogue& catalogue() const { return catalogue_; }
  const NodeTable& nodes() const { return nodes_; }
  const AssemblyTable& assemblies() const { return assemblies_; }
  const EventLog& event_log() const { return event_log_; }
  // Has a lock of its own.
  LeaseTable& leases() const { return leases_; }
  // Has a lock of its own.
  ReadPlaceTable& read_places() const { return read_places_; }
  // Takes over into both what a committed transaction says.
  void Committed(const Change& change) const;

  // As the tables describe them, with what is in memory only: what blocks a drain, and what the
  // brake holds back. The latter changes with time and without a revision, so that a watch shows it
  // with the next change only.
  muster::v1::Node DescribeNode(const Node& node) const;
  muster::v1::Assembly DescribeAssembly(const Assembly& assembly) const;

 private:
  // One overload a command, in command order; a request's fills its reply.
  absl::Status Do(const muster::v1::CreateModelVersionRequest& request, Transaction& tx,
                  muster::v1::CreateModelVersionResponse& reply);
  absl::Status Do(const muster::v1::AddTensorsRequest& request, Transaction& tx,
                  muster::v1::AddTensorsResponse& reply);
  absl::Status Do(const muster::v1::CommitModelVersionRequest& request, Transaction& tx,
                  muster::v1::CommitModelVersionResponse& reply);
  absl::Status Do(const muster::v1::DeleteModelVersionRequest& request, Transaction& tx,
                  muster::v1::DeleteModelVersionResponse& reply);
  absl::Status Do(const muster::v1::RegisterNodeRequest& request, Transaction& tx,
                  muster::v1::RegisterNodeResponse& reply);
  absl::Status Do(const muster::v1::DeregisterNodeRequest& request, Transaction& tx,
                  muster::v1::DeregisterNodeResponse& reply);
  absl::Status Do(const muster::v1::DrainNodeRequest& request, Transaction& tx,
                  muster::v1::DrainNodeResponse& reply);
  absl::Status Do(const muster::v1::ResumeMovesRequest& request, Transaction& tx,
                  muster::v1::ResumeMovesResponse& reply);
  absl::Status Do(const muster::v1::CreateAssemblyRequest& request, Transaction& tx,
                  muster::v1::CreateAssemblyResponse& reply);
  absl::Status Do(const muster::v1::JoinAssemblyRequest& request, Transaction& tx,
                  muster::v1::JoinAssemblyResponse& reply);
  absl::Status Do(const muster::v1::LeaveAssemblyRequest& request, Transaction& tx,
                  muster::v1::LeaveAssemblyResponse& reply);
  absl::Status Do(const muster::v1::DeleteAssemblyRequest& request, Transaction& tx,
                  muster::v1::DeleteAssemblyResponse& reply);
  absl::Status Do(const muster::v1::ReportShardsRequest& request, Transaction& tx,
                  muster::v1::ReportShardsResponse& reply);
  absl::Status Do(const StagePieces& command, Transaction& tx);
  absl::Status Do(const AddShard& command, Transaction& tx);
  absl::Status Do(const AddCompanion& command, Transaction& tx);
  absl::Status Do(const AddLocation& command, Transaction& tx);
  absl::Status Do(const RemoveLocation& command, Transaction& tx);
  absl::Status Do(const Tick& command, Transaction& tx);
  absl::Status Do(const ExpireLease& command, Transaction& tx);
  absl::Status Do(const ReleaseNode& command, Transaction& tx);
  absl::Status Do(const ReviveNode& command, Transaction& tx);
  absl::Status Do(const NoteDrain& command, Transaction& tx);
  absl::Status Do(const ResumePlans& command, Transaction& tx);
  absl::Status Do(const ExpireGivenUp& command, Transaction& tx);
  absl::Status Do(const StagePlan& command, Transaction& tx);
  absl::Status Do(const ApplyPlan& command, Transaction& tx);
  absl::Status Do(const NoteLocations& command, Transaction& tx);
  absl::Status Do(const ExpireDraft& command, Transaction& tx);
  absl::Status Do(const ForgetMember& command, Transaction& tx);
  absl::Status Do(const ForgetPlanDirectory& command, Transaction& tx);
  absl::Status Do(const RememberReady& command, Transaction& tx);

  // A request: looks its request id up, carries it out, and remembers the reply.
  template <typename Reply, typename Request>
  absl::Status Answer(const Request& request, Transaction& tx,
                      std::unique_ptr<google::protobuf::Message>& reply);
  // RESOURCE_EXHAUSTED STORE_FULL below the floor of free space.
  absl::Status CheckSpace() const;

  const Options options_;
  const std::string uid_prefix_;
  Revision revision_;
  int64_t now_us_ = 0;
  std::optional<int64_t> free_bytes_;
  Catalogue catalogue_;
  NodeTable nodes_;
  AssemblyTable assemblies_;
  RequestLog requests_;
  EventLog event_log_;
  mutable LeaseTable leases_;
  mutable ReadPlaceTable read_places_;
};

}  // namespace muster

#endif  // MUSTER_SERVER_REGISTRY_REGISTRY_H_
