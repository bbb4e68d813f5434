// How one ReportShards call is logged: one event for each change of state, and one for each
// failure.
#ifndef MUSTER_SERVER_REGISTRY_REPORT_EVENTS_H_
#define MUSTER_SERVER_REGISTRY_REPORT_EVENTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "muster/v1/assembly.pb.h"
#include "muster/v1/event.pb.h"
#include "server/registry/assembly.h"
#include "server/registry/transaction.h"

namespace muster {

// Not thread-safe; lives for one command, and the assembly and the node's name outlive it.
class ReportEvents {
 public:
  ReportEvents(const Assembly& assembly, const std::string& node)
      : assembly_(assembly), node_(node) {}

  // A report that changed something.
  void Add(const muster::v1::ShardReport& report, muster::v1::ShardReport::State old_state);
  bool empty() const { return events_.empty(); }
  void Tell(Transaction& tx);

 private:
  // The event to which one more shard is added.
  muster::v1::Event& EventFor(const muster::v1::ShardReport& report,
                              muster::v1::ShardReport::State old_state);

  const Assembly& assembly_;
  const std::string& node_;
  // Few: a kind, two states, and a failure's text.
  std::vector<muster::v1::Event> events_;
  size_t failures_ = 0;
};

}  // namespace muster

#endif  // MUSTER_SERVER_REGISTRY_REPORT_EVENTS_H_
