#include "server/placement/moves.h"

#include <algorithm>
#include <string>
#include <tuple>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"

namespace muster {
namespace {

// A kept replica that is to replace another.
struct Incoming {
  uint32_t shard;
  uint64_t from_uid;
  // Ready on a live node.
  bool usable;
  NodeIndex to;
};

// By shard and source, so that moves off the same replica are neighbours; the usable ones first, so
// that the first of such neighbours is the one to go by.
std::vector<Incoming> FindIncoming(const PlanState& state) {
  std::vector<Incoming> incoming;
  for (const NodeIndex node : state.order()) {
    for (const PlanAssignment& kept : state.node(node).kept) {
      if (kept.replaces == 0) continue;
      const bool usable = kept.ready && state.input().nodes[node].live;
      incoming.push_back({kept.shard.value, kept.replaces, usable, node});
    }
  }
  std::stable_sort(incoming.begin(), incoming.end(), [](const Incoming& a, const Incoming& b) {
    return std::tuple(a.shard, a.from_uid, !a.usable) < std::tuple(b.shard, b.from_uid, !b.usable);
  });
  return incoming;
}

// kNobody if the node is gone or no longer holds an ordinary replica.
NodeIndex SourceOf(const PlanState& state, const absl::flat_hash_map<uint64_t, NodeIndex>& by_uid,
                   const Incoming& move) {
  const auto found = by_uid.find(move.from_uid);
  if (found == by_uid.end()) return kNobody;
  const PlanAssignment* kept = state.FindKept(found->second, move.shard);
  return kept != nullptr && kept->replaces == 0 ? found->second : kNobody;
}

bool ReadyToStay(const PlanState& state, NodeIndex node, uint32_t shard) {
  return state.node(node).open && state.FindKept(node, shard)->ready;
}

class Settling {
 public:
  explicit Settling(PlanState& state) : state_(state), dropped_(state.order().size()) {
    for (const NodeIndex node : state.order()) by_uid_[state.input().nodes[node].uid] = node;
  }

  // Decides on one move, by the rules of SettleMoves; changes nothing yet. `first`: no other move
  // of the shard from that source was settled. A replica is replaced once, so all others are
  // dropped.
  void Settle(const Incoming& move, bool first) {
    const NodeIndex from = SourceOf(state_, by_uid_, move);
    if (!first) {
      Drop(move.to, move.shard);
    } else if (from == kNobody) {
      ended_.push_back(move);
    } else if (move.usable) {
      if (state_.node(move.to).leaving && ReadyToStay(state_, from, move.shard)) {
        Drop(move.to, move.shard);
      } else {
        Drop(from, move.shard);
        ended_.push_back(move);
      }
    } else if (state_.node(move.to).leaving) {
      Drop(move.to, move.shard);
    } else {
      going_on_.push_back({move.shard, from, move.to});
    }
  }

  // Nothing changes before all was looked at, so that the order of the moves does not matter.
  void Apply() {
    for (const Incoming& move : ended_) state_.EndMove(move.to, move.shard);
    for (NodeIndex node = 0; node < dropped_.size(); ++node) {
      std::sort(dropped_[node].begin(), dropped_[node].end());
      state_.RemoveKept(node, dropped_[node]);
    }
    for (const PlanState::Move& move : going_on_) state_.NoteMove(move);
  }

 private:
  void Drop(NodeIndex node, uint32_t shard) { dropped_[node].push_back(shard); }

  PlanState& state_;
  absl::flat_hash_map<uint64_t, NodeIndex> by_uid_;
  std::vector<std::vector<uint32_t>> dropped_;
  std::vector<Incoming> ended_;
  std::vector<PlanState::Move> going_on_;
};

// Where a shard that is to leave a node could be instead.
struct Stay {
  // A live node that stays has it ready.
  bool ready = false;
  // Such a node has it, ready or not.
  NodeIndex holder = kNobody;
};

std::vector<Stay> FindStays(const PlanState& state) {
  std::vector<Stay> stays(state.shard_count());
  for (const NodeIndex node : state.order()) {
    if (!state.node(node).open) continue;
    for (const PlanAssignment& kept : state.node(node).kept) {
      if (kept.replaces != 0) continue;
      stays[kept.shard.value].ready |= kept.ready;
      stays[kept.shard.value].holder = node;
    }
    for (const PlanState::Added& added : state.node(node).added) stays[added.shard].holder = node;
  }
  return stays;
}

void AddBlocked(PlanState& state, NodeIndex node, const std::vector<uint32_t>& shards,
                const std::vector<Stay>& stays) {
  if (shards.empty()) return;
  const uint32_t largest = state.LargestOf(shards);
  BlockedMove blocked;
  blocked.node = node;
  for (const uint32_t shard : shards) {
    blocked.shards.push_back(ShardIndex(shard));
  }
  const std::string& name = state.input().nodes[node].name;
  const NodeIndex holder = stays[largest].holder;
  const std::string what =
      absl::StrCat("shard ", largest, " (", FormatBytes(state.size_of(largest)), ")");
  const bool claims = TraitsOf(state.input().policy).claims_decide;
  blocked.message =
      holder == kNobody
          ? absl::StrCat(what, " can't leave ", name, ": no other live member that stays ",
                         claims ? "claims it" : "is to hold it")
          : absl::StrCat(what, " stays on ", name, " until ", state.input().nodes[holder].name,
                         " has it READY");
  absl::StrAppend(&blocked.message, FormatOthers(shards.size()));
  state.AddBlocked(std::move(blocked));
}

}  // namespace

void SettleMoves(PlanState& state) {
  const std::vector<Incoming> incoming = FindIncoming(state);
  if (incoming.empty()) return;
  Settling settling(state);
  for (size_t i = 0; i < incoming.size(); ++i) {
    settling.Settle(incoming[i], i == 0 || incoming[i].shard != incoming[i - 1].shard ||
                                     incoming[i].from_uid != incoming[i - 1].from_uid);
  }
  settling.Apply();
}

void LeaveByClaims(PlanState& state, const std::vector<bool>& elsewhere) {
  const bool anyone = std::any_of(state.order().begin(), state.order().end(), [&](NodeIndex node) {
    return state.node(node).leaving && !state.node(node).kept.empty();
  });
  if (!anyone) return;
  const std::vector<Stay> stays = FindStays(state);
  for (const NodeIndex node : state.order()) {
    if (!state.node(node).leaving) continue;
    std::vector<uint32_t> gone;
    std::vector<uint32_t> waiting;
    std::vector<uint32_t> alone;
    for (const PlanAssignment& kept : state.node(node).kept) {
      const uint32_t shard = kept.shard.value;
      if (!elsewhere.empty() && elsewhere[shard]) continue;
      if (state.node(node).replaced.contains(shard)) continue;
      if (stays[shard].ready) {
        gone.push_back(shard);
      } else {
        (stays[shard].holder == kNobody ? alone : waiting).push_back(shard);
      }
    }
    state.RemoveKept(node, gone);
    AddBlocked(state, node, alone, stays);
    AddBlocked(state, node, waiting, stays);
  }
}

}  // namespace muster
