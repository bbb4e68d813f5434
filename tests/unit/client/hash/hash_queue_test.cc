#include "client/hash/hash_queue.h"

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "hwy/highway.h"
#include "storage/base/random.h"
#include "tests/unit/client/cache/cache_fixtures.h"

namespace muster {
namespace {

// Hashes from many threads at once, pieces of very different lengths.
void ExpectDigestsOfManyThreads() {
  constexpr int kThreads = 20;
  const std::string bytes = TestBytes(3 * kMiB + 77, 5);
  HashQueue queue;
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      const auto random = NewSeededRandom(static_cast<uint64_t>(thread));
      for (int round = 0; round < 6; ++round) {
        const size_t longest = random->Below(2) == 0 ? bytes.size() : 1'000;
        const auto piece = absl::string_view(bytes).substr(0, random->Below(longest + 1));
        if (queue.Hash(piece) != Md5Of(piece)) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0) << Md5LanesTarget();
}

TEST(HashQueueTest, EveryThreadGetsItsOwnDigest) { ExpectDigestsOfManyThreads(); }

TEST(HashQueueTest, EveryThreadGetsItsOwnDigestWithoutVectors) {
  hwy::SetSupportedTargetsForTest(HWY_STATIC_TARGET);
  ExpectDigestsOfManyThreads();
  hwy::SetSupportedTargetsForTest(0);
}

TEST(HashQueueTest, StreamsOfOneCallAdvanceTogether) {
  const std::string bytes = TestBytes(2 * kMiB + 5, 6);
  const absl::string_view view = bytes;
  HashQueue queue;
  Md5LaneStream whole, front;
  const HashQueue::Part both[] = {{&whole, view.substr(0, kMiB)}, {&front, view.substr(0, kMiB)}};
  const HashQueue::Part rest{&whole, view.substr(kMiB)};

  queue.Update(both);
  queue.Update({rest});

  EXPECT_EQ(whole.Finish(), Md5Of(view));
  EXPECT_EQ(front.Finish(), Md5Of(view.substr(0, kMiB)));
}

TEST(HashQueueTest, NoBytesAreDoneAtOnce) {
  HashQueue queue;
  queue.Update({});
  EXPECT_EQ(queue.Hash(""), Md5Of(""));
}

}  // namespace
}  // namespace muster
