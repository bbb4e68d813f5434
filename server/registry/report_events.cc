#include "server/registry/report_events.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/registry/limits.h"
#include "server/registry/validation.h"
#include "storage/base/limits.h"

namespace muster {

namespace v1 = muster::v1;

v1::Event& ReportEvents::EventFor(const v1::ShardReport& report, v1::ShardReport::State old_state) {
  const bool failed = report.state() == v1::ShardReport::FAILED;
  const v1::Event::Kind kind = failed ? v1::Event::SHARD_FAILED : v1::Event::SHARDS_REPORTED;
  std::string message;
  if (failed) {
    message = v1::ShardFailure::Code_Name(report.failure().code());
    if (failures_++ < kMaxFailureEvents) {
      absl::StrAppend(&message, " ", CutText(report.failure().message(), kMaxFailureMessageBytes));
      if (!report.failure().location().empty()) {
        absl::StrAppend(&message, " at ",
                        CutText(report.failure().location(), kMaxFailureMessageBytes));
      }
    }
  }
  const std::string& old_name = v1::ShardReport::State_Name(old_state);
  const std::string& new_name = v1::ShardReport::State_Name(report.state());
  for (v1::Event& event : events_) {
    if (event.kind() == kind && event.message() == message && event.old_state() == old_name &&
        event.new_state() == new_name) {
      return event;
    }
  }
  v1::Event& event = events_.emplace_back();
  event.set_kind(kind);
  event.set_node(node_);
  event.set_assembly(assembly_.name());
  event.set_model_version(assembly_.version().row.name());
  event.set_old_state(old_name);
  event.set_new_state(new_name);
  event.set_message(std::move(message));
  return event;
}

void ReportEvents::Add(const v1::ShardReport& report, v1::ShardReport::State old_state) {
  v1::Event& event = EventFor(report, old_state);
  if (event.shards_size() < kMaxEventShards) event.add_shards(report.shard());
  event.set_shard_count(event.shard_count() + 1);
}

void ReportEvents::Tell(Transaction& tx) {
  for (v1::Event& event : events_) tx.Tell(std::move(event));
}

}  // namespace muster
