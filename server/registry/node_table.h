// The registered machines.
#ifndef MUSTER_SERVER_REGISTRY_NODE_TABLE_H_
#define MUSTER_SERVER_REGISTRY_NODE_TABLE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "muster/store/rows.pb.h"
#include "muster/v1/node.pb.h"
#include "server/registry/transaction.h"
#include "server/registry/uid.h"

namespace muster {

struct Node {
  muster::store::NodeRow row;
  NodeUid uid;
  // Over all assemblies.
  uint64_t assigned_bytes = 0;
  uint64_t assigned_shards = 0;
  std::set<AssemblyUid> memberships;
  // What its cache held when it registered, ascending: the first halves of content ids. A mistaken
  // match costs a preference, nothing else.
  std::vector<uint64_t> inventory;

  Epoch epoch() const { return Epoch(row.epoch()); }
  bool live() const { return !row.lost(); }
  bool draining() const { return row.drain_deadline_us() != 0; }
  // How far its drain is at `now_us`, of the server's own time; unspecified when there is none.
  muster::v1::Drain::State DrainState(int64_t now_us) const;
};

// Not thread-safe: written by the committer, read under the shared lock.
class NodeTable {
 public:
  // A node that was released `forget_after_us` ago is forgotten; 0 keeps them.
  NodeTable(std::string uid_prefix, int64_t default_lease_ttl_us, int64_t forget_after_us)
      : uid_prefix_(std::move(uid_prefix)),
        default_lease_ttl_us_(default_lease_ttl_us),
        forget_after_us_(forget_after_us) {}

  // The live node whose name the request may not have, as another identity registered it; null where
  // the name is the caller's to take. One that was registered without an identity is anybody's.
  const Node* HolderAgainst(const muster::v1::RegisterNodeRequest& request) const;
  // The node as registered; a null one for validate_only.
  absl::StatusOr<Node*> Register(const muster::v1::RegisterNodeRequest& request, Transaction& tx);
  // Marks a node lost or live; false when it is so already, or the epoch has passed.
  bool SetLost(NodeUid uid, Epoch epoch, bool lost, Transaction& tx);
  // Gives a lost node's shards away; false when it is not lost, or released already.
  bool Release(NodeUid uid, Epoch epoch, Transaction& tx);
  // Changes what the request's mask names; false when nothing changes.
  bool Update(Node& node, const muster::v1::UpdateNodeRequest& request, Transaction& tx);
  // Begins a drain, sets another deadline, or ends it; false when nothing changes.
  bool Drain(Node& node, const muster::v1::DrainNodeRequest& request, Transaction& tx);
  // Stores and logs how far a drain is; nothing when that is known.
  void Note(const NoteDrain& command, Transaction& tx);
  // Asks for a NoteDrain of each drain whose deadline has passed, and for a ForgetNode of nodes that
  // were released long enough ago.
  void Tick(Transaction& tx) const;
  // Null unless the node is still in the registration in which it was released.
  Node* FindReleased(NodeUid uid, Epoch epoch) const;
  // Removes its rows; the assemblies must have let go of it.
  void Erase(Node& node, Transaction& tx);

  // NOT_FOUND NODE_UNKNOWN.
  absl::StatusOr<const Node*> Find(absl::string_view name) const;
  // Also ABORTED NODE_FENCED where `epoch` is given and not the present one.
  absl::StatusOr<Node*> Find(absl::string_view name, std::optional<uint64_t> epoch);
  // Null when there is none.
  Node* FindByUid(NodeUid uid) const;
  const std::map<std::string, std::unique_ptr<Node>>& by_name() const { return by_name_; }

  // Its uid as clients know it.
  std::string UidText(const Node& node) const;
  muster::v1::Node Describe(const Node& node) const;
  // What Register would make of a request, as far as it is known before: no uid, epoch, or time.
  muster::v1::Node Preview(const muster::v1::RegisterNodeRequest& request) const;

  // Nodes, then their inventories. `now_us` is the server's time.
  absl::Status Load(muster::store::NodeRow row, int64_t now_us);
  absl::Status LoadInventory(NodeUid uid, const muster::store::InventoryRow& row);
  // What the lease table has to know of a node.
  static NodeChange ChangeOf(const Node& node);

 private:
  // What the caller decides of a node.
  void Fill(const muster::v1::RegisterNodeRequest& request, muster::store::NodeRow& row) const;
  // Sets whether a lost node's shards are given away.
  void SetReleased(Node& node, bool released, int64_t now_us);

  std::string uid_prefix_;
  int64_t default_lease_ttl_us_;
  int64_t forget_after_us_;
  std::map<std::string, std::unique_ptr<Node>> by_name_;
  absl::flat_hash_map<NodeUid, Node*> by_uid_;
  std::set<NodeUid> draining_;
  // By when they were released.
  std::set<std::pair<int64_t, NodeUid>> released_;
};

}  // namespace muster

#endif  // MUSTER_SERVER_REGISTRY_NODE_TABLE_H_
