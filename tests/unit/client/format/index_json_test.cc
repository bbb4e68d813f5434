#include "client/format/index_json.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/random.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

absl::StatusOr<IndexJson> ParseIndex(std::string text) {
  return ReadIndexJson(*NewMemoryByteSource("i.json", std::move(text)));
}

TEST(IndexJsonTest, WrittenIndexReadsBack) {
  const std::string text = WriteIndexJson(
      {{"b", "2.safetensors"}, {"a\"é", "1.safetensors"}, {"c", "1.safetensors"}}, 99);

  const auto index = ParseIndex(text);

  MUSTER_ASSERT_OK(index);
  EXPECT_THAT(index->files(), ElementsAre("1.safetensors", "2.safetensors"));
  ASSERT_EQ(index->tensor_count(), 3u);
  EXPECT_EQ(index->tensor_name(0), "a\"é");
  EXPECT_EQ(index->tensor_file(0), 0u);
  EXPECT_EQ(index->tensor_name(1), "b");
  EXPECT_EQ(index->tensor_file(1), 1u);
  EXPECT_THAT(text, HasSubstr("\"total_size\": 99"));
}

TEST(IndexJsonTest, EmptyWeightMapReadsBack) {
  const auto index = ParseIndex(WriteIndexJson({}, 0));

  MUSTER_ASSERT_OK(index);
  EXPECT_EQ(index->tensor_count(), 0u);
}

TEST(IndexJsonTest, BadIndexIsRefusedNamingTheFault) {
  const auto refused = [](absl::string_view part) {
    return StatusIs(absl::StatusCode::kInvalidArgument,
                    AllOf(HasSubstr("i.json"), HasSubstr(std::string(part))));
  };
  EXPECT_THAT(ParseIndex(""), refused("found the end"));
  EXPECT_THAT(ParseIndex("[]"), refused("expected"));
  EXPECT_THAT(ParseIndex("{}"), refused("no \"weight_map\""));
  EXPECT_THAT(ParseIndex(R"({"weight_map":[]})"), refused("weight_map"));
  EXPECT_THAT(ParseIndex(R"({"weight_map":{"a":1}})"), refused("weight_map"));
  EXPECT_THAT(ParseIndex(R"({"weight_map":{},"weight_map":{}})"), refused("twice"));
  EXPECT_THAT(ParseIndex(R"({"weight_map":{"a":"f","a":"g"}})"),
              refused("tensor \"a\" appears twice"));
  EXPECT_THAT(ParseIndex(R"({"weight_map":{"a":"f"}} {})"), refused("expected the end"));
  EXPECT_THAT(ParseIndex(absl::StrCat(R"({"m":)", std::string(1'000'000, '['))),
              refused("nested deeper"));
}

TEST(IndexJsonTest, PathOutOfTheDirectoryIsRefusedNamingTheTensor) {
  for (const char* path :
       {"../f", "a/../../f", "/etc/passwd", "", ".", "a//f", "a/", "a\\\\b", "a\\u0000", "a\\nb"}) {
    EXPECT_THAT(ParseIndex(absl::StrCat(R"({"weight_map":{"t":")", path, "\"}}")),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("tensor \"t\"")))
        << path;
  }
}

TEST(IndexJsonTest, EveryPrefixIsRefused) {
  const std::string whole =
      R"({"metadata":{"total_size":1.5e3},"weight_map":{"a":"f","b":"g\u00e9"}})";
  MUSTER_ASSERT_OK(ParseIndex(whole));
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_THAT(ParseIndex(whole.substr(0, size)), StatusIs(absl::StatusCode::kInvalidArgument))
        << size;
  }
}

TEST(IndexJsonTest, FlippedBytesNeverCrash) {
  const std::string whole =
      R"({"metadata":{"total_size":1.5e3},"weight_map":{"a":"f","b":"g\u00e9"}})";
  const auto random = NewSeededRandom(3);
  for (int round = 0; round < 10'000; ++round) {
    std::string bytes = whole;
    bytes[random->Below(bytes.size())] = static_cast<char>(random->Next64());
    const auto index = ParseIndex(bytes);
    EXPECT_TRUE(index.ok() || absl::IsInvalidArgument(index.status())) << index.status();
  }
}

}  // namespace
}  // namespace muster
