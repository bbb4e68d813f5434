// Join tokens are counted, and a name is its key's until the certificate ends or an operator frees it.

#include "server/registry/enrolment_table.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/registry/row_keys.h"
#include "server/registry/validation.h"
#include "storage/base/error_info.h"
#include "storage/base/limits.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/server/registry/registry_fixture.h"

namespace muster {
namespace {

namespace v1 = muster::v1;
using absl::StatusCode;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr int64_t kHourUs = 3600 * kSecondUs;
constexpr int64_t kDayUs = 24 * kHourUs;
// The fixture's time at the beginning.
constexpr int64_t kStartUs = kSecondUs;
constexpr int64_t kLifeUs = 7 * kDayUs;

std::string Digest(char of) { return std::string(32, of); }

AddJoinToken TokenFor(absl::string_view pattern, uint32_t uses = 1) {
  AddJoinToken add;
  add.id = "t1";
  add.sha256 = Digest('s');
  add.node_pattern = std::string(pattern);
  add.uses = uses;
  add.create_time_us = kStartUs;
  add.ttl_us = kDayUs;
  return add;
}

class EnrolmentTableTest : public testing::Test {
 protected:
  EnrolNode Enrol(absl::string_view node, char key) {
    EnrolNode enrol;
    enrol.token_id = "t1";
    enrol.token_sha256 = Digest('s');
    enrol.node = std::string(node);
    enrol.key_sha256 = Digest(key);
    enrol.serial = absl::StrCat("5e", ++serial_);
    enrol.valid_until_us = now_us_ + kLifeUs;
    return enrol;
  }
  RenewNode Renew(absl::string_view node, char shown, char key) {
    return {std::string(node), Digest(shown), Digest(key), absl::StrCat("5e", ++serial_),
            now_us_ + kLifeUs};
  }
  void Advance(int64_t us) {
    now_us_ += us;
    fixture_.TickTo(now_us_);
  }
  // Moves the server's own time, and sets the time of day.
  void Advance(int64_t us, int64_t wall_us) {
    now_us_ += us;
    MUSTER_EXPECT_OK(fixture_.Do(Tick{wall_us, now_us_, std::nullopt}));
  }
  const EnrolmentTable& table() { return fixture_.registry().enrolment(); }
  uint32_t Used() { return table().tokens().at("t1").used(); }
  std::string SerialOf(absl::string_view node) {
    const auto* row = table().FindName(node);
    return row == nullptr ? "" : row->serial();
  }

