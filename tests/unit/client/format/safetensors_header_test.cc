#include "client/format/safetensors_header.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/format/safetensors_writer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/random.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/client/checkpoint/checkpoint_fixtures.h"

namespace muster {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

absl::StatusOr<SafetensorsHeader> Parse(std::string bytes) {
  return ReadSafetensorsHeader(*NewMemoryByteSource("m.safetensors", std::move(bytes)));
}

absl::StatusOr<SafetensorsHeader> ParseJson(absl::string_view json, size_t data_bytes) {
  return Parse(SafetensorsBytes(json, std::string(data_bytes, 'd')));
}

// One U8 tensor "a" with the given fields and 4 bytes of data.
absl::StatusOr<SafetensorsHeader> ParseFields(absl::string_view fields) {
  return ParseJson(absl::StrCat("{\"a\":{", fields, "}}"), 4);
}

TEST(SafetensorsHeaderTest, ValidFileGivesTensorsInOrderOfOffsets) {
  const auto header = ParseJson(
      R"({"b":{"dtype":"U8","shape":[1,2],"data_offsets":[4,6]},"__metadata__":{"z":"1","a":"é\n"},)"
      R"("a":{"data_offsets":[0,4],"shape":[2],"dtype":"BF16"},"s":{"dtype":"F32","shape":[],"data_offsets":[6,10]}}   )",
      10);

  MUSTER_ASSERT_OK(header);
  ASSERT_EQ(header->tensor_count(), 3u);
  EXPECT_EQ(header->tensor(0).name, "a");
  EXPECT_EQ(header->tensor(0).dtype, "BF16");
  EXPECT_THAT(header->tensor(0).shape, ElementsAre(2));
  EXPECT_EQ(header->tensor(1).name, "b");
  EXPECT_THAT(header->tensor(1).shape, ElementsAre(1, 2));
  EXPECT_EQ(header->tensor(1).begin_bytes, 4);
  EXPECT_EQ(header->tensor(1).end_bytes, 6);
  EXPECT_THAT(header->tensor(2).shape, ElementsAre());
  EXPECT_THAT(header->Metadata(), ElementsAre(Pair("a", "é\n"), Pair("z", "1")));
  EXPECT_EQ(header->Find("s"), 2u);
  EXPECT_EQ(header->Find("t"), std::nullopt);
  EXPECT_EQ(header->data_size_bytes(), 10);
}

TEST(SafetensorsHeaderTest, EmptyHeaderWithoutDataIsAccepted) {
  const auto header = ParseJson("{}", 0);

  MUSTER_ASSERT_OK(header);
  EXPECT_EQ(header->tensor_count(), 0u);
}

TEST(SafetensorsHeaderTest, EmptyTensorsBetweenOthersAreAccepted) {
  const auto header = ParseJson(
      R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"e":{"dtype":"F32","shape":[0,7],"data_offsets":[2,2]},)"
      R"("b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]},"f":{"dtype":"F32","shape":[0],"data_offsets":[3,3]}})",
      3);

  MUSTER_EXPECT_OK(header);
}

TEST(SafetensorsHeaderTest, EveryKnownDtypeIsMeasuredInBits) {
  const std::vector<std::pair<std::string, int>> bits = {
      {"BOOL", 8},    {"U8", 8},          {"I8", 8},          {"F8_E4M3", 8}, {"F8_E5M2", 8},
      {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"I16", 16},    {"U16", 16},
      {"F16", 16},    {"BF16", 16},       {"I32", 32},        {"U32", 32},    {"F32", 32},
      {"I64", 64},    {"U64", 64},        {"F64", 64},        {"C64", 64},    {"C128", 128},
      {"F4", 4},      {"F6_E2M3", 6},     {"F6_E3M2", 6}};
  for (const auto& [dtype, size] : bits) {
    const auto json = [&, dtype = dtype](int bytes) {
      return absl::StrCat("{\"t\":{\"dtype\":\"", dtype, "\",\"shape\":[4],\"data_offsets\":[0,",
                          bytes, "]}}");
    };
    const int bytes = size / 2;
    MUSTER_EXPECT_OK(ParseJson(json(bytes), static_cast<size_t>(bytes))) << dtype;
    EXPECT_THAT(ParseJson(json(bytes + 1), static_cast<size_t>(bytes) + 1),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         HasSubstr(absl::StrCat("needs ", bytes, " bytes"))));
  }
}

TEST(SafetensorsHeaderTest, PartOfAByteIsRefused) {
  EXPECT_THAT(ParseFields(R"("dtype":"F6_E2M3","shape":[5],"data_offsets":[0,4])"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("30 bits")));
}

