#include "server/secure_start.h"

#include <sys/stat.h>

#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace muster {
namespace {

using absl::StatusCode;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr absl::Duration kDay = absl::Hours(24);

class SecureStartTest : public testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<SecureStart>> Open(std::vector<std::string> names = {"host"}) {
    return SecureStart::Open({data_, "c1", std::move(names)}, clock_);
  }
  std::string Path(const std::string& name) const {
    return absl::StrCat(data_, "/tls/authority/", name);
  }
  std::string Serial(const std::string& name) const {
    const auto pem = ReadPemFile(Path(name), /*secret=*/false);
    return pem.ok() ? FactsOf(*pem)->serial : "";
  }
  void ExpectUsable(const SecureStart& start) {
    MUSTER_EXPECT_OK(ReadTlsFiles(start.files(), clock_.Now()).status());
  }

  TemporaryDirectory directory_;
  const std::string data_ = directory_.path();
  FakeClock clock_;
};

TEST_F(SecureStartTest, SecondStartUsesWhatTheFirstOneMade) {
  const auto first = Open();
  MUSTER_ASSERT_OK(first.status());
  EXPECT_THAT((*first)->TakeMade(),
              ElementsAre(Path("ca.crt"), Path("server.crt"), Path("admin.crt"),
                          absl::StrCat(data_, "/policy.json")));
  EXPECT_THAT((*first)->TakeMade(), IsEmpty());
  ExpectUsable(**first);
  const std::string server = Serial("server.crt");

  const auto second = Open();

  MUSTER_ASSERT_OK(second.status());
  EXPECT_THAT((*second)->TakeMade(), IsEmpty());
  EXPECT_EQ(Serial("server.crt"), server);
  EXPECT_EQ((*second)->pin(), (*first)->pin());
}

TEST_F(SecureStartTest, ServersCertificateIsRenewedAfterTwoThirdsOfItsTime) {
  const auto start = Open();
  MUSTER_ASSERT_OK(start.status());
  const std::string server = Serial("server.crt");
  const std::string admin = Serial("admin.crt");

  clock_.Advance(59 * kDay);
  MUSTER_EXPECT_OK((*start)->Look());
  EXPECT_EQ(Serial("server.crt"), server);
  clock_.Advance(2 * kDay);
  (*start)->TakeMade();
  MUSTER_EXPECT_OK((*start)->Look());

  EXPECT_NE(Serial("server.crt"), server);
  EXPECT_EQ(Serial("admin.crt"), admin);
  EXPECT_THAT((*start)->TakeMade(), ElementsAre(Path("server.crt")));
  ExpectUsable(**start);
}

TEST_F(SecureStartTest, AdminsCertificateIsRenewedUnlessItWasTakenAway) {
  auto start = Open();
  MUSTER_ASSERT_OK(start.status());
  const std::string admin = Serial("admin.crt");
  clock_.Advance(250 * kDay);
  MUSTER_EXPECT_OK((*start)->Look());
  EXPECT_NE(Serial("admin.crt"), admin);
  EXPECT_NE(Serial("admin.crt"), "");

  std::filesystem::remove(Path("admin.key"));
  std::filesystem::remove(Path("admin.crt"));
  clock_.Advance(400 * kDay);
  MUSTER_EXPECT_OK((*start)->Look());
  start = Open();
  MUSTER_EXPECT_OK(start.status());

  EXPECT_FALSE(std::filesystem::exists(Path("admin.crt")));
  EXPECT_FALSE(std::filesystem::exists(Path("admin.key")));
}

TEST_F(SecureStartTest, CertificateThatWasOverWhileNobodyServedIsMadeAgain) {
  MUSTER_ASSERT_OK(Open().status());
  clock_.Advance(200 * kDay);

  const auto late = Open();

  MUSTER_ASSERT_OK(late.status());
  ExpectUsable(**late);
}

