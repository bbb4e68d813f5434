// Goal: request ids that expire one a tick, for as long as it takes, cost neither readers nor a start. Method: the real
// request log on the real store, 20,000 ticks; deleted as ranges that all begin at the first key, 3,000 of them made a Get
// take a second and a start 600 MiB.
#include <algorithm>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "muster/v1/event.pb.h"
#include "server/registry/request_log.h"
#include "server/registry/row_keys.h"
#include "server/registry/transaction.h"
#include "storage/base/clock.h"
#include "storage/base/limits.h"
#include "storage/metadata/rocksdb_metadata_store.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace muster {
namespace {

constexpr int kTicks = 20'000;
// As a sync each would take most of the time; the store keeps what was deleted all the same.
constexpr int kTicksPerBatch = 40;
constexpr int64_t kTickUs = 100'000;
// Thousands of times what it takes.
constexpr absl::Duration kGetMax = absl::Milliseconds(500);
constexpr absl::Duration kOpenMax = absl::Seconds(20);

TEST(ExpiringRowsTest, TwentyThousandTicksLeaveReadsAndStartsQuick) {
  const TemporaryDirectory directory;
  const std::string path = directory.Join("data");
  auto store = NewRocksdbMetadataStore(path);
  MUSTER_ASSERT_OK(store);
  RequestLog log;
  MetadataBatch batch;
  absl::Duration slowest_get;
  std::string key;
  // One comes and, ten minutes later, one goes, each tick.
  const auto lag = static_cast<int>(kRequestIdTtlUs / kTickUs);
  for (int tick = 1; tick <= kTicks + lag; ++tick) {
    const int64_t now_us = tick * kTickUs;
    Transaction tx(Revision(1), now_us);
    log.Tick(tx);
    if (tick <= kTicks) {
      const std::string id = absl::StrCat("id-", tick);
      log.Add(id, "digest", muster::v1::Event(), "", RequestLog::Kind::kCall, tx);
      key = RequestKey(now_us + kRequestIdTtlUs, id);
    }
    for (MetadataBatch::Operation& operation : tx.TakeOperations()) {
      EXPECT_FALSE(std::holds_alternative<MetadataBatch::DeleteRange>(operation));
      batch.operations.push_back(std::move(operation));
    }
    if (tick % kTicksPerBatch != 0) continue;
    MUSTER_ASSERT_OK((*store)->Commit(batch));
    batch.operations.clear();
    const absl::Duration begin = SystemClock().Monotonic();
    if (tick <= kTicks) {
      MUSTER_EXPECT_OK((*store)->Get(key));
    }
    slowest_get = std::max(slowest_get, SystemClock().Monotonic() - begin);
  }
  EXPECT_EQ(log.size(), 0u);
  EXPECT_LT(slowest_get, kGetMax);

  store->reset();
  const absl::Duration begin = SystemClock().Monotonic();
  store = NewRocksdbMetadataStore(path);
  EXPECT_LT(SystemClock().Monotonic() - begin, kOpenMax);
  MUSTER_ASSERT_OK(store);
  const auto rows = (*store)->Scan("q", "r", 10);
  MUSTER_ASSERT_OK(rows);
  EXPECT_TRUE(rows->empty());
}

}  // namespace
}  // namespace muster
