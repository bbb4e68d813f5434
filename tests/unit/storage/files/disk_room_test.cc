#include "storage/files/disk_room.h"

#include <fcntl.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "storage/base/reasons.h"
#include "storage/files/unique_fd.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace muster {
namespace {

using absl::StatusCode;
using testing::HasSubstr;

TEST(DiskRoomTest, FreeBytesAreThoseOfTheFileSystem) {
  TemporaryDirectory directory;
  const auto capacity = static_cast<int64_t>(std::filesystem::space(directory.path()).capacity);
  const UniqueFd fd(open(directory.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));

  for (const absl::StatusOr<int64_t>& free :
       {FreeBytesOf(directory.path()), FreeBytesOf(fd.get(), "d"),
        absl::StatusOr<int64_t>(FreeBytesAt(directory.path()))}) {
    MUSTER_ASSERT_OK(free);
    EXPECT_GE(*free, 0);
    EXPECT_LE(*free, capacity);
  }
}

TEST(DiskRoomTest, WhatIsNotThereYetHasTheRoomOfItsParents) {
  TemporaryDirectory directory;
  const auto capacity = static_cast<int64_t>(std::filesystem::space(directory.path()).capacity);
  std::ofstream(directory.Join("file")) << "x";

  EXPECT_LE(FreeBytesAt(directory.Join("no/such/file")), capacity);
  EXPECT_LE(FreeBytesAt(directory.Join("file/below")), capacity);
  EXPECT_LT(FreeBytesAt("relative/path"), kUnknownRoom);
  EXPECT_THAT(FreeBytesOf(directory.Join("no/such/file")),
              StatusIs(StatusCode::kNotFound, HasSubstr("/no/such/file")));
}

TEST(DiskRoomTest, WhatDoesNotFitIsSaidWithBothNumbers) {
  MUSTER_EXPECT_OK(CheckDiskRoom({5, 5}, "/out"));

  const absl::Status refused = CheckDiskRoom({6, 5}, "/out");

  EXPECT_THAT(refused, ErrorIs(StatusCode::kResourceExhausted, reasons::kNoSpace));
  EXPECT_EQ(DetailOf(refused).metadata["needed_bytes"], "6");
  EXPECT_EQ(DetailOf(refused).metadata["free_bytes"], "5");
}

TEST(DiskRoomTest, NoSpaceErrorNamesTheFileAndWhatItNeeds) {
  TemporaryDirectory directory;
  const UniqueFd fd(open(directory.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));

  EXPECT_THAT(NoSpaceError("/f", fd.get(), 77),
              StatusIs(StatusCode::kResourceExhausted, HasSubstr("/f: no space for 77 bytes")));
  EXPECT_THAT(NoSpaceError("/f", -1, 77),
              StatusIs(StatusCode::kResourceExhausted, HasSubstr("unknown number")));
}

}  // namespace
}  // namespace muster
