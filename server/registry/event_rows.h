// The rows of the event log: how the events of a command are packed, and read again.
//
// Thread-safe: pure functions.
#ifndef MUSTER_SERVER_REGISTRY_EVENT_ROWS_H_
#define MUSTER_SERVER_REGISTRY_EVENT_ROWS_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "muster/store/rows.pb.h"
#include "muster/v1/event.pb.h"
#include "server/registry/change.h"
#include "storage/base/numbers.h"

namespace muster {

// A new row is begun beyond this, so that it stays far below the 256 KiB of a row.
inline constexpr size_t kMaxEventsRowBytes = 128u << 10;

// When and why the events of a command came about.
struct EventsOrigin {
  // The time of day and the server's own time; see Transaction.
  int64_t wall_us = 0;
  int64_t now_us = 0;
  // Outlives what is done with it.
  absl::string_view cause;
  // The same; "" where nobody asked.
  absl::string_view actor = "";
};

struct PackedEvents {
  // A serialised EventsRow.
  std::string row;
  // Events for people.
  uint32_t told = 0;
};

// Packs the events for people, and what watches of `changes` have to know to resume behind the
// server's memory, into rows: `told` first, then the assignments of `changes`. What is too much for
// `rows_max` rows (at least 1) and `bytes_max` bytes is cut: first what watches need, then the
// assignments.
std::vector<PackedEvents> PackEvents(std::vector<muster::v1::Event> told,
                                     const std::vector<Change>& changes, const EventsOrigin& origin,
                                     size_t rows_max, size_t bytes_max);

// The events of a row, with revision, sequence, time, cause and shards filled in. kDataLoss: the
// row is damaged.
absl::StatusOr<std::vector<muster::v1::Event>> UnpackTold(Revision revision, absl::string_view row);

// Appends the changes of a row that watches follow and that are `wanted`. kOutOfRange: they were
// cut. kDataLoss: the row is damaged.
absl::Status UnpackWatched(Revision revision, absl::string_view row,
                           const std::function<bool(const store::EventRow&)>& wanted,
                           std::vector<Change>& changes);

}  // namespace muster

#endif  // MUSTER_SERVER_REGISTRY_EVENT_ROWS_H_