TEST_F(SecureStartTest, WhatKeepsARenewalFromHappeningIsSaidOnceAndTriedAgain) {
  const auto start = Open();
  MUSTER_ASSERT_OK(start.status());
  const std::string server = Serial("server.crt");
  std::filesystem::remove(Path("server.key"));
  std::filesystem::create_directory(Path("server.key"));
  clock_.Advance(70 * kDay);

  EXPECT_THAT((*start)->Look(), Not(IsOk()));
  for (int i = 0; i < 3; ++i) {
    clock_.Advance(absl::Seconds(11));
    MUSTER_EXPECT_OK((*start)->Look());
  }
  EXPECT_EQ(Serial("server.crt"), server);
  std::filesystem::remove(Path("server.key"));
  clock_.Advance(absl::Seconds(11));
  MUSTER_EXPECT_OK((*start)->Look());

  EXPECT_NE(Serial("server.crt"), server);
  ExpectUsable(**start);
}

TEST_F(SecureStartTest, WithoutTheAuthoritysKeyTheServerServesWhileItsCertificateIsValid) {
  MUSTER_ASSERT_OK(Open().status());
  std::filesystem::remove(Path("ca.key"));
  clock_.Advance(70 * kDay);
  const auto start = Open();
  MUSTER_ASSERT_OK(start.status());
  EXPECT_THAT((*start)->Look(),
              StatusIs(StatusCode::kFailedPrecondition,
                       testing::AllOf(HasSubstr("two thirds"), HasSubstr("ca.key"))));
  ExpectUsable(**start);

  clock_.Advance(30 * kDay);

  EXPECT_THAT(Open(), StatusIs(StatusCode::kFailedPrecondition, HasSubstr("ca.key")));
}

TEST_F(SecureStartTest, FilesOfAnAuthorityAreNeverReplaced) {
  MUSTER_ASSERT_OK(Open().status());
  const std::string authority = Serial("ca.crt");
  std::filesystem::rename(Path("ca.crt"), Path("kept.crt"));
  EXPECT_THAT(Open(), StatusIs(StatusCode::kFailedPrecondition, HasSubstr("put it back")));
  std::filesystem::rename(Path("kept.crt"), Path("ca.crt"));

  EXPECT_THAT(SecureStart::Open({data_, "c2", {"host"}}, clock_),
              StatusIs(StatusCode::kFailedPrecondition, HasSubstr("\"c1\"")));
  EXPECT_EQ(Serial("ca.crt"), authority);
}

TEST_F(SecureStartTest, InstructionsNameWhatCanBeReached) {
  std::filesystem::create_directory(directory_.path() + "/a b");
  const auto start = SecureStart::Open(
      {directory_.path() + "/a b/", "be683db3aaa74c6f8d1b3f6f0a8f2c11", {"host.example"}}, clock_);
  MUSTER_ASSERT_OK(start.status());

  const std::string one = (*start)->Instructions("10.0.0.2:7070");
  EXPECT_THAT(one, HasSubstr("context set be683db3aaa7 --server 10.0.0.2:7070 "));
  EXPECT_THAT(
      one, HasSubstr(absl::StrCat("--tls-ca '", directory_.path(), "/a b/tls/authority/ca.crt'")));
  EXPECT_THAT(one, HasSubstr("muster agent --server 10.0.0.2:7070 --node n1 --assembly ASSEMBLY "
                             "--join TOKEN --ca sha256:"));
  for (const char* const anywhere : {"0.0.0.0:7070", "[::]:7070"}) {
    const std::string all = (*start)->Instructions(anywhere);
    EXPECT_THAT(all, HasSubstr("--server localhost:7070 --tls-ca"));
    EXPECT_THAT(all, HasSubstr("muster agent --server host.example:7070 "));
  }
}

TEST(NamesOfThisMachineTest, ServerCanHaveThem) {
  const std::vector<std::string> names = NamesOfThisMachine();
  for (const char* const own : {"localhost", "127.0.0.1", "::1"}) {
    EXPECT_THAT(names, Contains(own));
  }
  MUSTER_EXPECT_OK(ServerOrder(names, absl::UnixEpoch(), kDay).status());
}

}  // namespace
}  // namespace muster