TEST(SafetensorsHeaderTest, UnknownDtypeIsAcceptedAndListed) {
  const auto header = ParseFields(R"("dtype":"Q5_K","shape":[3],"data_offsets":[0,4])");

  MUSTER_ASSERT_OK(header);
  EXPECT_THAT(header->UnknownDtypes(), ElementsAre("Q5_K"));
}

TEST(SafetensorsHeaderTest, UnknownFieldIsSkippedAndCounted) {
  const auto header = ParseFields(
      R"("x":[1,{"y":null,"z":[-1.5e3,true,"\u00e9"]}],"dtype":"U8","shape":[4],"data_offsets":[0,4])");

  MUSTER_ASSERT_OK(header);
  EXPECT_EQ(header->ignored_field_count(), 1);
}

TEST(SafetensorsHeaderTest, BadLengthIsRefusedWithTheValue) {
  const auto with_length = [](uint64_t length, absl::string_view rest) {
    std::string bytes;
    for (int i = 0; i < 8; ++i) bytes.push_back(static_cast<char>((length >> (8 * i)) & 0xFF));
    return absl::StrCat(bytes, rest);
  };
  EXPECT_THAT(Parse(""), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("0 bytes")));
  EXPECT_THAT(Parse("1234567"), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("7 bytes")));
  EXPECT_THAT(Parse(with_length(0, "")), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Parse(with_length(3, "{}")),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("m.safetensors"), HasSubstr("cut short"))));
  EXPECT_THAT(Parse(with_length(100'000'001, "{}")),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("100000001")));
  EXPECT_THAT(Parse(with_length(UINT64_MAX, "{}")),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("18446744073709551615")));
}

struct BadHeader {
  std::string name;
  std::string json;
  size_t data_bytes;
  std::string message;
};

class BadSafetensorsHeaderTest : public testing::TestWithParam<BadHeader> {};

TEST_P(BadSafetensorsHeaderTest, IsRefusedNamingTheFileAndTheFault) {
  EXPECT_THAT(ParseJson(GetParam().json, GetParam().data_bytes),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("m.safetensors"), HasSubstr(GetParam().message))));
}

std::string One(absl::string_view fields) { return absl::StrCat("{\"w\":{", fields, "}}"); }

std::string Two(absl::string_view first, absl::string_view second) {
  return absl::StrCat("{\"v\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":", first,
                      "},\"w\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":", second, "}}");
}

std::string Named(absl::string_view name) {
  return absl::StrCat("{\"", name, R"(":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})");
}

