// A server with one node and one assembly, played by the test.
#ifndef MUSTER_TESTS_UNIT_CLIENT_AGENT_FAKE_MUSTER_H_
#define MUSTER_TESTS_UNIT_CLIENT_AGENT_FAKE_MUSTER_H_

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "client/agent/shard_fetcher.h"
#include "muster/v1/assembly.pb.h"
#include "muster/v1/node.pb.h"
#include "storage/base/error_info.h"
#include "storage/base/mutex.h"
#include "tests/support/fake_channel.h"

namespace muster {

// Thread-safe; the test changes it while an agent talks to it.
class FakeMuster {
 public:
  static constexpr char kAssembly[] = "assemblies/demo";

  FakeMuster();

  FakeChannel& channel() { return channel_; }

  // While down, every call and stream ends with kUnavailable.
  void SetDown(bool down);
  // The node is gone, as after a loss of the store.
  void ForgetNode();
  // Another process has registered.
  void Fence();
  // Streams that resume before the present revision are refused.
  void Compact();
  // A restored backup is served from now on; the node is in it, under its epoch.
  void BeginHistory(const std::string& history_id);
  // Returns what was there.
  std::optional<v1::Assembly> SetAssembly(std::optional<v1::Assembly> assembly);
  // GetAssembly shows these members.
  void SetMembers(std::vector<v1::AssemblyMember> members);
  // Fails the next `times` calls of `method` ("ReportShards") after they took effect.
  void LoseReplies(const std::string& method, int times);
  // Makes calls of `method` fail with `status` without any effect, until OK is set.
  void Refuse(const std::string& method, absl::Status status);

  void Assign(uint32_t shard);
  void Unassign(uint32_t shard);
  // Where GetShard says that shard 0 is.
  void SetLocation(const std::string& uri);

  // Shard 0 has one place for readers, which is taken by another node or not.
  void BoundShard0(bool taken);
  // Calls of AcquireRead that were answered with a place; "held" or "new" each.
  std::vector<std::string> places_given();
  // The shards of the ReleaseRead calls.
  std::vector<std::string> places_returned();

  // What was reported to the server, for the present epoch.
  std::map<uint32_t, v1::ShardReport> reports();
  // Every report of every call, "0 READY".
  std::vector<std::string> report_log();
  std::vector<v1::HeartbeatRequest> heartbeats();
  std::vector<v1::WatchAssignmentsRequest> watches();
  std::vector<v1::RegisterNodeRequest> registrations();
  std::vector<v1::JoinAssemblyRequest> joins();
  std::vector<size_t> batch_sizes();
  int calls(const std::string& method);

 private:
  using SendAssignments = FakeChannel::Send<v1::WatchAssignmentsResponse>;

  absl::Status Enter(const std::string& method) MUSTER_REQUIRES(mutex_);
  absl::Status Leave(const std::string& method) MUSTER_REQUIRES(mutex_);
  absl::Status CheckEpoch(uint64_t epoch) MUSTER_REQUIRES(mutex_);
  v1::AssignedShard AssignedShardOf(uint32_t shard) MUSTER_REQUIRES(mutex_);
  absl::Status Watch(const v1::WatchAssignmentsRequest& request, const SendAssignments& send,
                     const CallOptions& options);
  // Nothing while the watch has to wait; moves `cursor` on past what it returns.
  absl::StatusOr<std::optional<v1::WatchAssignmentsResponse>> NextMessage(
      const v1::WatchAssignmentsRequest& request, const CallOptions& options, uint64_t& cursor)
      MUSTER_REQUIRES(mutex_);
  void ServeNodes();
  void ServeAssemblies();
  void ServeReports();
  void ServePlaces();
  absl::Status AcquireRead(const v1::AcquireReadRequest& request, v1::AcquireReadResponse& response,
                           const CallOptions& options);
  // Nothing while the call has to wait.
  std::optional<absl::Status> TryAcquireRead(const v1::AcquireReadRequest& request,
                                             v1::AcquireReadResponse& response,
                                             const CallOptions& options) MUSTER_REQUIRES(mutex_);

