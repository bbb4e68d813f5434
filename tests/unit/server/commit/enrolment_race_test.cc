// A join token for one machine, raced for by fifty: the count is taken in the transaction.

#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/commit/commit_thread.h"
#include "server/commit/committer.h"
#include "storage/base/error_info.h"
#include "storage/base/mutex.h"
#include "storage/metadata/memory_metadata_store.h"
#include "tests/support/await.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

constexpr int kRacers = 50;

// How jobs ended; set by the committer's thread.
class Ends {
 public:
  void Add(const absl::Status& status) {
    MutexLock lock(mutex_);
    ends_.push_back(status);
    changed_.NotifyAll();
  }
  std::vector<absl::Status> Await(size_t count) {
    MutexLock lock(mutex_);
    AwaitOrFail(mutex_, changed_, "all jobs", [&] { return ends_.size() >= count; });
    return ends_;
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  std::vector<absl::Status> ends_ MUSTER_GUARDED_BY(mutex_);
};

EnrolNode EnrolAs(int machine) {
  EnrolNode enrol;
  enrol.token_id = "t1";
  enrol.token_sha256 = std::string(32, 's');
  enrol.node = absl::StrCat("nodes/n", machine);
  enrol.key_sha256 = std::string(32, static_cast<char>('A' + machine));
  enrol.serial = absl::StrCat(machine);
  enrol.valid_until_us = int64_t{3600} * 1'000'000;
  return enrol;
}

TEST(EnrolmentRaceTest, OfFiftyOneGetsTheOnlyUse) {
  const auto store = NewMemoryMetadataStore(
      {.batch_operations_max = 100, .batch_bytes_max = 1u << 20, .value_bytes_max = 256u << 10});
  LiveTables live({});
  Registry registry({}, live);
  Feed feed({});
  Committer committer(SystemClock(), *store, registry, live, feed,
                      {.queue_limit = 1'000, .queue_bytes_limit = 64 << 20}, [](AssemblyUid) {});
  MUSTER_ASSERT_OK(committer.Load());
  Ends ends;
  {
    CommitThread thread(committer, [](const absl::Status&) {});
    AddJoinToken add;
    add.id = "t1";
    add.sha256 = std::string(32, 's');
    add.node_pattern = "*";
    add.uses = 1;
    add.ttl_us = int64_t{3600} * 1'000'000;
    committer.SubmitInternal(Job{.commands = {Tick{1, 1, std::nullopt}, add}});
    std::vector<std::thread> racers;
    for (int i = 0; i < kRacers; ++i) {
      racers.emplace_back([&committer, &ends, i] {
        committer.Submit(Job{.commands = {EnrolAs(i)}, .done = [&ends](const JobResult& result) {
                               ends.Add(result.status);
                             }});
      });
    }
    for (std::thread& racer : racers) racer.join();
    ends.Await(kRacers);
  }

  int enrolled = 0, refused = 0;
  for (const absl::Status& end : ends.Await(kRacers)) {
    if (end.ok()) {
      ++enrolled;
    } else if (ReasonOf(end) == "JOIN_TOKEN_USED_UP") {
      ++refused;
    }
  }
  EXPECT_EQ(enrolled, 1);
  EXPECT_EQ(refused, kRacers - 1);
  EXPECT_EQ(registry.enrolment().name_count(), 1u);
  EXPECT_EQ(registry.enrolment().tokens().at("t1").used(), 1u);
}

}  // namespace
}  // namespace muster
