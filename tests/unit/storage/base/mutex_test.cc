#include "storage/base/mutex.h"

#include <atomic>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/await.h"

namespace muster {
namespace {

// Goal: readers who overlap without end don't keep a writer out. Method: readers hold the lock for nearly all of their
// time, so that one which prefers readers is never free: a thread that does not run holds it, too.
TEST(SharedMutexTest, ReadersThatOverlapDoNotKeepAWriterOut) {
  constexpr int kReaders = 6;
  constexpr int kWrites = 20;
  SharedMutex mutex;
  std::atomic<int> holders = 0;
  std::atomic<bool> stop = false;
  std::vector<std::thread> readers;
  for (int i = 0; i < kReaders; ++i) {
    readers.emplace_back([&] {
      while (!stop) {
        const ReaderLock lock(mutex);
        ++holders;
        for (int turn = 0; turn < 20'000 && !stop; ++turn) {
        }
        --holders;
      }
    });
  }
  std::atomic<int> writes = 0;
  std::thread writer([&] {
    while (writes < kWrites && !stop) {
      const WriterLock lock(mutex);
      EXPECT_EQ(holders, 0);
      ++writes;
    }
  });

  AwaitOrFail("the writer", [&] { return writes == kWrites; });

  stop = true;
  writer.join();
  for (std::thread& reader : readers) reader.join();
}

TEST(SharedMutexTest, ReadersThatCameWhileOneWroteGoBeforeTheNextWriter) {
  SharedMutex mutex;
  std::atomic<int> reads = 0;
  std::atomic<bool> stop = false;
  std::thread writer([&] {
    while (!stop) {
      const WriterLock lock(mutex);
    }
  });
  std::thread reader([&] {
    for (; reads < 100 && !stop; ++reads) {
      const ReaderLock lock(mutex);
    }
  });

  AwaitOrFail("the reader", [&] { return reads == 100; });

  stop = true;
  writer.join();
  reader.join();
}

}  // namespace
}  // namespace muster