  FakeChannel channel_;
  Mutex mutex_;
  CondVar changed_;
  bool down_ MUSTER_GUARDED_BY(mutex_) = false;
  bool registered_ MUSTER_GUARDED_BY(mutex_) = false;
  uint64_t epoch_ MUSTER_GUARDED_BY(mutex_) = 0;
  uint64_t revision_ MUSTER_GUARDED_BY(mutex_) = 1;
  std::string history_id_ MUSTER_GUARDED_BY(mutex_) = "first";
  uint64_t compact_revision_ MUSTER_GUARDED_BY(mutex_) = 0;
  std::string location_ MUSTER_GUARDED_BY(mutex_) = "file:///first";
  bool bounded_ MUSTER_GUARDED_BY(mutex_) = false;
  bool place_taken_ MUSTER_GUARDED_BY(mutex_) = false;
  std::vector<std::string> places_given_ MUSTER_GUARDED_BY(mutex_);
  std::vector<std::string> places_returned_ MUSTER_GUARDED_BY(mutex_);
  std::optional<v1::Assembly> assembly_ MUSTER_GUARDED_BY(mutex_);
  std::vector<v1::AssemblyMember> members_ MUSTER_GUARDED_BY(mutex_);
  std::map<std::string, int> lost_replies_ MUSTER_GUARDED_BY(mutex_);
  std::map<std::string, absl::Status> refused_ MUSTER_GUARDED_BY(mutex_);
  // Shard to the generation of its assignment.
  std::map<uint32_t, uint64_t> assigned_ MUSTER_GUARDED_BY(mutex_);
  std::map<uint64_t, v1::WatchAssignmentsResponse> deltas_ MUSTER_GUARDED_BY(mutex_);
  std::map<uint32_t, v1::ShardReport> reports_ MUSTER_GUARDED_BY(mutex_);
  std::vector<std::string> report_log_ MUSTER_GUARDED_BY(mutex_);
  std::vector<size_t> batch_sizes_ MUSTER_GUARDED_BY(mutex_);
  std::vector<v1::HeartbeatRequest> heartbeats_ MUSTER_GUARDED_BY(mutex_);
  std::vector<v1::WatchAssignmentsRequest> watches_ MUSTER_GUARDED_BY(mutex_);
  std::vector<v1::RegisterNodeRequest> registrations_ MUSTER_GUARDED_BY(mutex_);
  std::map<std::string, v1::RegisterNodeResponse> replies_by_request_id_ MUSTER_GUARDED_BY(mutex_);
  std::vector<v1::JoinAssemblyRequest> joins_ MUSTER_GUARDED_BY(mutex_);
};

// A fetcher whose results the test sets. It reads from the first location, and finds it good unless
// it fails. Thread-safe.
class FakeFetcher final : public ShardFetcher {
 public:
  bool Holds(const v1::Shard& shard, const std::stop_token& stop) override;
  Outcome Fetch(const v1::Shard& shard, ReadGate& gate, const std::stop_token& stop,
                const OnProgress& on_progress) override;
  absl::Status Assign(const AssemblyId& assembly, const std::vector<v1::Shard>& shards) override;
  absl::Status AssignNoOthers(const std::set<std::string>& assemblies) override;
  absl::StatusOr<std::set<AssemblyId>> NeededByOthers() override;
  absl::Status LetGoForOthers(const AssemblyId& assembly) override;
  std::string Inventory() override;

  // What was assigned last, by assembly, without those that need nothing.
  std::map<std::string, std::set<uint32_t>> assigned();
  // As a process before this one left it.
  void PutAssigned(const std::string& assembly, const std::set<uint32_t>& shards);
  // As other nodes that share the cache have left it.
  void PutNeededByOthers(const std::set<AssemblyId>& assemblies);
  // The uid of each assembly that was assigned something last.
  std::map<std::string, std::string> uids();
  // Assign fails from now on, or no longer.
  void FailAssign(const absl::Status& status);
  // Shards that were looked up while no assembly needed them.
  int unassigned_lookups();

  void PutIntoCache(uint32_t shard);
  // The next fetches of the shard fail.
  void Fail(uint32_t shard, int times);
  // Fetches of the shard wait until Release.
  void Hold(uint32_t shard);
  void Release(uint32_t shard);

  int fetches(uint32_t shard);
  int stopped(uint32_t shard);
  // The first location of the last fetch.
  std::string last_location();

 private:
  Outcome FetchWithPlace(const v1::Shard& shard, const std::stop_token& stop);

  Mutex mutex_;
  CondVar changed_;
  int inventories_ MUSTER_GUARDED_BY(mutex_) = 0;
  std::set<uint32_t> cached_ MUSTER_GUARDED_BY(mutex_);
  std::map<std::string, std::set<uint32_t>> assigned_ MUSTER_GUARDED_BY(mutex_);
  std::set<AssemblyId> needed_by_others_ MUSTER_GUARDED_BY(mutex_);
  std::map<std::string, std::string> uids_ MUSTER_GUARDED_BY(mutex_);
  absl::Status assign_status_ MUSTER_GUARDED_BY(mutex_);
  int unassigned_lookups_ MUSTER_GUARDED_BY(mutex_) = 0;
  std::set<uint32_t> held_ MUSTER_GUARDED_BY(mutex_);
  std::map<uint32_t, int> failures_ MUSTER_GUARDED_BY(mutex_);
  std::map<uint32_t, int> fetches_ MUSTER_GUARDED_BY(mutex_);
  std::map<uint32_t, int> stopped_ MUSTER_GUARDED_BY(mutex_);
  std::string last_location_ MUSTER_GUARDED_BY(mutex_);
};

}  // namespace muster

#endif  // MUSTER_TESTS_UNIT_CLIENT_AGENT_FAKE_MUSTER_H_
