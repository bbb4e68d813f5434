#include "client/torch/zip_directory.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/client/torch/torch_fixtures.h"

namespace muster {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<ZipItem> Items() { return {{"a/data.pkl", "pickle"}, {"a/data/0", "0123456789"}}; }

std::vector<std::string> ZipContents(const std::string& archive) {
  const auto source = NewMemoryByteSource("x.pt", archive);
  const auto directory = ReadZipDirectory(*source);
  if (!directory.ok()) return {std::string(directory.status().message())};
  std::vector<std::string> contents;
  for (const ZipEntry& entry : directory->entries()) {
    const auto bytes = ReadZipEntry(*source, entry, 100);
    contents.push_back(entry.name + "=" +
                       (bytes.ok() ? *bytes : std::string(bytes.status().message())));
  }
  return contents;
}

TEST(ZipDirectoryTest, EntriesAreFoundWithTheirBytes) {
  EXPECT_THAT(ZipContents(ZipArchive(Items())),
              ElementsAre("a/data.pkl=pickle", "a/data/0=0123456789"));
}

TEST(ZipDirectoryTest, EntriesWhoseSizesFollowTheDataAreFound) {
  std::vector<ZipItem> items = Items();
  for (ZipItem& item : items) item.flags = 0x0808;

  EXPECT_THAT(ZipContents(ZipArchive(items)),
              ElementsAre("a/data.pkl=pickle", "a/data/0=0123456789"));
}

TEST(ZipDirectoryTest, Zip64RecordsAreFollowed) {
  std::vector<ZipItem> items = Items();
  for (ZipItem& item : items) item.zip64 = true;

  EXPECT_THAT(ZipContents(ZipArchive(items, /*zip64=*/true)),
              ElementsAre("a/data.pkl=pickle", "a/data/0=0123456789"));
}

TEST(ZipDirectoryTest, ACommentAtTheEndIsSkipped) {
  std::string archive = ZipArchive(Items());
  archive[archive.size() - 2] = 5;

  EXPECT_THAT(ZipContents(archive + "PK\x05\x06!"),
              ElementsAre("a/data.pkl=pickle", "a/data/0=0123456789"));
}

TEST(ZipDirectoryTest, DamagedEntryIsDataLoss) {
  std::string archive = ZipArchive(Items());
  archive[archive.find("pickle")] = 'P';
  const auto source = NewMemoryByteSource("x.pt", archive);
  const auto directory = ReadZipDirectory(*source);
  MUSTER_ASSERT_OK(directory);

  EXPECT_THAT(ReadZipEntry(*source, *directory->Find("a/data.pkl"), 100),
              ErrorIs(absl::StatusCode::kDataLoss, "ZIP_CRC_DIFFERS"));
}

TEST(ZipDirectoryTest, EntryThatIsTooBigIsNotRead) {
  const auto source = NewMemoryByteSource("x.pt", ZipArchive(Items()));
  const auto directory = ReadZipDirectory(*source);
  MUSTER_ASSERT_OK(directory);

  EXPECT_THAT(ReadZipEntry(*source, *directory->Find("a/data/0"), 9),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("10 bytes, at most 9")));
  EXPECT_EQ(directory->Find("a/data"), nullptr);
}

TEST(ZipDirectoryTest, ArchiveThatIsCutAnywhereIsRefused) {
  for (const bool zip64 : {false, true}) {
    const std::string archive = ZipArchive(Items(), zip64);
    for (size_t size = 0; size < archive.size(); ++size) {
      const auto source = NewMemoryByteSource("x.pt", archive.substr(0, size));
      EXPECT_THAT(ReadZipDirectory(*source),
                  ErrorIs(absl::StatusCode::kInvalidArgument, "ZIP_BROKEN"))
          << size;
    }
  }
}

TEST(ZipDirectoryTest, Crc32IsThatOfZip) {
  EXPECT_EQ(Crc32("123456789"), 0xCBF43926u);
  EXPECT_EQ(Crc32(""), 0u);
}

}  // namespace
}  // namespace muster
