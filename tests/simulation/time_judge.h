// Whether what the server keeps for a time is kept for that time, judged by a clock of its own.
#ifndef MUSTER_TESTS_SIMULATION_TIME_JUDGE_H_
#define MUSTER_TESTS_SIMULATION_TIME_JUDGE_H_

#include <map>
#include <string>

#include "absl/time/time.h"
#include "server/registry/registry.h"
#include "storage/metadata/metadata_store.h"

namespace muster {

// Not thread-safe. `now` is what the server's own time should be: it moves by the monotonic clock, and
// goes on after a restart from what the store has.
class TimeJudge {
 public:
  // A server that starts gives every draft its whole life again.
  void Started() { drafts_.clear(); }
  // Before the server acts upon a tick, with the time of the tick before.
  void BeforeTick(const Registry& registry, MetadataStore& store, absl::Time now);
  // After it, with its own time; "" when everything lived as long as it should.
  std::string AfterTick(const Registry& registry, MetadataStore& store, absl::Time now);

 private:
  // By key: when the row of a request id was written.
  std::map<std::string, absl::Time> requests_;
  struct KnownDraft {
    // When it was last added to, and what it was then.
    absl::Time since;
    size_t content = 0;
  };
  std::map<VersionUid, KnownDraft> drafts_;
};

}  // namespace muster

#endif  // MUSTER_TESTS_SIMULATION_TIME_JUDGE_H_
