#include "server/registry/node_table.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "server/registry/assembly.h"
#include "server/registry/catalogue.h"
#include "server/registry/limits.h"
#include "server/registry/node_errors.h"
#include "server/registry/row_keys.h"
#include "server/registry/timestamps.h"
#include "server/registry/validation.h"
#include "storage/base/error_info.h"
#include "storage/base/limits.h"
#include "storage/base/md5.h"
#include "storage/base/reasons.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {

namespace v1 = muster::v1;

namespace {

// From a lease's end to the transaction that says so: a tick or two, and the queue.
constexpr absl::Duration kLeaseEndLag = absl::Milliseconds(200);

// "" for none.
std::string IdentityMd5Of(const v1::RegisterNodeRequest& request) {
  if (request.identity().empty()) return "";
  const Md5Digest digest = Md5Of(request.identity());
  return std::string(reinterpret_cast<const char*>(digest.data()), digest.size());
}

}  // namespace

absl::Status NodeUnknown(absl::string_view name) {
  return MakeError(absl::StatusCode::kNotFound, reasons::kNodeUnknown,
                   absl::StrCat("there is no ", name),
                   {{"node", std::string(name)}});
}

absl::Status NodeFenced(absl::string_view name, Epoch sent, Epoch present) {
  return MakeError(
      absl::StatusCode::kAborted, reasons::kNodeFenced,
      absl::StrCat("stale epoch: ", name, " sent ", sent.value, ", now ", present.value,
                   "; another process registered under this name, or it was stopped "
                   "and registered again"),
      {{"node", std::string(name)},
       {"sent_epoch", absl::StrCat(sent.value)},
       {"present_epoch", absl::StrCat(present.value)}});
}

absl::Status WrongEpoch(absl::string_view name, Epoch sent, Epoch present) {
  if (sent < present) return NodeFenced(name, sent, present);
  return MakeError(absl::StatusCode::kNotFound, reasons::kNodeUnknown,
                   absl::StrCat("unknown epoch: ", name, " sent ", sent.value,
                                ", which is above the present one, ", present.value,
                                ": the server has an older copy of its store; register again"),
                   {{"node", std::string(name)},
                    {"sent_epoch", absl::StrCat(sent.value)},
                    {"present_epoch", absl::StrCat(present.value)}});
}

absl::Status NodeNameTaken(const store::NodeRow& row, absl::Duration left, uint64_t renewals) {
  // Its end is noticed by a tick.
  const absl::Duration wait = std::max(left, kLeaseEndLag) + kLeaseEndLag;
  const std::string since = absl::FormatTime(
      absl::RFC3339_sec, absl::FromUnixMicros(row.register_time_us()), absl::UTCTimeZone());
  return WithDetail(
      absl::AbortedError(absl::StrCat(
          row.name(), " is registered by another machine",
          row.address().empty() ? "" : absl::StrCat(" (", row.address(), ")"), " since ", since,
          ", and its lease runs for ", absl::FormatDuration(absl::Ceil(left, absl::Seconds(1))),
          " more: give each agent a name of its own, or wait for the lease to end once that agent "
          "is stopped, or take the name over (--take-over)")),
      ErrorDetail{reasons::kNodeNameTaken,
                  {{"node", row.name()},
                   {"address", row.address()},
                   {"registered", since},
                   {"epoch", absl::StrCat(row.epoch())},
                   {"lease_left_ms", absl::StrCat(absl::ToInt64Milliseconds(left))},
                   {"renewals", absl::StrCat(renewals)}},
                  wait});
}

