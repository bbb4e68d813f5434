#include "storage/object/s3_credentials.h"

#include <atomic>
#include <fstream>
#include <map>
#include <thread>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/await.h"
#include "tests/support/fake_clock.h"
#include "tests/support/scripted_http_server.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace muster {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;
using Answer = ScriptedHttpServer::Answer;
using Request = ScriptedHttpServer::Request;

const HttpConnectionOptions kDirect{.connect_timeout = absl::Seconds(2), .proxy = ""};

class S3CredentialsTest : public testing::Test {
 protected:
  S3CredentialsTest() {
    variables_["HOME"] = home_.path();
    variables_["AWS_EC2_METADATA_DISABLED"] = "true";
  }

  EnvironmentLookup Lookup() const {
    return [this](const char* name) {
      const auto found = variables_.find(name);
      return found == variables_.end() ? std::string() : found->second;
    };
  }

  std::string Json(const std::string& key, absl::Duration lasts) {
    return absl::StrCat(
        "{\"AccessKeyId\":\"", key,
        "\",\"SecretAccessKey\":\"s3cret\",\"Token\":\"tok\",\"Expiration\":\"",
        absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", clock_.Now() + lasts, absl::UTCTimeZone()), "\"}");
  }

  const TemporaryDirectory home_;
  FakeClock clock_;
  std::map<std::string, std::string> variables_;
};

TEST_F(S3CredentialsTest, EnvironmentWinsOverProfile) {
  std::ofstream(home_.Join("credentials"))
      << "[default]\naws_access_key_id = file\naws_secret_access_key = sf\n";
  variables_["AWS_SHARED_CREDENTIALS_FILE"] = home_.Join("credentials");
  S3CredentialChain of_file(Lookup(), clock_, kDirect);
  EXPECT_EQ(of_file.Get({})->access_key_id, "file");

  variables_["AWS_ACCESS_KEY_ID"] = "env";
  variables_["AWS_SECRET_ACCESS_KEY"] = "se";
  variables_["AWS_SESSION_TOKEN"] = "t";
  S3CredentialChain of_environment(Lookup(), clock_, kDirect);

  const auto found = of_environment.Get({});
  MUSTER_ASSERT_OK(found);
  EXPECT_EQ(found->access_key_id, "env");
  EXPECT_EQ(found->secret_access_key, "se");
  EXPECT_EQ(found->session_token, "t");
}

TEST_F(S3CredentialsTest, NoneAtAllIsUnauthenticatedAndSaysWhatToDo) {
  S3CredentialChain chain(Lookup(), clock_, kDirect);

  EXPECT_THAT(chain.Get({}),
              StatusIs(absl::StatusCode::kUnauthenticated,
                       AllOf(HasSubstr("AWS_ACCESS_KEY_ID"), HasSubstr("~/.aws/credentials"))));
}

