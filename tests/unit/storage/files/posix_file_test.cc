#include "storage/files/posix_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <utility>

#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"
#include "tests/unit/storage/files/resource_limit.h"

namespace muster {
namespace {

using absl::StatusCode;
using testing::AllOf;
using testing::HasSubstr;

class PosixFileTest : public testing::Test {
 protected:
  UniqueFd Open(const std::string& name) {
    return UniqueFd(open(directory_.Join(name).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  }

  TemporaryDirectory directory_;
};

TEST_F(PosixFileTest, DescriptorIsClosedOnceAndNotAfterItWasGivenAway) {
  UniqueFd fd = Open("f");
  const int number = fd.get();
  UniqueFd other = std::move(fd);
  EXPECT_FALSE(fd.valid());
  EXPECT_EQ(other.get(), number);

  const UniqueFd again(other.Release());
  other.Reset();
  EXPECT_GE(fcntl(number, F_GETFD), 0);
  other = UniqueFd(dup(number));
  const int copy = other.get();
  other = UniqueFd();

  EXPECT_LT(fcntl(copy, F_GETFD), 0);
  EXPECT_GE(fcntl(number, F_GETFD), 0);
}

TEST_F(PosixFileTest, RangesAreWrittenAndReadWhole) {
  const UniqueFd fd = Open("f");
  const std::string bytes(3 << 20, 'x');

  MUSTER_ASSERT_OK(WriteAt(fd.get(), "f", 5, bytes));
  MUSTER_ASSERT_OK(WriteAt(fd.get(), "f", 0, "01234"));
  MUSTER_EXPECT_OK(WriteAt(fd.get(), "f", 1, ""));
  MUSTER_EXPECT_OK(SyncFile(fd.get(), "f"));
  MUSTER_EXPECT_OK(SyncData(fd.get(), "f"));

  std::string found(bytes.size() + 5, '?');
  MUSTER_ASSERT_OK(ReadAt(fd.get(), "f", 0, absl::MakeSpan(found)));
  EXPECT_EQ(found, "01234" + bytes);
}

TEST_F(PosixFileTest, ShortFileIsOutOfRangeWithBothLengths) {
  const UniqueFd fd = Open("f");
  MUSTER_ASSERT_OK(WriteAt(fd.get(), "f", 0, "01234"));
  std::string out(10, '?');

  EXPECT_THAT(ReadAt(fd.get(), "/the/f", 2, absl::MakeSpan(out)),
              StatusIs(StatusCode::kOutOfRange,
                       AllOf(HasSubstr("/the/f"), HasSubstr("10 bytes at offset 2"),
                             HasSubstr("found 3"))));
  EXPECT_THAT(ReadAt(fd.get(), "f", 5, absl::MakeSpan(out)), StatusIs(StatusCode::kOutOfRange));
  MUSTER_EXPECT_OK(ReadAt(fd.get(), "f", 9, absl::MakeSpan(out).first(0)));
}

// Method: this process's memory reads as EIO where there is none.
TEST_F(PosixFileTest, FailedReadIsUnavailableUnlessTheCallerSaysOtherwise) {
  const UniqueFd fd(open("/proc/self/mem", O_RDONLY | O_CLOEXEC));
  char byte = 0;
  constexpr ErrnoCode kBadSector[] = {{EIO, StatusCode::kDataLoss}};

  EXPECT_THAT(ReadAt(fd.get(), "disk", 0, absl::MakeSpan(&byte, 1)),
              StatusIs(StatusCode::kUnavailable, HasSubstr("disk: can't read it")));
  EXPECT_THAT(ReadAt(fd.get(), "disk", 0, absl::MakeSpan(&byte, 1), kBadSector),
              StatusIs(StatusCode::kDataLoss));
}

TEST_F(PosixFileTest, WriteBeyondTheLimitIsResourceExhausted) {
  const UniqueFd fd = Open("f");
  const ResourceLimit limit(RLIMIT_FSIZE, 1 << 16);

  EXPECT_THAT(WriteAt(fd.get(), "/f", 0, std::string(1 << 17, 'x')),
              StatusIs(StatusCode::kResourceExhausted, HasSubstr("/f")));
}

TEST_F(PosixFileTest, ReservedSpaceShowsInTheSizeUnlessItIsKept) {
  const UniqueFd fd = Open("f");

  MUSTER_ASSERT_OK(ReserveSpace(fd.get(), "f", 1 << 16, /*keep_size=*/true));
  EXPECT_EQ(StatOf(fd.get(), "f")->st_size, 0);
  MUSTER_ASSERT_OK(ReserveSpace(fd.get(), "f", 1 << 16));
  EXPECT_EQ(StatOf(fd.get(), "f")->st_size, 1 << 16);
  MUSTER_EXPECT_OK(ReserveSpace(fd.get(), "f", 0));

  const ResourceLimit limit(RLIMIT_FSIZE, 1 << 16);
  EXPECT_THAT(ReserveSpace(fd.get(), "/f", 1 << 17),
              StatusIs(StatusCode::kResourceExhausted,
                       AllOf(HasSubstr("/f"), HasSubstr("131072 bytes"), HasSubstr("are free"))));
}

TEST_F(PosixFileTest, OnlyRegularFilesAreOpenedAndNothingIsWaitedFor) {
  ASSERT_EQ(mkfifo(directory_.Join("fifo").c_str(), 0666), 0);
  const UniqueFd fd(socket(AF_UNIX, SOCK_STREAM, 0));
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  ASSERT_LT(directory_.Join("socket").size(), sizeof address.sun_path);
  directory_.Join("socket").copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);

  for (const auto& [path, kind] :
       {std::pair<std::string, std::string>{directory_.path(), "a directory"},
        {directory_.Join("fifo"), "a FIFO"},
        {directory_.Join("socket"), "a socket"},
        {"/dev/null", "a device"}}) {
    EXPECT_THAT(OpenRegularFile(path, "it"),
                StatusIs(StatusCode::kFailedPrecondition, HasSubstr("it: is " + kind)));
    EXPECT_THAT(OpenRegularFile(path, "it", StatusCode::kInvalidArgument),
                StatusIs(StatusCode::kInvalidArgument));
  }
}

TEST_F(PosixFileTest, RegularFileIsOpenedWithItsState) {
  MUSTER_ASSERT_OK(WriteAt(Open("f").get(), "f", 0, "01234"));
  std::filesystem::create_symlink("f", directory_.Join("link"));
  std::filesystem::create_symlink("loop", directory_.Join("loop"));

  const absl::StatusOr<OpenedFile> file = OpenRegularFile(directory_.Join("link"), "link");

  MUSTER_ASSERT_OK(file);
  EXPECT_EQ(file->info.st_size, 5);
  EXPECT_THAT(OpenRegularFile(directory_.Join("none"), "n"), StatusIs(StatusCode::kNotFound));
  EXPECT_THAT(OpenRegularFile(directory_.Join("f/none"), "n"), StatusIs(StatusCode::kNotFound));
  EXPECT_THAT(OpenRegularFile(directory_.Join("loop"), "n"),
              StatusIs(StatusCode::kFailedPrecondition));
}

}  // namespace
}  // namespace muster