  RegistryFixture fixture_;
  int64_t now_us_ = kStartUs;
  int serial_ = 0;
};

TEST_F(EnrolmentTableTest, EachKeyTakesAUseUntilThereIsNone) {
  MUSTER_EXPECT_OK(fixture_.Do(TokenFor("*", 2)));
  MUSTER_EXPECT_OK(fixture_.Do(Enrol("nodes/n1", '1')));
  MUSTER_EXPECT_OK(fixture_.Do(Enrol("nodes/n2", '2')));
  const Revision before = fixture_.revision();
  EXPECT_THAT(fixture_.Do(Enrol("nodes/n3", '3')),
              ErrorIs(StatusCode::kFailedPrecondition, "JOIN_TOKEN_USED_UP"));
  EXPECT_EQ(fixture_.revision(), before);
  EXPECT_EQ(Used(), 2u);
  EXPECT_EQ(table().name_count(), 2u);
}

// Invariant 7: a lost answer is asked for again.
TEST_F(EnrolmentTableTest, ARepeatOfTheSameKeyTakesNoFurtherUse) {
  MUSTER_EXPECT_OK(fixture_.Do(TokenFor("n1")));
  MUSTER_EXPECT_OK(fixture_.Do(Enrol("nodes/n1", '1')));
  MUSTER_EXPECT_OK(fixture_.Do(Enrol("nodes/n1", '1')));
  EXPECT_EQ(Used(), 1u);
  EXPECT_EQ(SerialOf("nodes/n1"), "5e2");
  MUSTER_EXPECT_OK(fixture_.Restart());
  MUSTER_EXPECT_OK(fixture_.Do(Enrol("nodes/n1", '1')));
  EXPECT_EQ(Used(), 1u);
  // Under another name it is another machine.
  EXPECT_THAT(fixture_.Do(Enrol("nodes/n1", '2')),
              ErrorIs(StatusCode::kFailedPrecondition, "NODE_NAME_ENROLLED"));
}

TEST_F(EnrolmentTableTest, WrongSecretsAndUnknownIdsGetTheSameAnswer) {
  MUSTER_EXPECT_OK(fixture_.Do(TokenFor("*", 5)));
  EnrolNode unknown = Enrol("nodes/n1", '1'), wrong = unknown, empty = unknown;
  unknown.token_id = "t2";
  wrong.token_sha256 = Digest('x');
  empty.token_sha256.clear();
  const absl::Status refused = fixture_.Do(wrong);
  EXPECT_THAT(refused, ErrorIs(StatusCode::kUnauthenticated, "JOIN_TOKEN_REFUSED"));
  EXPECT_EQ(fixture_.Do(unknown), refused);
  EXPECT_EQ(fixture_.Do(empty), refused);
  // The digest that unknown ids are compared with opens nothing.
  unknown.token_sha256 = Digest('\0');
  EXPECT_EQ(fixture_.Do(unknown), refused);
  EXPECT_EQ(Used(), 0u);
}

TEST_F(EnrolmentTableTest, ATokenIsForTheNamesOfItsPattern) {
  MUSTER_EXPECT_OK(fixture_.Do(TokenFor("gpu-*", 9)));
  MUSTER_EXPECT_OK(fixture_.Do(Enrol("nodes/gpu-1", '1')));
  for (const char* other : {"nodes/cpu-1", "nodes/gpu", "nodes/xgpu-1", "nodes/GPU-1"}) {
    const absl::Status refused = fixture_.Do(Enrol(other, '2'));
    EXPECT_THAT(refused, ErrorIs(StatusCode::kPermissionDenied, "JOIN_TOKEN_NOT_FOR_NODE"));
    EXPECT_THAT(std::string(refused.message()), HasSubstr("gpu-*"));
  }
  MUSTER_EXPECT_OK(fixture_.Do(v1::DeleteJoinTokenRequest([] {
    v1::DeleteJoinTokenRequest request;
    request.set_name("joinTokens/t1");
    return request;
  }())));
  MUSTER_EXPECT_OK(fixture_.Do(TokenFor("n1", 9)));
  EXPECT_THAT(fixture_.Do(Enrol("nodes/n11", '2')),
              ErrorIs(StatusCode::kPermissionDenied, "JOIN_TOKEN_NOT_FOR_NODE"));
}

TEST_F(EnrolmentTableTest, ATokenEndsByWhicheverClockIsFirst) {
  MUSTER_EXPECT_OK(fixture_.Do(TokenFor("*", 5)));
  Advance(kDayUs - 2 * kSecondUs);
  MUSTER_EXPECT_OK(fixture_.Do(Enrol("nodes/n1", '1')));
  // A clock that is set forward ends it, and deletes nothing.
  Advance(kSecondUs, now_us_ + 2 * kDayUs);
  EXPECT_THAT(fixture_.Do(Enrol("nodes/n2", '2')),
              ErrorIs(StatusCode::kUnauthenticated, "JOIN_TOKEN_REFUSED"));
  EXPECT_EQ(table().tokens().size(), 1u);
  // One that is set back does not make it live longer.
  Advance(2 * kSecondUs, kStartUs);
  EXPECT_EQ(table().tokens().size(), 0u);
  EXPECT_THAT(fixture_.Do(Enrol("nodes/n2", '2')),
              ErrorIs(StatusCode::kUnauthenticated, "JOIN_TOKEN_REFUSED"));
}

TEST_F(EnrolmentTableTest, ANameIsHeldUntilItsCertificateEnds) {
  MUSTER_EXPECT_OK(fixture_.Do(TokenFor("*", 5)));
  MUSTER_EXPECT_OK(fixture_.Do(Enrol("nodes/n1", '1')));
  const absl::Status held = fixture_.Do(Enrol("nodes/n1", '2'));
  EXPECT_THAT(held, ErrorIs(StatusCode::kFailedPrecondition, "NODE_NAME_ENROLLED"));
  EXPECT_EQ(DetailOf(held).metadata.at("serial"), "5e1");
  // The server stood still for a week: its own time did, too.
  Advance(kSecondUs, kStartUs + kLifeUs - 1);
  MUSTER_EXPECT_OK(fixture_.Restart());
  Advance(kSecondUs, kStartUs + kLifeUs - 1);
  AddJoinToken second = TokenFor("*", 5);
  second.id = "t2";
  second.create_time_us = kStartUs + kLifeUs;
  MUSTER_EXPECT_OK(fixture_.Do(second));
  EnrolNode other = Enrol("nodes/n1", '2');
  other.token_id = "t2";
  EXPECT_THAT(fixture_.Do(other), ErrorIs(StatusCode::kFailedPrecondition, "NODE_NAME_ENROLLED"));
  Advance(1, kStartUs + kLifeUs);
  MUSTER_EXPECT_OK(fixture_.Do(other));
  EXPECT_EQ(SerialOf("nodes/n1"), other.serial);
}

TEST_F(EnrolmentTableTest, WhatHasEndedIsForgottenAndAClockSetForwardForgetsNothing) {
  MUSTER_EXPECT_OK(fixture_.Do(TokenFor("*", 50)));
  const size_t rows = RowsOf(fixture_.store()).size();
  for (int i = 0; i < 40; ++i) {
    EnrolNode enrol = Enrol(absl::StrCat("nodes/n", i), static_cast<char>('A' + i));
    enrol.valid_until_us = now_us_ + kHourUs;
    MUSTER_EXPECT_OK(fixture_.Do(enrol));
  }
  EXPECT_EQ(RowsOf(fixture_.store()).size(), rows + 40);
  Advance(kSecondUs, now_us_ + 10 * kDayUs);
  EXPECT_EQ(table().name_count(), 40u);
  // Set back, they hold again.
  Advance(kSecondUs, now_us_);
  EXPECT_THAT(fixture_.Do(Enrol("nodes/n1", 'z')),
              ErrorIs(StatusCode::kFailedPrecondition, "NODE_NAME_ENROLLED"));
  Advance(kHourUs);
  EXPECT_EQ(table().name_count(), 24u) << "16 a tick";
  Advance(kSecondUs);
  Advance(kSecondUs);
  EXPECT_EQ(table().name_count(), 0u);
  EXPECT_EQ(RowsOf(fixture_.store()).size(), rows);
}

TEST_F(EnrolmentTableTest, ARenewalByTheHolderTakesThePlaceOfTheKey) {
  MUSTER_EXPECT_OK(fixture_.Do(TokenFor("n1")));
  MUSTER_EXPECT_OK(fixture_.Do(Enrol("nodes/n1", '1')));
  // Who shows no certificate is not taken for the holder before the first one, of whom there is none either.
  RenewNode nobody = Renew("nodes/n1", '1', 'x');
  nobody.shown_key_sha256.clear();
  EXPECT_THAT(fixture_.Do(nobody), ErrorIs(StatusCode::kFailedPrecondition, "NODE_NOT_ENROLLED"));
  MUSTER_EXPECT_OK(fixture_.Do(Renew("nodes/n1", '1', '2')));
  // Whose answer was lost, so that the old one is shown again.
  MUSTER_EXPECT_OK(fixture_.Do(Renew("nodes/n1", '1', '3')));
  MUSTER_EXPECT_OK(fixture_.Restart());
  // The one that was never used has no right.
  EXPECT_THAT(fixture_.Do(Renew("nodes/n1", '2', '4')),
              ErrorIs(StatusCode::kFailedPrecondition, "NODE_NOT_ENROLLED"));
  MUSTER_EXPECT_OK(fixture_.Do(Renew("nodes/n1", '3', '4')));
  EXPECT_THAT(fixture_.Do(Renew("nodes/n1", '1', '5')),
              ErrorIs(StatusCode::kFailedPrecondition, "NODE_NOT_ENROLLED"));
  EXPECT_THAT(fixture_.Do(Renew("nodes/n2", '4', '5')),
              ErrorIs(StatusCode::kFailedPrecondition, "NODE_NOT_ENROLLED"));
  EXPECT_EQ(table().FindName("nodes/n1")->key_sha256(), Digest('4'));
  EXPECT_EQ(Used(), 1u);
}

TEST_F(EnrolmentTableTest, AFreedNameIsAnybodysAndItsCertificateRenewsNoMore) {
  MUSTER_EXPECT_OK(fixture_.Do(TokenFor("n1", 2)));
  const EnrolNode first = Enrol("nodes/n1", '1');
  MUSTER_EXPECT_OK(fixture_.Do(first));
  v1::ReleaseNameRequest release;
  release.set_node("nodes/n1");
  release.set_validate_only(true);
  MUSTER_EXPECT_OK(fixture_.Do(release));
  EXPECT_EQ(SerialOf("nodes/n1"), first.serial);
  release.set_validate_only(false);
  const auto reply = fixture_.Ask<v1::ReleaseNameResponse>(release);
  EXPECT_EQ(reply.serial(), first.serial);
  EXPECT_EQ(reply.valid_until().seconds(), first.valid_until_us / kSecondUs);
  EXPECT_THAT(fixture_.Do(release), ErrorIs(StatusCode::kFailedPrecondition, "NODE_NOT_ENROLLED"));
  EXPECT_THAT(fixture_.Do(Renew("nodes/n1", '1', '3')),
              ErrorIs(StatusCode::kFailedPrecondition, "NODE_NOT_ENROLLED"));
  MUSTER_EXPECT_OK(fixture_.Do(Enrol("nodes/n1", '2')));
  EXPECT_EQ(Used(), 2u);
}

// Invariant 1: what was stored comes back.
TEST_F(EnrolmentTableTest, ARestartChangesNothing) {
  MUSTER_EXPECT_OK(fixture_.Do(TokenFor("*", 5)));
  MUSTER_EXPECT_OK(fixture_.Do(Enrol("nodes/n1", '1')));
  MUSTER_EXPECT_OK(fixture_.Do(Renew("nodes/n1", '1', '2')));
  const std::string token = table().tokens().at("t1").ShortDebugString();
  const std::string name = table().FindName("nodes/n1")->ShortDebugString();
  MUSTER_EXPECT_OK(fixture_.Restart());
  EXPECT_EQ(table().tokens().at("t1").ShortDebugString(), token);
  EXPECT_EQ(table().FindName("nodes/n1")->ShortDebugString(), name);
}

TEST_F(EnrolmentTableTest, TokensAreBoundedAndDeleted) {
  for (int i = 0; i < kMaxJoinTokens; ++i) {
    AddJoinToken add = TokenFor("*");
    add.id = absl::StrCat("x", i);
    MUSTER_ASSERT_OK(fixture_.Do(add));
  }
  EXPECT_THAT(fixture_.Do(TokenFor("*")),
              ErrorIs(StatusCode::kResourceExhausted, "TOO_MANY_ITEMS"));
  v1::DeleteJoinTokenRequest request;
  for (const char* absent : {"joinTokens/none", "x7", "", "joinTokens/", "nodes/n1"}) {
    request.set_name(absent);
    EXPECT_THAT(fixture_.Do(request), ErrorIs(StatusCode::kNotFound, "JOIN_TOKEN_UNKNOWN"));
  }
  request.set_name(std::string(1 << 20, 'x'));
  EXPECT_LT(fixture_.Do(request).message().size(), 200u);
  request.set_name("joinTokens/x7");
  MUSTER_EXPECT_OK(fixture_.Do(request));
  MUSTER_EXPECT_OK(fixture_.Do(TokenFor("*")));
}

TEST_F(EnrolmentTableTest, TheListShowsNoDigest) {
  MUSTER_EXPECT_OK(fixture_.Do(TokenFor("gpu-*", 3)));
  const v1::JoinToken shown = table().Describe(table().tokens().at("t1"));
  EXPECT_EQ(shown.name(), "joinTokens/t1");
  EXPECT_EQ(shown.node_pattern(), "gpu-*");
  EXPECT_EQ(shown.uses(), 3u);
  EXPECT_EQ(shown.expire_time().seconds() - shown.create_time().seconds(), 24 * 3600);
  EXPECT_THAT(shown.SerializeAsString(), Not(HasSubstr(Digest('s'))));
}

TEST_F(EnrolmentTableTest, AFullDiskRefusesTokensAndEnrolmentsAndRenewsAllTheSame) {
  MUSTER_EXPECT_OK(fixture_.Do(TokenFor("*", 5)));
  MUSTER_EXPECT_OK(fixture_.Do(Enrol("nodes/n1", '1')));
  fixture_.TickTo(now_us_, 1'000);
  AddJoinToken second = TokenFor("*");
  second.id = "t2";
  EXPECT_THAT(fixture_.Do(second), ErrorIs(StatusCode::kResourceExhausted, "STORE_FULL"));
  EXPECT_THAT(fixture_.Do(Enrol("nodes/n2", '2')),
              ErrorIs(StatusCode::kResourceExhausted, "STORE_FULL"));
  MUSTER_EXPECT_OK(fixture_.Do(Renew("nodes/n1", '1', '2')));
}

TEST(CheckJoinTokenTest, PatternsUsesAndTimesHaveTheirRanges) {
  v1::CreateJoinTokenRequest request;
  for (const char* good : {"n1", "gpu-*", "*", "a.b_c-*", "gpu-1.rack*"}) {
    request.set_node_pattern(good);
    MUSTER_EXPECT_OK(CheckJoinToken(request)) << good;
  }
  for (const std::string& bad :
       {std::string(), std::string("node/n1"), std::string("nodes/n1"), std::string("-x*"),
        std::string("a**"), std::string("*a"), std::string("a*b"), std::string("a b"),
        std::string("a-"), std::string("a\n*"), std::string("a\0*", 3), std::string(254, 'a'),
        std::string(1 << 20, 'a') + "*"}) {
    request.set_node_pattern(bad);
    EXPECT_THAT(CheckJoinToken(request), ErrorIs(StatusCode::kInvalidArgument, "INVALID_FIELD"))
        << bad.substr(0, 50);
  }
  request.set_node_pattern("n1");
  for (const uint32_t uses : {0u, 100'001u}) {
    request.set_uses(uses);
    EXPECT_THAT(CheckJoinToken(request), ErrorIs(StatusCode::kInvalidArgument, "INVALID_FIELD"));
  }
  request.set_uses(100'000);
  for (const int64_t seconds :
       {int64_t{0}, int64_t{-1}, int64_t{59}, int64_t{30 * 86'400 + 1}, INT64_MAX, INT64_MIN}) {
    request.mutable_ttl()->set_seconds(seconds);
    EXPECT_THAT(CheckJoinToken(request), ErrorIs(StatusCode::kInvalidArgument, "INVALID_FIELD"));
  }
  request.mutable_ttl()->set_seconds(30 * 86'400);
  MUSTER_EXPECT_OK(CheckJoinToken(request));
}

}  // namespace
}  // namespace muster
