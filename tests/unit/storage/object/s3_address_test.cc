#include "storage/object/s3_address.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

using testing::HasSubstr;
using testing::Not;

EnvironmentLookup AddressLookup(std::map<std::string, std::string> variables) {
  return [variables = std::move(variables)](const char* name) {
    const auto found = variables.find(name);
    return found == variables.end() ? std::string() : found->second;
  };
}

std::string UrlIn(std::map<std::string, std::string> variables, const AwsSettings& profile = {},
                  const std::string& bucket = "models") {
  const auto address = S3AddressFor(bucket, AddressLookup(std::move(variables)), profile);
  return address.ok() ? address->UrlOf(bucket, "k", {}) : address.status().ToString();
}

TEST(S3AddressTest, EndpointIsTheFirstThatIsSet) {
  EXPECT_EQ(UrlIn({}), "https://models.s3.us-east-1.amazonaws.com/k");
  EXPECT_EQ(UrlIn({{"AWS_REGION", "eu-west-1"}, {"AWS_DEFAULT_REGION", "x"}}),
            "https://models.s3.eu-west-1.amazonaws.com/k");
  EXPECT_EQ(UrlIn({{"AWS_DEFAULT_REGION", "cn-north-1"}}),
            "https://models.s3.cn-north-1.amazonaws.com.cn/k");
  EXPECT_EQ(UrlIn({}, {{"endpoint_url", "http://h:1/"}}), "http://h:1/models/k");
  EXPECT_EQ(UrlIn({{"AWS_ENDPOINT_URL", "http://h:2"}}, {{"endpoint_url", "http://h:1"}}),
            "http://h:2/models/k");
  EXPECT_EQ(UrlIn({{"AWS_ENDPOINT_URL_S3", "http://[::1]:3"}, {"AWS_ENDPOINT_URL", "http://h:2"}}),
            "http://[::1]:3/models/k");
}

TEST(S3AddressTest, BucketIsInThePathOrInTheHost) {
  EXPECT_EQ(UrlIn({}, {}, "a.b"), "https://s3.us-east-1.amazonaws.com/a.b/k");
  EXPECT_EQ(UrlIn({{"MUSTER_S3_ADDRESSING", "path"}}),
            "https://s3.us-east-1.amazonaws.com/models/k");
  EXPECT_EQ(UrlIn({{"MUSTER_S3_ADDRESSING", "virtual"}, {"AWS_ENDPOINT_URL", "http://oss:80"}}),
            "http://models.oss:80/k");
  EXPECT_EQ(UrlIn({{"AWS_ENDPOINT_URL", "http://oss"}}, {{"s3.addressing_style", "virtual"}}),
            "http://models.oss/k");
}

TEST(S3AddressTest, KeysAndQueriesAreEncodedAsSignaturesWantIt) {
  const S3Address address{.endpoint = "http://h", .region = "r"};

  EXPECT_EQ(address.UrlOf("b", "a b/c+d=e,(f)'*~._-\xC3\xA4", {}),
            "http://h/b/a%20b/c%2Bd%3De%2C%28f%29%27%2A~._-%C3%A4");
  EXPECT_EQ(address.UrlOf("b", "", {{"prefix", "x/y"}, {"list-type", "2"}}),
            "http://h/b/?list-type=2&prefix=x%2Fy");
  EXPECT_EQ(address.UrlOf("b", "k", {{"uploads", ""}}), "http://h/b/k?uploads=");
}

TEST(S3AddressTest, ValuesWithoutSenseAreInvalidAndPasswordsNotQuoted) {
  for (const char* endpoint : {"h:80", "ftp://h", "http://", "http://h/path", "http://u:pass@h"}) {
    EXPECT_THAT(S3AddressFor("b", AddressLookup({{"AWS_ENDPOINT_URL", endpoint}}), {}),
                StatusIs(absl::StatusCode::kInvalidArgument, Not(HasSubstr("pass@"))));
  }
  EXPECT_THAT(S3AddressFor("b", AddressLookup({{"AWS_REGION", "a:b"}}), {}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("a:b")));
  EXPECT_THAT(S3AddressFor("b", AddressLookup({{"MUSTER_S3_ADDRESSING", "dns"}}), {}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("virtual")));
}

TEST(S3AddressTest, BucketNamesAreChecked) {
  MUSTER_EXPECT_OK(CheckS3Bucket("my-models.v1_X"));
  for (const char* bucket : {"", "ab", "a:b", "bucket@x", "[::1]"}) {
    EXPECT_THAT(CheckS3Bucket(bucket),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("s3://BUCKET/KEY")));
  }
}

}  // namespace
}  // namespace muster