namespace {

// Each of them is a member of any number of assemblies.
constexpr size_t kMaxForgottenPerTick = 16;

std::map<std::string, std::string> Sorted(
    const google::protobuf::Map<std::string, std::string>& labels) {
  return {labels.begin(), labels.end()};
}

// As events name a node's state.
absl::string_view StateName(const Node& node) {
  if (node.row.released()) return "RELEASED";
  return node.row.lost() ? "LOST" : "LIVE";
}

void TellOfNode(const Node& node, v1::Event::Kind kind, absl::string_view old_state,
                Transaction& tx) {
  v1::Event event;
  event.set_kind(kind);
  event.set_node(node.row.name());
  event.set_old_state(std::string(old_state));
  event.set_new_state(std::string(StateName(node)));
  tx.Tell(std::move(event));
}

absl::string_view DrainName(v1::Drain::State state, const Node& node) {
  if (state == v1::Drain::STATE_UNSPECIFIED) return StateName(node);
  return v1::Drain::State_Name(state);
}

// Sets the drain's state to what it is now, and stores and logs it.
void PutDrainState(Node& node, Transaction& tx) {
  const v1::Drain::State before = node.row.drain_state();
  const v1::Drain::State state = node.DrainState(tx.now_us());
  node.row.set_drain_state(state);
  node.row.set_revision(tx.MarkChanged().value);
  tx.Put(NodeKey(node.uid), node.row);
  tx.Emit(NodeTable::ChangeOf(node));
  v1::Event event;
  event.set_kind(v1::Event::NODE_DRAIN);
  event.set_node(node.row.name());
  event.set_old_state(std::string(DrainName(before, node)));
  event.set_new_state(std::string(DrainName(state, node)));
  event.set_message(absl::StrCat(node.assigned_shards, " shards with ", node.assigned_bytes,
                                 " bytes are on the node"));
  tx.Tell(std::move(event));
}

std::vector<uint64_t> InventoryOf(absl::string_view digests) {
  std::vector<uint64_t> inventory;
  inventory.reserve(digests.size() / sizeof(Md5Digest));
  for (size_t at = 0; at + sizeof(Md5Digest) <= digests.size(); at += sizeof(Md5Digest)) {
    inventory.push_back(ContentIdOf(digests.substr(at)).high);
  }
  std::sort(inventory.begin(), inventory.end());
  return inventory;
}

}  // namespace

v1::Drain::State Node::DrainState(int64_t now_us) const {
  if (!draining()) return v1::Drain::STATE_UNSPECIFIED;
  if (assigned_shards == 0) return v1::Drain::DRAINED;
  // A row of an older server has one time for both; its server's time went by the time of day.
  const int64_t due_us = row.drain_due_us() != 0 ? row.drain_due_us() : row.drain_deadline_us();
  return due_us <= now_us ? v1::Drain::OVERDUE : v1::Drain::DRAINING;
}

void NodeTable::Fill(const v1::RegisterNodeRequest& request, store::NodeRow& row) const {
  const v1::Node& wanted = request.node();
  row.set_name(wanted.name());
  row.set_address(wanted.address());
  row.set_zone(wanted.zone());
  *row.mutable_labels() = wanted.labels();
  row.set_capacity_bytes(wanted.capacity_bytes());
  row.set_instance_id(wanted.instance_id());
  row.set_identity_md5(IdentityMd5Of(request));
  row.set_lease_ttl_us(request.has_lease_ttl() ? FromDuration(request.lease_ttl())
                                               : default_lease_ttl_us_);
}

const Node* NodeTable::HolderAgainst(const v1::RegisterNodeRequest& request) const {
  const auto found = by_name_.find(request.node().name());
  if (found == by_name_.end() || request.take_over()) return nullptr;
  const Node& node = *found->second;
  const std::string& holder = node.row.identity_md5();
  return node.live() && !holder.empty() && holder != IdentityMd5Of(request) ? &node : nullptr;
}

absl::StatusOr<Node*> NodeTable::Register(const v1::RegisterNodeRequest& request, Transaction& tx) {
  if (request.validate_only()) return nullptr;
  const Revision revision = tx.MarkChanged();
  std::unique_ptr<Node>& slot = by_name_[request.node().name()];
  const absl::string_view old_state = slot == nullptr ? "" : StateName(*slot);
  if (slot == nullptr) {
    slot = std::make_unique<Node>();
    slot->uid = NodeUid(revision.value);
    slot->row.set_uid(revision.value);
    by_uid_[slot->uid] = slot.get();
  }
  store::NodeRow& row = slot->row;
  Fill(request, row);
  row.set_epoch(revision.value);
  row.set_lost(false);
  SetReleased(*slot, false, tx.now_us());
  row.set_register_time_us(tx.wall_us());
  row.set_revision(revision.value);
  tx.Put(NodeKey(slot->uid), row);
  if (!request.cached_digests().empty()) {
    store::InventoryRow inventory;
    inventory.set_digests(request.cached_digests());
    tx.Put(InventoryKey(slot->uid), inventory);
  } else if (!slot->inventory.empty()) {
    tx.Delete(InventoryKey(slot->uid));
  }
  slot->inventory = InventoryOf(request.cached_digests());
  tx.Emit(ChangeOf(*slot));
  TellOfNode(*slot, v1::Event::NODE_REGISTERED, old_state, tx);
  return slot.get();
}

void NodeTable::SetReleased(Node& node, bool released, int64_t now_us) {
  released_.erase({node.row.released_us(), node.uid});
  node.row.set_released(released);
  node.row.set_released_us(released ? now_us : 0);
  if (released) released_.insert({now_us, node.uid});
}

