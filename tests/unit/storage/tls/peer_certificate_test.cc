#include "storage/tls/peer_certificate.h"

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/made_certificates.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

using ::testing::ElementsAre;

TEST(PeerCertificateTest, TellsTheNamesAsTheyAre) {
  const absl::Time until = absl::FromUnixSeconds(absl::ToUnixSeconds(absl::Now())) + absl::Hours(5);
  const MadeCertificate made(
      {.common_name = "n1",
       .names = "URI:spiffe://c/node/n1,DNS:N1.example.org,DNS:*.b,IP:127.0.0.1,URI:https://x/%2e",
       .valid_until = until});

  const auto peer = ReadPeerCertificate(made.certificate_pem());

  MUSTER_ASSERT_OK(peer);
  EXPECT_THAT(peer->uris, ElementsAre("spiffe://c/node/n1", "https://x/%2e"));
  EXPECT_THAT(peer->dns, ElementsAre("N1.example.org", "*.b"));
  EXPECT_EQ(peer->common_name, "n1");
  EXPECT_EQ(peer->valid_until, until);
  EXPECT_FALSE(peer->serial.empty());
}

TEST(PeerCertificateTest, OfAChainTheFirst) {
  const MadeCertificate first({.common_name = "first"}), second({.common_name = "second"});

  const auto peer =
      ReadPeerCertificate(absl::StrCat(first.certificate_pem(), second.certificate_pem()));

  MUSTER_ASSERT_OK(peer);
  EXPECT_EQ(peer->common_name, "first");
}

TEST(PeerCertificateTest, WhatIsNoCertificateIsRefused) {
  const MadeCertificate made({.common_name = "n1"});
  const std::string pem = made.certificate_pem();
  for (const std::string& text : {std::string(), std::string("x"), pem.substr(0, pem.size() / 2),
                                  made.key_pem(), std::string(1 << 20, 'x') + pem}) {
    EXPECT_THAT(ReadPeerCertificate(text), StatusIs(absl::StatusCode::kInvalidArgument));
  }
}

}  // namespace
}  // namespace muster
