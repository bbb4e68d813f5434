#include "storage/object/s3_object_store.h"

#include <atomic>
#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/error_info.h"
#include "storage/object/http_connection.h"
#include "tests/support/fake_s3_server.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;
using testing::StartsWith;
using Answer = ScriptedHttpServer::Answer;
using Code = absl::StatusCode;
using Request = ScriptedHttpServer::Request;

constexpr char kObject[] = "0123456789abcdefghijklmnopqrstuvwxyz";

// Goal: the signatures are those that AWS computes. Method: the examples of its documentation
// (https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html), sent to a proxy.
TEST(S3SignatureTest, KnownRequestsHaveTheKnownSignatures) {
  struct Example {
    std::string query;
    std::string signature;
  };
  const std::vector<Example> examples = {
      {"lifecycle=", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
      {"max-keys=2&prefix=J", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"}};
  ScriptedHttpServer proxy([](const Request&) { return Answer{HttpReplyText(200, {}, "")}; });
  auto connection =
      HttpConnection::Make(SystemClock(), {.proxy = absl::StrCat("http://", proxy.authority())});
  MUSTER_ASSERT_OK(connection);

  for (const Example& example : examples) {
    const HttpRequest request{
        .url = absl::StrCat("http://examplebucket.s3.amazonaws.com/?", example.query),
        .headers = {"x-amz-date: 20130524T000000Z",
                    "x-amz-content-sha256: "
                    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        .signing = HttpSigning{.access_key_id = "AKIAIOSFODNN7EXAMPLE",
                               .secret_access_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
                               .region = "us-east-1",
                               .service = "s3"}};
    const auto ignore = [](const HttpReply&, absl::string_view) { return true; };
    MUSTER_ASSERT_OK((*connection)->Perform(request, ignore, {}));

    EXPECT_THAT(
        proxy.requests().back().Header("Authorization"),
        AllOf(HasSubstr("Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request"),
              HasSubstr("SignedHeaders=host;x-amz-content-sha256;x-amz-date"),
              HasSubstr(example.signature)));
  }
}

class S3ObjectStoreTest : public testing::Test {
 protected:
  void Start(FakeS3Server::Interceptor interceptor = nullptr) {
    server_.emplace(std::move(interceptor));
    variables_["AWS_ENDPOINT_URL"] = absl::StrCat("http://", server_->authority());
    const EnvironmentLookup lookup = [this](const char* name) {
      const auto found = variables_.find(name);
      return found == variables_.end() ? std::string() : found->second;
    };
    MUSTER_ASSERT_OK(RegisterS3ObjectStore(
        registry_, lookup, SystemClock(), *random_,
        {.connection = {.connect_timeout = absl::Seconds(2),
                        .stall_timeout = absl::Seconds(2),
                        .proxy = ""},
         .retry_for = absl::Milliseconds(400),
         .backoff = {.initial = absl::Milliseconds(1), .max = absl::Milliseconds(20)}}));
    const auto opened = registry_.Open("s3://bucket/k");
    MUSTER_ASSERT_OK(opened);
    store_ = opened->store;
  }

  absl::StatusOr<std::string> Read(int64_t offset, size_t size, const std::string& version = "") {
    std::string bytes(size, '?');
    const absl::Status status =
        store_->Read("k", offset, absl::MakeSpan(bytes.data(), size), {.if_version = version});
    if (!status.ok()) return status;
    return bytes;
  }

  const std::unique_ptr<Random> random_ = NewSeededRandom(1);
  std::map<std::string, std::string> variables_ = {
      {"AWS_ACCESS_KEY_ID", "AKID"}, {"AWS_SECRET_ACCESS_KEY", "s3cret"}, {"HOME", "/nonexistent"}};
  ObjectStoreRegistry registry_;
  std::optional<FakeS3Server> server_;
  std::shared_ptr<ObjectStore> store_;
};

TEST_F(S3ObjectStoreTest, RequestsAreSignedAndTheSecretStaysHere) {
  variables_["AWS_SESSION_TOKEN"] = "token";
  variables_["AWS_REGION"] = "eu-west-3";
  Start();
  server_->Store("k", kObject);

  EXPECT_THAT(Read(3, 4), IsOkAndHolds("3456"));

  const Request request = server_->requests().at(0);
  EXPECT_EQ(request.path, "/bucket/k");
  EXPECT_THAT(request.Header("Authorization"),
              AllOf(StartsWith("AWS4-HMAC-SHA256 Credential=AKID/"),
                    HasSubstr("/eu-west-3/s3/aws4_request"), HasSubstr("x-amz-security-token")));
  EXPECT_EQ(request.Header("x-amz-security-token"), "token");
  EXPECT_THAT(request.head, Not(HasSubstr("s3cret")));
}

TEST_F(S3ObjectStoreTest, PinnedReadNamesTheEtag) {
  Start();
  server_->Store("k", kObject);
  const auto stat = store_->Stat("k", {});
  MUSTER_ASSERT_OK(stat);
  EXPECT_EQ(stat->size_bytes, 36);

  EXPECT_THAT(Read(0, 5, stat->version), IsOkAndHolds("01234"));
  EXPECT_EQ(server_->requests().back().Header("If-Match"), stat->version);
  server_->Store("k", "replaced, with other bytes");
  EXPECT_THAT(Read(0, 5, stat->version), StatusIs(Code::kAborted));
}

TEST_F(S3ObjectStoreTest, VersionIdIsPartOfTheVersion) {
  std::atomic<int> version = 1;
  Start([&](const Request& request) {
    const std::string id = absl::StrCat("x-amz-version-id: v", version.load());
    if (request.method == "HEAD") {
      return Answer{HttpReplyText(200, {"ETag: \"e\"", id}, "")};
    }
    return Answer{HttpReplyText(206, {"ETag: \"e\"", id, "Content-Range: bytes 0-4/36"}, "01234")};
  });
  const auto stat = store_->Stat("k", {});
  MUSTER_ASSERT_OK(stat);
  EXPECT_EQ(stat->version, "\"e\" v1");

  EXPECT_THAT(Read(0, 5, stat->version), IsOkAndHolds("01234"));
  EXPECT_EQ(server_->requests().back().Header("If-Match"), "\"e\"");
  version = 2;
  EXPECT_THAT(Read(0, 5, stat->version), StatusIs(Code::kAborted));
}

TEST_F(S3ObjectStoreTest, ErrorsOfReadsAreS3s) {
  std::string code = "AccessDenied";
  int status = 403;
  Start([&](const Request&) { return Answer{HttpReplyText(status, {}, S3ErrorXml(code))}; });

  EXPECT_THAT(Read(0, 5), StatusIs(Code::kPermissionDenied,
                                   AllOf(HasSubstr("s3://bucket/k"), HasSubstr("AccessDenied"),
                                         HasSubstr(server_->authority()), HasSubstr("req-1"),
                                         Not(HasSubstr("s3cret")))));
  code = "NoSuchBucket";
  status = 404;
  EXPECT_THAT(Read(0, 5), StatusIs(Code::kNotFound, HasSubstr("no such bucket")));
  EXPECT_THAT(store_->Stat("k", {}), StatusIs(Code::kNotFound));
}

TEST_F(S3ObjectStoreTest, SlowDownIsTriedAgain) {
  std::atomic<int> slow = 3;
  Start([&](const Request&) -> std::optional<Answer> {
    if (--slow < 0) return std::nullopt;
    return Answer{HttpReplyText(503, {}, S3ErrorXml("SlowDown"))};
  });
  server_->Store("k", kObject);

  EXPECT_THAT(Read(0, 5), IsOkAndHolds("01234"));
  EXPECT_THAT(server_->requests(), SizeIs(4));
}

TEST_F(S3ObjectStoreTest, EndlessSlowDownIsUnavailableInS3sWords) {
  Start([&](const Request&) { return Answer{HttpReplyText(503, {}, S3ErrorXml("SlowDown"))}; });

  const absl::Status status = Read(0, 5).status();

  EXPECT_THAT(status,
              StatusIs(Code::kUnavailable, AllOf(HasSubstr("SlowDown"), HasSubstr("tried"))));
  EXPECT_EQ(ReasonOf(status), "S3_ERROR");
}

TEST_F(S3ObjectStoreTest, ExpiredCredentialsAreLookedUpAgainOnce) {
  Start([&](const Request& request) -> std::optional<Answer> {
    if (absl::StrContains(request.Header("Authorization"), "Credential=NEW/")) return std::nullopt;
    variables_["AWS_ACCESS_KEY_ID"] = "NEW";
    return Answer{HttpReplyText(400, {}, S3ErrorXml("ExpiredToken"))};
  });
  server_->Store("k", kObject);

  EXPECT_THAT(Read(0, 5), IsOkAndHolds("01234"));
  EXPECT_THAT(server_->requests(), SizeIs(2));
}

TEST_F(S3ObjectStoreTest, CredentialsThatStayExpiredAreAnError) {
  Start([&](const Request&) { return Answer{HttpReplyText(400, {}, S3ErrorXml("ExpiredToken"))}; });

  EXPECT_THAT(Read(0, 5), StatusIs(Code::kUnauthenticated, HasSubstr("ExpiredToken")));
  EXPECT_THAT(server_->requests(), SizeIs(2));
}

TEST_F(S3ObjectStoreTest, RedirectsAreNotFollowedWithASignature) {
  Start([&](const Request&) {
    return Answer{HttpReplyText(301, {"Location: /elsewhere", "x-amz-bucket-region: eu-west-1"},
                                S3ErrorXml("PermanentRedirect"))};
  });

  EXPECT_THAT(Read(0, 5), StatusIs(Code::kFailedPrecondition, HasSubstr("eu-west-1")));
  EXPECT_THAT(server_->requests(), SizeIs(1));
}

TEST_F(S3ObjectStoreTest, ListGoesOnUntilTheLimitAndSkipsFolders) {
  Start([&](const Request& request) -> std::optional<Answer> {
    const bool first = !absl::StrContains(request.path, "continuation-token=t%2F1");
    const std::string keys =
        first ? "<Contents><Key>p/</Key><Size>0</Size></Contents><Contents><Key>p/a</Key><Size>1"
                "</Size></Contents><IsTruncated>true</IsTruncated><NextContinuationToken>t/1"
                "</NextContinuationToken>"
              : "<Contents><Key>p/b</Key><Size>2</Size></Contents>";
    return Answer{
        HttpReplyText(200, {}, absl::StrCat("<ListBucketResult>", keys, "</ListBucketResult>"))};
  });

  const auto listed = store_->List("p/", {.after = "p", .limit = 10});

  MUSTER_ASSERT_OK(listed);
  ASSERT_THAT(*listed, SizeIs(2));
  EXPECT_EQ((*listed)[0].key, "p/a");
  EXPECT_EQ((*listed)[1].size_bytes, 2);
  EXPECT_EQ(server_->requests()[0].path,
            "/bucket/?encoding-type=url&list-type=2&max-keys=10&prefix=p%2F&start-after=p");
}

TEST_F(S3ObjectStoreTest, DeleteOfWhatIsNotThereIsFine) {
  Start();
  server_->Store("k", kObject);

  MUSTER_EXPECT_OK(store_->Delete("k"));
  MUSTER_EXPECT_OK(store_->Delete("k"));
  EXPECT_EQ(server_->Stored("k"), std::nullopt);
}

TEST_F(S3ObjectStoreTest, UriWithoutABucketOrWithABadEndpointIsInvalid) {
  Start();
  EXPECT_THAT(registry_.Open("s3:///k"),
              StatusIs(Code::kInvalidArgument, HasSubstr("s3://BUCKET/KEY")));
  variables_["AWS_ENDPOINT_URL"] = "nonsense";
  EXPECT_THAT(registry_.Open("s3://other/k"),
              StatusIs(Code::kInvalidArgument, HasSubstr("AWS_ENDPOINT_URL")));
}

}  // namespace
}  // namespace muster
