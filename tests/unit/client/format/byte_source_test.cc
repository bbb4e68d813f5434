#include "client/format/byte_source.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/client/checkpoint/checkpoint_fixtures.h"

namespace muster {
namespace {

using testing::HasSubstr;

TEST(FileByteSourceTest, ReadGivesTheRange) {
  TestDirectory directory;
  const auto source = OpenFileByteSource(directory.Write("f", "0123456789"));
  MUSTER_ASSERT_OK(source);

  std::string out(4, ' ');
  MUSTER_EXPECT_OK((*source)->Read(3, absl::MakeSpan(out)));

  EXPECT_EQ(out, "3456");
  EXPECT_EQ((*source)->size_bytes(), 10);
}

TEST(FileByteSourceTest, ReadOutsideTheFileIsOutOfRange) {
  TestDirectory directory;
  const auto source = OpenFileByteSource(directory.Write("f", "0123456789"));
  MUSTER_ASSERT_OK(source);

  std::string out(4, ' ');
  EXPECT_THAT((*source)->Read(7, absl::MakeSpan(out)), StatusIs(absl::StatusCode::kOutOfRange));
  EXPECT_THAT((*source)->Read(-1, absl::MakeSpan(out)), StatusIs(absl::StatusCode::kOutOfRange));
  EXPECT_THAT((*source)->Read(INT64_MAX, absl::MakeSpan(out)),
              StatusIs(absl::StatusCode::kOutOfRange));
}

TEST(FileByteSourceTest, WhateverIsNoRegularFileIsRefusedSayingWhatItIs) {
  TestDirectory directory;
  ASSERT_EQ(::mkfifo(directory.Path("fifo").c_str(), 0600), 0);
  const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  ASSERT_LT(directory.Path("socket").size(), sizeof address.sun_path);
  directory.Path("socket").copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);

  const auto refused = [](absl::string_view kind) {
    return StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(std::string(kind)));
  };
  EXPECT_THAT(OpenFileByteSource(directory.Path("fifo")), refused("a FIFO"));
  EXPECT_THAT(OpenFileByteSource(directory.Path("socket")), refused("a socket"));
  EXPECT_THAT(OpenFileByteSource(directory.root()), refused("a directory"));
  EXPECT_THAT(OpenFileByteSource("/dev/null"), refused("a device"));
  ::close(fd);
}

TEST(FileByteSourceTest, MissingFileIsNotFound) {
  TestDirectory directory;

  EXPECT_THAT(OpenFileByteSource(directory.Path("f")),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("/f\"")));
}

TEST(FileByteSourceTest, ChangeInPlaceIsNoticed) {
  TestDirectory directory;
  const std::string path = directory.Write("f", "0123456789");
  const auto source = OpenFileByteSource(path);
  MUSTER_ASSERT_OK(source);
  MUSTER_EXPECT_OK((*source)->CheckUnchanged());

  directory.Write("f", "0123456789a");

  EXPECT_THAT((*source)->CheckUnchanged(),
              StatusIs(absl::StatusCode::kAborted, HasSubstr("size=11")));
}

TEST(FileByteSourceTest, ReplacementIsNoticed) {
  TestDirectory directory;
  const std::string path = directory.Write("f", "0123456789");
  const auto source = OpenFileByteSource(path);
  MUSTER_ASSERT_OK(source);

  std::filesystem::rename(directory.Write("g", "0123456789"), path);

  EXPECT_THAT((*source)->CheckUnchanged(), StatusIs(absl::StatusCode::kAborted));
  std::filesystem::remove(path);
  EXPECT_THAT((*source)->CheckUnchanged(),
              StatusIs(absl::StatusCode::kAborted, HasSubstr("went away")));
}

TEST(FileByteSourceTest, FileThatShrinksWhileReadIsAborted) {
  TestDirectory directory;
  const std::string path = directory.Write("f", "0123456789");
  const auto source = OpenFileByteSource(path);
  MUSTER_ASSERT_OK(source);
  std::filesystem::resize_file(path, 5);

  std::string out(10, ' ');
  EXPECT_THAT((*source)->Read(0, absl::MakeSpan(out)), StatusIs(absl::StatusCode::kAborted));
}

}  // namespace
}  // namespace muster