INSTANTIATE_TEST_SUITE_P(
    All, BadSafetensorsHeaderTest,
    testing::Values(
        BadHeader{"NoObject", "[]", 0, "begin with"},
        BadHeader{"LeadingSpace", " {}", 0, "begin with"},
        BadHeader{"Unclosed", "{", 0, "found the end"},
        BadHeader{"Garbage", "{}x", 0, "expected the end"},
        BadHeader{"Nul", std::string("{}\0", 3), 0, "expected the end"},
        BadHeader{"TrailingComma", "{\"__metadata__\":{},}", 0, "after the comma"},
        BadHeader{"TensorNoObject", "{\"w\":3}", 0, "\"w\""},
        BadHeader{"Overlap", Two("[0,4]", "[2,6]"), 6, "overlaps tensor \"v\" with range [0, 4)"},
        BadHeader{"SameRange", Two("[0,4]", "[0,4]"), 4, "overlaps"},
        BadHeader{"Hole", Two("[0,4]", "[5,9]"), 9, "leaves a hole of 1 bytes"},
        BadHeader{"HoleAtFront", Two("[1,5]", "[5,9]"), 9,
                  "leaves a hole of 1 bytes after the beginning"},
        BadHeader{"PastTheEnd", Two("[0,4]", "[4,8]"), 7, "[4, 8) goes past the end"},
        BadHeader{"BytesLeftOver", Two("[0,4]", "[4,8]"), 11, "3 bytes belong to no tensor"},
        BadHeader{"OffsetsSwapped", Two("[0,4]", "[8,4]"), 8, "ends before it begins"},
        BadHeader{"OffsetHuge", Two("[0,4]", "[4,9223372036854775808]"), 8, "2^63"},
        BadHeader{"OffsetNegative", Two("[-4,0]", "[4,8]"), 8, "not negative"},
        BadHeader{"OneOffset", Two("[0]", "[4,8]"), 8, "\"v\""},
        BadHeader{"ThreeOffsets", Two("[0,4,4]", "[4,8]"), 8, "\"v\""},
        BadHeader{
            "EmptyInsideAnother",
            R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"e":{"dtype":"U8","shape":[0],"data_offsets":[2,2]}})",
            4, "overlaps"},
        BadHeader{
            "NameTwice",
            R"({"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"w":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
            2, "tensor \"w\" appears twice"},
        BadHeader{
            "NameTwiceEscaped",
            R"({"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"\u0077":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
            2, "tensor \"w\" appears twice"},
        BadHeader{"NameEmpty", Named(""), 4, "must not be empty"},
        BadHeader{"NameWithNul", Named("a\\u0000b"), 4, "control character"},
        BadHeader{"NameWithNewline", Named("a\\nb"), 4, "control character"},
        BadHeader{"NameWithRawControl", Named("a\nb"), 4, "must be escaped"},
        BadHeader{"NameTooLong", Named(std::string(1025, 'n')), 4, "longer than 1024"},
        BadHeader{"NameBadUtf8", Named("a\xFF"), 4, "UTF-8"},
        BadHeader{"NameOverlong", Named("\xC0\xAF"), 4, "UTF-8"},
        BadHeader{"NameCutUtf8", Named("\xE2\x82"), 4, "UTF-8"},
        BadHeader{"NameSurrogate", Named("\\ud800"), 4, "surrogate"},
        BadHeader{"NameEncodedSurrogate", Named("\xED\xA0\x80"), 4, "UTF-8"},
        BadHeader{"NoDtype", One(R"("shape":[4],"data_offsets":[0,4])"), 4, "no \"dtype\""},
        BadHeader{"NoShape", One(R"("dtype":"U8","data_offsets":[0,4])"), 4, "no \"shape\""},
        BadHeader{"NoOffsets", One(R"("dtype":"U8","shape":[4])"), 4, "no \"data_offsets\""},
        BadHeader{"DtypeTwice",
                  One(R"("dtype":"U8","dtype":"U8","shape":[4],"data_offsets":[0,4])"), 4, "twice"},
        BadHeader{"DtypeNumber", One(R"("dtype":8,"shape":[4],"data_offsets":[0,4])"), 4, "dtype"},
        BadHeader{"DtypeEmpty", One(R"("dtype":"","shape":[4],"data_offsets":[0,4])"), 4,
                  "is not the name of a type"},
        BadHeader{"ShapeNegative", One(R"("dtype":"U8","shape":[-4],"data_offsets":[0,4])"), 4,
                  "not negative"},
        BadHeader{"ShapeFraction", One(R"("dtype":"U8","shape":[4.0],"data_offsets":[0,4])"), 4,
                  "fraction"},
        BadHeader{"ShapeExponent", One(R"("dtype":"U8","shape":[4e0],"data_offsets":[0,4])"), 4,
                  "fraction"},
        BadHeader{"ShapeText", One(R"("dtype":"U8","shape":["4"],"data_offsets":[0,4])"), 4,
                  "integer"},
        BadHeader{"ShapeLeadingZero", One(R"("dtype":"U8","shape":[04],"data_offsets":[0,4])"), 4,
                  "leading zero"},
        BadHeader{"ShapeTooBig",
                  One(R"("dtype":"U8","shape":[99999999999999999999],"data_offsets":[0,4])"), 4,
                  "2^63"},
        BadHeader{"ShapeOverflow",
                  One(R"("dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,4])"), 4,
                  "overflows"},
        BadHeader{"ShapeOverflowTimesZero",
                  One(R"("dtype":"U8","shape":[4294967296,4294967296,0],"data_offsets":[0,0])"), 0,
                  "overflows"},
        BadHeader{"BitsOverflow",
                  One(R"("dtype":"F64","shape":[1152921504606846976],"data_offsets":[0,4])"), 4,
                  "overflows"},
        BadHeader{
            "TooManyDimensions",
            One(R"("dtype":"U8","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],)"
                R"("data_offsets":[0,1])"),
            1, "more than 32 dimensions"},
        BadHeader{"SizeMismatch", One(R"("dtype":"F32","shape":[2],"data_offsets":[0,4])"), 4,
                  "needs 8 bytes"},
        BadHeader{"MetadataNumber", R"({"__metadata__":{"a":1}})", 0, "__metadata__"},
        BadHeader{"MetadataNoObject", R"({"__metadata__":"a"})", 0, "__metadata__"},
        BadHeader{"MetadataTwice", R"({"__metadata__":{},"__metadata__":{}})", 0, "twice"},
        BadHeader{"MetadataKeyTwice", R"({"__metadata__":{"a":"1","a":"2"}})", 0,
                  "key \"a\" appears twice"},
        BadHeader{"DeepNesting",
                  One(absl::StrCat("\"x\":", std::string(100'000, '['), std::string(100'000, ']'))),
                  0, "nested deeper"}),
    [](const auto& test) { return test.param.name; });