bool NodeTable::SetLost(NodeUid uid, Epoch epoch, bool lost, Transaction& tx) {
  Node* node = FindByUid(uid);
  if (node == nullptr || node->epoch() != epoch || node->row.lost() == lost) return false;
  const absl::string_view old_state = StateName(*node);
  node->row.set_lost(lost);
  SetReleased(*node, false, tx.now_us());
  node->row.set_revision(tx.MarkChanged().value);
  tx.Put(NodeKey(uid), node->row);
  tx.Emit(ChangeOf(*node));
  TellOfNode(*node, lost ? v1::Event::NODE_LOST : v1::Event::NODE_REVIVED, old_state, tx);
  return true;
}

bool NodeTable::Release(NodeUid uid, Epoch epoch, Transaction& tx) {
  Node* node = FindByUid(uid);
  if (node == nullptr || node->epoch() != epoch || !node->row.lost() || node->row.released()) {
    return false;
  }
  const absl::string_view old_state = StateName(*node);
  SetReleased(*node, true, tx.now_us());
  node->row.set_revision(tx.MarkChanged().value);
  tx.Put(NodeKey(uid), node->row);
  tx.Emit(ChangeOf(*node));
  TellOfNode(*node, v1::Event::NODE_RELEASED, old_state, tx);
  return true;
}

bool NodeTable::Update(Node& node, const v1::UpdateNodeRequest& request, Transaction& tx) {
  store::NodeRow& row = node.row;
  std::vector<std::string> changes;
  if (Names(request.update_mask(), "capacity_bytes") &&
      row.capacity_bytes() != request.node().capacity_bytes()) {
    changes.push_back(absl::StrCat("capacity ", row.capacity_bytes(), " to ",
                                   request.node().capacity_bytes(), " bytes"));
    row.set_capacity_bytes(request.node().capacity_bytes());
  }
  if (Names(request.update_mask(), "labels") &&
      Sorted(row.labels()) != Sorted(request.node().labels())) {
    changes.push_back(absl::StrCat("labels to ", SelectorText(request.node().labels())));
    *row.mutable_labels() = request.node().labels();
  }
  if (changes.empty()) return false;
  row.set_revision(tx.MarkChanged().value);
  tx.Put(NodeKey(node.uid), row);
  tx.Emit(ChangeOf(node));
  v1::Event event;
  event.set_kind(v1::Event::NODE_UPDATED);
  event.set_node(row.name());
  event.set_old_state(std::string(StateName(node)));
  event.set_new_state(std::string(StateName(node)));
  event.set_message(CutText(absl::StrJoin(changes, "; "), kMaxEventMessageBytes));
  tx.Tell(std::move(event));
  return true;
}

bool NodeTable::Drain(Node& node, const v1::DrainNodeRequest& request, Transaction& tx) {
  store::NodeRow& row = node.row;
  if (request.cancel()) {
    if (!node.draining()) return false;
    row.clear_drain_start_us();
    row.clear_drain_deadline_us();
    row.clear_drain_due_us();
    draining_.erase(node.uid);
  } else {
    const int64_t deadline_us =
        request.has_deadline() ? FromDuration(request.deadline()) : kDefaultDrainUs;
    if (!node.draining()) row.set_drain_start_us(tx.wall_us());
    row.set_drain_deadline_us(tx.wall_us() + deadline_us);
    row.set_drain_due_us(tx.now_us() + deadline_us);
    draining_.insert(node.uid);
  }
  PutDrainState(node, tx);
  return true;
}

void NodeTable::Note(const NoteDrain& command, Transaction& tx) {
  Node* node = FindByUid(command.node);
  if (node == nullptr || node->row.drain_state() == node->DrainState(tx.now_us())) return;
  PutDrainState(*node, tx);
}

void NodeTable::Tick(Transaction& tx) const {
  for (const NodeUid uid : draining_) {
    const Node& node = *FindByUid(uid);
    if (node.row.drain_state() != node.DrainState(tx.now_us())) tx.Then(NoteDrain{uid});
  }
  size_t forgotten = 0;
  for (const auto& [released_us, uid] : released_) {
    if (forget_after_us_ == 0 || released_us + forget_after_us_ > tx.now_us()) break;
    if (++forgotten > kMaxForgottenPerTick) break;
    tx.Then(ForgetNode{uid, FindByUid(uid)->epoch()});
  }
}

Node* NodeTable::FindReleased(NodeUid uid, Epoch epoch) const {
  Node* node = FindByUid(uid);
  return node != nullptr && node->epoch() == epoch && node->row.released() ? node : nullptr;
}

