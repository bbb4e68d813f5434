// A node at a location is in one of these states; each change is made under mutex_, and the answers
// that it brings about are collected and called after the lock is released (Run):
//
//   none -> waiting     Enqueue: at the end of the queue, with its call.
//   waiting -> holding  ServeQueue: in the order of asking, while fewer than max_readers hold; the
//                       call is answered "granted".
//   waiting -> turn     EndCall: max_wait is over. The call is answered "not granted"; the turn is
//                       kept for options_.turn_kept; the next Acquire takes it up again.
//   turn -> none        Tick: nobody came back in time.
//   any -> none         Remove: Release, a lost lease, a newer epoch, a removed node, or the last
//                       assembly that gave the node the shard has taken it away.
//
// A turn blocks nobody: ServeQueue passes over waiters without a call. Whatever frees a place
// serves the queue in the same breath, so nobody waits while a place is free.
//
// After a start the nodes of the process before may still be reading, and only they know. During
// the guard only those who say that they hold a place already (`held`) get one.
#include "server/registry/read_place_table.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/registry/node_errors.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// A node that was lost comes back with its next heartbeat.
constexpr absl::Duration kLostRetryDelay = absl::Seconds(1);
// Where too many calls wait in the server as a whole.
constexpr absl::Duration kFullRetryDelay = absl::Seconds(5);

absl::Status NodeLost(const std::string& node) {
  return WithDetail(absl::UnavailableError(absl::StrCat(
                        node, " is LOST: its places are gone until its next heartbeat")),
                    ErrorDetail{reasons::kNodeLost, {{"node", node}}, kLostRetryDelay});
}

absl::Status ShuttingDown() {
  return MakeError(absl::StatusCode::kUnavailable, reasons::kShuttingDown,
                   "the server is shutting down: try again, or another server");
}

absl::Status AssignmentGone(const std::string& node, uint32_t shard) {
  return MakeError(absl::StatusCode::kAborted, reasons::kAssignmentGone,
                   absl::StrCat(node, " does not hold shard ", shard, " any more"),
                   {{"node", node}, {"shard", absl::StrCat(shard)}});
}

absl::Status TooManyWait(const std::string& node, size_t limit) {
  return MakeError(absl::StatusCode::kResourceExhausted, reasons::kTooManyItems,
                   absl::StrCat(limit, " calls of ", node, " are already waiting for a place"),
                   {{"node", node}, {"limit", absl::StrCat(limit)}});
}

absl::Status TooManyWaitInAll(size_t limit) {
  return WithDetail(
      absl::ResourceExhaustedError(
          absl::StrCat(limit, " calls are already waiting for a place at a location")),
      ErrorDetail{reasons::kTooManyItems, {{"limit", absl::StrCat(limit)}}, kFullRetryDelay});
}

}  // namespace

void ReadPlaceTable::Run(const Answers& answers) {
  for (const auto& answer : answers) answer();
}

absl::StatusOr<ReadPlaceTable::Node*> ReadPlaceTable::Find(const std::string& node, Epoch epoch) {
  const auto found = nodes_.find(node);
  if (found == nodes_.end()) return NodeUnknown(node);
  if (found->second.epoch != epoch) return WrongEpoch(node, epoch, found->second.epoch);
  return &found->second;
}

ReadPlaceTable::Answer ReadPlaceTable::AnswerOf(const Queue& queue, const Waiter& waiter) {
  Answer answer;
  answer.readers = static_cast<uint32_t>(queue.holders.size());
  answer.max_readers = queue.max_readers;
  for (const Waiter& other : queue.waiters) {
    if (&other == &waiter) break;
    ++answer.ahead;
  }
  return answer;
}

void ReadPlaceTable::EndCall(const Queue& queue, Waiter& waiter, Answers& answers) {
  answers.push_back([call = std::exchange(waiter.call, nullptr), answer = AnswerOf(queue, waiter)] {
    call(answer);
  });
  waiter.deadline = now_ + options_.turn_kept;
}

