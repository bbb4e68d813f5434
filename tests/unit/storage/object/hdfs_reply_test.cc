#include "storage/object/hdfs_reply.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/error_info.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

using testing::HasSubstr;
using Code = absl::StatusCode;

constexpr char kUri[] = "hdfs://nn/a/b";
constexpr char kNode[] = "http://nn:9870";

absl::Status ErrorOf(int status, const std::string& exception, const std::string& message) {
  HttpReply reply;
  reply.status = status;
  return HdfsErrorOf(kUri, kNode, reply,
                     absl::StrCat("{\"RemoteException\":{\"exception\":\"", exception,
                                  "\",\"message\":\"", message, "\"}}"));
}

TEST(HdfsReplyTest, ExceptionsHaveTheirCodesAndWords) {
  EXPECT_THAT(ErrorOf(404, "FileNotFoundException", "File does not exist: /a/b"),
              StatusIs(Code::kNotFound, HasSubstr("File does not exist")));
  EXPECT_THAT(ErrorOf(403, "AccessControlException", "Permission denied: user=x"),
              StatusIs(Code::kPermissionDenied, HasSubstr(kUri)));
  EXPECT_THAT(ErrorOf(403, "AccessControlException", "/a (is not a directory)"),
              StatusIs(Code::kNotFound));
  EXPECT_THAT(ErrorOf(403, "StandbyException", "Operation category READ is not supported"),
              StatusIs(Code::kUnavailable, HasSubstr(kNode)));
  EXPECT_THAT(ErrorOf(403, "AlreadyBeingCreatedException", "for another client"),
              StatusIs(Code::kUnavailable));
  EXPECT_THAT(ErrorOf(403, "IOException", "Offset=9 out of the range [0, 5); OPEN, path=/a/b"),
              StatusIs(Code::kOutOfRange));
  EXPECT_THAT(
      ErrorOf(403, "IOException", "could only be written to 0 of the 1 minReplication nodes"),
      StatusIs(Code::kResourceExhausted));
  EXPECT_THAT(ErrorOf(403, "SomethingNewException", "no"), StatusIs(Code::kPermissionDenied));
  EXPECT_EQ(DetailOf(ErrorOf(403, "StandbyException", "")).metadata.at("exception"),
            "StandbyException");
}

TEST(HdfsReplyTest, RepliesOfOtherServersSayNothingAboutTheObject) {
  HttpReply reply;
  reply.status = 404;
  EXPECT_THAT(HdfsErrorOf(kUri, kNode, reply,
                          "It looks like you are making an HTTP request to a Hadoop IPC port."),
              StatusIs(Code::kFailedPrecondition, HasSubstr("MUSTER_WEBHDFS_ADDRESS")));
  EXPECT_THAT(HdfsErrorOf(kUri, kNode, reply, "<html>nginx</html>"),
              StatusIs(Code::kFailedPrecondition, HasSubstr(kNode)));
  reply.status = 503;
  EXPECT_THAT(HdfsErrorOf(kUri, kNode, reply, ""), StatusIs(Code::kUnavailable));
  EXPECT_EQ(ReasonOf(HdfsErrorOf(kUri, kNode, reply, "")), "");
}

TEST(HdfsReplyTest, FilesAreReadFromTheirStatus) {
  const auto file = ParseHdfsFile(
      kUri,
      R"({"FileStatus":{"fileId":7,"length":5,"modificationTime":9,"pathSuffix":"","type":"FILE"}})");
  MUSTER_ASSERT_OK(file);
  EXPECT_EQ(file->version(), "7-9-5");
  EXPECT_FALSE(file->is_directory);
  const auto files = ParseHdfsFiles(
      kUri, R"({"FileStatuses":{"FileStatus":[{"length":0,"pathSuffix":"d","type":"DIRECTORY"},)"
            R"({"length":5,"pathSuffix":"f","type":"FILE"}]}})");
  MUSTER_ASSERT_OK(files);
  ASSERT_EQ(files->size(), 2u);
  EXPECT_TRUE(files->front().is_directory);
  EXPECT_EQ(files->back().name, "f");
}

TEST(HdfsReplyTest, TextThatIsSomethingElseIsDataLoss) {
  for (const char* text :
       {"", "no JSON", "[]", "{}", R"({"FileStatus":{"length":-1,"type":"FILE"}})",
        R"({"FileStatus":{"length":"5","type":"FILE"}})", R"({"FileStatuses":{"FileStatus":[1]}})",
        R"({"Location":"file:///etc/passwd"})", R"({"Location":7})"}) {
    EXPECT_THAT(ParseHdfsFile(kUri, text), StatusIs(Code::kDataLoss)) << text;
    EXPECT_THAT(ParseHdfsFiles(kUri, text), StatusIs(Code::kDataLoss)) << text;
    EXPECT_THAT(ParseHdfsLocation(kUri, "http://nn:9870", text), StatusIs(Code::kDataLoss)) << text;
  }
}

// Each of these was the end of the process: copies of nested values recurse. The frames of an optimised build are so
// small that 60,000 brackets, which end others, do not always do it.
TEST(HdfsReplyTest, NestingEndsNothing) {
  constexpr int kDepth = 500'000;
  const std::string deep = std::string(kDepth, '[') + std::string(kDepth, ']');
  for (const std::string& text :
       {absl::StrCat(R"({"FileStatus":)", deep, "}"), absl::StrCat(R"({"Location":)", deep, "}"),
        absl::StrCat(R"({"FileStatuses":{"FileStatus":)", deep, "}}"), deep,
        std::string(kDepth, '[')}) {
    EXPECT_THAT(ParseHdfsFile(kUri, text), StatusIs(Code::kDataLoss));
    EXPECT_THAT(ParseHdfsFiles(kUri, text), StatusIs(Code::kDataLoss));
    EXPECT_THAT(ParseHdfsLocation(kUri, kNode, text), StatusIs(Code::kDataLoss));
  }
  HttpReply reply;
  reply.status = 503;
  EXPECT_THAT(HdfsErrorOf(kUri, kNode, reply, absl::StrCat(R"({"RemoteException":)", deep, "}")),
              StatusIs(Code::kUnavailable));
}

TEST(HdfsReplyTest, ServerCantFloodMessages) {
  const std::string long_name(1 << 20, 'x');
  EXPECT_EQ(ReasonOf(ErrorOf(403, long_name, "")), "");
  const absl::Status cut = ErrorOf(404, "FileNotFoundException", "\\u001b[2J" + long_name + "ä");
  EXPECT_THAT(cut, StatusIs(Code::kNotFound, HasSubstr("\\033[2J")));
  EXPECT_LT(cut.message().size(), 1000u);
}

TEST(HdfsReplyTest, DataNodeWithoutTlsGetsNothingWhereTheNameNodeHasIt) {
  const std::string plain = R"({"Location":"http://dn:9864/webhdfs"})";
  const std::string tls = R"({"Location":"https://dn:9865/webhdfs"})";
  EXPECT_THAT(ParseHdfsLocation(kUri, "http://nn:9870", plain),
              IsOkAndHolds("http://dn:9864/webhdfs"));
  EXPECT_THAT(ParseHdfsLocation(kUri, "https://nn:9871", tls),
              IsOkAndHolds("https://dn:9865/webhdfs"));
  EXPECT_THAT(ParseHdfsLocation(kUri, "https://nn:9871", plain),
              StatusIs(Code::kFailedPrecondition, testing::HasSubstr("without TLS")));
}

}  // namespace
}  // namespace muster
