// What a node is to hold, how far each shard is, and what has not been reported to the server yet.
//
// A plain value without threads, clock or I/O: the agent's threads feed it under one lock, and
// tests feed it by hand.
#ifndef MUSTER_CLIENT_AGENT_ASSIGNMENT_TABLE_H_
#define MUSTER_CLIENT_AGENT_ASSIGNMENT_TABLE_H_

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/agent/agent_observer.h"
#include "muster/v1/assembly.pb.h"
#include "muster/v1/node.pb.h"
#include "storage/base/backoff.h"

namespace muster {

// A shard in an assembly. The order is the one in which shards are fetched.
struct ShardKey {
  std::string assembly;
  uint32_t index = 0;

  auto operator<=>(const ShardKey&) const = default;
};

// Each shard goes PENDING -> CHECKING (is it in the cache?) -> READY, or -> FETCHING -> READY or
// FAILED; a FAILED one is CHECKING again after a growing wait. FETCHING, READY and FAILED are
// reported.
//
// Not thread-safe.
class AssignmentTable {
 public:
  // More assignments than this are an error of the server: 10 model versions of 100,000 shards.
  static constexpr size_t kMaxAssignments = 1'000'000;
  // Assemblies that are remembered as refused.
  static constexpr size_t kMaxRefused = 1'000;

  // One attempt to get one shard, from TakeWork to Finish or Abandon.
  struct Work {
    ShardKey key;
    uint64_t attempt = 0;
    v1::Shard shard;
    // Attempts that failed before this one, in a row.
    int failures = 0;
    // Requested when the shard is no longer assigned.
    std::stop_token stop;
  };

  struct Applied {
    // Attempts that are to end; stop them outside the lock.
    std::vector<std::stop_source> cancelled;
    std::vector<AgentObserver::AssignmentChange> changes;
    // Assemblies that the node was not told to join, and that assigned something for the first time.
    std::vector<std::string> refused;
    // The message was the last one of its revision: what is assigned is known whole.
    bool whole = false;
  };

  struct Batch {
    std::string assembly;
    std::vector<v1::ShardReport> reports;
    // The version that each report has, in the order of `reports`.
    std::vector<uint64_t> versions;
  };

  struct Totals {
    uint32_t shards = 0;
    uint64_t bytes = 0;
    uint32_t ready = 0;
    uint32_t failed = 0;
  };

  // `retry` sets the waits between attempts of a FAILED shard.
  AssignmentTable(Random& random, const BackoffOptions& retry) : random_(random), retry_(retry) {}

  // The assemblies whose assignments count, from now on; before the first call all do. What was assigned by others
  // already stays until it is unassigned.
  void Want(std::set<std::string> assemblies);
  // Whether assignments of the assembly may have been refused since it was last wanted. They don't come again by
  // themselves.
  bool MayHaveRefused(const std::string& assembly) const;

  // A stream is about to be opened: what an earlier one left half-sent will come again.
  void BeginStream();
  // Applies one message of WatchAssignments. kInternal for one that breaks the contract, with
  // nothing changed.
  absl::StatusOr<Applied> Apply(const v1::WatchAssignmentsResponse& message);
  // The last revision of which everything was applied; 0 before the first snapshot is whole.
  uint64_t applied_revision() const { return applied_revision_; }
  // The next stream starts from a snapshot.
  void ForgetRevision() { applied_revision_ = 0; }

  // The server has forgotten all reports: what is READY is looked up in the cache again, everything
  // else is reported again.
  void BeginEpoch();

  // The next shard to get: PENDING ones in order, then FAILED ones whose wait is over. Equal
  // content is worked on once at a time, so that a second assembly finds it in the cache.
  std::optional<Work> TakeWork(absl::Duration now);
  // When a FAILED shard's wait ends; unset without one.
  std::optional<absl::Duration> NextRetry() const;
  // The cache does not hold the shard: it is being fetched. False when the attempt no longer
  // counts.
  bool BeginFetch(const Work& work);
  void SetProgress(const Work& work, uint64_t done_bytes);
  // What came of an attempt, with what its locations were like. False when the attempt no longer
  // counts; then nothing changed.
  bool FinishReady(const Work& work, std::vector<v1::LocationReport> locations);
  bool FinishFailed(const Work& work, const v1::ShardFailure& failure,
                    std::vector<v1::LocationReport> locations, absl::Duration now);
  // The attempt was stopped and says nothing about the shard.
  void Abandon(const Work& work);

