// A plan under way: what each node keeps, what it gets, and how full that makes it.
//
// Internal to server/placement. Not thread-safe.
#ifndef MUSTER_SERVER_PLACEMENT_PLAN_STATE_H_
#define MUSTER_SERVER_PLACEMENT_PLAN_STATE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "server/placement/plan.h"

namespace muster {

// A node of the input, by its position there.
using NodeIndex = uint32_t;
// No node: of the input's positions none is that high.
inline constexpr NodeIndex kNobody = ~NodeIndex{0};

class PlanState {
 public:
  struct Added {
    uint32_t shard = 0;
    // The node whose replica it will replace, or kNobody.
    NodeIndex replaces = kNobody;
  };
  struct Node {
    // Of all assemblies. A replica on the move counts on both of its nodes.
    uint64_t load_bytes = 0;
    // How much of that goes away when the moves under way have ended.
    uint64_t leaving_bytes = 0;
    // The highest value where the input says unbounded.
    uint64_t capacity_bytes = 0;
    // Shards may be added: live, selected and not draining.
    bool open = false;
    // Draining or not selected: what it has is to go elsewhere.
    bool leaving = false;
    // May differ from what is present.
    bool touched = false;
    // Equal numbers for equal zones, in the order of their names.
    uint32_t zone = 0;
    // By shard index, ascending.
    std::vector<PlanAssignment> kept;
    std::vector<uint32_t> already_counted;
    // In the order in which they were placed.
    std::vector<Added> added;
    // Kept shards that another node is to take over.
    absl::flat_hash_set<uint32_t> replaced;
    // For what is the node's by its claim; unset where there is room.
    std::optional<PlanShortage> shortage;
  };
  // A replica of `shard` on `to` will replace the one on `from` once it is ready.
  struct Move {
    uint32_t shard = 0;
    NodeIndex from = kNobody;
    NodeIndex to = kNobody;
  };

  // Checks the input and keeps what each node may keep. `input` must outlive the state.
  static absl::StatusOr<PlanState> Create(const PlanInput& input);

  const PlanInput& input() const { return *input_; }
  uint32_t shard_count() const { return static_cast<uint32_t>(input_->shards.size()); }
  uint64_t size_of(uint32_t shard) const { return input_->shards[shard].size_bytes; }
  const Node& node(NodeIndex index) const { return nodes_[index]; }
  // All nodes, by uid.
  const std::vector<NodeIndex>& order() const { return order_; }
  // Those under way: the present ones that were noted, and the added ones.
  const std::vector<Move>& moves() const { return moves_; }

  // What the node's claim means under the policy.
  ClaimKind ClaimOf(NodeIndex index) const { return meanings_[index]; }
  // Whether the node is to have the shard by its claim or by the policy; a claim "any" covers none.
  bool Claims(NodeIndex index, uint32_t shard) const;
  // All shards that the claim covers, ascending.
  std::vector<uint32_t> ClaimedShards(NodeIndex index) const;
  // What the claimed shards that the node lacks would add to its load.
  uint64_t MissingClaimBytes(NodeIndex index) const;

  // The largest of some shards; the first of equals.
  uint32_t LargestOf(const std::vector<uint32_t>& shards) const;

  // What the shard would add to the node's load.
  uint64_t CostOn(NodeIndex index, uint32_t shard) const;
  uint64_t FreeBytes(NodeIndex index) const;
  // What the input's budget leaves for further moves. Those off nodes that are to be left take
  // nothing from it.
  uint64_t MoveBudgetLeft() const;
  // What the node keeps of the shard, or null.
  const PlanAssignment* FindKept(NodeIndex index, uint32_t shard) const;
  bool Keeps(NodeIndex index, uint32_t shard) const { return FindKept(index, shard) != nullptr; }
  // Whether the shard failed there too often.
  bool Unfit(NodeIndex index, uint32_t shard) const;

  // The node must not have the shard. `replaces` must keep it, on no other move.
  void Add(NodeIndex index, uint32_t shard, NodeIndex replaces = kNobody);
  // The node must have the shard, kept or added, and no move may take it over. Ends the move that
  // brings it, if there is one.
  void Remove(NodeIndex index, uint32_t shard);
  // The same for many kept shards, ascending, whose moves were not noted.
  void RemoveKept(NodeIndex index, absl::Span<const uint32_t> shards);

  // A kept replica that was to replace another is an ordinary one from now on.
  void EndMove(NodeIndex index, uint32_t shard);
  // Of a present move that goes on.
  void NoteMove(const Move& move);

  // There is no room for what the node claims and lacks.
  void NoteShortage(NodeIndex index, const PlanShortage& shortage) {
    nodes_[index].shortage = shortage;
  }
  void AddUnplaced(Unplaced unplaced) { unplaced_.push_back(std::move(unplaced)); }
  void AddBlocked(BlockedMove blocked) { blocked_.push_back(std::move(blocked)); }

  // Turns the state into the plan. Ends the state's use.
  Plan Finish();

 private:
  explicit PlanState(const PlanInput& input) : input_(&input) {}

  absl::Status CheckShards() const;
  absl::Status SortNodes();
  absl::Status SortClaims();
  absl::Status CheckSorted(const std::vector<ShardIndex>& shards, absl::string_view what,
                           absl::string_view node) const;
  absl::Status KeepAssignments(NodeIndex index);
  // The assignment of the shard that the input says the node has, or null.
  const PlanAssignment* FindPresent(NodeIndex index, uint32_t shard) const;
  NodePlan FinishNode(Node& node) const;
  void CountChanges(Plan& plan) const;

  const PlanInput* input_;
  std::vector<Node> nodes_;
  std::vector<NodeIndex> order_;
  // Per node what its claim means, and the claimed shards or ranks, ascending, once each.
  std::vector<ClaimKind> meanings_;
  std::vector<std::vector<uint32_t>> claimed_;
  std::vector<Move> moves_;
  std::vector<Unplaced> unplaced_;
  std::vector<BlockedMove> blocked_;
};

// "12.4 GiB".
std::string FormatBytes(uint64_t bytes);

// "needs 12.4 GiB, node n1 has 9.1 GiB left"; in bytes where the rounded numbers look alike.
std::string FormatNeed(uint64_t needed_bytes, uint64_t free_bytes, absl::string_view who);

// What to put behind a sentence about the first of `count` shards; "" for one.
std::string FormatOthers(size_t count);

}  // namespace muster

#endif  // MUSTER_SERVER_PLACEMENT_PLAN_STATE_H_
