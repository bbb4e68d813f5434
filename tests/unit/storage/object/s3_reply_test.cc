#include "storage/object/s3_reply.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/error_info.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;
using Code = absl::StatusCode;

const S3Subject kSubject{"s3://bucket/k", "bucket", "k", "http://h:1"};

std::string ErrorXml(const std::string& code, const std::string& more = "") {
  return "<?xml version=\"1.0\"?><Error><Code>" + code + "</Code>" + more + "</Error>";
}

HttpReply ReplyOf(int status, const std::map<std::string, std::string>& amz = {}) {
  HttpReply reply;
  reply.status = status;
  reply.amz = amz;
  return reply;
}

absl::Status Error(int status, const std::string& body) {
  return S3ErrorOf(kSubject, ReplyOf(status), body);
}

TEST(S3ReplyTest, CodesBecomeOurs) {
  EXPECT_EQ(Error(404, ErrorXml("NoSuchKey")).code(), Code::kNotFound);
  EXPECT_EQ(Error(404, ErrorXml("NoSuchBucket")).code(), Code::kNotFound);
  EXPECT_EQ(Error(403, ErrorXml("AccessDenied")).code(), Code::kPermissionDenied);
  EXPECT_EQ(Error(403, ErrorXml("SignatureDoesNotMatch")).code(), Code::kUnauthenticated);
  EXPECT_EQ(Error(403, ErrorXml("RequestTimeTooSkewed")).code(), Code::kFailedPrecondition);
  EXPECT_EQ(Error(412, ErrorXml("PreconditionFailed")).code(), Code::kAborted);
  EXPECT_EQ(Error(412, "").code(), Code::kAborted);
  EXPECT_EQ(Error(400, ErrorXml("BadDigest")).code(), Code::kUnavailable);
  EXPECT_EQ(Error(409, ErrorXml("ConditionalRequestConflict")).code(), Code::kUnavailable);
  EXPECT_EQ(Error(503, "<html>").code(), Code::kUnavailable);
  EXPECT_EQ(Error(404, "").code(), Code::kNotFound);
  EXPECT_EQ(Error(400, ErrorXml("Unheard")).code(), Code::kInvalidArgument);
  MUSTER_EXPECT_OK(Error(200, ""));
  MUSTER_EXPECT_OK(Error(204, ""));
}

TEST(S3ReplyTest, ErrorNamesCodeBucketEndpointAndRequestButNoSecret) {
  const absl::Status error =
      Error(403, ErrorXml("SignatureDoesNotMatch",
                          "<Message>m</Message><StringToSign>s3cret</StringToSign>"
                          "<RequestId>r-17</RequestId>"));

  EXPECT_THAT(error, StatusIs(Code::kUnauthenticated,
                              AllOf(HasSubstr("s3://bucket/k"), HasSubstr("SignatureDoesNotMatch"),
                                    HasSubstr("bucket bucket at http://h:1"), HasSubstr("r-17"),
                                    Not(HasSubstr("s3cret")))));
  EXPECT_EQ(ReasonOf(error), "S3_ERROR");
  EXPECT_EQ(S3CodeOf(error), "SignatureDoesNotMatch");
  EXPECT_EQ(S3CodeOf(absl::NotFoundError("x")), "");
}

TEST(S3ReplyTest, UnknownErrorIsShownShortened) {
  const absl::Status error =
      Error(400, ErrorXml("Unheard", "<Message>" + std::string(900, 'm') + "</Message>"));

  EXPECT_THAT(error.message(), AllOf(HasSubstr("S3 says Unheard"), SizeIs(testing::Lt(500))));
}

TEST(S3ReplyTest, WrongRegionNamesTheRightOne) {
  EXPECT_THAT(
      S3ErrorOf(kSubject, ReplyOf(301, {{"x-amz-bucket-region", "eu-west-3"}}),
                ErrorXml("PermanentRedirect")),
      StatusIs(Code::kFailedPrecondition, AllOf(HasSubstr("AWS_REGION"), HasSubstr("eu-west-3"))));
}

TEST(S3ReplyTest, RedirectWithoutACodeIsToldWithTheAdvice) {
  const absl::Status status = S3ErrorOf(kSubject, ReplyOf(307, {}), "");
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("HTTP 307: the server redirects elsewhere"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("AWS_REGION"));
}

TEST(S3ReplyTest, ErrorInASuccessfulReplyIsAnError) {
  EXPECT_EQ(Error(200, ErrorXml("InternalError")).code(), Code::kUnavailable);
  EXPECT_EQ(Error(200, ErrorXml("Unheard")).code(), Code::kUnavailable);
  EXPECT_EQ(Error(200, ErrorXml("InvalidPart")).code(), Code::kDataLoss);
}

TEST(S3ReplyTest, PageIsParsedWithEncodedKeys) {
  const auto page = ParseS3Page(
      "s3://b/",
      "<ListBucketResult xmlns=\"x\"><IsTruncated>true</IsTruncated>"
      "<NextContinuationToken>t/1</NextContinuationToken><EncodingType>url</EncodingType>"
      "<Contents><Key>a%20b%2Fc+d</Key><Size>7</Size></Contents>"
      "<Contents><Key>z</Key><Size>0</Size></Contents></ListBucketResult>");

  MUSTER_ASSERT_OK(page);
  ASSERT_THAT(page->objects, SizeIs(2));
  EXPECT_EQ(page->objects[0].key, "a b/c d");
  EXPECT_EQ(page->objects[0].size_bytes, 7);
  EXPECT_EQ(page->continuation, "t/1");
}

