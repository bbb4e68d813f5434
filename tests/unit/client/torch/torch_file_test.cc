#include "client/torch/torch_file.h"

#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "client/format/safetensors_header.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/client/torch/torch_fixtures.h"

namespace muster {
namespace {

using testing::AllOf;
using testing::AnyOf;
using testing::ElementsAre;
using testing::Gt;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using testing::SizeIs;

constexpr char kBytes[] = "0123456789abcdef";

absl::StatusOr<TorchFile> Open(const std::string& bytes, bool untie = false) {
  return OpenTorchFile(NewMemoryByteSource("x.pt", bytes), {untie});
}

std::string Bytes(const std::string& storage, int64_t offset, const std::vector<int64_t>& shape,
                  const std::vector<int64_t>& strides) {
  return PickledTensor(storage, offset, shape, strides);
}

// Four names of one storage of 16 bytes.
std::string SharedFile(const std::string& elements = kBytes) {
  const std::string storage = PickledStorage("ByteStorage", "0", 16);
  return TorchArchive(
      WholePickle(PickleDict({{PickleString("z"), Bytes(storage, 0, {4, 4}, {4, 1})},
                              {PickleString("a"), Bytes(storage, 0, {4, 4}, {4, 1})},
                              {PickleString("t"), Bytes(storage, 0, {4, 4}, {1, 4})},
                              {PickleString("part"), Bytes(storage, 2, {3}, {1})}})),
      {{"0", elements}});
}

// Every tensor of the converted file by name, in the file's order.
std::vector<std::pair<std::string, std::string>> Contents(const TorchFile& file) {
  const auto header = ReadSafetensorsHeader(*file.safetensors);
  MUSTER_EXPECT_OK(header);
  std::vector<std::pair<std::string, std::string>> contents;
  for (size_t i = 0; i < header->tensor_count(); ++i) {
    const TensorInfo info = header->tensor(i);
    std::string bytes(static_cast<size_t>(info.end_bytes - info.begin_bytes), '\0');
    MUSTER_EXPECT_OK(file.safetensors->Read(header->data_begin_bytes() + info.begin_bytes,
                                            absl::MakeSpan(bytes)));
    contents.emplace_back(info.name, bytes);
  }
  return contents;
}

std::map<std::string, std::string> MetadataOf(const TorchFile& file) {
  return ReadSafetensorsHeader(*file.safetensors)->Metadata();
}

TEST(TorchFileTest, TensorsAreContiguousAndTiedNamesAreWrittenOnce) {
  const auto file = Open(SharedFile());

  MUSTER_ASSERT_OK(file);
  EXPECT_THAT(Contents(*file),
              ElementsAre(Pair("z", kBytes), Pair("t", "048c159d26ae37bf"), Pair("part", "234")));
  EXPECT_THAT(MetadataOf(*file), ElementsAre(Pair("format", "pt"), Pair("muster.tied.a", "z")));
  EXPECT_THAT(file->notes, IsEmpty());
}

TEST(TorchFileTest, UntiedNamesAreAllWritten) {
  const auto file = Open(SharedFile(), /*untie=*/true);

  MUSTER_ASSERT_OK(file);
  EXPECT_THAT(Contents(*file), ElementsAre(Pair("z", kBytes), Pair("a", kBytes),
                                           Pair("t", "048c159d26ae37bf"), Pair("part", "234")));
  EXPECT_THAT(MetadataOf(*file), ElementsAre(Pair("format", "pt")));
}

TEST(TorchFileTest, EveryPartOfTheConvertedFileIsTheSameAsTheWhole) {
  const auto file = Open(SharedFile());
  MUSTER_ASSERT_OK(file);
  const ByteSource& source = *file->safetensors;
  std::string whole(static_cast<size_t>(source.size_bytes()), '\0');
  MUSTER_ASSERT_OK(source.Read(0, absl::MakeSpan(whole)));

  for (int64_t begin = 4'090; begin <= source.size_bytes(); ++begin) {
    for (int64_t end = begin; end <= source.size_bytes(); ++end) {
      std::string part(static_cast<size_t>(end - begin), '\0');
      MUSTER_ASSERT_OK(source.Read(begin, absl::MakeSpan(part)));
      ASSERT_EQ(part, whole.substr(static_cast<size_t>(begin), part.size()));
    }
  }
  std::string beyond(2, '\0');
  EXPECT_THAT(source.Read(source.size_bytes() - 1, absl::MakeSpan(beyond)),
              StatusIs(absl::StatusCode::kOutOfRange));
}

TEST(TorchFileTest, TensorsWithoutElementsAndScalarsAreKept) {
  const auto file = Open(TorchArchive(
      WholePickle(PickleDict(
          {{PickleString("none"), Bytes(PickledStorage("FloatStorage", "0", 0), 0, {0, 3}, {3, 1})},
           {PickleString("none_too"),
            Bytes(PickledStorage("FloatStorage", "0", 0), 0, {0, 3}, {3, 1})},
           {PickleString("one"), Bytes(PickledStorage("BoolStorage", "1", 1), 0, {}, {})}})),
      {{"0", ""}, {"1", "\x01"}}));

  MUSTER_ASSERT_OK(file);
  EXPECT_THAT(Contents(*file),
              ElementsAre(Pair("none", ""), Pair("none_too", ""), Pair("one", "\x01")));
}

TEST(TorchFileTest, WhatIsLeftOutIsSaid) {
  const std::string tensor = Bytes(PickledStorage("ByteStorage", "0", 16), 0, {16}, {1});
  std::vector<std::pair<std::string, std::string>> entries{
      {PickleString("state_dict"), PickleDict({{PickleString("w"), tensor}})}};
  for (int i = 0; i < 7; ++i) entries.emplace_back(PickleString(absl::StrCat("x", i)), "N");
  const auto file = Open(TorchArchive(WholePickle(PickleDict(entries)), {{"0", kBytes}}));

  MUSTER_ASSERT_OK(file);
  EXPECT_THAT(file->notes, ElementsAre(HasSubstr("those of \"state_dict\""),
                                       AllOf(HasSubstr("\"x0\""), HasSubstr("and 2 more"))));
}

TEST(TorchFileTest, ZipIsToldByItsFirstBytes) {
  EXPECT_THAT(LooksLikeZip(*NewMemoryByteSource("x", SharedFile())), IsOkAndHolds(true));
  EXPECT_THAT(LooksLikeZip(*NewMemoryByteSource("x", "PK")), IsOkAndHolds(false));
  EXPECT_THAT(LooksLikeZip(*NewMemoryByteSource("x", "GGUF....")), IsOkAndHolds(false));
}

TEST(TorchFileTest, ArchiveThatIsCutAnywhereIsRefused) {
  const std::string whole = SharedFile();
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_THAT(Open(whole.substr(0, size)), StatusIs(absl::StatusCode::kInvalidArgument)) << size;
  }
}

// Goal: damage is refused wherever it would change what is read, but in the elements of tensors, whose
// CRC-32 is not checked (client/torch/decisions). Method: every byte is changed in turn.
TEST(TorchFileTest, ArchiveWithAnyByteChangedIsRefusedOrReadWhole) {
  const std::string whole = SharedFile();
  const size_t elements = whole.find(kBytes);
  ASSERT_NE(elements, std::string::npos);
  const size_t elements_end = elements + std::strlen(kBytes);
  int opened = 0;
  for (size_t i = 0; i < whole.size(); ++i) {
    for (const int change : {1, 0x80, 0xFF}) {
      SCOPED_TRACE(absl::StrCat("byte ", i, " of ", whole.size(), " changed by ", change));
      std::string damaged = whole;
      damaged[i] = static_cast<char>(damaged[i] ^ change);

      const auto file = Open(damaged);

      if (!file.ok()) {
        EXPECT_THAT(file.status().code(),
                    AnyOf(absl::StatusCode::kInvalidArgument, absl::StatusCode::kDataLoss));
        EXPECT_THAT(std::string(file.status().message()),
                    AllOf(HasSubstr("\"x.pt\""), SizeIs(Gt(std::strlen("\"x.pt\": ")))));
        continue;
      }
      ++opened;
      const bool in_elements = elements <= i && i < elements_end;
      const auto expected = Open(SharedFile(
          in_elements ? damaged.substr(elements, elements_end - elements) : std::string(kBytes)));
      MUSTER_ASSERT_OK(expected);
      EXPECT_EQ(Contents(*file), Contents(*expected));
      EXPECT_EQ(MetadataOf(*file), MetadataOf(*expected));
      EXPECT_EQ(file->notes, expected->notes);
    }
  }
  EXPECT_GE(opened, 3 * static_cast<int>(std::strlen(kBytes)));
}

class HostileTorchFileTest : public testing::TestWithParam<HostileTorchFile> {};

TEST_P(HostileTorchFileTest, IsRefusedWithWhatIsWrong) {
  const auto file = Open(GetParam().bytes);

  ASSERT_FALSE(file.ok());
  EXPECT_THAT(file.status().code(),
              AnyOf(absl::StatusCode::kInvalidArgument, absl::StatusCode::kDataLoss));
  EXPECT_THAT(std::string(file.status().message()),
              AllOf(HasSubstr("\"x.pt\""), HasSubstr(GetParam().expected)));
}

INSTANTIATE_TEST_SUITE_P(Attacks, HostileTorchFileTest, testing::ValuesIn(HostileTorchFiles()),
                         [](const auto& attack) { return attack.param.name; });

}  // namespace
}  // namespace muster
