#include "tests/simulation/honest_agent.h"

#include "absl/strings/str_cat.h"
#include "storage/base/error_info.h"

namespace muster {
namespace {

namespace v1 = muster::v1;

constexpr absl::Duration kCallTimeout = absl::Seconds(15);
constexpr absl::Duration kRetryWait = absl::Seconds(1);

}  // namespace

HonestAgent::HonestAgent(World& world, Wire& wire, ReadySaid& said, v1::Node node,
                         std::map<std::string, v1::Claim> memberships)
    : world_(world),
      wire_(wire),
      said_(said),
      node_(std::move(node)),
      memberships_(std::move(memberships)) {}

absl::Duration HonestAgent::now() const { return world_.clock().Monotonic(); }

void HonestAgent::Start() {
  ++life_;
  running_ = true;
  fenced_ = false;
  registering_ = joining_ = beating_ = reporting_ = Slot{};
  request_id_.clear();
  node_.set_instance_id(absl::StrCat(node_.name().substr(6), "-", life_));
  epoch_ = 0;
  joined_.clear();
  stream_ = nullptr;
  held_.clear();
  snapshot_.clear();
  revision_ = 0;
}

std::optional<Wire::OnReply> HonestAgent::Begin(Slot& slot, absl::Duration timeout,
                                                Wire::OnReply on_reply) {
  if (slot.deadline.has_value() && *slot.deadline > now()) return std::nullopt;
  slot.call = ++calls_;
  slot.deadline = now() + timeout;
  return [this, &slot, call = slot.call, on_reply = std::move(on_reply)](const CallReply& reply) {
    if (!running_ || slot.call != call || !slot.deadline.has_value()) return;
    // A refused call is tried again a little later.
    slot.deadline = reply.status.ok() ? std::nullopt : std::optional(now() + kRetryWait);
    slot.call = 0;
    if (!reply.status.ok()) Judge(reply.status);
    on_reply(reply);
  };
}

void HonestAgent::Judge(const absl::Status& status) {
  const std::string reason = ReasonOf(status);
  if (reason == "NODE_FENCED") {
    world_.Log(absl::StrCat(name(), " is fenced off and stops"));
    running_ = false;
    fenced_ = true;
  } else if (reason == "NODE_UNKNOWN") {
    epoch_ = 0;
    joined_.clear();
    stream_ = nullptr;
  }
}

void HonestAgent::BeginEpoch(uint64_t epoch) {
  epoch_ = epoch;
  request_id_.clear();
  // What is under way quotes the epoch before.
  joining_ = beating_ = reporting_ = Slot{};
  next_beat_ = now();
  revision_ = 0;
  stream_ = nullptr;
  for (auto& [key, held] : held_) {
    held.told = v1::ShardReport::STATE_UNSPECIFIED;
    if (cache_.count(held.content) == 0) held.state = v1::ShardReport::PENDING;
  }
}

void HonestAgent::Register() {
  v1::RegisterNodeRequest request;
  if (request_id_.empty()) request_id_ = world_.NextRequestId();
  *request.mutable_node() = node_;
  request.set_request_id(request_id_);
  auto on_reply = Begin(registering_, kCallTimeout, [this](const CallReply& reply) {
    const auto* response = dynamic_cast<const v1::RegisterNodeResponse*>(reply.message.get());
    if (response == nullptr) return;
    interval_ = absl::Seconds(response->heartbeat_interval().seconds()) +
                absl::Nanoseconds(response->heartbeat_interval().nanos());
    BeginEpoch(response->epoch());
  });
  if (!on_reply.has_value()) return;
  wire_.Call(name(), absl::StrCat("register ", name()), request, *std::move(on_reply));
}

void HonestAgent::Join() {
  for (const auto& [assembly, claim] : memberships_) {
    if (joined_.count(assembly) > 0) continue;
    v1::JoinAssemblyRequest request;
    request.set_name(assembly);
    request.set_node(name());
    request.set_epoch(epoch_);
    *request.mutable_claim() = claim;
    auto on_reply =
        Begin(joining_, kCallTimeout, [this, assembly = assembly](const CallReply& reply) {
          if (reply.status.ok()) joined_.insert(assembly);
        });
    if (on_reply.has_value()) {
      wire_.Call(name(), absl::StrCat(name(), " joins ", assembly), request, *std::move(on_reply));
    }
    return;
  }
}

void HonestAgent::Beat() {
  if (now() < next_beat_) return;
  v1::HeartbeatRequest request;
  request.set_name(name());
  request.set_epoch(epoch_);
  request.set_applied_revision(revision_);
  auto on_reply = Begin(beating_, interval_, [](const CallReply&) {});
  if (!on_reply.has_value()) return;
  next_beat_ = now() + interval_;
  wire_.Heartbeat(name(), request, *std::move(on_reply));
}

void HonestAgent::Watch() {
  if (stream_ != nullptr && stream_->broken) {
    const absl::Status ended = stream_->ended;
    stream_ = nullptr;
    if (!ended.ok()) Judge(ended);
    if (ReasonOf(ended) == "REVISION_COMPACTED") revision_ = 0;
    return;
  }
  if (stream_ != nullptr) return;
  v1::WatchAssignmentsRequest request;
  request.set_node(name());
  request.set_epoch(epoch_);
  request.set_start_revision(revision_);
  snapshot_.clear();
  stream_ = wire_.Watch(name(), request, [this, life = life_, epoch = epoch_](const auto& message) {
    if (running_ && life == life_ && epoch == epoch_) Take(message);
  });
}

void HonestAgent::Take(const v1::WatchAssignmentsResponse& message) {
  auto& into = message.snapshot() ? snapshot_ : held_;
  for (const auto& gone : message.unassigned()) into.erase({gone.assembly(), gone.shard()});
  for (const auto& given : message.assigned()) {
    const Key key{given.assembly(), given.shard().index()};
    const auto known = held_.find(key);
    if (known != held_.end() && known->second.generation == given.generation()) {
      into[key] = known->second;
      continue;
    }
    Held held;
    held.generation = given.generation();
    held.content = absl::StrCat(given.shard().md5(), given.shard().root());
    into[key] = std::move(held);
  }
  if (!message.complete()) return;
  if (message.snapshot()) held_ = std::move(snapshot_);
  snapshot_.clear();
  revision_ = message.revision();
}

void HonestAgent::Fetch() {
  for (auto& [key, held] : held_) {
    if (held.state == v1::ShardReport::READY) continue;
    if (cache_.count(held.content) > 0) {
      held.state = v1::ShardReport::READY;
    } else if (held.state != v1::ShardReport::FETCHING) {
      if (held.state == v1::ShardReport::FAILED && now() < held.next) continue;
      held.state = v1::ShardReport::FETCHING;
      held.next = now() + absl::Milliseconds(world_.Below(5'000));
    } else if (now() >= held.next && world_.Chance(chances_.fetch_fails)) {
      held.state = v1::ShardReport::FAILED;
      held.next = now() + kRetryWait;
      ++held.failures;
    } else if (now() >= held.next) {
      held.state = v1::ShardReport::READY;
      held.failures = 0;
      cache_.insert(held.content);
    }
  }
}

void HonestAgent::Report() {
  v1::ReportShardsRequest request;
  request.set_node(name());
  request.set_epoch(epoch_);
  for (const auto& [key, held] : held_) {
    if (held.told == held.state || held.state == v1::ShardReport::PENDING) continue;
    if (!request.assembly().empty() && request.assembly() != key.first) continue;
    request.set_assembly(key.first);
    v1::ShardReport& report = *request.add_reports();
    report.set_shard(key.second);
    report.set_generation(held.generation);
    report.set_state(held.state);
    if (held.state == v1::ShardReport::FAILED) {
      report.mutable_failure()->set_code(v1::ShardFailure::UNREADABLE);
      report.mutable_failure()->set_attempts(held.failures);
    }
  }
  if (request.reports().empty()) return;
  request.set_sequence(++report_sequence_);
  auto on_reply = Begin(reporting_, kCallTimeout,
                        [this, request](const CallReply& reply) { Reported(request, reply); });
  if (!on_reply.has_value()) return;
  for (const v1::ShardReport& report : request.reports()) {
    if (report.state() != v1::ShardReport::READY) continue;
    said_.emplace(epoch_, request.assembly(), report.shard(), report.generation());
  }
  wire_.Call(name(), absl::StrCat(name(), " reports ", request.reports_size(), " shards"), request,
             *std::move(on_reply));
}

void HonestAgent::Reported(const v1::ReportShardsRequest& request, const CallReply& reply) {
  // That the assignment is gone is an answer, too: the watch will say so.
  if (!reply.status.ok() && ReasonOf(reply.status) != "ASSIGNMENT_GONE") return;
  if (request.epoch() != epoch_) return;
  for (const v1::ShardReport& report : request.reports()) {
    const auto held = held_.find({request.assembly(), report.shard()});
    if (held == held_.end() || held->second.generation != report.generation()) continue;
    held->second.told = report.state();
  }
}

void HonestAgent::Step() {
  if (!running_) return;
  if (epoch_ == 0) return Register();
  Beat();
  if (joined_.size() < memberships_.size()) Join();
  Watch();
  Fetch();
  Report();
}

}  // namespace muster
