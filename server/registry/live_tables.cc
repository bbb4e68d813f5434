#include "server/registry/live_tables.h"

namespace muster {

void LiveTables::Apply(const Change& change) {
  if (const auto* node = std::get_if<NodeChange>(&change.what)) {
    leases.Apply(*node);
    read_places.Apply(*node);
  } else if (const auto* assignment = std::get_if<AssignmentChange>(&change.what)) {
    read_places.Apply(*assignment, change.revision);
  }
}

}  // namespace muster