TEST_F(S3CredentialsTest, ContainerIsAskedWithItsTokenAndAgainBeforeTheyExpire) {
  std::atomic<int> asked = 0;
  ScriptedHttpServer server([&](const Request&) {
    return Answer{HttpReplyText(200, {}, Json(absl::StrCat("key", ++asked), absl::Hours(1)))};
  });
  variables_["AWS_CONTAINER_CREDENTIALS_FULL_URI"] =
      absl::StrCat("http://", server.authority(), "/creds");
  variables_["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = "secret-token";
  S3CredentialChain chain(Lookup(), clock_, kDirect);

  EXPECT_EQ(chain.Get({})->access_key_id, "key1");
  EXPECT_EQ(chain.Get({})->access_key_id, "key1");
  clock_.Advance(absl::Minutes(56));
  EXPECT_EQ(chain.Get({})->access_key_id, "key2");

  ASSERT_THAT(server.requests(), SizeIs(2));
  EXPECT_EQ(server.requests()[0].path, "/creds");
  EXPECT_EQ(server.requests()[0].Header("Authorization"), "secret-token");
}

TEST_F(S3CredentialsTest, FailedRenewalLeavesCredentialsThatAreStillGood) {
  std::atomic<bool> fails = false;
  ScriptedHttpServer server([&](const Request&) {
    return Answer{fails ? HttpReplyText(500, {}, "")
                        : HttpReplyText(200, {}, Json("key", absl::Hours(1)))};
  });
  variables_["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = absl::StrCat("http://", server.authority());
  S3CredentialChain chain(Lookup(), clock_, kDirect);
  MUSTER_ASSERT_OK(chain.Get({}));
  fails = true;

  clock_.Advance(absl::Minutes(58));
  EXPECT_EQ(chain.Get({})->access_key_id, "key");
  clock_.Advance(absl::Minutes(3));
  EXPECT_THAT(chain.Get({}), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("HTTP 500")));
}

// Goal: a metadata service that hangs holds one caller, not all of them.
TEST_F(S3CredentialsTest, OneCallerRenewsAndTheOthersUseWhatThereIs) {
  Mutex mutex;
  CondVar changed;
  bool answer = true;
  bool asked = false;
  ScriptedHttpServer server([&](const Request&) {
    MutexLock lock(mutex);
    asked = !answer;
    changed.NotifyAll();
    AwaitOrFail(mutex, changed, "the test to let it answer", [&] { return answer; });
    return Answer{HttpReplyText(200, {}, Json("key", absl::Hours(1)))};
  });
  variables_["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = absl::StrCat("http://", server.authority());
  S3CredentialChain chain(Lookup(), clock_, kDirect);
  MUSTER_ASSERT_OK(chain.Get({}));
  {
    MutexLock lock(mutex);
    answer = false;
  }
  clock_.Advance(absl::Minutes(58));
  std::thread renews([&] { MUSTER_EXPECT_OK(chain.Get({})); });
  {
    MutexLock lock(mutex);
    AwaitOrFail(mutex, changed, "the renewal", [&] { return asked; });
  }

  for (int i = 0; i < 5; ++i) EXPECT_EQ(chain.Get({})->access_key_id, "key");
  EXPECT_THAT(server.requests(), SizeIs(2));

  {
    MutexLock lock(mutex);
    answer = true;
    changed.NotifyAll();
  }
  renews.join();
}

TEST_F(S3CredentialsTest, RenewalThatFailedIsNotTriedAtEachRequest) {
  std::atomic<bool> fails = false;
  ScriptedHttpServer server([&](const Request&) {
    return Answer{fails ? HttpReplyText(500, {}, "")
                        : HttpReplyText(200, {}, Json("key", absl::Hours(1)))};
  });
  variables_["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = absl::StrCat("http://", server.authority());
  S3CredentialChain chain(Lookup(), clock_, kDirect);
  MUSTER_ASSERT_OK(chain.Get({}));
  fails = true;
  clock_.Advance(absl::Minutes(56));

  // 3 minutes: after 0, 1, 3, 7, 15, 31, 63, 123 seconds.
  for (int i = 0; i < 1800; ++i) {
    EXPECT_EQ(chain.Get({})->access_key_id, "key");
    clock_.Advance(absl::Milliseconds(100));
  }

  EXPECT_THAT(server.requests(), SizeIs(1 + 8));
  fails = false;
  clock_.Advance(absl::Minutes(1));
  MUSTER_EXPECT_OK(chain.Get({}));
  clock_.Advance(absl::Minutes(2));
  EXPECT_EQ(chain.Get({})->access_key_id, "key");
}

class WebIdentityTest : public S3CredentialsTest {
 protected:
  WebIdentityTest() {
    std::ofstream(home_.Join("token")) << "ey.J+/=\n";
    variables_["AWS_WEB_IDENTITY_TOKEN_FILE"] = home_.Join("token");
    variables_["AWS_ROLE_ARN"] = "arn:aws:iam::1:role/r";
  }

  const std::string reply_ =
      "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>"
      "<AccessKeyId>AKID</AccessKeyId><SecretAccessKey>s3cret</SecretAccessKey>"
      "<SessionToken>tok</SessionToken><Expiration>2999-01-01T00:00:00Z</Expiration>"
      "</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>";
};

TEST_F(WebIdentityTest, RoleIsAssumedWithTheToken) {
  ScriptedHttpServer server([&](const Request&) { return Answer{HttpReplyText(200, {}, reply_)}; });
  variables_["AWS_ENDPOINT_URL_STS"] = absl::StrCat("http://", server.authority());
  S3CredentialChain chain(Lookup(), clock_, kDirect);

  const auto found = chain.Get({});

  MUSTER_ASSERT_OK(found);
  EXPECT_EQ(found->access_key_id, "AKID");
  EXPECT_EQ(found->session_token, "tok");
  EXPECT_LT(found->expires, absl::InfiniteFuture());
  ASSERT_THAT(server.requests(), SizeIs(1));
  EXPECT_EQ(server.requests()[0].method, "POST");
  EXPECT_EQ(server.requests()[0].body,
            "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3A"
            "role%2Fr&RoleSessionName=muster&WebIdentityToken=ey.J%2B%2F%3D");
}

TEST_F(WebIdentityTest, RefusalNamesTheVariableAndTheServicesWords) {
  ScriptedHttpServer server([&](const Request&) {
    return Answer{HttpReplyText(400, {},
                                "<ErrorResponse><Error><Code>ExpiredTokenException</Code>"
                                "<Message>Token expired</Message></Error></ErrorResponse>")};
  });
  variables_["AWS_ENDPOINT_URL_STS"] = absl::StrCat("http://", server.authority());
  S3CredentialChain chain(Lookup(), clock_, kDirect);

  EXPECT_THAT(chain.Get({}),
              StatusIs(absl::StatusCode::kUnauthenticated,
                       AllOf(HasSubstr("AWS_WEB_IDENTITY_TOKEN_FILE"), HasSubstr("Token expired"),
                             HasSubstr(server.authority()), Not(HasSubstr("ey.J")))));
}

TEST_F(WebIdentityTest, WhatIsMissingIsNamed) {
  variables_["AWS_ENDPOINT_URL_STS"] = "http://sts.example.com";
  EXPECT_THAT(S3CredentialChain(Lookup(), clock_, kDirect).Get({}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("TLS")));
  variables_["AWS_ENDPOINT_URL_STS"] = "http://127.0.0.1:1";
  variables_["AWS_WEB_IDENTITY_TOKEN_FILE"] = home_.Join("absent");
  EXPECT_THAT(S3CredentialChain(Lookup(), clock_, kDirect).Get({}),
              StatusIs(absl::StatusCode::kUnauthenticated, HasSubstr(home_.Join("absent"))));
  variables_["AWS_ROLE_ARN"] = "";
  EXPECT_THAT(S3CredentialChain(Lookup(), clock_, kDirect).Get({}),
              StatusIs(absl::StatusCode::kUnauthenticated, HasSubstr("AWS_ROLE_ARN")));
}

TEST_F(S3CredentialsTest, PodIdentityMayBeAtAnAddressOfIpv6) {
  for (const char* url : {"http://[fd00:ec2::23]/v1/credentials", "http://[::1]:1/"}) {
    variables_["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = url;
    variables_["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = "t";
    S3CredentialChain chain(Lookup(), clock_, kDirect);
    EXPECT_NE(chain.Get({}).status().code(), absl::StatusCode::kInvalidArgument) << url;
  }
  for (const char* url : {"http://[fd00:ec2::24]/", "http://[::1", "http://[fd00:ec2::23].x/",
                          "http://localhost:1@example.com/"}) {
    variables_["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = url;
    S3CredentialChain chain(Lookup(), clock_, kDirect);
    EXPECT_THAT(chain.Get({}), StatusIs(absl::StatusCode::kInvalidArgument)) << url;
  }
}

TEST_F(S3CredentialsTest, TokenIsNotSentToStrangers) {
  variables_["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = "http://example.com/creds";
  S3CredentialChain chain(Lookup(), clock_, kDirect);

  EXPECT_THAT(chain.Get({}), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(S3CredentialsTest, InstanceIsAskedWithASessionToken) {
  ScriptedHttpServer server([&](const Request& request) {
    if (request.method == "PUT") return Answer{HttpReplyText(200, {}, "session")};
    if (request.Header("x-aws-ec2-metadata-token") != "session") {
      return Answer{HttpReplyText(401, {}, "")};
    }
    const bool lists = request.path == "/latest/meta-data/iam/security-credentials/";
    return Answer{HttpReplyText(200, {}, lists ? "role\n" : Json("of-role", absl::Hours(1)))};
  });
  variables_.erase("AWS_EC2_METADATA_DISABLED");
  variables_["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = absl::StrCat("http://", server.authority());
  S3CredentialChain chain(Lookup(), clock_, kDirect);

  const auto found = chain.Get({});

  MUSTER_ASSERT_OK(found);
  EXPECT_EQ(found->access_key_id, "of-role");
  EXPECT_EQ(found->session_token, "tok");
  EXPECT_EQ(server.requests().back().path, "/latest/meta-data/iam/security-credentials/role");
}

TEST_F(S3CredentialsTest, ForgottenCredentialsAreLookedUpAgain) {
  variables_["AWS_ACCESS_KEY_ID"] = "old";
  variables_["AWS_SECRET_ACCESS_KEY"] = "s";
  S3CredentialChain chain(Lookup(), clock_, kDirect);
  MUSTER_ASSERT_OK(chain.Get({}));
  variables_["AWS_ACCESS_KEY_ID"] = "new";

  chain.Forget("another");
  EXPECT_EQ(chain.Get({})->access_key_id, "old");
  chain.Forget("old");
  EXPECT_EQ(chain.Get({})->access_key_id, "new");
}

TEST_F(S3CredentialsTest, ReplyThatIsNoneIsNotQuoted) {
  for (const char* json : {"", "{}", "[1]", "{\"AccessKeyId\":1,\"SecretAccessKey\":\"s3cret\"}",
                           "{\"SecretAccessKey\":\"s3cret\""}) {
    EXPECT_THAT(ParseS3Credentials(json),
                StatusIs(absl::StatusCode::kUnavailable, Not(HasSubstr("s3cret"))));
  }
}

}  // namespace
}  // namespace muster
