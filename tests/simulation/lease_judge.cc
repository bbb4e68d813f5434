#include "tests/simulation/lease_judge.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace muster {

void LeaseJudge::Ticked(absl::Duration now) {
  if (now - now_ > options_.stall_threshold) stalled_until_ = now;
  now_ = now;
}

void LeaseJudge::Started(absl::Duration now) { stalled_until_ = now_ = now; }

void LeaseJudge::Renewed(NodeUid node, absl::Duration now) {
  const auto found = records_.find(node);
  if (found != records_.end()) found->second.renewed = now;
}

std::string LeaseJudge::JudgeNode(const Node& node, Record& record) const {
  const absl::Duration ttl = absl::Microseconds(node.row.lease_ttl_us());
  const std::string& name = node.row.name();
  if (node.row.lost() && !record.lost) {
    const absl::Duration quiet = now_ - std::max(record.renewed, stalled_until_);
    // A lease counts from the tick before its renewal.
    if (quiet < ttl - options_.stall_threshold) {
      return absl::StrCat(name, " is declared lost ", absl::FormatDuration(quiet),
                          " after its renewal or the server's stall; its TTL is ",
                          absl::FormatDuration(ttl));
    }
    record.lost_since = now_;
  }
  if (node.row.released() && !record.released) {
    const absl::Duration waited = now_ - std::max(record.lost_since, stalled_until_);
    if (!node.row.lost() || waited < options_.move_grace) {
      return absl::StrCat(name, " is released ", absl::FormatDuration(waited),
                          " after its loss or the server's stall; the grace is ",
                          absl::FormatDuration(options_.move_grace));
    }
  }
  return "";
}

// No release by itself out of a zone that has lost as many as the brake asks for.
std::string LeaseJudge::JudgeBrake(const Registry& registry,
                                   const std::map<NodeUid, Record>& before) const {
  struct Zone {
    size_t nodes = 0, waiting = 0, released = 0;
  };
  std::map<std::string, Zone> zones;
  for (const auto& [name, node] : registry.nodes().by_name()) {
    Zone& zone = zones[node->row.zone()];
    const auto record = before.find(node->uid);
    const bool known = record != before.end() && record->second.epoch == node->epoch();
    // It is gone already, and says nothing of the zone.
    if (known && record->second.released) continue;
    ++zone.nodes;
    if (!known || !record->second.lost) continue;
    ++zone.waiting;
    if (node->row.released()) ++zone.released;
  }
  for (const auto& [name, zone] : zones) {
    const double share = static_cast<double>(zone.waiting) / static_cast<double>(zone.nodes);
    if (zone.released > 0 && zone.waiting >= options_.brake_min_nodes &&
        share >= options_.brake_share) {
      return absl::StrCat("zone ", name, " has lost ", zone.waiting, " of ", zone.nodes,
                          " nodes, and ", zone.released, " are released");
    }
  }
  return "";
}

std::string LeaseJudge::Judge(const Registry& registry) {
  const std::map<NodeUid, Record> before = records_;
  records_.clear();
  std::string wrong;
  for (const auto& [name, node] : registry.nodes().by_name()) {
    const auto known = before.find(node->uid);
    Record record = known == before.end() ? Record{} : known->second;
    if (record.epoch != node->epoch()) {
      record = Record{};
      record.epoch = node->epoch();
      record.renewed = record.lost_since = now_;
    }
    if (std::string found = JudgeNode(*node, record); !found.empty()) wrong = std::move(found);
    record.lost = node->row.lost();
    record.released = node->row.released();
    records_[node->uid] = record;
  }
  if (wrong.empty() && !resumed_) wrong = JudgeBrake(registry, before);
  resumed_ = false;
  return wrong;
}

}  // namespace muster