absl::Status ReadPlaceTable::Enqueue(Request request, Done& done, Answers& answers) {
  MUSTER_ASSIGN_OR_RETURN(Node * node, Find(request.node, request.epoch));
  if (stopped_) return ShuttingDown();
  if (node->lost) return NodeLost(request.node);
  Queue& queue = queues_[request.location];
  queue.max_readers = request.max_readers;
  const auto holder = queue.holders.find(request.node);
  if (holder != queue.holders.end()) {
    holder->second = {std::move(request.assemblies), request.seen};
    Answer answer;
    answer.granted = true;
    answer.readers = static_cast<uint32_t>(queue.holders.size());
    answer.max_readers = queue.max_readers;
    answers.push_back([call = std::exchange(done, nullptr), answer] { call(answer); });
    return absl::OkStatus();
  }
  auto waiter = std::find_if(queue.waiters.begin(), queue.waiters.end(),
                             [&](const Waiter& other) { return other.node == request.node; });
  if (waiter == queue.waiters.end()) {
    if (node->waiting.size() >= options_.max_waiting_per_node) {
      return TooManyWait(request.node, options_.max_waiting_per_node);
    }
    if (waiting_ >= options_.max_waiting) return TooManyWaitInAll(options_.max_waiting);
    waiter = queue.waiters.emplace(queue.waiters.end());
    waiter->node = request.node;
    node->waiting.insert(request.location);
    ++waiting_;
  } else if (waiter->call) {
    // Its caller has given up on it, or would not ask again.
    EndCall(queue, *waiter, answers);
  }
  waiter->right = {std::move(request.assemblies), request.seen};
  waiter->held = request.held;
  waiter->call = std::exchange(done, nullptr);
  waiter->deadline = now_ + request.max_wait;
  return absl::OkStatus();
}

void ReadPlaceTable::Acquire(Request request, Done done) {
  Answers answers;
  {
    MutexLock lock(mutex_);
    const Location location = request.location;
    const std::string node = request.node;
    const bool waits = request.max_wait > absl::ZeroDuration();
    absl::Status refused = Enqueue(std::move(request), done, answers);
    ServeQueue(location, answers);
    if (!refused.ok()) {
      answers.push_back([&done, refused] { done(refused); });
    } else if (!waits) {
      const auto queue = queues_.find(location);
      for (Waiter& waiter : queue->second.waiters) {
        if (waiter.node == node && waiter.call) EndCall(queue->second, waiter, answers);
      }
    }
  }
  Run(answers);
}

bool ReadPlaceTable::MayServe(const Waiter& waiter) const {
  return waiter.call != nullptr && (!guarded_ || waiter.held);
}

void ReadPlaceTable::ServeQueue(const Location& location, Answers& answers) {
  const auto found = queues_.find(location);
  if (found == queues_.end()) return;
  Queue& queue = found->second;
  for (auto waiter = queue.waiters.begin();
       waiter != queue.waiters.end() && queue.holders.size() < queue.max_readers;) {
    if (!MayServe(*waiter)) {
      ++waiter;
      continue;
    }
    queue.holders[waiter->node] = std::move(waiter->right);
    Node& node = nodes_.at(waiter->node);
    node.held.insert(location);
    node.waiting.erase(location);
    --waiting_;
    Answer answer;
    answer.granted = true;
    answer.readers = static_cast<uint32_t>(queue.holders.size());
    answer.max_readers = queue.max_readers;
    answers.push_back([call = std::move(waiter->call), answer] { call(answer); });
    waiter = queue.waiters.erase(waiter);
  }
  if (queue.holders.empty() && queue.waiters.empty()) queues_.erase(found);
}

void ReadPlaceTable::Remove(const std::string& node, const Location& location,
                            const absl::Status& why, Answers& answers) {
  const auto found = queues_.find(location);
  if (found == queues_.end()) return;
  Queue& queue = found->second;
  Node& entry = nodes_.at(node);
  if (queue.holders.erase(node) > 0) entry.held.erase(location);
  for (auto waiter = queue.waiters.begin(); waiter != queue.waiters.end(); ++waiter) {
    if (waiter->node != node) continue;
    if (waiter->call) answers.push_back([call = std::move(waiter->call), why] { call(why); });
    queue.waiters.erase(waiter);
    entry.waiting.erase(location);
    --waiting_;
    break;
  }
  ServeQueue(location, answers);
}

void ReadPlaceTable::RemoveAll(const std::string& node, const absl::Status& why, Answers& answers) {
  const Node& entry = nodes_.at(node);
  std::set<Location> locations = entry.held;
  locations.insert(entry.waiting.begin(), entry.waiting.end());
  for (const Location& location : locations) Remove(node, location, why, answers);
}

absl::Status ReadPlaceTable::Release(const std::string& node, Epoch epoch,
                                     const Location& location) {
  Answers answers;
  {
    MutexLock lock(mutex_);
    MUSTER_RETURN_IF_ERROR(Find(node, epoch).status());
    Remove(node, location, absl::CancelledError("the place was given back"), answers);
  }
  Run(answers);
  return absl::OkStatus();
}

