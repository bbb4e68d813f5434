// Collects what one command changes: rows, changes for watches, events for people, and commands
// that follow.
#ifndef MUSTER_SERVER_REGISTRY_TRANSACTION_H_
#define MUSTER_SERVER_REGISTRY_TRANSACTION_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "google/protobuf/message_lite.h"
#include "muster/v1/event.pb.h"
#include "server/registry/change.h"
#include "server/registry/command.h"
#include "storage/base/numbers.h"
#include "storage/metadata/metadata_store.h"

namespace muster {

// Not thread-safe; lives for one command.
class Transaction {
 public:
  // `cause` says what asked for the command, `actor` who did; both outlive the transaction.
  Transaction(Revision current, int64_t now_us, absl::string_view cause = "")
      : Transaction(current, now_us, now_us, cause) {}
  Transaction(Revision current, int64_t now_us, int64_t wall_us, absl::string_view cause = "",
              absl::string_view actor = "")
      : revision_(current), now_us_(now_us), wall_us_(wall_us), cause_(cause), actor_(actor) {}

  // Marks the command as one that changes something, and returns its revision: the next one.
  Revision MarkChanged() {
    if (!changed_) ++revision_.value;
    changed_ = true;
    return revision_;
  }

  bool changed() const { return changed_; }
  // Of the state after the command.
  Revision revision() const { return revision_; }
  // The server's own time, as of the last tick: goes on evenly, so that ages and deadlines go by it
  // alone. In microseconds; where it begins means nothing.
  int64_t now_us() const { return now_us_; }
  // The time of day, as of the last tick, for what people are shown: microseconds since 1970. It may
  // jump either way.
  int64_t wall_us() const { return wall_us_; }
  absl::string_view cause() const { return cause_; }
  absl::string_view actor() const { return actor_; }

  void Put(std::string key, const google::protobuf::MessageLite& row) {
    Put(std::move(key), row.SerializeAsString());
  }
  void Put(std::string key, std::string value) {
    bytes_ += key.size() + value.size();
    operations_.push_back(MetadataBatch::Put{std::move(key), std::move(value)});
  }
  void Delete(std::string key) {
    bytes_ += key.size();
    operations_.push_back(MetadataBatch::Delete{std::move(key)});
  }
  void DeletePrefix(const std::string& prefix);
  // Every row with begin <= key < end.
  void DeleteRange(std::string begin, std::string end) {
    bytes_ += begin.size() + end.size();
    operations_.push_back(MetadataBatch::DeleteRange{std::move(begin), std::move(end)});
  }

  // What watches of nodes and assemblies see. The change is of this command's revision.
  template <typename What>
  void Emit(What what) {
    // In place: GCC 12 takes the move of a variant for one of uninitialised memory.
    Change& change = changes_.emplace_back();
    change.revision = MarkChanged();
    change.what.emplace<What>(std::move(what));
  }

  // Logs an event. Kind, names, shards (at most 1,000), states and message are the
  // caller's; what the transaction knows is filled in. Assignments are logged by their
  // AssignmentChange.
  void Tell(muster::v1::Event event) {
    MarkChanged();
    told_.push_back(std::move(event));
  }

  // A command to be carried out after this one, in a transaction of its own.
  void Then(Command command) { follow_ups_.push_back(std::move(command)); }

  // Asks the planner for a plan of the assembly.
  void WantPlan(AssemblyUid assembly) {
    if (plans_wanted_.empty() || plans_wanted_.back() != assembly)
      plans_wanted_.push_back(assembly);
  }

  size_t row_count() const { return operations_.size(); }
  // Keys and values so far.
  size_t bytes() const { return bytes_; }
  std::vector<Change>& changes() { return changes_; }
  const std::vector<muster::v1::Event>& told() const { return told_; }

  std::vector<MetadataBatch::Operation> TakeOperations() { return std::move(operations_); }
  std::vector<muster::v1::Event> TakeTold() { return std::move(told_); }
  std::vector<Change> TakeChanges() { return std::move(changes_); }
  std::vector<Command> TakeFollowUps() { return std::move(follow_ups_); }
  std::vector<AssemblyUid> TakePlansWanted() { return std::move(plans_wanted_); }

 private:
  Revision revision_;
  int64_t now_us_;
  int64_t wall_us_;
  absl::string_view cause_;
  absl::string_view actor_;
  bool changed_ = false;
  size_t bytes_ = 0;
  std::vector<MetadataBatch::Operation> operations_;
  std::vector<Change> changes_;
  std::vector<muster::v1::Event> told_;
  std::vector<Command> follow_ups_;
  std::vector<AssemblyUid> plans_wanted_;
};

}  // namespace muster

#endif  // MUSTER_SERVER_REGISTRY_TRANSACTION_H_
