// What the table keeps consistent:
//
// 1. Each state has an index beside the entries: `pending_`, `fetching_`, `retries_` by the time
//    when the wait ends, and the totals. Only SetState changes a state, and it changes all of them
//    together.
// 2. A revision may come in several messages. It counts as applied when one of a higher revision
//    comes, or one that says it is complete. Of a snapshot the keys are noted; what it did not name
//    by its end is unassigned. So `applied_revision_` never stands for half a revision, and after a
//    broken stream the half is sent again.
// 3. Content that is assigned again stays as it is, in whatever state; only the plan's generation
//    may be another, and then the last report is sent again under it. Other content is a new shard.
// 4. An attempt has a number of its own. Its end counts only while the entry still has that number,
//    so what comes too late, after an unassignment or an epoch, changes nothing. Equal content has
//    at most one attempt at a time, in all assemblies together.
// 5. `report` is what the server should know of a shard, `unreported_` where it does not yet. A
//    batch remembers the version of each report; when it arrived, only reports of that version are
//    settled. One that was made while the batch was on its way goes out next.
// 6. In a new epoch the server knows nothing: FETCHING and FAILED are reported again; READY goes
//    back to PENDING, because only the cache can vouch for the bytes now.
// 7. Assignments of an assembly that is not wanted are left out as if they had not come, so that whoever can make the
//    node a member of an assembly can't make it fetch.
// 8. An assembly is announced as READY once all its shards are and the server has been sent that;
//    again only after a shard was assigned to it, or stopped being READY.
#include "client/agent/assignment_table.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cache/checked_shard.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// Equal names mean equal bytes.
std::string ContentOf(const v1::Shard& shard) {
  return absl::StrCat(shard.size_bytes(), "/", shard.root(), "/", shard.md5());
}

// After this many failures the wait has reached any sensible maximum; more would only overflow.
constexpr int kMaxDoublings = 30;

}  // namespace

void AssignmentTable::Want(std::set<std::string> assemblies) {
  // Once too many were refused, all others may have been.
  if (refused_.size() < kMaxRefused) {
    for (const std::string& assembly : assemblies) refused_.erase(assembly);
  }
  wanted_ = std::move(assemblies);
}

bool AssignmentTable::MayHaveRefused(const std::string& assembly) const {
  return refused_.contains(assembly) || refused_.size() >= kMaxRefused;
}

bool AssignmentTable::Refuses(const ShardKey& key, Applied& applied) {
  if (!wanted_.has_value() || wanted_->contains(key.assembly)) return false;
  if (entries_.contains(key)) return false;
  if (refused_.size() < kMaxRefused && refused_.insert(key.assembly).second) {
    applied.refused.push_back(key.assembly);
  }
  return true;
}

void AssignmentTable::BeginStream() {
  open_revision_ = 0;
  snapshot_.reset();
}

