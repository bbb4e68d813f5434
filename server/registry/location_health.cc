#include "server/registry/location_health.h"

#include <algorithm>
#include <utility>

#include "server/registry/limits.h"
#include "server/registry/row_keys.h"

namespace muster {
namespace {

using muster::store::LocationHealthRow;
using muster::v1::ShardFailure;

// A node that complains again and again writes a row no oftener than this.
constexpr int64_t kComplaintRefreshUs = 60'000'000;

bool IsComplaint(ShardFailure::Code code) {
  return code == ShardFailure::CORRUPT || code == ShardFailure::MISSING ||
         code == ShardFailure::SLOW || code == ShardFailure::UNREADABLE;
}

bool IsPraise(ShardFailure::Code code) { return code == ShardFailure::CODE_UNSPECIFIED; }

const LocationHealthRow::Complaint* ComplaintOf(const LocationHealthRow& row, NodeUid node) {
  const auto found =
      std::find_if(row.complaints().begin(), row.complaints().end(),
                   [&](const auto& complaint) { return complaint.node_uid() == node.value; });
  return found == row.complaints().end() ? nullptr : &*found;
}

// Adds the complaint, newest last, in place of the node's older one.
void AddComplaint(LocationHealthRow& row, NodeUid node, ShardFailure::Code code, int64_t now_us) {
  auto& complaints = *row.mutable_complaints();
  complaints.erase(
      std::remove_if(complaints.begin(), complaints.end(),
                     [&](const auto& complaint) { return complaint.node_uid() == node.value; }),
      complaints.end());
  if (complaints.size() >= kMaxComplaints) complaints.DeleteSubrange(0, 1);
  LocationHealthRow::Complaint& complaint = *complaints.Add();
  complaint.set_node_uid(node.value);
  complaint.set_code(code);
  complaint.set_time_us(now_us);
}

bool IsSuspicious(const LocationHealthRow& row, int64_t now_us) {
  const auto recent = std::count_if(
      row.complaints().begin(), row.complaints().end(),
      [&](const auto& complaint) { return now_us - complaint.time_us() <= kComplaintTtlUs; });
  return static_cast<size_t>(recent) >= kComplaintsToSuspect;
}

}  // namespace

bool LocationHealth::IsNews(VersionUid version, uint32_t shard, const std::string& uri,
                            NodeUid node, ShardFailure::Code found, int64_t now_us) const {
  const auto known = rows_.find(Key{version, shard, uri});
  if (known == rows_.end()) return IsComplaint(found);
  if (!IsComplaint(found)) return IsPraise(found);
  const auto* complaint = ComplaintOf(known->second, node);
  return complaint == nullptr || now_us - complaint->time_us() >= kComplaintRefreshUs;
}

void LocationHealth::Note(const NoteLocations& command, const std::string& version_name,
                          const std::string& node_name, Transaction& tx) {
  for (const NoteLocations::Finding& finding : command.findings) {
    if (!IsNews(command.version, finding.shard, finding.uri, command.node, finding.found,
                tx.now_us())) {
      continue;
    }
    const Key key{command.version, finding.shard, finding.uri};
    LocationHealthRow& row = rows_[key];
    const bool was_suspect = row.suspect();
    bool suspect = false;
    if (IsComplaint(finding.found)) {
      AddComplaint(row, command.node, finding.found, tx.now_us());
      suspect = was_suspect || IsSuspicious(row, tx.now_us());
      row.set_uri(finding.uri);
      row.set_suspect(suspect);
      tx.Put(LocationHealthKey(key.version, ShardIndex(key.shard), key.uri), row);
    } else {
      rows_.erase(key);
      tx.Delete(LocationHealthKey(key.version, ShardIndex(key.shard), key.uri));
    }
    tx.MarkChanged();
    if (suspect != was_suspect) {
      tx.Emit(LocationChange{key.version, version_name, key.shard, key.uri, suspect, node_name,
                             finding.found});
    }
  }
}

void LocationHealth::ThenNote(VersionUid version, NodeUid node,
                              const std::vector<NoteLocations::Finding>& findings,
                              Transaction& tx) {
  for (size_t begin = 0; begin < findings.size(); begin += kMaxFindingsPerCommand) {
    const size_t end = std::min(begin + kMaxFindingsPerCommand, findings.size());
    tx.Then(NoteLocations{version, node, {findings.begin() + begin, findings.begin() + end}});
  }
}

bool LocationHealth::IsSuspect(VersionUid version, uint32_t shard, const std::string& uri) const {
  if (rows_.empty()) return false;
  const auto known = rows_.find(Key{version, shard, uri});
  return known != rows_.end() && known->second.suspect();
}

std::vector<uint32_t> LocationHealth::SuspectShards(VersionUid version, size_t limit) const {
  std::vector<uint32_t> shards;
  for (auto it = rows_.lower_bound(Key{version, 0, ""});
       it != rows_.end() && it->first.version == version && shards.size() < limit; ++it) {
    if (!it->second.suspect()) continue;
    if (shards.empty() || shards.back() != it->first.shard) shards.push_back(it->first.shard);
  }
  return shards;
}

void LocationHealth::Forget(VersionUid version, uint32_t shard, const std::string& uri,
                            Transaction& tx) {
  if (rows_.erase(Key{version, shard, uri}) == 0) return;
  tx.Delete(LocationHealthKey(version, ShardIndex(shard), uri));
}

void LocationHealth::Forget(VersionUid version, Transaction& tx) {
  const auto begin = rows_.lower_bound(Key{version, 0, ""});
  auto end = begin;
  while (end != rows_.end() && end->first.version == version) ++end;
  if (begin == end) return;
  rows_.erase(begin, end);
  tx.DeletePrefix(AllLocationHealthPrefix(version));
}

void LocationHealth::Load(VersionUid version, uint32_t shard, LocationHealthRow row) {
  Key key{version, shard, row.uri()};
  rows_[std::move(key)] = std::move(row);
}

}  // namespace muster
