#include "client/transfer/buffer_pool.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>

#include "tests/support/status_matchers.h"

namespace muster {
namespace {

constexpr size_t kPieceBytes = size_t{8} << 20;

bool IsAligned(const IoBuffer& buffer) {
  return reinterpret_cast<uintptr_t>(buffer.get()) % kIoAlignment == 0;
}

TEST(IoBufferTest, EverySizeIsAlignedAndCanBeWritten) {
  for (const size_t size : {size_t{1}, size_t{4095}, size_t{4097}, kPieceBytes, kPieceBytes + 1}) {
    auto buffer = MakeIoBuffer(size);
    MUSTER_ASSERT_OK(buffer);
    EXPECT_TRUE(IsAligned(*buffer)) << size;
    std::memset(buffer->get(), 1, size);
  }
}

TEST(BufferPoolTest, ABufferThatCameBackIsGivenOutAgain) {
  BufferPool pool;
  auto first = pool.Take(kPieceBytes);
  MUSTER_ASSERT_OK(first);
  const char* const bytes = first->get();
  pool.GiveBack(*std::move(first), kPieceBytes);
  auto second = pool.Take(kPieceBytes);
  MUSTER_ASSERT_OK(second);
  EXPECT_EQ(second->get(), bytes);
}

TEST(BufferPoolTest, ABufferOfAnotherSizeIsNotGivenOut) {
  BufferPool pool;
  auto small = pool.Take(kPieceBytes);
  MUSTER_ASSERT_OK(small);
  pool.GiveBack(*std::move(small), kPieceBytes);
  auto large = pool.Take(2 * kPieceBytes);
  MUSTER_ASSERT_OK(large);
  std::memset(large->get(), 1, 2 * kPieceBytes);
  // The pool went on to larger ones meanwhile.
  auto late = pool.Take(kPieceBytes);
  MUSTER_ASSERT_OK(late);
  pool.GiveBack(*std::move(large), 2 * kPieceBytes);
  auto next = pool.Take(kPieceBytes);
  MUSTER_ASSERT_OK(next);
  EXPECT_NE(next->get(), late->get());
}

}  // namespace
}  // namespace muster