void ReadPlaceTable::Tick(absl::Duration monotonic) {
  Answers answers;
  {
    MutexLock lock(mutex_);
    now_ = monotonic;
    if (!std::exchange(ticked_, true)) guard_end_ = now_ + options_.guard;
    const bool guard_ends = guarded_ && now_ >= guard_end_;
    if (guard_ends) guarded_ = false;
    std::vector<std::pair<std::string, Location>> forgotten;
    std::vector<Location> to_serve;
    for (auto& [location, queue] : queues_) {
      for (Waiter& waiter : queue.waiters) {
        if (waiter.deadline > now_) continue;
        if (!waiter.call) {
          forgotten.emplace_back(waiter.node, location);
        } else if (!guard_ends) {
          EndCall(queue, waiter, answers);
        }
      }
      if (guard_ends && !queue.waiters.empty()) to_serve.push_back(location);
    }
    for (const auto& [node, location] : forgotten) {
      Remove(node, location, absl::OkStatus(), answers);
    }
    for (const Location& location : to_serve) ServeQueue(location, answers);
  }
  Run(answers);
}

void ReadPlaceTable::Apply(const NodeChange& change) {
  Answers answers;
  {
    MutexLock lock(mutex_);
    const auto known = nodes_.find(change.name);
    if (known != nodes_.end()) {
      if (change.removed) {
        RemoveAll(change.name, NodeUnknown(change.name), answers);
      } else if (known->second.epoch != change.epoch) {
        RemoveAll(change.name, NodeFenced(change.name, known->second.epoch, change.epoch), answers);
      } else if (change.lost) {
        RemoveAll(change.name, NodeLost(change.name), answers);
      }
    }
    if (change.removed) {
      if (names_.erase(change.uid) > 0) nodes_.erase(change.name);
    } else {
      Node& node = nodes_[change.name];
      if (node.uid != change.uid) names_.erase(node.uid);
      node.uid = change.uid;
      node.epoch = change.epoch;
      node.lost = change.lost;
      names_[change.uid] = change.name;
    }
  }
  Run(answers);
}

// A change that the node's right is newer than has no say in it: the shard was taken away and given
// back, and the call came between the two commits.
void ReadPlaceTable::Apply(const AssignmentChange& change, Revision revision) {
  if (change.unassigned.empty()) return;
  Answers answers;
  {
    MutexLock lock(mutex_);
    const auto name = names_.find(change.node);
    if (name == names_.end()) return;
    const Node& node = nodes_.at(name->second);
    std::set<Location> locations = node.held;
    locations.insert(node.waiting.begin(), node.waiting.end());
    for (const Location& location : locations) {
      if (location.version != change.version ||
          !std::binary_search(change.unassigned.begin(), change.unassigned.end(), location.shard)) {
        continue;
      }
      Queue& queue = queues_.at(location);
      const auto holder = queue.holders.find(name->second);
      Right* right = holder == queue.holders.end() ? nullptr : &holder->second;
      for (Waiter& waiter : queue.waiters) {
        if (waiter.node == name->second) right = &waiter.right;
      }
      if (right->seen >= revision) continue;
      right->assemblies.erase(change.assembly_uid);
      if (!right->assemblies.empty()) continue;
      Remove(name->second, location, AssignmentGone(name->second, location.shard), answers);
    }
  }
  Run(answers);
}

void ReadPlaceTable::BeginGuard() {
  MutexLock lock(mutex_);
  guarded_ = true;
}

void ReadPlaceTable::Stop() {
  Answers answers;
  {
    MutexLock lock(mutex_);
    stopped_ = true;
    for (auto& [location, queue] : queues_) {
      for (Waiter& waiter : queue.waiters) {
        if (!waiter.call) continue;
        answers.push_back([call = std::exchange(waiter.call, nullptr)] { call(ShuttingDown()); });
      }
    }
  }
  Run(answers);
}

std::vector<ReadPlaceTable::Waiting> ReadPlaceTable::WaitingFor(
    VersionUid version, std::optional<uint32_t> shard) const {
  MutexLock lock(mutex_);
  std::vector<Waiting> waiting;
  for (auto it = queues_.lower_bound(Location{version, shard.value_or(0), ""}); it != queues_.end();
       ++it) {
    const Location& location = it->first;
    if (location.version != version || location.shard > shard.value_or(location.shard)) break;
    for (const Waiter& waiter : it->second.waiters) {
      waiting.push_back({waiter.node, location.shard, location.uri});
    }
  }
  return waiting;
}

}  // namespace muster