void NodeTable::Erase(Node& node, Transaction& tx) {
  NodeChange change = ChangeOf(node);
  change.removed = true;
  tx.Delete(NodeKey(node.uid));
  if (!node.inventory.empty()) tx.Delete(InventoryKey(node.uid));
  tx.Emit(std::move(change));
  v1::Event gone;
  gone.set_kind(v1::Event::NODE_REMOVED);
  gone.set_node(node.row.name());
  gone.set_old_state(std::string(StateName(node)));
  gone.set_new_state("GONE");
  tx.Tell(std::move(gone));
  draining_.erase(node.uid);
  released_.erase({node.row.released_us(), node.uid});
  by_uid_.erase(node.uid);
  by_name_.erase(std::string(node.row.name()));
}

absl::StatusOr<const Node*> NodeTable::Find(absl::string_view name) const {
  const auto found = by_name_.find(std::string(name));
  if (found == by_name_.end()) {
    // A name that was found is well-formed.
    MUSTER_RETURN_IF_ERROR(ParseNodeName(name).status());
    return NodeUnknown(name);
  }
  return found->second.get();
}

absl::StatusOr<Node*> NodeTable::Find(absl::string_view name, std::optional<uint64_t> epoch) {
  MUSTER_ASSIGN_OR_RETURN(const Node* node, std::as_const(*this).Find(name));
  if (epoch.has_value() && Epoch(*epoch) != node->epoch()) {
    return WrongEpoch(name, Epoch(*epoch), node->epoch());
  }
  return const_cast<Node*>(node);
}

Node* NodeTable::FindByUid(NodeUid uid) const {
  const auto found = by_uid_.find(uid);
  return found == by_uid_.end() ? nullptr : found->second;
}

std::string NodeTable::UidText(const Node& node) const {
  return absl::StrCat(uid_prefix_, "-", node.row.uid());
}

v1::Node NodeTable::Describe(const Node& node) const {
  const store::NodeRow& row = node.row;
  v1::Node out;
  out.set_name(row.name());
  out.set_uid(UidText(node));
  out.set_address(row.address());
  out.set_zone(row.zone());
  *out.mutable_labels() = row.labels();
  out.set_capacity_bytes(row.capacity_bytes());
  out.set_instance_id(row.instance_id());
  out.set_epoch(row.epoch());
  out.set_state(row.lost() ? v1::Node::LOST : v1::Node::LIVE);
  *out.mutable_register_time() = ToTimestamp(row.register_time_us());
  *out.mutable_lease_ttl() = ToDuration(row.lease_ttl_us());
  out.set_assigned_bytes(node.assigned_bytes);
  out.set_released(row.released());
  out.set_revision(row.revision());
  if (!node.draining()) return out;
  v1::Drain& drain = *out.mutable_drain();
  drain.set_state(row.drain_state());
  *drain.mutable_start_time() = ToTimestamp(row.drain_start_us());
  *drain.mutable_deadline() = ToTimestamp(row.drain_deadline_us());
  drain.set_shards_left(static_cast<uint32_t>(node.assigned_shards));
  drain.set_bytes_left(node.assigned_bytes);
  return out;
}

v1::Node NodeTable::Preview(const v1::RegisterNodeRequest& request) const {
  Node node;
  Fill(request, node.row);
  v1::Node out = Describe(node);
  out.clear_uid();
  out.clear_register_time();
  return out;
}

absl::Status NodeTable::Load(store::NodeRow row, int64_t now_us) {
  auto node = std::make_unique<Node>();
  node->uid = NodeUid(row.uid());
  node->row = std::move(row);
  if (node->row.released()) {
    // A row of 0.1.0 doesn't say since when.
    const int64_t since_us = node->row.released_us();
    SetReleased(*node, true, since_us == 0 ? now_us : since_us);
  }
  by_uid_[node->uid] = node.get();
  if (node->draining()) draining_.insert(node->uid);
  const std::string name = node->row.name();
  if (!by_name_.emplace(name, std::move(node)).second) {
    return absl::DataLossError(absl::StrCat("two rows are named ", name));
  }
  return absl::OkStatus();
}

absl::Status NodeTable::LoadInventory(NodeUid uid, const store::InventoryRow& row) {
  Node* node = FindByUid(uid);
  if (node == nullptr) {
    return absl::DataLossError(
        absl::StrCat("the inventory of node uid ", uid.value, " has no node"));
  }
  node->inventory = InventoryOf(row.digests());
  return absl::OkStatus();
}

NodeChange NodeTable::ChangeOf(const Node& node) {
  NodeChange change;
  change.uid = node.uid;
  change.name = node.row.name();
  change.epoch = node.epoch();
  change.lease_ttl_us = node.row.lease_ttl_us();
  change.lost = node.row.lost();
  change.released = node.row.released();
  change.zone = node.row.zone();
  change.drain = node.row.drain_state();
  return change;
}

}  // namespace muster
