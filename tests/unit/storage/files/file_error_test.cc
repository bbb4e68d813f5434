#include "storage/files/file_error.h"

#include <errno.h>
#include <fcntl.h>

#include <map>
#include <vector>

#include "storage/base/reasons.h"
#include "storage/files/posix_file.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/storage/files/resource_limit.h"

namespace muster {
namespace {

using absl::StatusCode;
using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

TEST(FileErrorTest, EveryErrnoHasTheCodeOfTheTable) {
  const std::map<StatusCode, std::vector<int>> table = {
      {StatusCode::kNotFound, {ENOENT, ENOTDIR}},
      {StatusCode::kAlreadyExists, {EEXIST, ENOTEMPTY}},
      {StatusCode::kPermissionDenied, {EACCES, EPERM, EROFS}},
      {StatusCode::kResourceExhausted, {ENOSPC, EDQUOT, EFBIG, EMFILE, ENFILE}},
      {StatusCode::kInvalidArgument, {ENAMETOOLONG}},
      {StatusCode::kFailedPrecondition, {EISDIR, ELOOP, ENXIO}},
      {StatusCode::kUnavailable, {EAGAIN, EBUSY, EIO, ENOMEM, ESTALE, ETIMEDOUT}},
      {StatusCode::kInternal, {EBADF, EINVAL, ENOTTY, 0, -1, 100'000}},
  };
  for (const auto& [code, errors] : table) {
    for (const int error : errors) {
      EXPECT_EQ(CodeOfErrno(error), code) << error;
      EXPECT_THAT(PathError(error, "open it", "/a/b"),
                  StatusIs(code, StartsWith("/a/b: can't open it: ")))
          << error;
    }
  }
}

TEST(FileErrorTest, ExceptionsComeBeforeTheTable) {
  constexpr ErrnoCode kExceptions[] = {{EIO, StatusCode::kDataLoss},
                                       {EINVAL, StatusCode::kInvalidArgument}};

  EXPECT_EQ(CodeOfErrno(EIO, kExceptions), StatusCode::kDataLoss);
  EXPECT_EQ(CodeOfErrno(ENOENT, kExceptions), StatusCode::kNotFound);
  EXPECT_THAT(PathError(EINVAL, "make it", "/x", kExceptions),
              StatusIs(StatusCode::kInvalidArgument));
}

TEST(FileErrorTest, MessagesSayWhatToDoWhereSomethingRanOut) {
  for (const int error : {ENOSPC, EDQUOT, EFBIG}) {
    EXPECT_TRUE(IsNoSpace(error));
    EXPECT_THAT(PathError(error, "write it", "/x"),
                StatusIs(StatusCode::kResourceExhausted, HasSubstr("free some space")));
  }
  EXPECT_FALSE(IsNoSpace(EMFILE));
  EXPECT_THAT(PathError(ENOENT, "open it", "/x"),
              StatusIs(StatusCode::kNotFound, EndsWith("No such file or directory")));
}

TEST(FileErrorTest, RunningOutOfDescriptorsIsToldFromAFullDisk) {
  absl::Status status;
  {
    const ResourceLimit limit(RLIMIT_NOFILE, 3);
    status = OpenRegularFile("/proc/self/status", "the file").status();
  }
  // From here on the UndefinedBehaviorSanitizer may open files again.

  EXPECT_THAT(status, ErrorIs(StatusCode::kResourceExhausted, reasons::kTooManyOpenFiles));
  EXPECT_THAT(status, StatusIs(StatusCode::kResourceExhausted,
                               AllOf(StartsWith("the file: "), HasSubstr("ulimit -n"),
                                     Not(HasSubstr("space")))));
}

}  // namespace
}  // namespace muster
