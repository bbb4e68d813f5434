#include "server/registry/zone_sets.h"

#include <algorithm>
#include <utility>

#include "server/registry/limits.h"

namespace muster {

ZoneSets::Zones ZoneSets::Of(
    const google::protobuf::RepeatedPtrField<muster::v1::Location>& locations) {
  Zones zones;
  for (const muster::v1::Location& location : locations) {
    if (!location.zone().empty()) zones.push_back(location.zone());
  }
  std::sort(zones.begin(), zones.end());
  zones.erase(std::unique(zones.begin(), zones.end()), zones.end());
  return zones;
}

bool ZoneSets::HasRoomFor(const Zones& zones) const {
  return positions_.size() < kMaxZoneSets || positions_.contains(zones);
}

uint32_t ZoneSets::Add(Zones zones) {
  const auto known = positions_.find(zones);
  if (known != positions_.end()) {
    ++shards_[known->second];
    return known->second;
  }
  if (unused_.empty()) {
    unused_.push_back(static_cast<uint32_t>(sets_.size()));
    sets_.emplace_back();
    shards_.push_back(0);
  }
  const uint32_t position = unused_.back();
  unused_.pop_back();
  sets_[position] = zones;
  shards_[position] = 1;
  positions_.emplace(std::move(zones), position);
  return position;
}

void ZoneSets::Remove(uint32_t position) {
  if (--shards_[position] > 0) return;
  positions_.erase(sets_[position]);
  sets_[position].clear();
  unused_.push_back(position);
}

}  // namespace muster
