// How wishes become memberships:
//
// 1. Set changes only what is wanted. Serve's thread carries out one step at a time, a join or a
//    leave, and looks again at what is wanted after each.
// 2. Another claim for an assembly is a leave, then a join.
// 3. A step remembers the version of the wishes that it was made for. If they changed meanwhile, or
//    a new epoch began, its outcome does not count and the step is made again; the server takes
//    repeats. A leave that succeeded always counts, because nobody else joins for this node.
// 4. Each assembly has a wait of its own, so that one that can't be joined holds up no other. An
//    error is reported to the observer once, until it is a different one; errors of the connection
//    or of the registration are left to the session, which sees them too.
// 5. An assembly that was deleted, and made again under its name, is another one, of which the node is not a member. Its
//    shards going away is all that shows it. So where an assembly assigns nothing it is looked up, seldom, and joined
//    if it has another uid. One that has the same is left alone: somebody may have ended the membership on purpose. The
//    look also shows whether there is no room for what is the node's there, which nothing else tells it.
// 6. Only assignments of assemblies that are wanted, or still to be left, reach the table. Those that it refused before an
//    assembly was wanted don't come again by themselves, so it is left first and then joined.
// 7. Other nodes that used this cache, and are no more, can't let go of what they pinned. So at the beginning of each
//    epoch, and whenever an assembly is found to be gone, the server is asked about those that they pinned for.
// 8. An assembly that is to be created is looked up first. If another agent is quicker in between,
//    what it created is compared like one that was there before.
#include "client/agent/memberships.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// The part of an assembly that its creator chose, with the server's defaults filled in.
std::string Describe(const v1::Assembly& assembly) {
  return absl::StrCat("model ", assembly.model_version(), ", policy ",
                      v1::Assembly::Policy_Name(assembly.policy()), ", min_nodes ",
                      std::max(assembly.min_nodes(), 1u), ", replicas ",
                      std::max(assembly.replicas(), 1u));
}

absl::Status CheckSame(const v1::Assembly& asked, const v1::Assembly& found) {
  const std::string asked_text = Describe(asked);
  const std::string found_text = Describe(found);
  if (asked_text == found_text) return absl::OkStatus();
  return MakeError(
      absl::StatusCode::kFailedPrecondition, reasons::kAssemblyDiffers,
      absl::StrCat(found.name(), " exists with ", found_text, ", but ", asked_text,
                   " was asked for; join it without these options, or choose another name"),
      {{"assembly", found.name()}, {"asked", asked_text}, {"found", found_text}});
}

// The session finds out by itself that the server or the node's registration is gone, and says so.
bool IsOfTheSession(const absl::Status& status) {
  if (ReasonOf(status) == reasons::kNodeUnknown) return true;
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kAborted:
      return true;
    default:
      return false;
  }
}

// An assembly without shards for this node is no hurry; one that is gone may be made again any moment.
constexpr BackoffOptions kLook = {absl::Seconds(1), absl::Minutes(5), 2.0};
constexpr absl::Duration kGoneLookMax = absl::Seconds(30);
// How much room there is changes with what other assemblies do.
constexpr absl::Duration kNoRoomLookMax = absl::Seconds(30);

bool SameClaim(const v1::Claim& a, const v1::Claim& b) {
  return a.SerializeAsString() == b.SerializeAsString();
}

}  // namespace

Memberships::Memberships(AgentState& state, Client& client, CachePinner& pinner,
                         AgentObserver& observer, Random& random, std::string node,
                         std::vector<Membership> wanted, BackoffOptions retry)
    : state_(state),
      client_(client),
      pinner_(pinner),
      observer_(observer),
      random_(random),
      node_(std::move(node)),
      retry_(retry),
      let_go_backoff_(random, kLook) {
  Set(wanted);
}

absl::Status Memberships::Check(const CallOptions& call) {
  for (const Step& step : StepsToJoin()) {
    MUSTER_ASSIGN_OR_RETURN(const bool created, Ensure(step.membership, call));
    if (!created) continue;
    MutexLock lock(state_.mutex);
    const auto entry = entries_.find(step.membership.assembly);
    if (entry != entries_.end()) entry->second.created = true;
  }
  return absl::OkStatus();
}

