// Keys from the server: asked for by the version's name, once, and no refusal is taken for damage.

#include "client/keys/server_keys.h"

#include <cstring>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/error_info.h"
#include "tests/support/fake_channel.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

using absl::StatusCode;
using testing::HasSubstr;

constexpr char kShard[] = "models/llama/versions/v1/shards/3";
constexpr char kVersion[] = "models/llama/versions/v1";
constexpr char kId[] = "muster/1";

class ServerKeysTest : public testing::Test {
 protected:
  ServerKeysTest() {
    fake_.OnUnary<v1::GetContentKeyRequest, v1::GetContentKeyResponse>(
        "/muster.v1.KeyService/GetContentKey",
        [this](const auto& request, auto& response, const CallOptions&) {
          ++asked_;
          EXPECT_EQ(request.name(), kVersion);
          if (!status_.ok()) return status_;
          response.mutable_content_key()->set_key_id(given_id_);
          response.mutable_content_key()->set_key(given_key_);
          return absl::OkStatus();
        });
  }
  absl::StatusOr<SecretKey> Get(const std::string& id = kId) {
    return source_->KeyOfShard(kShard, id, {});
  }

  std::unique_ptr<Random> random_ = NewSeededRandom(3);
  FakeChannel fake_;
  Client client_{std::make_unique<ForwardingChannel>(fake_), *random_};
  std::shared_ptr<KeySource> source_ = NewServerKeys(client_, nullptr);
  int asked_ = 0;
  absl::Status status_;
  std::string given_id_ = kId;
  std::string given_key_ = std::string(32, 'k');
};

TEST_F(ServerKeysTest, KeyIsAskedForOnceForAVersion) {
  for (int i = 0; i < 3; ++i) {
    const auto key = Get();
    MUSTER_ASSERT_OK(key);
    EXPECT_EQ(std::memcmp(key->data(), given_key_.data(), SecretKey::kBytes), 0);
  }
  EXPECT_EQ(asked_, 1);
}

TEST_F(ServerKeysTest, OtherKeysComeFromTheUsersOwnSource) {
  EXPECT_TRUE(source_->Knows(kId));
  EXPECT_FALSE(source_->Knows("prod-2026"));
  EXPECT_THAT(Get("prod-2026").status(), ErrorIs(StatusCode::kFailedPrecondition, "KEY_MISSING"));
  const SecretKey own = *SecretKey::Parse(std::string(32, 'o'));
  const auto both = NewServerKeys(client_, NewFixedKey(own));
  EXPECT_TRUE(both->Knows("prod-2026"));
  const auto key = both->KeyOfShard(kShard, "prod-2026", {});
  MUSTER_ASSERT_OK(key);
  EXPECT_EQ(std::memcmp(key->data(), own.data(), SecretKey::kBytes), 0);
  EXPECT_EQ(asked_, 0);
  // The server's stay the server's.
  const auto of_server = both->KeyOfShard(kShard, kId, {});
  MUSTER_ASSERT_OK(of_server);
  EXPECT_EQ(std::memcmp(of_server->data(), given_key_.data(), SecretKey::kBytes), 0);
}

// Bytes that are said to be damaged or absent are fetched again and their location is blamed.
TEST_F(ServerKeysTest, NoRefusalLooksLikeDamageOrAbsenceOfBytes) {
  const struct {
    StatusCode code;
    const char* reason;
    StatusCode expected;
    const char* expected_reason;
  } cases[] = {
      {StatusCode::kPermissionDenied, "ACCESS_DENIED", StatusCode::kFailedPrecondition,
       "KEY_DENIED"},
      {StatusCode::kUnauthenticated, "CREDENTIAL_REFUSED", StatusCode::kFailedPrecondition,
       "KEY_DENIED"},
      {StatusCode::kDataLoss, "MASTER_KEY_MISSING", StatusCode::kFailedPrecondition,
       "MASTER_KEY_MISSING"},
      {StatusCode::kDataLoss, "CONTENT_KEY_DAMAGED", StatusCode::kFailedPrecondition,
       "CONTENT_KEY_DAMAGED"},
      {StatusCode::kNotFound, "VERSION_UNKNOWN", StatusCode::kFailedPrecondition,
       "VERSION_UNKNOWN"},
      {StatusCode::kNotFound, "NO_CONTENT_KEY", StatusCode::kFailedPrecondition, "NO_CONTENT_KEY"},
      {StatusCode::kFailedPrecondition, "NO_MASTER_KEY", StatusCode::kFailedPrecondition,
       "NO_MASTER_KEY"},
      {StatusCode::kResourceExhausted, "READERS_BUSY", StatusCode::kUnavailable, "READERS_BUSY"},
      {StatusCode::kUnavailable, "SERVER_UNREACHABLE", StatusCode::kUnavailable,
       "SERVER_UNREACHABLE"},
  };
  for (const auto& one : cases) {
    status_ = MakeError(one.code, one.reason, "so it says", {});
    EXPECT_THAT(Get().status(), ErrorIs(one.expected, one.expected_reason));
    EXPECT_THAT(Get().status().message(), HasSubstr("llama@v1: so it says"));
  }
  status_ = absl::CancelledError("x");
  EXPECT_THAT(Get().status(), StatusIs(StatusCode::kCancelled));
  // No error is remembered.
  status_ = absl::OkStatus();
  MUSTER_EXPECT_OK(Get());
}

TEST_F(ServerKeysTest, KeyOfAnotherIdOrLengthIsRefused) {
  given_id_ = "muster/2";
  EXPECT_THAT(Get().status(), ErrorIs(StatusCode::kFailedPrecondition, "WRONG_KEY"));
  given_id_ = kId;
  for (const size_t size : {0, 31, 33, 64}) {
    given_key_ = std::string(size, 'k');
    const absl::Status status = Get().status();
    EXPECT_THAT(status, StatusIs(StatusCode::kFailedPrecondition, HasSubstr("another length")));
    EXPECT_THAT(status.message(), testing::Not(HasSubstr("kkk")));
  }
}

TEST_F(ServerKeysTest, DraftGetsAKeyOfTheServersOnly) {
  std::string id = kId;
  fake_.OnUnary<v1::CreateContentKeyRequest, v1::CreateContentKeyResponse>(
      "/muster.v1.KeyService/CreateContentKey",
      [&](const auto&, auto& response, const CallOptions&) {
        response.mutable_content_key()->set_key_id(id);
        response.mutable_content_key()->set_key(std::string(32, 'k'));
        return absl::OkStatus();
      });
  const auto made = CreateServerKey(client_, kVersion, {});
  MUSTER_ASSERT_OK(made);
  EXPECT_EQ(made->key_id, kId);
  id = "prod";
  EXPECT_THAT(CreateServerKey(client_, kVersion, {}).status(), StatusIs(StatusCode::kInternal));
}

}  // namespace
}  // namespace muster
