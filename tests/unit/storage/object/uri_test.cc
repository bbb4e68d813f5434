#include "storage/object/uri.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

using testing::HasSubstr;
using testing::Not;

MATCHER_P3(HasParts, scheme, authority, path, "") {
  *result_listener << StatusOf(arg).ToString();
  if (!arg.ok()) return false;
  *result_listener << " " << arg->scheme << " | " << arg->authority << " | " << arg->path;
  return arg->scheme == scheme && arg->authority == authority && arg->path == std::string(path);
}

TEST(UriTest, PartsAreTakenApart) {
  EXPECT_THAT(ParseUri("file:///data/x"), HasParts("file", "", "data/x"));
  EXPECT_THAT(ParseUri("s3://models/llama/v1"), HasParts("s3", "models", "llama/v1"));
  EXPECT_THAT(ParseUri("HTTP://Host.example:8080/a"), HasParts("http", "Host.example:8080", "a"));
  EXPECT_THAT(ParseUri("https://[::1]:443/a"), HasParts("https", "[::1]:443", "a"));
  EXPECT_THAT(ParseUri("s3://bucket"), HasParts("s3", "bucket", ""));
  EXPECT_THAT(ParseUri("s3://bucket/"), HasParts("s3", "bucket", ""));
  EXPECT_THAT(ParseUri("s3://bucket/prefix/"), HasParts("s3", "bucket", "prefix/"));
}

TEST(UriTest, PathIsDecodedOnce) {
  EXPECT_THAT(ParseUri("file:///a%20b/%25x/%C3%a4"), HasParts("file", "", "a b/%x/\xc3\xa4"));
  EXPECT_THAT(ParseUri("file:///a%2520b"), HasParts("file", "", "a%20b"));
  EXPECT_THAT(ParseUri("file:///what%3F%23"), HasParts("file", "", "what?#"));
  EXPECT_THAT(ParseUri("file:///a b+c"), HasParts("file", "", "a b+c"));
}

TEST(UriTest, TextComesBackTheSame) {
  const std::vector<std::string> paths = {"",      "a",      "a/b/",     "a b",
                                          "100%",  "a?b#c",  "\xff\xc3", "x+y",
                                          "~user", "\"<>\\", "...",      "a=1,b@2:3"};
  for (const std::string& path : paths) {
    const Uri uri{.scheme = "s3", .authority = "bucket:1", .path = path};
    EXPECT_THAT(ParseUri(uri.ToString()), HasParts("s3", "bucket:1", path)) << uri.ToString();
  }
  EXPECT_EQ((Uri{"file", "", "a b/c"}.ToString()), "file:///a%20b/c");
}

TEST(UriTest, BadTextIsInvalidAndQuoted) {
  const std::vector<std::string> texts = {"x/y",
                                          "/data/x",
                                          "file:/data/x",
                                          "://host/x",
                                          "3s://bucket/x",
                                          "s_3://bucket/x",
                                          "file:////data",
                                          "file:///data//x",
                                          "file:///data/./x",
                                          "file:///data/../x",
                                          "file:///..",
                                          "file:///data/%2e%2e/x",
                                          "file:///data/%2E",
                                          "file:///data/a%2F..%2Fb",
                                          "file:///data/x//",
                                          "file:///%00",
                                          "file:///a%0Ab",
                                          "file:///a%7f",
                                          "file:///a%",
                                          "file:///a%4",
                                          "file:///a%zz",
                                          "file:///a%-1",
                                          "s3://buc ket/x",
                                          "s3://buc%20ket/x",
                                          "s3://b\\c/x"};
  for (const std::string& text : texts) {
    EXPECT_THAT(ParseUri(text), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("URI \"")))
        << text;
  }
  EXPECT_THAT(ParseUri(""), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(UriTest, SecretsAreRefusedAndNotRepeated) {
  for (const char* text :
       {"s3://key:secret@bucket/x", "https://host/x?sig=secret", "https://host/x#secret",
        "https://secret@host", "key:secret@host/x", "https://key:secret@host/x?sig=secret"}) {
    EXPECT_THAT(ParseUri(text),
                StatusIs(absl::StatusCode::kInvalidArgument, Not(HasSubstr("secret"))));
  }
}

TEST(UriTest, LengthIsBoundedAlsoOnceEncoded) {
  const std::string start = "file:///";
  EXPECT_THAT(ParseUri(start + std::string(4096 - start.size(), 'a')), IsOk());
  EXPECT_THAT(ParseUri(start + std::string(4097 - start.size(), 'a')),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("4097 bytes")));
  EXPECT_THAT(ParseUri(start + std::string(2000, ' ')),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("encoded")));
}

TEST(UriTest, FileUriEncodesAPath) {
  EXPECT_EQ(FileUri("/data/my models/50%"), "file:///data/my%20models/50%25");
  EXPECT_EQ(FileUri("/"), "file:///");
  EXPECT_EQ(FileUri("/data/"), "file:///data/");
  EXPECT_EQ(FileUri("//data/./x"), "file:///data/x");
}

TEST(UriTest, JoinAddsARelativePath) {
  EXPECT_THAT(JoinUri("s3://bucket", "a"), IsOkAndHolds("s3://bucket/a"));
  EXPECT_THAT(JoinUri("s3://bucket/", "a/b"), IsOkAndHolds("s3://bucket/a/b"));
  EXPECT_THAT(JoinUri("s3://bucket/p", "a"), IsOkAndHolds("s3://bucket/p/a"));
  EXPECT_THAT(JoinUri("file:///p%20q/", "50% #1"), IsOkAndHolds("file:///p%20q/50%25%20%231"));
  EXPECT_THAT(JoinUri("file:///p", "a/"), IsOkAndHolds("file:///p/a/"));
}

TEST(UriTest, JoinRefusesWhatLeavesThePath) {
  for (const char* relative : {"", "/", "/etc", "../x", "a/../../x", "a//b", "a\nb", "."}) {
    EXPECT_THAT(JoinUri("file:///p", relative), StatusIs(absl::StatusCode::kInvalidArgument))
        << relative;
    EXPECT_THAT(JoinUri("file:///", relative), StatusIs(absl::StatusCode::kInvalidArgument))
        << relative;
  }
  EXPECT_THAT(JoinUri("no uri", "a"), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(JoinUri("file:///p", std::string(5000, 'a')),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace muster