TEST(S3ReplyTest, KeysThatAreNotEncodedAreTakenAsTheyAre) {
  const auto page = ParseS3Page("s3://b/",
                                "<ListBucketResult><Contents><Key>a+b%20&amp;</Key><Size>1</Size>"
                                "</Contents></ListBucketResult>");

  MUSTER_ASSERT_OK(page);
  EXPECT_EQ(page->objects[0].key, "a+b%20&");
  EXPECT_EQ(page->continuation, std::nullopt);
}

TEST(S3ReplyTest, SomethingElseIsDataLoss) {
  const auto lost = StatusIs(Code::kDataLoss, HasSubstr("s3://b/"));
  EXPECT_THAT(ParseS3Page("s3://b/", "<html>"), lost);
  EXPECT_THAT(ParseS3Page("s3://b/", "<Other/>"), lost);
  EXPECT_THAT(ParseS3Page("s3://b/",
                          "<ListBucketResult><Contents><Key>k</Key></Contents>"
                          "</ListBucketResult>"),
              lost);
  EXPECT_THAT(ParseS3Page("s3://b/",
                          "<ListBucketResult><IsTruncated>true</IsTruncated>"
                          "</ListBucketResult>"),
              lost)
      << "it would never end";
  EXPECT_THAT(ParseS3UploadId("s3://b/", "<InitiateMultipartUploadResult/>"), lost);
  EXPECT_THAT(ParseS3Uploads("s3://b/", "no XML", "k"), lost);
  EXPECT_THAT(ParseS3CompletedEtag("s3://b/", ""), lost);
}

TEST(S3ReplyTest, NestingAndCountOfTagsEndNothing) {
  std::string deep;
  for (int i = 0; i < 60'000; ++i) deep += "<a>";
  std::string many = "<ListBucketResult>";
  for (int i = 0; i < 200'000; ++i) many += "<a/>";
  many += "</ListBucketResult>";
  for (const std::string& xml : {deep, many}) {
    EXPECT_THAT(ParseS3Page("u", xml), StatusIs(Code::kDataLoss));
    EXPECT_THAT(ParseS3UploadId("u", xml), StatusIs(Code::kDataLoss));
    EXPECT_THAT(ParseS3Uploads("u", xml, "k"), StatusIs(Code::kDataLoss));
    EXPECT_THAT(ParseS3CompletedEtag("u", xml), StatusIs(Code::kDataLoss));
    EXPECT_EQ(Error(503, xml).code(), Code::kUnavailable);
  }
}

TEST(S3ReplyTest, CompletionListsPartsInOrder) {
  EXPECT_THAT(S3CompletionOf({{2, {"\"e2\"", {}}}, {1, {"e1", {}}}}),
              HasSubstr("<Part><PartNumber>1</PartNumber><ETag>&quot;e1&quot;</ETag></Part>"
                        "<Part><PartNumber>2</PartNumber><ETag>&quot;e2&quot;</ETag></Part>"));
  EXPECT_THAT(ParseS3CompletedEtag("u",
                                   "<CompleteMultipartUploadResult><ETag>&quot;e-2&quot;"
                                   "</ETag></CompleteMultipartUploadResult>"),
              IsOkAndHolds("\"e-2\""));
  EXPECT_THAT(ParseS3CompletedEtag("u",
                                   "<CompleteMultipartUploadResponse><ETag>e-2</ETag>"
                                   "</CompleteMultipartUploadResponse>"),
              IsOkAndHolds("\"e-2\""));
  EXPECT_THAT(
      ParseS3CompletedEtag(
          "u", "<CompleteMultipartUploadResult><ETag></ETag></CompleteMultipartUploadResult>"),
      IsOkAndHolds(""));
}

TEST(S3ReplyTest, EtagIsComparedOnlyWhereItIsMadeOfMd5) {
  const Md5Digest md5 = Md5Of("x");
  const std::string good = "\"" + Md5ToHex(md5) + "-3\"";
  const std::string bad = "\"" + Md5ToHex(Md5Of("y")) + "-3\"";
  const HttpReply plain = ReplyOf(200);
  const HttpReply kms = ReplyOf(200, {{"x-amz-server-side-encryption", "aws:kms"}});
  const HttpReply own_key =
      ReplyOf(200, {{"x-amz-server-side-encryption-customer-algorithm", "AES256"}});
  const HttpReply s3_key = ReplyOf(200, {{"x-amz-server-side-encryption", "AES256"}});

  MUSTER_EXPECT_OK(CheckS3Etag("u", plain, good, md5, "-3"));
  EXPECT_THAT(CheckS3Etag("u", plain, bad, md5, "-3"), StatusIs(Code::kDataLoss));
  EXPECT_THAT(CheckS3Etag("u", s3_key, bad, md5, "-3"), StatusIs(Code::kDataLoss));
  MUSTER_EXPECT_OK(CheckS3Etag("u", plain, "\"opaque-3\"", md5, "-3"));
  MUSTER_EXPECT_OK(CheckS3Etag("u", plain, bad, md5, "-4"));
  MUSTER_EXPECT_OK(CheckS3Etag("u", kms, bad, md5, "-3"));
  MUSTER_EXPECT_OK(CheckS3Etag("u", own_key, bad, md5, "-3"));
}

}  // namespace
}  // namespace muster
