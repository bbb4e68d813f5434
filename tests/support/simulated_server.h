// A server without threads and without gRPC: the real registry, committer, feed and lease table
// over a store that outlives it. A crash drops everything but the store.
#ifndef MUSTER_TESTS_SUPPORT_SIMULATED_SERVER_H_
#define MUSTER_TESTS_SUPPORT_SIMULATED_SERVER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "server/commit/committer.h"
#include "server/registry/registry.h"
#include "server/watch/feed.h"
#include "storage/metadata/metadata_store.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fault_injecting_metadata_store.h"

namespace muster {

// All rows of a store.
using StoreContent = std::map<std::string, std::string>;
StoreContent ContentOf(MetadataStore& store);

// Not thread-safe.
class SimulatedServer {
 public:
  struct Options {
    MetadataStore::Limits limits;
    Feed::Options feed;
  };
  // What became of a job.
  struct Ticket {
    std::optional<JobResult> result;
  };
  using Fault = FaultInjectingMetadataStore::Fault;

  SimulatedServer(FakeClock& clock, const Options& options);
  ~SimulatedServer();

  // Opens what the store holds, and carries out what that asks for.
  absl::Status Start();
  // Ends the process; the store stays.
  void Stop();

  std::shared_ptr<Ticket> Submit(std::vector<Command> commands);
  void SubmitTick();
  // Carries out all that is queued. An error: the store failed, and the process has to end.
  absl::Status Run();

  // The n-th commit from here fails; 0 takes that back.
  void FailCommit(uint64_t n, Fault fault);
  bool has_failed() const;

  // Called before each commit, when the registry is ahead of the store.
  void SetBeforeCommit(std::function<void()> hook) { before_commit_ = std::move(hook); }

  const Registry& registry() const;
  Feed& feed();
  Committer& committer();
  LeaseTable& leases();
  MetadataStore& store() { return *inner_; }
  // The revision that the store holds.
  Revision stored_revision() const;
  std::set<AssemblyUid>& plans_wanted() { return plans_wanted_; }
  // Broken promises of the committer, such as an answer before its revision was stored.
  const std::vector<std::string>& violations() const { return violations_; }
  void AddViolation(std::string text) { violations_.push_back(std::move(text)); }

  static Registry::Options RegistryOptions();
  static LiveTables::Options LiveOptions();

 private:
  struct Process;

  FakeClock& clock_;
  const Options options_;
  std::unique_ptr<MetadataStore> inner_;
  std::unique_ptr<Process> process_;
  std::set<AssemblyUid> plans_wanted_;
  std::function<void()> before_commit_ = [] {};
  std::vector<std::string> violations_;
};

}  // namespace muster

#endif  // MUSTER_TESTS_SUPPORT_SIMULATED_SERVER_H_
