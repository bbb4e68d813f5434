#include "storage/files/lock_holder.h"

#include <fcntl.h>
#include <unistd.h>

#include <optional>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/files/posix_file.h"
#include "tests/support/temporary_directory.h"

namespace muster {
namespace {

using ::testing::HasSubstr;

TEST(LockHolderTest, HolderIsNamedWhileItHoldsTheLock) {
  const TemporaryDirectory directory;
  const std::string path = directory.Join("f");
  const UniqueFd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  const UniqueFd other(open(path.c_str(), O_RDWR | O_CLOEXEC));
  EXPECT_EQ(FlockHolder(other.get()), std::nullopt);
  ASSERT_TRUE(TryLockExclusive(fd.get()));

  EXPECT_EQ(FlockHolder(other.get()), getpid());

  Unlock(fd.get());
  EXPECT_EQ(FlockHolder(other.get()), std::nullopt);
}

TEST(LockHolderTest, ProcessIsDescribedByNumberAndName) {
  EXPECT_THAT(DescribeProcess(getpid()), HasSubstr(std::to_string(getpid())));
  EXPECT_THAT(DescribeProcess(getpid()), HasSubstr("("));
  EXPECT_EQ(DescribeProcess(std::nullopt), "another process");
}

}  // namespace
}  // namespace muster