  // The cache no longer holds this content (CheckedShard::ContentKey): what was READY is looked up,
  // and fetched, again, and the server hears of that. Returns how many shards.
  int Recheck(const std::string& content_key);

  bool HasReports() const { return !unreported_.empty(); }
  // Reports of one assembly, at most kMaxItemsPerCall; empty when there is nothing to report.
  // Nothing changes before Reported.
  Batch NextReports() const;
  // The server has taken the batch, or has said that the assignments are gone: it is not sent
  // again.
  void Reported(const Batch& batch);

  // The fetches under way, at most `limit`.
  std::vector<v1::ShardProgress> Progress(size_t limit) const;
  // Assemblies whose assignments have all become READY, and are reported, since the last call.
  std::vector<std::string> TakeNewlyReady();
  // The assemblies with assignments.
  std::set<std::string> Assemblies() const;
  // Another number after each change of what the assembly is assigned; 0 while that is nothing.
  uint64_t AssignmentVersion(const std::string& assembly) const;
  std::vector<v1::Shard> ShardsOf(const std::string& assembly) const;
  // Zero for an assembly without assignments.
  Totals TotalsOf(const std::string& assembly) const;

 private:
  enum class State { kPending, kChecking, kFetching, kReady, kFailed };

  struct Entry {
    uint64_t generation = 0;
    v1::Shard shard;
    State state = State::kPending;
    // The attempt under way, 0 without one.
    uint64_t attempt = 0;
    std::stop_source stop{std::nostopstate};
    uint64_t done_bytes = 0;
    int failures = 0;
    std::optional<absl::Duration> retry_at;
    // The state to report and its failure; unset before the first.
    std::optional<v1::ShardReport::State> report;
    v1::ShardFailure failure;
    // For the report, and only once.
    std::vector<v1::LocationReport> locations;
    uint64_t report_version = 0;
  };
  using Entries = std::map<ShardKey, Entry>;

  struct AssemblyState {
    Totals totals;
    bool announced_ready = false;
    uint64_t version = 0;
  };

  static absl::Status Check(const v1::WatchAssignmentsResponse& message);
  // Whether an assignment that is new is of an assembly that the node is not to be a member of.
  bool Refuses(const ShardKey& key, Applied& applied);
  void Assign(const v1::AssignedShard& assigned, Applied& applied);
  void Unassign(Entries::iterator it, Applied& applied);
  void EndRevision(Applied& applied);
  void SetState(const ShardKey& key, Entry& entry, State state);
  void Report(const ShardKey& key, Entry& entry, v1::ShardReport::State state);
  Entry* Current(const Work& work);
  void EndAttempt(Entry& entry);
  static AgentObserver::AssignmentChange& ChangeOf(Applied& applied, const std::string& assembly);

  Random& random_;
  const BackoffOptions retry_;
  Entries entries_;
  std::map<std::string, AssemblyState> assemblies_;
  std::set<ShardKey> pending_;
  std::set<ShardKey> fetching_;
  std::set<std::pair<absl::Duration, ShardKey>> retries_;
  std::set<ShardKey> unreported_;
  // Attempts under way, by content.
  absl::flat_hash_map<std::string, int> busy_content_;
  std::optional<std::set<std::string>> wanted_;
  // At most kMaxRefused; whoever makes the node a member of more is not told of each.
  std::set<std::string> refused_;
  uint64_t last_attempt_ = 0;
  uint64_t last_version_ = 0;

  uint64_t applied_revision_ = 0;
  // The revision of which a part was applied, 0 without one.
  uint64_t open_revision_ = 0;
  // The keys of the snapshot that is being received.
  std::optional<std::set<ShardKey>> snapshot_;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_AGENT_ASSIGNMENT_TABLE_H_