std::string SmallValidFile() {
  return SafetensorsBytes(
      R"({"__metadata__":{"format":"pt","q":"\"\\\u20ac"},"a.weight":{"dtype":"BF16","shape":[3,1],"data_offsets":[0,6]},)"
      R"("b":{"dtype":"F32","shape":[],"data_offsets":[6,10]}} )",
      "0123456789");
}

TEST(SafetensorsHeaderTest, EveryPrefixOfAValidFileIsRefused) {
  const std::string whole = SmallValidFile();
  MUSTER_ASSERT_OK(Parse(whole));
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_THAT(Parse(whole.substr(0, size)), StatusIs(absl::StatusCode::kInvalidArgument)) << size;
  }
}

// Whatever is accepted after random damage must still hold the format's rules.
TEST(SafetensorsHeaderTest, FlippedBytesNeverCrashOrBreakTheLayout) {
  const std::string whole = SmallValidFile();
  const auto random = NewSeededRandom(7);
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes = whole;
    for (uint64_t flips = 1 + random->Below(3); flips > 0; --flips) {
      bytes[random->Below(bytes.size())] = static_cast<char>(random->Next64());
    }
    const auto header = Parse(bytes);
    if (!header.ok()) {
      EXPECT_EQ(header.status().code(), absl::StatusCode::kInvalidArgument);
      continue;
    }
    int64_t covered = 0;
    for (size_t i = 0; i < header->tensor_count(); ++i) {
      EXPECT_EQ(header->tensor(i).begin_bytes, covered);
      covered = header->tensor(i).end_bytes;
    }
    EXPECT_EQ(covered, header->data_size_bytes());
  }
}

TEST(SafetensorsHeaderTest, SourceErrorComesBackAsItIs) {
  TestDirectory directory;
  const std::string path = directory.Write("m.safetensors", SmallValidFile());
  const auto source = OpenFileByteSource(path);
  MUSTER_ASSERT_OK(source);
  std::filesystem::resize_file(path, 20);

  EXPECT_THAT(ReadSafetensorsHeader(**source),
              StatusIs(absl::StatusCode::kAborted, HasSubstr("changes")));
}

TEST(SafetensorsWriterTest, HeaderIsAlignedAndReadsBack) {
  const std::string odd = "we\"ird\\né€😀/";
  SafetensorsHeaderBuilder builder({{"format", "pt"}, {"k\"\n\x01", "v\t"}});
  builder.Add(odd, "F32", {2, 3}, 24);
  builder.Add("empty", "BF16", {0}, 0);
  builder.Add("scalar", "I64", {}, 8);

  const auto bytes = std::move(builder).Finish();

  MUSTER_ASSERT_OK(bytes);
  EXPECT_EQ(bytes->size() % 4096, 0u);
  const auto header = Parse(*bytes + std::string(32, 'x'));
  MUSTER_ASSERT_OK(header);
  ASSERT_EQ(header->tensor_count(), 3u);
  EXPECT_EQ(header->data_begin_bytes(), static_cast<int64_t>(bytes->size()));
  EXPECT_EQ(header->tensor(0).name, odd);
  EXPECT_THAT(header->tensor(0).shape, ElementsAre(2, 3));
  EXPECT_EQ(header->tensor(2).dtype, "I64");
  EXPECT_THAT(header->Metadata(), ElementsAre(Pair("format", "pt"), Pair("k\"\n\x01", "v\t")));
  EXPECT_EQ(bytes->substr(8, 17), "{\"__metadata__\":{");
}

TEST(LooksLikeSafetensorsTest, TellsByLengthAndBrace) {
  const auto looks = [](std::string bytes) {
    return LooksLikeSafetensors(*NewMemoryByteSource("x", std::move(bytes)));
  };
  EXPECT_THAT(looks(SmallValidFile()), IsOkAndHolds(true));
  EXPECT_THAT(looks("PK\x03\x04 and more than eight bytes"), IsOkAndHolds(false));
  EXPECT_THAT(looks(""), IsOkAndHolds(false));
}

}  // namespace
}  // namespace muster
