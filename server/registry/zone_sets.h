// The sets of zones in which the shards of one model version have locations. They are few, as shards are
// stored alike, and placement names them by position.
#ifndef MUSTER_SERVER_REGISTRY_ZONE_SETS_H_
#define MUSTER_SERVER_REGISTRY_ZONE_SETS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "google/protobuf/repeated_ptr_field.h"
#include "muster/v1/model.pb.h"

namespace muster {

// Not thread-safe.
class ZoneSets {
 public:
  // Sorted, once each.
  using Zones = std::vector<std::string>;

  static Zones Of(const google::protobuf::RepeatedPtrField<muster::v1::Location>& locations);

  // Whether the set is known, or there are fewer than kMaxZoneSets.
  bool HasRoomFor(const Zones& zones) const;
  // Counts one more shard, or one fewer, and returns the set's position. A position that no shard has is
  // given to another set.
  uint32_t Add(Zones zones);
  void Remove(uint32_t position);

  // By position; those that no shard has are empty.
  const std::vector<Zones>& sets() const { return sets_; }
  // Those that shards have.
  size_t size() const { return positions_.size(); }

 private:
  absl::flat_hash_map<Zones, uint32_t> positions_;
  std::vector<Zones> sets_;
  std::vector<uint32_t> shards_;
  std::vector<uint32_t> unused_;
};

}  // namespace muster

#endif  // MUSTER_SERVER_REGISTRY_ZONE_SETS_H_
