#include "storage/files/spool_file.h"

#include <filesystem>
#include <string>
#include <utility>

#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace muster {
namespace {

using absl::StatusCode;
using testing::HasSubstr;

TEST(SpoolFileTest, BytesAreReadBackAndNobodySeesAName) {
  TemporaryDirectory directory;
  absl::StatusOr<SpoolFile> made = SpoolFile::Create(directory.path(), 1 << 16);
  MUSTER_ASSERT_OK(made);
  const SpoolFile spool = *std::move(made);

  MUSTER_ASSERT_OK(spool.Write(3, "345"));
  MUSTER_ASSERT_OK(spool.Write(0, "012"));

  std::string found(6, '?');
  MUSTER_ASSERT_OK(spool.Read(0, absl::MakeSpan(found)));
  EXPECT_EQ(found, "012345");
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
  EXPECT_THAT(spool.name(), HasSubstr(directory.path()));
}

TEST(SpoolFileTest, EndIsWhereTheBytesEnd) {
  TemporaryDirectory directory;
  const absl::StatusOr<SpoolFile> spool = SpoolFile::Create(directory.path(), 1 << 16);
  MUSTER_ASSERT_OK(spool);
  MUSTER_ASSERT_OK(spool->Write(0, "012"));

  std::string found(4, '?');
  EXPECT_THAT(spool->Read(0, absl::MakeSpan(found)), StatusIs(StatusCode::kOutOfRange));
}

TEST(SpoolFileTest, RoomIsReservedAtOnce) {
  TemporaryDirectory directory;

  EXPECT_THAT(SpoolFile::Create(directory.path(), int64_t{1} << 60),
              StatusIs(StatusCode::kResourceExhausted, HasSubstr("1152921504606846976 bytes")));
  MUSTER_EXPECT_OK(SpoolFile::Create(directory.path(), 0));
}

TEST(SpoolFileTest, MissingDirectoryIsNotFound) {
  TemporaryDirectory directory;

  EXPECT_THAT(SpoolFile::Create(directory.Join("none"), 1),
              StatusIs(StatusCode::kNotFound, HasSubstr("/none")));
}

}  // namespace
}  // namespace muster
