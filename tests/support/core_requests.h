// The calls that tests of the server's core make most, and a server to make them on.
#ifndef MUSTER_TESTS_SUPPORT_CORE_REQUESTS_H_
#define MUSTER_TESTS_SUPPORT_CORE_REQUESTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "muster/v1/assembly.pb.h"
#include "muster/v1/model.pb.h"
#include "muster/v1/node.pb.h"
#include "server/registry/command.h"
#include "tests/support/simulated_server.h"

namespace muster {

// A shard without pieces and tensors, with one location.
muster::v1::Shard SimpleShard(uint32_t index, uint64_t size_bytes);
// Creates, fills and commits a version of `shards` shards of `size_bytes` each.
std::vector<Command> PublishCommands(absl::string_view version, uint32_t shards,
                                     uint64_t size_bytes);
muster::v1::RegisterNodeRequest RegisterRequest(absl::string_view node, uint64_t capacity_bytes);
muster::v1::CreateAssemblyRequest CreateAssemblyRequestOf(absl::string_view assembly,
                                                          absl::string_view version,
                                                          muster::v1::Assembly::Policy policy);
muster::v1::JoinAssemblyRequest JoinRequest(absl::string_view assembly, absl::string_view node,
                                            Epoch epoch, muster::v1::Claim::Kind kind);

// A server that answers at once. Not thread-safe.
class CoreUnderTest {
 public:
  CoreUnderTest();
  explicit CoreUnderTest(const SimulatedServer::Options& options);

  // Carries the commands out as one job.
  JobResult Do(std::vector<Command> commands);
  JobResult Do(Command command);
  // Registers a node and returns its epoch; joins it to the assembly.
  Epoch AddNode(absl::string_view node, uint64_t capacity_bytes);
  void Join(absl::string_view assembly, absl::string_view node, muster::v1::Claim::Kind kind);
  // Makes and applies plans until none is wanted.
  void Plan();
  // Reports all that is assigned to the node in `state`, in calls of 1,000.
  JobResult ReportAll(absl::string_view assembly, absl::string_view node,
                      muster::v1::ShardReport::State state);
  void AdvanceAndTick(absl::Duration by);
  void Restart();

  const Assembly& AssemblyOf(absl::string_view name) const;
  FakeClock& clock() { return clock_; }
  SimulatedServer& server() { return server_; }
  const Registry& registry() const { return server_.registry(); }

 private:
  FakeClock clock_;
  SimulatedServer server_;
};

}  // namespace muster

#endif  // MUSTER_TESTS_SUPPORT_CORE_REQUESTS_H_
