#include "storage/files/file_guard.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/files/posix_file.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace muster {
namespace {

class FileGuardTest : public ::testing::Test {
 protected:
  UniqueFd Open(int flags) {
    return UniqueFd(open(directory_.Join("f").c_str(), flags | O_CREAT | O_CLOEXEC, 0600));
  }

  const TemporaryDirectory directory_;
};

TEST_F(FileGuardTest, WritersAreSeenUntilTheyCloseTheFile) {
  UniqueFd writer = Open(O_RDWR);
  const UniqueFd fd = Open(O_RDONLY);
  EXPECT_EQ(FindOpenWriters(fd.get()), OpenWriters::kSome);

  writer.Reset();

  EXPECT_EQ(FindOpenWriters(fd.get()), OpenWriters::kNone);
  // The lease is given back: nothing keeps others from writing.
  EXPECT_TRUE(Open(O_WRONLY | O_NONBLOCK).valid());
}

TEST_F(FileGuardTest, MappingIsAWriterAfterItsDescriptorIsClosed) {
  void* memory = nullptr;
  {
    const UniqueFd writer = Open(O_RDWR);
    MUSTER_ASSERT_OK(WriteAt(writer.get(), "f", 0, "bytes"));
    memory = mmap(nullptr, 5, PROT_READ | PROT_WRITE, MAP_SHARED, writer.get(), 0);
    ASSERT_NE(memory, MAP_FAILED);
  }
  const UniqueFd fd = Open(O_RDONLY);
  EXPECT_EQ(FindOpenWriters(fd.get()), OpenWriters::kSome);

  munmap(memory, 5);

  EXPECT_EQ(FindOpenWriters(fd.get()), OpenWriters::kNone);
}

TEST_F(FileGuardTest, ReadersAreNoWriters) {
  const UniqueFd fd = Open(O_RDONLY);
  const UniqueFd other = Open(O_RDONLY);

  EXPECT_EQ(FindOpenWriters(fd.get()), OpenWriters::kNone);
}

TEST_F(FileGuardTest, SealedFileIsNotOpenedForWritingByAnybody) {
  {
    const UniqueFd writer = Open(O_WRONLY);
    MUSTER_ASSERT_OK(WriteAt(writer.get(), "f", 0, "bytes"));
  }
  const UniqueFd fd = Open(O_RDONLY);
  const std::string path = directory_.Join("f");

  const absl::Status sealed = SealFile(fd.get(), path);

  EXPECT_EQ(IsSealed(fd.get()), sealed.ok());
  if (absl::IsUnimplemented(sealed)) {
    GTEST_SKIP() << "no fs-verity in this kernel, or on " << path << ": " << sealed;
  }
  MUSTER_ASSERT_OK(sealed);
  EXPECT_FALSE(UniqueFd(open(path.c_str(), O_WRONLY | O_CLOEXEC)).valid());
  MUSTER_EXPECT_OK(SealFile(fd.get(), path));
  EXPECT_EQ(link(path.c_str(), directory_.Join("g").c_str()), 0);
}

}  // namespace
}  // namespace muster