absl::Status Memberships::JoinAll(const CallOptions& call) {
  for (const Step& step : StepsToJoin()) {
    const absl::StatusOr<Seen> seen = Join(step.membership, step.created, step.epoch, call);
    MUSTER_RETURN_IF_ERROR(seen.status());
    Done(step, seen);
  }
  return absl::OkStatus();
}

std::vector<Memberships::Step> Memberships::StepsToJoin() {
  std::vector<Step> steps;
  MutexLock lock(state_.mutex);
  for (const auto& [assembly, entry] : entries_) {
    if (entry.joined || entry.leave) continue;
    steps.push_back({entry.membership, Step::Kind::kJoin, entry.created, epoch_, version_});
  }
  return steps;
}

void Memberships::BeginEpoch(uint64_t epoch, const std::string& node_uid) {
  MutexLock lock(state_.mutex);
  epoch_ = epoch;
  node_uid_ = node_uid;
  let_go_at_ = absl::ZeroDuration();
  ++version_;
  for (auto& [assembly, entry] : entries_) {
    entry.joined = false;
    entry.not_before = absl::ZeroDuration();
    entry.backoff.Reset();
  }
}

void Memberships::Set(const std::vector<Membership>& wanted) {
  MutexLock lock(state_.mutex);
  ++version_;
  for (auto& [assembly, entry] : entries_) {
    entry.wanted = false;
    entry.not_before = absl::ZeroDuration();
    entry.backoff.Reset();
    entry.told.clear();
  }
  for (const Membership& membership : wanted) {
    const auto [it, is_new] =
        entries_.try_emplace(membership.assembly, Entry{.membership = membership,
                                                        .backoff = Backoff(random_, retry_),
                                                        .look_backoff = Backoff(random_, kLook)});
    Entry& entry = it->second;
    entry.wanted = true;
    if (is_new) entry.leave = state_.table.MayHaveRefused(membership.assembly);
    if (!is_new && !SameClaim(entry.membership.claim, membership.claim)) {
      entry.leave = true;
      entry.joined = false;
    }
    entry.membership = membership;
  }
  for (auto& [assembly, entry] : entries_) entry.leave = entry.leave || !entry.wanted;
  TellTable();
  state_.changed.NotifyAll();
}

void Memberships::TellTable() {
  std::set<std::string> assemblies;
  for (const auto& [assembly, entry] : entries_) assemblies.insert(assembly);
  state_.table.Want(std::move(assemblies));
}

void Memberships::Serve(const std::stop_token& stop) {
  CallOptions call;
  call.stop = stop;
  while (const std::optional<Step> step = AwaitStep(stop)) {
    if (step->kind == Step::Kind::kLetGoOfGone) {
      LetGoOfGone(call);
      continue;
    }
    const absl::StatusOr<Seen> seen = Carry(*step, call);
    if (stop.stop_requested()) return;
    Done(*step, seen);
  }
}

void Memberships::LetGoOfGone(const CallOptions& call) {
  std::string node_uid;
  {
    MutexLock lock(state_.mutex);
    node_uid = node_uid_;
    let_go_at_.reset();
  }
  const absl::Status status = pinner_.LetGoOfGone(client_, node_uid, call);
  MutexLock lock(state_.mutex);
  if (status.ok()) {
    let_go_backoff_.Reset();
  } else if (!let_go_at_.has_value()) {
    let_go_at_ = state_.clock.Monotonic() + let_go_backoff_.Next();
  }
}

std::optional<Memberships::Step> Memberships::AwaitStep(const std::stop_token& stop) {
  MutexLock lock(state_.mutex);
  while (!stop.stop_requested()) {
    absl::Duration until = absl::InfiniteDuration();
    std::optional<Step> step = Due(state_.clock.Monotonic(), until);
    if (step.has_value()) return step;
    state_.Wait(until);
  }
  return std::nullopt;
}

