#include "storage/object/http_reply.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr char kUri[] = "http://h/k";
constexpr HttpRange kRange{10, 5};

HttpReply PartialReply(const std::string& content_range) {
  HttpReply reply;
  reply.status = 206;
  reply.etag = "\"a\"";
  reply.content_range = content_range;
  return reply;
}

HttpReply ReplyWithStatus(int status) {
  HttpReply reply;
  reply.status = status;
  return reply;
}

TEST(HttpReplyTest, ContentRangeIsParsed) {
  const auto range = ParseContentRange("bytes 10-14/100");
  ASSERT_TRUE(range.has_value());
  EXPECT_EQ(range->first, 10);
  EXPECT_EQ(range->last, 14);
  EXPECT_EQ(range->size, 100);
  EXPECT_EQ(ParseContentRange("bytes 0-0/*")->size, std::nullopt);
  EXPECT_EQ(ParseContentRange("bytes */0")->size, 0);
  EXPECT_EQ(ParseContentRange("bytes */0")->first, std::nullopt);
}

TEST(HttpReplyTest, SenselessContentRangeIsNothing) {
  for (const char* value :
       {"", "bytes", "bytes ", "bytes 1", "bytes 1-2", "bytes -2/10", "bytes 1-/10", "bytes 3-2/10",
        "bytes 1-10/10", "bytes a-b/c", "bytes */*", "items 1-2/10", "bytes +1-2/10",
        "bytes 0-99999999999999999999/*", "bytes 1-2/-3"}) {
    EXPECT_FALSE(ParseContentRange(value).has_value()) << value;
  }
}

TEST(HttpReplyTest, VersionIsTheEtagOrElseTimeAndSize) {
  HttpReply reply;
  EXPECT_EQ(VersionOf(reply, 5), "");
  reply.last_modified = "Wed, 25 Nov 2026 10:00:00 GMT";
  EXPECT_THAT(VersionOf(reply, 5), AllOf(HasSubstr("10:00:00"), HasSubstr("5")));
  EXPECT_NE(VersionOf(reply, 5), VersionOf(reply, 6));
  reply.etag = "W/\"weak\"";
  EXPECT_EQ(VersionOf(reply, 5), "W/\"weak\"");
}

TEST(HttpReplyTest, OnlyAStrongEtagIsACondition) {
  EXPECT_THAT(ConditionsFor("\"abc\""), ElementsAre("If-Match: \"abc\""));
  EXPECT_THAT(ConditionsFor("W/\"abc\""), IsEmpty());
  EXPECT_THAT(ConditionsFor("Wed, 25 Nov 2026 10:00:00 GMT, 5 bytes"), IsEmpty());
  EXPECT_THAT(ConditionsFor(""), IsEmpty());
}

TEST(HttpReplyTest, RangeReplyCountsOnlyWhenItIsWhatWasAskedFor) {
  MUSTER_EXPECT_OK(CheckRangeReply(kUri, PartialReply("bytes 10-14/100"), kRange, "\"a\""));
  MUSTER_EXPECT_OK(CheckRangeReply(kUri, PartialReply("bytes 10-14/*"), kRange, ""));
  for (const char* wrong :
       {"", "bytes 9-13/100", "bytes 10-15/100", "bytes 10-13/100", "nonsense"}) {
    EXPECT_THAT(CheckRangeReply(kUri, PartialReply(wrong), kRange, ""),
                StatusIs(absl::StatusCode::kDataLoss, HasSubstr("10-14")))
        << wrong;
  }
  HttpReply longer = PartialReply("bytes 10-14/100");
  longer.content_length = 6;
  EXPECT_THAT(CheckRangeReply(kUri, longer, kRange, ""), StatusIs(absl::StatusCode::kDataLoss));
}

TEST(HttpReplyTest, AnotherVersionIsAborted) {
  EXPECT_THAT(CheckRangeReply(kUri, PartialReply("bytes 10-14/100"), kRange, "\"b\""),
              StatusIs(absl::StatusCode::kAborted, HasSubstr("\"b\"")));
  EXPECT_THAT(CheckRangeReply(kUri, ReplyWithStatus(412), kRange, "\"b\""),
              StatusIs(absl::StatusCode::kAborted, HasSubstr("\"b\"")));
}

