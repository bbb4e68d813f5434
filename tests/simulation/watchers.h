// Watchers that replay what they are sent, and compare it with the present state.
#ifndef MUSTER_TESTS_SIMULATION_WATCHERS_H_
#define MUSTER_TESTS_SIMULATION_WATCHERS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "server/watch/assembly_cursor.h"
#include "server/watch/assignment_cursor.h"
#include "server/watch/events_cursor.h"
#include "storage/base/status_macros.h"
#include "tests/simulation/world.h"
#include "tests/support/watch_validators.h"

namespace muster {

// Drives a cursor as a stream does; false: no message until more happens.
template <typename Cursor>
absl::StatusOr<bool> NextOf(World& world, Cursor& cursor, typename Cursor::Message& message) {
  while (true) {
    MUSTER_ASSIGN_OR_RETURN(const CursorStep step,
                            cursor.Next(world.registry(), world.server().feed(), message));
    if (step == CursorStep::kMessage) return true;
    if (step == CursorStep::kWait && !cursor.more()) return false;
    if (step == CursorStep::kWait) continue;
    MUSTER_ASSIGN_OR_RETURN(LogPart part,
                            ReadLog(world.server().store(), cursor.reader().log_span()));
    cursor.reader().Supply(std::move(part));
  }
}

// Follows one node's assignments through resumes, compactions and restarts. Not thread-safe.
class AssignmentWatcher {
 public:
  explicit AssignmentWatcher(std::string node) : node_(std::move(node)) {}

  // Reads some messages, or all that there are; then the replayed assignments must be those of a
  // fresh snapshot.
  void Read(World& world);

 private:
  using Assignments = std::map<std::pair<std::string, uint32_t>, uint64_t>;

  bool Open(World& world, uint64_t epoch);
  void Record(const muster::v1::WatchAssignmentsResponse& message);
  // The six promises, on all that was sent since the last snapshot.
  void CheckPromises(World& world) const;
  // False when the watch is over.
  bool Take(World& world, const muster::v1::WatchAssignmentsResponse& message);
  void CheckAgainstSnapshot(World& world, uint64_t epoch) const;

  const std::string node_;
  int process_ = -1;
  uint64_t epoch_ = 0;
  std::optional<AssignmentCursor> cursor_;
  Assignments held_;
  // The snapshot that is under way.
  Assignments snapshot_;
  // The last revision that was complete; 0 asks for a snapshot.
  uint64_t revision_ = 0;
  NodeUid uid_;
  // Since the last snapshot.
  std::vector<WatchHistory> histories_;
};

// Follows one assembly's states. Not thread-safe.
class AssemblyWatcher {
 public:
  explicit AssemblyWatcher(std::string assembly) : assembly_(std::move(assembly)) {}

  void Read(World& world);

 private:
  bool Open(World& world, const Assembly& assembly);
  void CheckAgainst(World& world, const Assembly& assembly);

  const std::string assembly_;
  int process_ = -1;
  AssemblyUid uid_;
  std::optional<AssemblyCursor> cursor_;
  muster::v1::Assembly last_;
  uint64_t revision_ = 0;
  // Since the last snapshot.
  std::vector<WatchHistory> histories_;
};

// Follows the events of the event log. Not thread-safe.
class EventsWatcher {
 public:
  void Read(World& world);

 private:
  bool Open(World& world);
  void Record(const muster::v1::WatchEventsResponse& message);

  int process_ = -1;
  std::optional<EventsCursor> cursor_;
  uint64_t revision_ = 0;
  std::vector<WatchHistory> histories_;
};

}  // namespace muster

#endif  // MUSTER_TESTS_SIMULATION_WATCHERS_H_
