#include "tests/simulation/world.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "muster/store/rows.pb.h"
#include "server/planning/planning.h"
#include "server/registry/limits.h"
#include "server/registry/row_keys.h"
#include "storage/base/error_info.h"
#include "storage/base/limits.h"
#include "storage/metadata/memory_metadata_store.h"
#include "tests/simulation/checks.h"
#include "tests/simulation/description.h"

namespace muster {
namespace {

namespace v1 = muster::v1;

constexpr size_t kLoggedSteps = 30;

// Odd seeds run under the limits of etcd; even ones under those that a single command must keep,
// with its revision row, so that a bigger command fails at once.
SimulatedServer::Options OptionsFor(uint64_t seed) {
  SimulatedServer::Options options;
  options.limits.value_bytes_max = 256u << 10;
  options.limits.batch_operations_max = seed % 2 == 1 ? 100 : kMaxRowsPerCommand + 1;
  options.limits.batch_bytes_max = seed % 2 == 1 ? 1u << 20 : kMaxBytesPerCommand + 64;
  // Every fourth ring is so small that watchers fall behind it.
  if (seed % 4 == 0) options.feed.max_changes = 40;
  return options;
}

// Commands whose effect depends on memory that a copy of the store does not have.
bool NeedsLiveMemory(const Command& command) {
  return std::holds_alternative<Tick>(command) || std::holds_alternative<ExpireLease>(command) ||
         std::holds_alternative<ReleaseNode>(command) || std::holds_alternative<ApplyPlan>(command);
}

// The reply of a drain, which is stored with its request id, says what blocks it: that goes by who is live, which a copy
// of the store does not know.
StoreContent WithoutRepliesOf(const std::vector<Attempt>& attempts, StoreContent content) {
  const bool drains = std::any_of(attempts.begin(), attempts.end(), [](const auto& attempt) {
    return std::any_of(attempt.commands.begin(), attempt.commands.end(), [](const Command& one) {
      return std::holds_alternative<muster::v1::DrainNodeRequest>(one);
    });
  });
  for (auto& [key, value] : content) {
    if (drains && key[0] == 'q') value.clear();
  }
  return content;
}

void ApplyTo(const Applied& applied, StoreContent& content) {
  for (const auto& operation : applied.operations) {
    if (const auto* put = std::get_if<MetadataBatch::Put>(&operation)) {
      content[put->key] = put->value;
    } else if (const auto* gone = std::get_if<MetadataBatch::Delete>(&operation)) {
      content.erase(gone->key);
    } else {
      const auto& range = std::get<MetadataBatch::DeleteRange>(operation);
      content.erase(content.lower_bound(range.begin), content.lower_bound(range.end));
    }
  }
}

std::unique_ptr<MetadataStore> StoreWith(const StoreContent& content) {
  MetadataStore::Limits limits;
  limits.batch_operations_max = limits.batch_bytes_max = limits.value_bytes_max = SIZE_MAX;
  auto store = NewMemoryMetadataStore(limits);
  MetadataBatch batch;
  for (const auto& [key, value] : content) {
    batch.operations.push_back(MetadataBatch::Put{key, value});
  }
  store->Commit(batch).IgnoreError();
  return store;
}

// Applies a command and its follow-ups, and records what the store may hold after each.
bool ApplyAndRecord(Registry& registry, const Command& command,
                    std::vector<StoreContent>& contents) {
  const Applied applied = registry.Apply(command);
  if (!applied.operations.empty()) {
    StoreContent next = contents.back();
    ApplyTo(applied, next);
    const MetadataBatch::Put row = registry.RevisionRow(applied.revision);
    next[row.key] = row.value;
    contents.push_back(std::move(next));
  }
  for (const Command& follow_up : applied.follow_ups) {
    ApplyAndRecord(registry, follow_up, contents);
  }
  return applied.status.ok();
}

// By node and shard.
using GenerationsOfShards = std::map<std::pair<std::string, uint32_t>, Generation>;

GenerationsOfShards GenerationsOf(const Registry& registry, AssemblyUid uid) {
  GenerationsOfShards generations;
  const Assembly* assembly = registry.assemblies().FindByUid(uid);
  if (assembly == nullptr) return generations;
  for (const auto& [node, member] : assembly->members()) {
    for (const Assignment& assignment : member.assignments) {
      generations[{node, assignment.shard}] = assignment.generation;
    }
  }
  return generations;
}

// What nodes hold that are lost and may come back, by node and shard; without what is about to move
// already.
std::set<std::pair<std::string, uint32_t>> HeldByLost(const Registry& registry, AssemblyUid uid) {
  std::set<std::pair<std::string, uint32_t>> held;
  const Assembly* assembly = registry.assemblies().FindByUid(uid);
  if (assembly == nullptr) return held;
  for (const auto& [name, member] : assembly->members()) {
    const Node* node = registry.nodes().FindByUid(member.node);
    if (node->live() || node->row.released() || member.leaving()) continue;
    for (size_t i = 0; i < member.assignments.size(); ++i) {
      const uint32_t shard = member.assignments[i].shard;
      // What failed there too often would not come back with the node.
      const bool given_up =
          member.given_up.contains(shard) && member.states[i] != muster::v1::ShardReport::READY;
      if (!member.IsExtra(shard) && !given_up) held.emplace(name, shard);
    }
  }
  for (const auto& [name, member] : assembly->members()) {
    for (const auto& [shard, replaced] : member.replaces) {
      const Node* node = registry.nodes().FindByUid(replaced);
      if (node != nullptr) held.erase({node->row.name(), shard});
    }
  }
  return held;
}

// The server time that a server which reads the store begins with; `otherwise` with an empty one.
absl::Time StoredTime(MetadataStore& store, absl::Time otherwise) {
  const auto packed = store.Get(RevisionKey());
  store::RevisionRow row;
  if (!packed.ok() || !row.ParseFromString(*packed)) return otherwise;
  return absl::FromUnixMicros(row.time_us());
}

std::string SerializedReply(const JobResult& result) {
  return result.reply == nullptr ? "" : result.reply->SerializeAsString();
}

}  // namespace

World::World(uint64_t seed)
    : seed_(seed), random_(NewSeededRandom(seed)), server_(clock_, OptionsFor(seed)) {
  clock_.Advance(absl::Hours(24 * 365));
  server_.SetBeforeCommit([this] { ReadWhileCommitting(); });
  if (const absl::Status started = server_.Start(); !started.ok()) {
    Fail("start", started.ToString());
  }
  judge_.Started(clock_.Monotonic());
  NoteStart();
}

void World::NoteStart() {
  time_of_day_ = clock_.Now();
  last_tick_ = clock_.Monotonic();
  server_time_ = StoredTime(server_.store(), time_of_day_);
  time_judge_.Started();
}

void World::StepTimeOfDay() {
  const uint64_t what = Below(10);
  const absl::Duration some = what < 4
                                  ? absl::Seconds(static_cast<int64_t>(Below(2 * 7'200)) - 7'200)
                              : what < 6 ? absl::Hours(48)
                                         : absl::Hours(30 * 24);
  const absl::Duration by = stepped_ != absl::ZeroDuration() && Chance(50) ? -stepped_
                            : Chance(50)                                   ? some
                                                                           : -some;
  Log(absl::StrCat("  the time of day is set by ", absl::FormatDuration(by)));
  stepped_ += by;
  clock_.StepTimeOfDay(by);
}

void World::Fail(absl::string_view invariant, absl::string_view text) {
  if (failed()) return;
  failure_ = absl::StrCat("invariant ", invariant, ": ", text);
}

void World::Log(std::string text) {
  ++steps_;
  log_.push_back(absl::StrCat(steps_, " ", std::move(text)));
  if (log_.size() > kLoggedSteps) log_.pop_front();
}

std::string World::Report() const {
  return absl::StrCat("seed=", seed_, " step=", steps_, " ", failure_, "\n  last steps:\n    ",
                      absl::StrJoin(log_, "\n    "));
}

std::string World::NextRequestId() { return absl::StrCat("request-", ++next_request_id_); }

// Reads in the middle of a group see what is not stored yet; they must be answered only when it is.
void World::ReadWhileCommitting() {
  // A step of the clock may cut events off that no step of the simulation has looked at.
  TruthNow();
  if (!Chance(30)) return;
  auto seen = std::make_shared<Revision>();
  const int process = *process_;
  server_.committer().Read([seen](const Registry& registry) { *seen = registry.revision(); },
                           [this, seen, process, alive = process_](Revision) {
                             if (process != *alive) {
                               server_.AddViolation("a read was answered by a dead process");
                             } else if (server_.stored_revision() < *seen) {
                               server_.AddViolation("a read was answered before it was stored");
                             }
                           });
}

void World::Do(Attempt attempt) {
  if (failed()) return;
  const bool compare = attempt.changes_nothing || Chance(50);
  const std::string before = compare ? DescribeAll(registry()) : "";
  const Revision revision = registry().revision();
  Log(attempt.what);
  const auto ticket = server_.Submit(attempt.commands);
  if (!RunWithFaults({attempt}, "")) return;
  if (!ticket->result.has_value()) return Fail("1", "a job was not answered");
  log_.back() +=
      absl::StrCat(" -> ", ticket->result->status.ok() ? "OK" : ReasonOf(ticket->result->status),
                   " r", registry().revision().value);
  CheckOutcome(attempt, *ticket->result, before, revision);
  Remember(attempt, *ticket->result);
  if (ticket->result->status.ok() && Chance(30)) CheckRepeat(attempt, *ticket->result);
}

void World::CheckOutcome(const Attempt& attempt, const JobResult& result, const std::string& before,
                         Revision revision) {
  const std::string outcome = result.status.ok() ? "OK" : ReasonOf(result.status);
  if (!attempt.expect.empty() && outcome != attempt.expect) {
    return Fail("4/7", absl::StrCat(attempt.what, ": expected ", attempt.expect, ", got ",
                                    result.status.ToString()));
  }
  if (!result.status.ok() && outcome.empty()) {
    return Fail("errors", absl::StrCat("an error without a reason: ", result.status.ToString()));
  }
  const bool refused = !result.status.ok() && attempt.commands.size() == 1;
  if (refused && registry().revision() != revision) {
    return Fail("4/7", absl::StrCat(attempt.what, " was refused and changed something"));
  }
  if ((refused || attempt.changes_nothing) && !before.empty()) {
    const std::string after = DescribeAll(registry());
    if (after != before) {
      return Fail(
          "4/7",
          absl::StrCat(attempt.what, " changed what it must not:", FirstDifference(before, after)));
    }
  }
  if (result.status.ok() && result.changed > 0 && registry().revision() == revision) {
    return Fail("revisions", absl::StrCat(attempt.what, " changed something at the same revision"));
  }
  if (std::string wrong = attempt.check(result); !wrong.empty()) {
    Fail("outcome", absl::StrCat(attempt.what, ": ", wrong));
  }
}

void World::CheckRepeat(const Attempt& attempt, const JobResult& result) {
  if (!attempt.idempotent && attempt.request_id.empty()) return;
  const std::string before = DescribeAll(registry());
  const auto ticket = server_.Submit(attempt.commands);
  if (const absl::Status ran = server_.Run(); !ran.ok() || !ticket->result.has_value()) {
    return Fail("7", "a repeat was not answered");
  }
  if (!ticket->result->status.ok()) {
    return Fail("7", absl::StrCat(attempt.what, " repeated: ", ticket->result->status.ToString()));
  }
  if (const std::string after = DescribeAll(registry()); after != before) {
    return Fail("7", absl::StrCat(attempt.what,
                                  " repeated changed something:", FirstDifference(before, after)));
  }
  if (!attempt.request_id.empty() && ticket->result->reply->GetDescriptor()->full_name() !=
                                         result.reply->GetDescriptor()->full_name()) {
    Fail("7", "a repeat has a reply of another kind");
  }
}

void World::Remember(const Attempt& attempt, const JobResult& result) {
  if (attempt.request_id.empty() || !result.status.ok()) return;
  std::string reply = SerializedReply(result);
  const auto known = replies_.find(attempt.request_id);
  if (known != replies_.end() && known->second.second > server_time_) {
    if (known->second.first != reply) {
      Fail("7", absl::StrCat(attempt.what, ": ", attempt.request_id, " got another reply"));
    }
    return;
  }
  const absl::Time sure = server_time_ + absl::Microseconds(kRequestIdTtlUs) - absl::Seconds(60);
  replies_[attempt.request_id] = {reply, sure};
  Attempt repeat = attempt;
  repeat.check = [](const JobResult&) { return ""; };
  answered.push_back({std::move(repeat), std::move(reply), server_time_});
}

void World::DoTogether(std::vector<Attempt> attempts) {
  if (failed()) return;
  std::vector<std::shared_ptr<SimulatedServer::Ticket>> tickets;
  std::string what;
  for (const Attempt& attempt : attempts) absl::StrAppend(&what, " + ", attempt.what);
  Log(absl::StrCat("together:", what));
  for (const Attempt& attempt : attempts) tickets.push_back(server_.Submit(attempt.commands));
  if (!RunWithFaults(attempts, "")) return;
  for (size_t i = 0; i < attempts.size(); ++i) {
    if (!tickets[i]->result.has_value()) return Fail("1", "a job was not answered");
    const JobResult& result = *tickets[i]->result;
    if (std::string wrong = attempts[i].check(result); !wrong.empty()) {
      Fail("outcome", absl::StrCat(attempts[i].what, ": ", wrong));
    }
    Remember(attempts[i], result);
  }
}

void World::DoPlan(const std::string& assembly, std::vector<Command> commands, MadeFrom made_from) {
  if (failed()) return;
  Log(absl::StrCat("plan of ", assembly, " in ", commands.size(), " commands"));
  const AssemblyUid uid = std::get<ApplyPlan>(commands.back()).plan->assembly;
  const GenerationsOfShards before = GenerationsOf(registry(), uid);
  const auto held_by_lost = HeldByLost(registry(), uid);
  const auto ticket = server_.Submit(std::move(commands));
  if (!RunWithFaults({}, assembly)) return;
  const JobResult& result = *ticket->result;
  log_.back() += absl::StrCat(" -> ", result.status.ok() ? "OK" : ReasonOf(result.status));
  if (!result.status.ok()) {
    if (ReasonOf(result.status) != "PLAN_OUTDATED") Fail("plans", result.status.ToString());
    server_.plans_wanted().insert(uid);
    return;
  }
  for (const auto& [holder, generation] : GenerationsOf(registry(), uid)) {
    const auto old = before.find(holder);
    // A replica that has moved away may come back for another one; until then it is extra.
    const Assembly& planned = *registry().assemblies().FindByUid(uid);
    const bool extra = planned.FindMember(holder.first)->IsExtra(holder.second);
    if (!extra && old != before.end() && old->second != generation) {
      return Fail("5", absl::StrCat("a plan of ", assembly, " gave shard ", holder.second,
                                    " again to a node that has it"));
    }
  }
  for (const auto& [name, shard] : held_by_lost) {
    const auto& member = *registry().assemblies().FindByUid(uid)->FindMember(name);
    if (member.PositionOf(shard) == member.assignments.size()) {
      return Fail("6", absl::StrCat("a plan of ", assembly, " takes shard ", shard, " from ", name,
                                    " within its grace"));
    }
  }
  // What was reported while the plan was on its way asks for another one, or that is made already.
  if (made_from == MadeFrom::kOvertaken || server_.plans_wanted().contains(uid)) return;
  auto task = TakePlanTask(registry(), uid);
  if (!task.has_value()) return Fail("6", "an assembly with a plan needs none");
  // What other assemblies do on a node shifts its load, and asks nobody to even it out.
  if (made_from != MadeFrom::kPresent) task->input.move_budget_bytes = 0;
  const auto again = MakePlanCommands(*std::move(task));
  if (!again.ok() || again->has_value()) {
    Fail("6", absl::StrCat("planning on its own output changes something: ", assembly, " ",
                           again.status().ToString()));
  }
}

void World::DoTick() {
  if (failed()) return;
  Attempt tick;
  tick.what = "tick";
  tick.commands.push_back(Tick{});
  time_judge_.BeforeTick(registry(), server_.store(), server_time_);
  server_time_ += clock_.Monotonic() - last_tick_;
  last_tick_ = clock_.Monotonic();
  time_of_day_ = clock_.Now();
  judge_.Ticked(clock_.Monotonic());
  server_.SubmitTick();
  if (!RunWithFaults({tick}, "")) return;
  if (std::string wrong = time_judge_.AfterTick(registry(), server_.store(), server_time_);
      !wrong.empty()) {
    Fail("9", wrong);
  }
}

absl::StatusOr<LeaseTable::HeartbeatResult> World::Renew(const v1::HeartbeatRequest& request) {
  auto result = server_.leases().Heartbeat(request);
  const auto node = registry().nodes().Find(request.name());
  if (result.ok() && node.ok()) judge_.Renewed((*node)->uid, clock_.Monotonic());
  return result;
}

bool World::RunWithFaults(const std::vector<Attempt>& attempts, const std::string& planned) {
  if (Chance(fault_percent)) {
    content_before_ = ContentOf(server_.store());
    released_before_ = ReleasedNodes(registry());
    facts_before_ = DescribeFacts(registry(), "", released_before_);
    other_facts_before_ = DescribeFacts(registry(), planned, released_before_);
    const auto assembly = registry().assemblies().Find(planned);
    generation_before_ =
        assembly.ok() ? Generation((*assembly)->row().generation()) : Generation(0);
    constexpr SimulatedServer::Fault kFaults[] = {SimulatedServer::Fault::kBeforeApply,
                                                  SimulatedServer::Fault::kAfterApply,
                                                  SimulatedServer::Fault::kBeforeReplies};
    server_.FailCommit(1 + Below(3), kFaults[Below(3)]);
  }
  const absl::Status ran = server_.Run();
  if (ran.ok() && !server_.has_failed()) {
    server_.FailCommit(0, SimulatedServer::Fault::kBeforeApply);
    NoteCapacities();
    if (std::string wrong = judge_.Judge(registry()); !wrong.empty()) Fail("leases", wrong);
    return !failed();
  }
  if (!server_.has_failed()) {
    Fail("8", absl::StrCat("the store refused a batch: ", ran.ToString()));
    return false;
  }
  HandleCrash(attempts, planned);
  return false;
}

void World::HandleCrash(const std::vector<Attempt>& attempts, const std::string& planned) {
  Log("  the store failed, the process died");
  server_.Stop();
  bool from_store = planned.empty();
  for (const Attempt& attempt : attempts) {
    for (const Command& command : attempt.commands) {
      from_store = from_store && !NeedsLiveMemory(command);
    }
  }
  if (from_store) CheckStoredPrefix(attempts);
  Restart();
  if (!from_store && !failed()) CheckPlanCrash(planned);
}

// What is stored is what a number of whole commands have made of it, from the first on.
void World::CheckStoredPrefix(const std::vector<Attempt>& attempts) {
  const auto twin_store = StoreWith(content_before_);
  LiveTables tables(SimulatedServer::LiveOptions());
  Registry twin(SimulatedServer::RegistryOptions(), tables);
  if (const auto loaded = twin.Load(*twin_store); !loaded.ok()) {
    return Fail("1", loaded.status().ToString());
  }
  std::vector<StoreContent> contents = {content_before_};
  // The clocks as of the last tick: the store knows them as of the last batch.
  const absl::Duration since = server_time_ - StoredTime(*twin_store, time_of_day_);
  twin.Apply(Tick{absl::ToUnixMicros(time_of_day_), 0, std::nullopt});
  twin.Apply(
      Tick{absl::ToUnixMicros(time_of_day_), absl::ToInt64Microseconds(since), std::nullopt});
  for (const Attempt& attempt : attempts) {
    for (const Command& command : attempt.commands) {
      if (!ApplyAndRecord(twin, command, contents)) break;
    }
  }
  const StoreContent stored = WithoutRepliesOf(attempts, ContentOf(server_.store()));
  for (const StoreContent& made : contents) {
    const StoreContent content = WithoutRepliesOf(attempts, made);
    // A batch carries the revision of its last command; which time it names depends on the clock
    // alone.
    if (content == stored) return;
  }
  Fail("1", absl::StrCat("after a crash the store holds none of the ", contents.size(),
                         " states that whole commands lead to"));
}

void World::CheckPlanCrash(const std::string& planned) {
  const auto assembly = registry().assemblies().Find(planned);
  const bool flipped =
      assembly.ok() && Generation((*assembly)->row().generation()) != generation_before_;
  const std::string& before = flipped ? other_facts_before_ : facts_before_;
  const std::string after = DescribeFacts(registry(), flipped ? planned : "", released_before_);
  if (before != after) {
    Fail("1", absl::StrCat("a crash changed facts:", FirstDifference(before, after)));
  }
}

void World::Restart() {
  ++restarts_;
  ++*process_;
  server_.Stop();
  events_seen_.clear();
  if (const absl::Status started = server_.Start(); !started.ok()) {
    return Fail("1", absl::StrCat("the server does not start again: ", started.ToString()));
  }
  if (std::string wrong = judge_.Judge(registry()); !wrong.empty()) Fail("leases", wrong);
  judge_.Started(clock_.Monotonic());
  NoteCapacities();
  NoteStart();
  // What an unacknowledged batch may have reached.
  for (const auto& [name, assembly] : registry().assemblies().by_name()) {
    if (assembly->row().was_ready()) was_ready_.insert(assembly->uid().value);
  }
}

void World::Kill() {
  if (failed()) return;
  Log("the process is killed");
  Restart();
}

void World::RestartCleanly() {
  if (failed()) return;
  Log("restart");
  const std::string before = DescribeAll(registry());
  server_.Stop();
  LiveTables tables(SimulatedServer::LiveOptions());
  Registry loaded(SimulatedServer::RegistryOptions(), tables);
  if (const auto applied = loaded.Load(server_.store()); !applied.ok()) {
    return Fail("1", applied.status().ToString());
  }
  if (const std::string after = DescribeAll(loaded); after != before) {
    return Fail("1", absl::StrCat("a restart changed the state:", FirstDifference(before, after)));
  }
  Restart();
}

void World::CheckInvariants() {
  if (failed()) return;
  for (const std::string& violation : server_.violations()) Fail("1", violation);
  const Revision revision = registry().revision();
  if (server_.stored_revision() != revision || server_.committer().durable() != revision) {
    return Fail("1", absl::StrCat("revision ", revision.value, " is acknowledged, ",
                                  server_.stored_revision().value, " is stored"));
  }
  if (revision < acknowledged_) {
    return Fail("revisions",
                absl::StrCat("went back from ", acknowledged_.value, " to ", revision.value));
  }
  acknowledged_ = revision;
  TruthNow();
  if (std::string wrong = CheckNodes(registry()); !wrong.empty()) Fail("5", wrong);
  CheckAssemblies();
  CheckContents();
  if (Chance(big ? 3 : 20)) CheckReload();
}

// Plans are groups of their own, so a node that several calls of one group register got nothing in
// between.
void World::NoteCapacities() {
  for (const auto& [name, node] : registry().nodes().by_name()) {
    const uint64_t now = node->row.capacity_bytes();
    const auto before = capacities_.emplace(node->uid.value, now).first;
    const bool less = now != 0 && (before->second == 0 || now < before->second);
    if (less) shrunk_.insert(node->uid.value);
    before->second = now;
  }
}

void World::NoteReady(const Assembly& assembly) {
  const uint64_t uid = assembly.uid().value;
  Revision& seen = events_seen_[uid];
  const auto found = server_.feed().Read(KeyOf(assembly.uid()), seen, SIZE_MAX);
  if (found.behind.has_value()) {
    // The ring has lost some: the row has them.
    if (assembly.row().was_ready()) was_ready_.insert(uid);
    established_[uid].clear();
    for (const auto& [name, member] : assembly.members()) {
      if (member.established) established_[uid].insert(name);
    }
  } else {
    for (const Feed::ChangePtr& change : found.changes) {
      const auto& what = std::get<AssemblyChange>(change->what);
      NoteEstablished(assembly, what);
      if (what.state == muster::v1::Assembly::READY) {
        was_ready_.insert(uid);
      }
    }
  }
  seen = server_.feed().durable();
}

void World::NoteEstablished(const Assembly& assembly, const AssemblyChange& change) {
  std::set<std::string>& established = established_[assembly.uid().value];
  for (const std::string& name : change.left) established.erase(name);
  for (const muster::v1::AssemblyMember& shown : change.members) {
    // One that has left since is among those of a later change.
    const Assembly::Member* member = assembly.FindMember(shown.node());
    if (member == nullptr) continue;
    const size_t own = OwnShardsOf(assembly, member->claim);
    if (own == 0 || shown.shards_assigned() == 0) {
      established.erase(shown.node());
    } else if (shown.ready() && shown.shards_assigned() >= own) {
      established.insert(shown.node());
    }
  }
}

void World::CheckAssemblies() {
  for (const auto& [name, assembly] : registry().assemblies().by_name()) {
    NoteReady(*assembly);
    const uint64_t uid = assembly->uid().value;
    const std::string wrong =
        CheckBarrier(registry(), *assembly, was_ready_.count(uid) > 0, established_[uid]);
    if (!wrong.empty()) return Fail("5", absl::StrCat(name, " ", wrong));
  }
}

void World::CheckContents() {
  std::set<uint64_t> there;
  for (const auto& [name, version] : registry().catalogue().by_name()) {
    const uint64_t uid = version->uid.value;
    there.insert(uid);
    if (version->draft != nullptr) {
      if (committed_.count(uid) > 0) Fail("2", absl::StrCat(name, " is a draft again"));
      continue;
    }
    const auto known = committed_.find(uid);
    if (known != committed_.end() && !Chance(20)) continue;
    const std::string content = DescribeContent(registry(), *version, server_.store());
    if (known == committed_.end()) {
      if (std::string wrong = CheckComplete(*version, server_.store()); !wrong.empty()) {
        return Fail("2", absl::StrCat(name, " was committed incomplete: ", wrong));
      }
      committed_[uid] = content;
    } else if (known->second != content) {
      return Fail("2", absl::StrCat(name, " changed:", FirstDifference(known->second, content)));
    }
  }
  std::erase_if(committed_, [&](const auto& entry) { return there.count(entry.first) == 0; });
}

// Everything that was answered is in the store: a second server that reads it sees the same.
void World::CheckReload() {
  LiveTables tables(SimulatedServer::LiveOptions());
  Registry loaded(SimulatedServer::RegistryOptions(), tables);
  if (const auto applied = loaded.Load(server_.store()); !applied.ok()) {
    return Fail("1", applied.status().ToString());
  }
  const std::string live = DescribeAll(registry());
  const std::string stored = DescribeAll(loaded);
  if (live != stored) {
    Fail("1", absl::StrCat("the store has another state:", FirstDifference(live, stored)));
  }
}

}  // namespace muster