TEST(HttpReplyTest, ObjectThatEndsBeforeTheRangeIsOutOfRange) {
  HttpReply beyond = ReplyWithStatus(416);
  EXPECT_THAT(CheckRangeReply(kUri, beyond, kRange, ""), StatusIs(absl::StatusCode::kOutOfRange));
  beyond.content_range = "bytes */7";
  EXPECT_THAT(CheckRangeReply(kUri, beyond, kRange, ""),
              StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("7 bytes")));
  EXPECT_THAT(CheckRangeReply(kUri, PartialReply("bytes 10-11/12"), kRange, ""),
              StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("12 bytes")));
}

TEST(HttpReplyTest, WholeObjectInPlaceOfARangeIsRefused) {
  HttpReply whole = ReplyWithStatus(200);
  EXPECT_THAT(CheckRangeReply(kUri, whole, kRange, ""),
              StatusIs(absl::StatusCode::kUnimplemented, HasSubstr("serves ranges")));
  whole.content_length = 12;
  EXPECT_THAT(CheckRangeReply(kUri, whole, kRange, ""), StatusIs(absl::StatusCode::kOutOfRange));
}

TEST(HttpReplyTest, WholeObjectThatIsTheRangeIsTaken) {
  constexpr HttpRange kWhole{0, 5};
  HttpReply whole = ReplyWithStatus(200);
  EXPECT_FALSE(CheckRangeReply(kUri, whole, kWhole, "").ok());
  whole.content_length = 5;
  whole.etag = "\"a\"";
  MUSTER_EXPECT_OK(CheckRangeReply(kUri, whole, kWhole, ""));
  MUSTER_EXPECT_OK(CheckRangeReply(kUri, whole, kWhole, "\"a\""));
  EXPECT_THAT(CheckRangeReply(kUri, whole, kWhole, "\"b\""), StatusIs(absl::StatusCode::kAborted));
  // Longer, shorter, and asked for from the middle.
  EXPECT_THAT(CheckRangeReply(kUri, whole, {0, 4}, ""), StatusIs(absl::StatusCode::kUnimplemented));
  EXPECT_THAT(CheckRangeReply(kUri, whole, {0, 6}, ""), StatusIs(absl::StatusCode::kOutOfRange));
  EXPECT_THAT(CheckRangeReply(kUri, whole, {1, 4}, ""), StatusIs(absl::StatusCode::kUnimplemented));
}

TEST(HttpReplyTest, StatusesHaveTheirCodesAndNameTheObject) {
  const std::vector<std::pair<int, absl::StatusCode>> codes = {
      {301, absl::StatusCode::kFailedPrecondition}, {400, absl::StatusCode::kInvalidArgument},
      {401, absl::StatusCode::kUnauthenticated},    {403, absl::StatusCode::kPermissionDenied},
      {404, absl::StatusCode::kNotFound},           {405, absl::StatusCode::kUnimplemented},
      {407, absl::StatusCode::kUnauthenticated},    {408, absl::StatusCode::kUnavailable},
      {410, absl::StatusCode::kNotFound},           {418, absl::StatusCode::kInvalidArgument},
      {429, absl::StatusCode::kUnavailable},        {500, absl::StatusCode::kUnavailable},
      {501, absl::StatusCode::kUnimplemented},      {502, absl::StatusCode::kUnavailable},
      {503, absl::StatusCode::kUnavailable},        {599, absl::StatusCode::kUnavailable}};
  for (const auto& [status, code] : codes) {
    EXPECT_THAT(HttpStatusError(kUri, ReplyWithStatus(status)),
                StatusIs(code, AllOf(HasSubstr(kUri), HasSubstr(absl::StrCat("HTTP ", status)))));
  }
}

}  // namespace
}  // namespace muster