absl::Status AssignmentTable::Check(const v1::WatchAssignmentsResponse& message) {
  for (const v1::AssignedShard& assigned : message.assigned()) {
    if (assigned.assembly().empty() || !assigned.shard().has_index() ||
        assigned.shard().size_bytes() == 0) {
      return absl::InternalError(
          absl::StrCat("the server sent an assignment without assembly, index or size at revision ",
                       message.revision(), ": ", assigned.shard().name()));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<AssignmentTable::Applied> AssignmentTable::Apply(
    const v1::WatchAssignmentsResponse& message) {
  MUSTER_RETURN_IF_ERROR(Check(message));
  if (entries_.size() + static_cast<size_t>(message.assigned_size()) > kMaxAssignments) {
    return absl::InternalError(
        absl::StrCat("the server assigned more than ", kMaxAssignments, " shards to this node"));
  }
  Applied applied;
  if (open_revision_ != 0 && message.revision() > open_revision_) EndRevision(applied);
  if (message.snapshot() && !snapshot_.has_value()) snapshot_.emplace();
  for (const v1::UnassignedShard& gone : message.unassigned()) {
    const auto it = entries_.find(ShardKey{gone.assembly(), gone.shard()});
    if (it != entries_.end()) Unassign(it, applied);
  }
  for (const v1::AssignedShard& assigned : message.assigned()) Assign(assigned, applied);
  open_revision_ = message.revision();
  applied.whole = message.complete() || message.progress();
  if (applied.whole) EndRevision(applied);
  for (auto& change : applied.changes) {
    const Totals totals = TotalsOf(change.assembly);
    change.total_shards = totals.shards;
    change.total_bytes = totals.bytes;
  }
  return applied;
}

void AssignmentTable::EndRevision(Applied& applied) {
  if (snapshot_.has_value()) {
    for (auto it = entries_.begin(); it != entries_.end();) {
      const auto next = std::next(it);
      if (!snapshot_->contains(it->first)) Unassign(it, applied);
      it = next;
    }
    snapshot_.reset();
  }
  applied_revision_ = std::max(applied_revision_, open_revision_);
  open_revision_ = 0;
}

void AssignmentTable::Assign(const v1::AssignedShard& assigned, Applied& applied) {
  const ShardKey key{assigned.assembly(), assigned.shard().index()};
  if (Refuses(key, applied)) return;
  if (snapshot_.has_value()) snapshot_->insert(key);
  const auto found = entries_.find(key);
  if (found != entries_.end()) {
    Entry& entry = found->second;
    if (ContentOf(entry.shard) == ContentOf(assigned.shard())) {
      entry.shard = assigned.shard();
      if (entry.generation == assigned.generation()) return;
      // The shard stays and only its plan is another: what was said about it is said again under
      // that plan's name.
      entry.generation = assigned.generation();
      if (entry.report.has_value()) Report(key, entry, *entry.report);
      return;
    }
    Unassign(found, applied);
  }
  Entry& entry = entries_[key];
  entry.generation = assigned.generation();
  entry.shard = assigned.shard();
  AssemblyState& assembly = assemblies_[key.assembly];
  ++assembly.totals.shards;
  assembly.totals.bytes += entry.shard.size_bytes();
  assembly.announced_ready = false;
  assembly.version = ++last_version_;
  pending_.insert(key);
  ++ChangeOf(applied, key.assembly).assigned;
}

void AssignmentTable::Unassign(Entries::iterator it, Applied& applied) {
  const ShardKey key = it->first;
  Entry& entry = it->second;
  if (entry.attempt != 0) {
    applied.cancelled.push_back(entry.stop);
    EndAttempt(entry);
  }
  SetState(key, entry, State::kPending);
  pending_.erase(key);
  unreported_.erase(key);
  AssemblyState& assembly = assemblies_[key.assembly];
  --assembly.totals.shards;
  assembly.totals.bytes -= entry.shard.size_bytes();
  assembly.version = ++last_version_;
  if (assembly.totals.shards == 0) assemblies_.erase(key.assembly);
  ++ChangeOf(applied, key.assembly).unassigned;
  entries_.erase(it);
}

AgentObserver::AssignmentChange& AssignmentTable::ChangeOf(Applied& applied,
                                                           const std::string& assembly) {
  for (auto& change : applied.changes) {
    if (change.assembly == assembly) return change;
  }
  applied.changes.emplace_back().assembly = assembly;
  return applied.changes.back();
}

void AssignmentTable::BeginEpoch() {
  for (auto& [key, entry] : entries_) {
    switch (entry.state) {
      case State::kReady:
        SetState(key, entry, State::kPending);
        break;
      case State::kFetching:
        Report(key, entry, v1::ShardReport::FETCHING);
        break;
      case State::kFailed:
        Report(key, entry, v1::ShardReport::FAILED);
        break;
      case State::kPending:
      case State::kChecking:
        break;
    }
    if (entry.state == State::kPending || entry.state == State::kChecking) {
      entry.report.reset();
      unreported_.erase(key);
    }
  }
}

std::optional<AssignmentTable::Work> AssignmentTable::TakeWork(absl::Duration now) {
  const ShardKey* chosen = nullptr;
  for (const ShardKey& key : pending_) {
    if (!busy_content_.contains(ContentOf(entries_.at(key).shard))) {
      chosen = &key;
      break;
    }
  }
  for (auto it = retries_.begin(); chosen == nullptr && it != retries_.end() && it->first <= now;
       ++it) {
    if (!busy_content_.contains(ContentOf(entries_.at(it->second).shard))) chosen = &it->second;
  }
  if (chosen == nullptr) return std::nullopt;
  const ShardKey key = *chosen;
  Entry& entry = entries_.at(key);
  SetState(key, entry, State::kChecking);
  entry.attempt = ++last_attempt_;
  entry.stop = std::stop_source();
  entry.done_bytes = 0;
  ++busy_content_[ContentOf(entry.shard)];
  return Work{key, entry.attempt, entry.shard, entry.failures, entry.stop.get_token()};
}

std::optional<absl::Duration> AssignmentTable::NextRetry() const {
  if (retries_.empty()) return std::nullopt;
  return retries_.begin()->first;
}

AssignmentTable::Entry* AssignmentTable::Current(const Work& work) {
  const auto it = entries_.find(work.key);
  return it != entries_.end() && it->second.attempt == work.attempt ? &it->second : nullptr;
}

void AssignmentTable::EndAttempt(Entry& entry) {
  const auto busy = busy_content_.find(ContentOf(entry.shard));
  if (busy != busy_content_.end() && --busy->second == 0) busy_content_.erase(busy);
  entry.attempt = 0;
}

bool AssignmentTable::BeginFetch(const Work& work) {
  Entry* entry = Current(work);
  if (entry == nullptr) return false;
  SetState(work.key, *entry, State::kFetching);
  Report(work.key, *entry, v1::ShardReport::FETCHING);
  return true;
}

void AssignmentTable::SetProgress(const Work& work, uint64_t done_bytes) {
  Entry* entry = Current(work);
  if (entry != nullptr) entry->done_bytes = std::min(done_bytes, entry->shard.size_bytes());
}

bool AssignmentTable::FinishReady(const Work& work, std::vector<v1::LocationReport> locations) {
  Entry* entry = Current(work);
  if (entry == nullptr) return false;
  EndAttempt(*entry);
  entry->failures = 0;
  entry->failure.Clear();
  entry->locations = std::move(locations);
  SetState(work.key, *entry, State::kReady);
  Report(work.key, *entry, v1::ShardReport::READY);
  return true;
}

bool AssignmentTable::FinishFailed(const Work& work, const v1::ShardFailure& failure,
                                   std::vector<v1::LocationReport> locations, absl::Duration now) {
  Entry* entry = Current(work);
  if (entry == nullptr) return false;
  EndAttempt(*entry);
  const double step = std::pow(retry_.factor, std::min(entry->failures, kMaxDoublings));
  const absl::Duration wait = std::min(retry_.initial * step, retry_.max);
  ++entry->failures;
  entry->failure = failure;
  entry->failure.set_attempts(static_cast<uint32_t>(entry->failures));
  entry->locations = std::move(locations);
  entry->retry_at = now + wait * (0.5 + 0.5 * random_.NextDouble());
  SetState(work.key, *entry, State::kFailed);
  Report(work.key, *entry, v1::ShardReport::FAILED);
  return true;
}

void AssignmentTable::Abandon(const Work& work) {
  Entry* entry = Current(work);
  if (entry == nullptr) return;
  EndAttempt(*entry);
  SetState(work.key, *entry, State::kPending);
}

int AssignmentTable::Recheck(const std::string& content_key) {
  int count = 0;
  for (auto& [key, entry] : entries_) {
    if (entry.state != State::kReady ||
        StoredKeyOf(ContentKeyOf(entry.shard)) != StoredKeyOf(content_key))
      continue;
    SetState(key, entry, State::kPending);
    ++count;
  }
  return count;
}

// The one place where states, indexes and totals change together.
void AssignmentTable::SetState(const ShardKey& key, Entry& entry, State state) {
  Totals& totals = assemblies_[key.assembly].totals;
  switch (entry.state) {
    case State::kPending:
      pending_.erase(key);
      break;
    case State::kFetching:
      fetching_.erase(key);
      break;
    case State::kReady:
      --totals.ready;
      assemblies_[key.assembly].announced_ready = false;
      break;
    case State::kFailed:
      --totals.failed;
      if (state != State::kFailed && entry.retry_at.has_value()) {
        retries_.erase({*entry.retry_at, key});
        entry.retry_at.reset();
      }
      break;
    case State::kChecking:
      break;
  }
  entry.state = state;
  switch (state) {
    case State::kPending:
      pending_.insert(key);
      break;
    case State::kFetching:
      fetching_.insert(key);
      break;
    case State::kReady:
      ++totals.ready;
      break;
    case State::kFailed:
      ++totals.failed;
      retries_.insert({*entry.retry_at, key});
      break;
    case State::kChecking:
      break;
  }
}

void AssignmentTable::Report(const ShardKey& key, Entry& entry, v1::ShardReport::State state) {
  entry.report = state;
  entry.report_version = ++last_version_;
  unreported_.insert(key);
}

AssignmentTable::Batch AssignmentTable::NextReports() const {
  Batch batch;
  for (const ShardKey& key : unreported_) {
    if (batch.reports.empty()) batch.assembly = key.assembly;
    if (key.assembly != batch.assembly || batch.reports.size() == kMaxItemsPerCall) break;
    const Entry& entry = entries_.at(key);
    v1::ShardReport& report = batch.reports.emplace_back();
    report.set_shard(key.index);
    report.set_generation(entry.generation);
    report.set_state(*entry.report);
    if (*entry.report == v1::ShardReport::FAILED) *report.mutable_failure() = entry.failure;
    if (*entry.report != v1::ShardReport::FETCHING) {
      report.mutable_locations()->Add(entry.locations.begin(), entry.locations.end());
    }
    batch.versions.push_back(entry.report_version);
  }
  return batch;
}

void AssignmentTable::Reported(const Batch& batch) {
  for (size_t i = 0; i < batch.reports.size(); ++i) {
    const ShardKey key{batch.assembly, batch.reports[i].shard()};
    const auto it = entries_.find(key);
    if (it == entries_.end() || it->second.report_version != batch.versions[i]) continue;
    unreported_.erase(key);
    it->second.locations.clear();
  }
}

std::vector<v1::ShardProgress> AssignmentTable::Progress(size_t limit) const {
  std::vector<v1::ShardProgress> progress;
  for (const ShardKey& key : fetching_) {
    if (progress.size() == limit) break;
    v1::ShardProgress& one = progress.emplace_back();
    one.set_assembly(key.assembly);
    one.set_shard(key.index);
    one.set_done_bytes(entries_.at(key).done_bytes);
  }
  return progress;
}

std::vector<std::string> AssignmentTable::TakeNewlyReady() {
  std::vector<std::string> ready;
  for (auto& [name, assembly] : assemblies_) {
    if (assembly.announced_ready || assembly.totals.ready != assembly.totals.shards) continue;
    const auto unreported = unreported_.lower_bound(ShardKey{name, 0});
    if (unreported != unreported_.end() && unreported->assembly == name) continue;
    assembly.announced_ready = true;
    ready.push_back(name);
  }
  return ready;
}

std::set<std::string> AssignmentTable::Assemblies() const {
  std::set<std::string> names;
  for (const auto& [name, assembly] : assemblies_) names.insert(name);
  return names;
}

uint64_t AssignmentTable::AssignmentVersion(const std::string& assembly) const {
  const auto it = assemblies_.find(assembly);
  return it == assemblies_.end() ? 0 : it->second.version;
}

std::vector<v1::Shard> AssignmentTable::ShardsOf(const std::string& assembly) const {
  std::vector<v1::Shard> shards;
  for (auto it = entries_.lower_bound(ShardKey{assembly, 0});
       it != entries_.end() && it->first.assembly == assembly; ++it) {
    shards.push_back(it->second.shard);
  }
  return shards;
}

AssignmentTable::Totals AssignmentTable::TotalsOf(const std::string& assembly) const {
  const auto it = assemblies_.find(assembly);
  return it == assemblies_.end() ? Totals() : it->second.totals;
}

}  // namespace muster