std::optional<Memberships::Step> Memberships::Due(absl::Duration now, absl::Duration& until) {
  for (auto& [assembly, entry] : entries_) {
    if (entry.joined && !entry.leave) {
      if (!DueForALook(assembly, entry, now, until)) continue;
      return Step{entry.membership, Step::Kind::kLook, false, epoch_, version_};
    }
    if (entry.not_before <= now) {
      return Step{entry.membership, entry.leave ? Step::Kind::kLeave : Step::Kind::kJoin,
                  entry.created, epoch_, version_};
    }
    until = std::min(until, entry.not_before);
  }
  // Last: nobody waits for it.
  if (let_go_at_.has_value() && *let_go_at_ <= now) {
    Step step;
    step.kind = Step::Kind::kLetGoOfGone;
    return step;
  }
  until = std::min(until, let_go_at_.value_or(absl::InfiniteDuration()));
  return std::nullopt;
}

bool Memberships::DueForALook(const std::string& assembly, Entry& entry, absl::Duration now,
                              absl::Duration& until) {
  if (state_.table.TotalsOf(assembly).shards > 0) {
    entry.look_at.reset();
    entry.told_problem.clear();
    return false;
  }
  if (!entry.look_at.has_value()) {
    entry.look_backoff.Reset();
    entry.look_at = now + entry.look_backoff.Next();
  }
  if (*entry.look_at <= now) return true;
  until = std::min(until, *entry.look_at);
  return false;
}

absl::StatusOr<Memberships::Seen> Memberships::Carry(const Step& step, const CallOptions& call) {
  if (step.kind == Step::Kind::kLook) return Look(step.membership.assembly, call);
  if (step.kind == Step::Kind::kLeave) {
    MUSTER_RETURN_IF_ERROR(Leave(step.membership.assembly, step.epoch, call));
    return Seen();
  }
  MUSTER_ASSIGN_OR_RETURN(const bool created, Ensure(step.membership, call));
  return Join(step.membership, created || step.created, step.epoch, call);
}

void Memberships::Done(const Step& step, const absl::StatusOr<Seen>& seen) {
  const std::string& assembly = step.membership.assembly;
  const absl::Status& status = seen.status();
  const bool leaving = step.kind == Step::Kind::kLeave;
  bool tell = false, no_room = false;
  if (seen.ok() && step.kind == Step::Kind::kJoin) pinner_.Joined(assembly, seen->uid);
  {
    MutexLock lock(state_.mutex);
    const auto it = entries_.find(assembly);
    if (it == entries_.end()) return;
    Entry& entry = it->second;
    if (status.ok() && leaving) {
      // True whatever was wanted meanwhile: nobody else joins.
      entry.leave = false;
      entry.joined = false;
      if (!entry.wanted) entries_.erase(it);
      TellTable();
      return;
    } else if (step.version != version_) {
      return;
    } else if (step.kind == Step::Kind::kLook) {
      no_room = Looked(entry, seen);
    } else if (status.ok()) {
      entry.joined = true;
      entry.created = false;
      entry.uid = seen->uid;
      entry.gone = false;
      entry.look_at.reset();
      entry.told.clear();
      entry.told_problem.clear();
    } else {
      entry.not_before = state_.clock.Monotonic() + entry.backoff.Next();
    }
    // The session finds out by itself about the connection and the registration.
    tell = !status.ok() && !IsOfTheSession(status) &&
           std::exchange(entry.told, status.ToString()) != status.ToString();
  }
  if (tell) observer_.OnMembershipFailed(assembly, leaving, status);
  if (no_room) observer_.OnNoRoom(assembly, seen->problem);
}

