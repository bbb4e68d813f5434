// Whether a node may be declared lost, or its shards be given away, judged by a record of its own.
#ifndef MUSTER_TESTS_SIMULATION_LEASE_JUDGE_H_
#define MUSTER_TESTS_SIMULATION_LEASE_JUDGE_H_

#include <map>
#include <string>

#include "absl/time/time.h"
#include "server/registry/registry.h"

namespace muster {

// Not thread-safe. Times are those of the simulated clock.
class LeaseJudge {
 public:
  explicit LeaseJudge(const LeaseTable::Options& options) : options_(options) {}

  // Called before the server acts upon it.
  void Ticked(absl::Duration now);
  // A server that starts gives every lease a full TTL, as after a stall.
  void Started(absl::Duration now);
  void Renewed(NodeUid node, absl::Duration now);
  // Somebody has asked for the moves that the brake holds back.
  void MovesResumed() { resumed_ = true; }

  // What has become of the nodes since the last call; "" when all of it was right.
  std::string Judge(const Registry& registry);

 private:
  struct Record {
    Epoch epoch;
    bool lost = false;
    bool released = false;
    absl::Duration renewed;
    // When it was found lost.
    absl::Duration lost_since;
  };

  std::string JudgeNode(const Node& node, Record& record) const;
  std::string JudgeBrake(const Registry& registry, const std::map<NodeUid, Record>& before) const;

  const LeaseTable::Options options_;
  std::map<NodeUid, Record> records_;
  absl::Duration now_;
  // The end of the server's last stall.
  absl::Duration stalled_until_;
  bool resumed_ = false;
};

}  // namespace muster

#endif  // MUSTER_TESTS_SIMULATION_LEASE_JUDGE_H_
