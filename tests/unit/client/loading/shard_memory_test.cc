#include "client/loading/shard_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <string>

#include "gmock/gmock.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

using ::testing::HasSubstr;

// Whether the kernel may write to `bytes` for us; a store of our own would end the test.
bool IsWritable(absl::string_view bytes) {
  const UniqueFd zeros(open("/dev/zero", O_RDONLY | O_CLOEXEC));
  const ssize_t got = read(zeros.get(), const_cast<char*>(bytes.data()), 1);
  return got == 1 || errno != EFAULT;
}

// Puts "abc" at the beginning and "xyz" at the end, by either way.
void Fill(ShardMemorySink& sink, int64_t size) {
  MUSTER_ASSERT_OK(sink.Write(0, "abc"));
  const absl::Span<char> end = sink.MemoryOf(size - 3, 3);
  std::memcpy(end.data(), "xyz", 3);
}

constexpr int64_t kSize = 10'000;

TEST(ShardMemoryTest, FinishedPrivateMemoryHoldsWhatWasWrittenAndIsReadOnly) {
  auto sink = ShardMemorySink::MakePrivate(kSize);
  MUSTER_ASSERT_OK(sink);
  Fill(**sink, kSize);

  const auto memory = (*sink)->Finish();

  MUSTER_ASSERT_OK(memory);
  EXPECT_EQ(memory->bytes().size(), size_t{kSize});
  EXPECT_EQ(memory->bytes().substr(0, 3), "abc");
  EXPECT_EQ(memory->bytes().substr(kSize - 3), "xyz");
  EXPECT_FALSE(IsWritable(memory->bytes()));
  EXPECT_EQ(memory->shared_fd(), -1);
}

TEST(ShardMemoryTest, FinishedSharedMemoryCanBeChangedByNobody) {
  auto sink = ShardMemorySink::MakeShared(kSize, "change-test");
  MUSTER_ASSERT_OK(sink);
  Fill(**sink, kSize);

  const auto memory = (*sink)->Finish();

  MUSTER_ASSERT_OK(memory);
  EXPECT_EQ(memory->bytes().substr(0, 3), "abc");
  EXPECT_EQ(memory->bytes().substr(kSize - 3), "xyz");
  EXPECT_FALSE(IsWritable(memory->bytes()));
  const int fd = memory->shared_fd();
  EXPECT_EQ(fcntl(fd, F_GET_SEALS) & (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW),
            F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW);
  EXPECT_EQ(pwrite(fd, "!", 1, 0), -1);
  EXPECT_EQ(ftruncate(fd, 1), -1);
  EXPECT_EQ(ftruncate(fd, 2 * kSize), -1);
  EXPECT_EQ(mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
}

TEST(ShardMemoryTest, SharedMemoryThatSomebodyElseMayWriteToIsNotGivenOut) {
  auto sink = ShardMemorySink::MakeShared(kSize, "seal-test");
  MUSTER_ASSERT_OK(sink);
  UniqueFd other;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    const std::string target = std::filesystem::read_symlink(entry.path(), gone).string();
    if (target.find("memfd:seal-test") != std::string::npos) {
      other = UniqueFd(open(entry.path().c_str(), O_RDWR | O_CLOEXEC));
    }
  }
  ASSERT_TRUE(other.valid());
  const auto writable = Mapping::Make({.size_bytes = kSize,
                                       .protection = PROT_READ | PROT_WRITE,
                                       .flags = MAP_SHARED,
                                       .fd = other.get()});
  MUSTER_ASSERT_OK(writable);

  EXPECT_THAT((*sink)->Finish(),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("can't seal")));
}

TEST(ShardMemoryTest, RangeOutsideIsRefused) {
  auto sink = ShardMemorySink::MakePrivate(kSize);
  MUSTER_ASSERT_OK(sink);

  EXPECT_THAT((*sink)->Write(kSize - 2, "abc"), StatusIs(absl::StatusCode::kInternal));
  EXPECT_THAT((*sink)->Write(-1, "abc"), StatusIs(absl::StatusCode::kInternal));
  EXPECT_THAT((*sink)->Write(kSize + 1, ""), StatusIs(absl::StatusCode::kInternal));
}

TEST(ShardMemoryTest, MoreThanThereIsOfMemoryIsRefused) {
  EXPECT_THAT(ShardMemorySink::MakePrivate(int64_t{1} << 60),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("1152921504606846976")));
}

}  // namespace
}  // namespace muster