bool Memberships::Looked(Entry& entry, const absl::StatusOr<Seen>& seen) {
  const bool gone =
      seen.ok() ? seen->uid != entry.uid : ReasonOf(seen.status()) == reasons::kAssemblyUnknown;
  // Once for each that is gone.
  if (gone && !std::exchange(entry.gone, true)) let_go_at_ = absl::ZeroDuration();
  if (seen.ok() && seen->uid != entry.uid) {
    entry.joined = false;
    entry.not_before = absl::ZeroDuration();
    return false;
  }
  absl::Duration wait = entry.look_backoff.Next();
  if (!seen.ok()) wait = std::min(wait, kGoneLookMax);
  if (seen.ok() && !seen->problem.empty()) wait = std::min(wait, kNoRoomLookMax);
  entry.look_at = state_.clock.Monotonic() + wait;
  if (!seen.ok() || entry.told_problem == seen->problem) return false;
  entry.told_problem = seen->problem;
  return !seen->problem.empty();
}

absl::StatusOr<Memberships::Seen> Memberships::Look(const std::string& assembly,
                                                    const CallOptions& call) {
  v1::GetAssemblyRequest request;
  request.set_name(assembly);
  request.set_node(node_);
  MUSTER_ASSIGN_OR_RETURN(const v1::GetAssemblyResponse response,
                          client_.GetAssembly(request, call));
  Seen seen{response.assembly().uid()};
  // An older server shows all members.
  for (const v1::AssemblyMember& member : response.members()) {
    if (member.node() == node_) seen.problem = member.problem();
  }
  return seen;
}

absl::StatusOr<bool> Memberships::Ensure(const Membership& membership, const CallOptions& call) {
  v1::GetAssemblyRequest get;
  get.set_name(membership.assembly);
  absl::StatusOr<v1::GetAssemblyResponse> found = client_.GetAssembly(get, call);
  if (!membership.create.has_value())
    return found.ok() ? absl::StatusOr<bool>(false) : found.status();
  if (ReasonOf(found.status()) == reasons::kAssemblyUnknown) {
    v1::CreateAssemblyRequest create;
    *create.mutable_assembly() = *membership.create;
    create.mutable_assembly()->set_name(membership.assembly);
    const absl::Status created = client_.CreateAssembly(create, call).status();
    if (created.ok()) return true;
    // Another agent, started with the same options, may have been quicker.
    if (ReasonOf(created) != reasons::kAssemblyExists) return created;
    found = client_.GetAssembly(get, call);
  }
  MUSTER_RETURN_IF_ERROR(found.status());
  MUSTER_RETURN_IF_ERROR(CheckSame(*membership.create, found->assembly()));
  return false;
}

absl::StatusOr<Memberships::Seen> Memberships::Join(const Membership& membership, bool created,
                                                    uint64_t epoch, const CallOptions& call) {
  v1::JoinAssemblyRequest request;
  request.set_name(membership.assembly);
  request.set_node(node_);
  request.set_epoch(epoch);
  *request.mutable_claim() = membership.claim;
  MUSTER_ASSIGN_OR_RETURN(const v1::JoinAssemblyResponse response,
                          client_.JoinAssembly(request, call));
  observer_.OnJoined(response.assembly(), created);
  return Seen{response.assembly().uid()};
}

absl::Status Memberships::Leave(const std::string& assembly, uint64_t epoch,
                                const CallOptions& call) {
  v1::LeaveAssemblyRequest request;
  request.set_name(assembly);
  request.set_node(node_);
  request.set_epoch(epoch);
  const absl::Status status = client_.LeaveAssembly(request, call).status();
  if (!status.ok() && ReasonOf(status) != reasons::kAssemblyUnknown) return status;
  observer_.OnLeft(assembly);
  return absl::OkStatus();
}

std::vector<std::string> Memberships::Assemblies() {
  std::vector<std::string> assemblies;
  MutexLock lock(state_.mutex);
  for (const auto& [assembly, entry] : entries_) {
    if (entry.wanted) assemblies.push_back(assembly);
  }
  return assemblies;
}

void Memberships::LeaveAll(const CallOptions& call) {
  uint64_t epoch = 0;
  {
    MutexLock lock(state_.mutex);
    epoch = epoch_;
  }
  for (const std::string& assembly : Assemblies()) {
    if (!Leave(assembly, epoch, call).ok()) return;
    pinner_.LetGo(assembly);
  }
}

}  // namespace muster
