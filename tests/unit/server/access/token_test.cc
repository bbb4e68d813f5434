#include "server/access/token.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

const std::string kSecret = std::string(40, 'S') + "-_9";
const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);

class TokenTest : public testing::Test {
 protected:
  TokenTest() {
    Token ci{"ci", Sha256Of("mst_ci_" + kSecret), Identity::Kind::kUser, "ci-bot",
             kNow + absl::Seconds(1)};
    EXPECT_TRUE(table_.Add(ci));
  }

  absl::StatusOr<Identity> Try(const std::string& header, absl::Time now = kNow) const {
    const std::vector<absl::string_view> headers = {header};
    return table_.IdentityOf(headers, now);
  }

  TokenTable table_;
};

TEST_F(TokenTest, ATokenIsWhoThePolicySays) {
  const auto identity = Try("Bearer mst_ci_" + kSecret);

  MUSTER_ASSERT_OK(identity);
  EXPECT_EQ(identity->Who(), "user/ci-bot");
  EXPECT_EQ(identity->proof, Identity::Proof::kToken);
  EXPECT_EQ(identity->credential, "ci");
  EXPECT_EQ(identity->expires, kNow + absl::Seconds(1));
  MUSTER_EXPECT_OK(Try("bearer mst_ci_" + kSecret));
}

// A policy may take a token away, give its id another secret, or its owner another name.
TEST_F(TokenTest, WhetherATokenIsStillThereIsAskedAgain) {
  const auto identity = Try("Bearer mst_ci_" + kSecret);
  MUSTER_ASSERT_OK(identity);
  EXPECT_TRUE(table_.Holds(*identity));

  Identity other_secret = *identity, other_owner = *identity, other_id = *identity;
  other_secret.token_digest[0] = static_cast<char>(other_secret.token_digest[0] + 1);
  other_owner.name = "somebody";
  other_id.credential = "cd";
  EXPECT_FALSE(table_.Holds(other_secret));
  EXPECT_FALSE(table_.Holds(other_owner));
  EXPECT_FALSE(table_.Holds(other_id));
  EXPECT_FALSE(TokenTable().Holds(*identity));
}

TEST_F(TokenTest, ATokenIsTakenAsItIsOrNot) {
  const std::string token = "mst_ci_" + kSecret;
  for (const std::string& header :
       std::vector<std::string>{std::string(),
                                std::string("Bearer"),
                                std::string("Bearer "),
                                token,
                                "Bearer  " + token,
                                "Bearer " + token + " ",
                                " Bearer " + token,
                                "Bearer\t" + token,
                                "Basic " + token,
                                "Bearer " + absl::AsciiStrToUpper(token),
                                "Bearer MST_ci_" + kSecret,
                                "Bearer mst_CI_" + kSecret,
                                "Bearer mst_ci_" + absl::AsciiStrToLower(kSecret),
                                "Bearer " + token + "," + token,
                                "Bearer " + token + "\n",
                                "Bearer " + token + std::string(1, '\0'),
                                "Bearer mst__" + kSecret,
                                "Bearer mst_ci" + kSecret,
                                "Bearer mst_ci_",
                                "Bearer mst_ci_short",
                                "Bearer mst_other_" + kSecret,
                                "Bearer " + token + "x",
                                "Bearer " + token.substr(0, token.size() - 1),
                                "Bearer mst_ci_" + std::string(1 << 20, 'S'),
                                "Bearer " + token.substr(0, 20) + "%41" + token.substr(21)}) {
    const auto identity = Try(header);
    EXPECT_THAT(identity, ErrorIs(absl::StatusCode::kUnauthenticated, "CREDENTIAL_REFUSED"))
        << header.substr(0, 80);
    EXPECT_THAT(std::string(identity.status().message()), Not(HasSubstr("SSS")))
        << header.substr(0, 80);
  }
}

TEST_F(TokenTest, ManyHeadersAreNone) {
  const std::string header = "Bearer mst_ci_" + kSecret;
  const std::vector<absl::string_view> headers = {header, header};

  EXPECT_THAT(table_.IdentityOf(headers, kNow), StatusIs(absl::StatusCode::kUnauthenticated));
  EXPECT_THAT(table_.IdentityOf({}, kNow), StatusIs(absl::StatusCode::kUnauthenticated));
}

TEST_F(TokenTest, UnknownIdsAndWrongSecretsGetTheSameAnswer) {
  const std::string other = std::string(43, 'x');

  EXPECT_EQ(Try("Bearer mst_ci_" + other).status(), Try("Bearer mst_cj_" + other).status());
}

TEST_F(TokenTest, ATokenEndsWhenItExpires) {
  MUSTER_EXPECT_OK(Try("Bearer mst_ci_" + kSecret, kNow + absl::Milliseconds(999)));
  EXPECT_THAT(Try("Bearer mst_ci_" + kSecret, kNow + absl::Seconds(1)),
              StatusIs(absl::StatusCode::kUnauthenticated, HasSubstr("token ci expired at 20")));
  // Who doesn't have the secret learns nothing about the token.
  EXPECT_THAT(
      std::string(
          Try("Bearer mst_ci_" + std::string(43, 'x'), kNow + absl::Hours(1)).status().message()),
      Not(HasSubstr("expired")));
}

// Whatever a policy says, secrets that can be guessed are none; and ids have one spelling.
TEST_F(TokenTest, ShortSecretsAndOtherIdsAreNoTokens) {
  for (const char* id : {"short", "UPPER"}) {
    const std::string token =
        absl::StrCat("mst_", id, "_", std::string(id[0] == 's' ? 42 : 43, 'x'));
    EXPECT_TRUE(
        table_.Add(Token{id, Sha256Of(token), Identity::Kind::kUser, "u", absl::InfiniteFuture()}));
    EXPECT_THAT(Try("Bearer " + token),
                StatusIs(absl::StatusCode::kUnauthenticated, HasSubstr("it is not mst_")))
        << id;
  }
}

TEST_F(TokenTest, ADigestOfZerosIsNobodysPassword) {
  // What an unknown id is compared with must not be a token of it.
  EXPECT_THAT(Try("Bearer mst_nobody_" + kSecret), StatusIs(absl::StatusCode::kUnauthenticated));
  TokenTable zeros;
  EXPECT_TRUE(zeros.Add(Token{"zero", Sha256Digest{}, Identity::Kind::kUser, "zero"}));
  EXPECT_FALSE(zeros.Add(Token{"zero", Sha256Digest{}, Identity::Kind::kUser, "other"}));
  const std::string header = "Bearer mst_zero_" + kSecret;
  const std::vector<absl::string_view> headers = {header};
  EXPECT_THAT(zeros.IdentityOf(headers, kNow), StatusIs(absl::StatusCode::kUnauthenticated));
}

TEST_F(TokenTest, Sha256IsTheStandardOne) {
  const Sha256Digest digest = Sha256Of("abc");

  EXPECT_EQ(digest[0], 0xba);
  EXPECT_EQ(digest[1], 0x78);
  EXPECT_EQ(digest[31], 0xad);
}

}  // namespace
}  // namespace muster
