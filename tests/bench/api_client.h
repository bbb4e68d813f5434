// Sets up through the public API what a benchmark measures.
#ifndef MUSTER_TESTS_BENCH_API_CLIENT_H_
#define MUSTER_TESTS_BENCH_API_CLIENT_H_

#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "muster/v1/assembly.grpc.pb.h"
#include "muster/v1/model.grpc.pb.h"
#include "muster/v1/node.grpc.pb.h"

namespace muster::bench {

// Connections of their own, each with its own socket. Under TLS where a folder is named that `musterd --secure` made: as
// its admin.
std::vector<std::shared_ptr<grpc::Channel>> Connect(const std::string& address, size_t count,
                                                    const std::string& tls_folder = "");

// Ends the program with a message unless the call succeeded.
void Check(const grpc::Status& status, const std::string& what);

// A shard that was registered in place: a whole MD5 and one location.
muster::v1::Shard InPlaceShard(const std::string& version, uint32_t index);
// A shard as publishing registers it: of 8 pieces, with their digests and root.
muster::v1::Shard PublishedShard(const std::string& version, uint32_t index);

// A node's part in an assembly.
struct Seat {
  std::string node;
  uint64_t epoch = 0;
};

// That the node of `seat` has one shard READY.
muster::v1::ReportShardsRequest ReadyReport(const Seat& seat,
                                            const muster::v1::AssignedShard& assigned);

// Blocking calls; any that fails ends the program. Thread-safe.
class ApiClient {
 public:
  explicit ApiClient(const std::shared_ptr<grpc::Channel>& channel);

  void CreateVersion(const std::string& name, uint32_t shard_count);
  void DeleteVersion(const std::string& name);
  void AddShards(const muster::v1::AddShardsRequest& request);
  void CommitVersion(const std::string& name);
  // With a lease of one hour, so that nobody needs heartbeats.
  Seat RegisterNode(const std::string& name, const std::string& zone);
  void CreateAssembly(const std::string& name, const std::string& version, uint32_t min_nodes);
  void Join(const std::string& assembly, const Seat& seat);
  muster::v1::Assembly GetAssembly(const std::string& name);
  // Waits for the first plan.
  muster::v1::Assembly AwaitPlan(const std::string& assembly);
  // What the node has in all its assemblies.
  std::vector<muster::v1::AssignedShard> Assignments(const Seat& seat);
  muster::v1::ReportShardsResponse Report(const muster::v1::ReportShardsRequest& request);

  muster::v1::ModelService::Stub& models() { return *models_; }
  muster::v1::AssemblyService::Stub& assemblies() { return *assemblies_; }

 private:
  std::unique_ptr<muster::v1::ModelService::Stub> models_;
  std::unique_ptr<muster::v1::NodeService::Stub> nodes_;
  std::unique_ptr<muster::v1::AssemblyService::Stub> assemblies_;
};

// Makes a committed version of `shards` shards, and a BALANCED assembly of it with `members` nodes
// of its own and a plan. `name` is a single word.
std::vector<Seat> MakePlannedAssembly(ApiClient& api, const std::string& name, uint32_t shards,
                                      uint32_t members);

}  // namespace muster::bench

#endif  // MUSTER_TESTS_BENCH_API_CLIENT_H_
