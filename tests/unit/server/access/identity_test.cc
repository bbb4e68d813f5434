#include "server/access/identity.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/support/status_matchers.h"

namespace muster {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using Field = CertificateMatch::Field;

constexpr char kCluster[] = "be683db3aaa7";

CertificateNames WithUri(const std::string& uri) { return {{uri}, {}, "", "01"}; }

std::string WhoIs(const CertificateNames& names, std::vector<CertificateMatch> matches = {}) {
  const auto identity = IdentityOf(names, kCluster, matches);
  return identity.ok() ? identity->Who() : ReasonOf(identity.status());
}

std::string WhyNot(const CertificateNames& names, std::vector<CertificateMatch> matches = {}) {
  return std::string(IdentityOf(names, kCluster, matches).status().message());
}

TEST(IdentityTest, UrisOfTheClusterAreNodesAndUsers) {
  EXPECT_EQ(WhoIs(WithUri("spiffe://be683db3aaa7/node/n1")), "node/n1");
  EXPECT_EQ(WhoIs(WithUri("spiffe://be683db3aaa7/node/GPU-7.example.org")),
            "node/GPU-7.example.org");
  EXPECT_EQ(WhoIs(WithUri("spiffe://be683db3aaa7/user/alice@example.org")),
            "user/alice@example.org");
}

TEST(IdentityTest, ACertificateIsItsProof) {
  CertificateNames names = WithUri("spiffe://be683db3aaa7/node/n1");
  names.serial = "00:3F:A2";

  const auto identity = IdentityOf(names, kCluster, {});

  MUSTER_ASSERT_OK(identity);
  EXPECT_EQ(identity->proof, Identity::Proof::kCertificate);
  EXPECT_EQ(identity->credential, "3fa2");
}

TEST(IdentityTest, UrisOfTheClusterOfAnotherFormAreRefused) {
  // A match that would take anything must not get to see them.
  const std::vector<CertificateMatch> greedy = {
      {Field::kCommonName, "{name}", "user/{name}"},
      {Field::kUri, "spiffe://be683db3aaa7/{name}", "user/{name}"}};
  for (const char* path : {"", "/", "/node", "/node/", "/nodes/n1", "/Node/n1", "/node/n1/",
                           "/node/n1/x", "/node//n1", "/node/-n1", "/node/a@b", "/user/",
                           "/user/a b", "/admin/root", "/x", "/node/n1?x=1", "/node/n1#x"}) {
    CertificateNames names = WithUri(std::string("spiffe://be683db3aaa7") + path);
    names.common_name = "root";
    EXPECT_EQ(WhoIs(names, greedy), "CREDENTIAL_REFUSED") << path;
  }
}

TEST(IdentityTest, OtherClustersAreNobody) {
  for (const char* uri :
       {"spiffe://be683db3aaa70/node/n1", "spiffe://be683db3aaa/node/n1",
        "spiffe://be683db3aaa7xnode/n1", "spiffe://other/node/n1", "spiffe:///node/n1",
        "https://be683db3aaa7/node/n1", "spiffe:be683db3aaa7/node/n1",
        "spiffe://x@be683db3aaa7/node/n1", "spiffe://be683db3aaa7:1/node/n1"}) {
    EXPECT_EQ(WhoIs(WithUri(uri)), "CREDENTIAL_REFUSED") << uri;
  }
  EXPECT_THAT(IdentityOf(WithUri("spiffe:///node/n1"), "", {}),
              StatusIs(absl::StatusCode::kUnauthenticated));
}

TEST(IdentityTest, NamesThatReadInTwoWaysAreRefused) {
  const struct {
    std::string uri;
    const char* why;
  } cases[] = {
      {std::string("spiffe://be683db3aaa7/node/n1\0.evil", 34), "control character"},
      {"spiffe://be683db3aaa7/node/n1\n", "control character"},
      {"spiffe://be683db3aaa7/node/*", "wildcard"},
      {"spiffe://be683db3aaa7/node/../user/root", "\"..\""},
      {"spiffe://be683db3aaa7/node/n%31", "percent code"},
      {"SPIFFE://be683db3aaa7/node/n1", "upper case"},
      {"spiffe://BE683DB3AAA7/node/n1", "upper case"},
      {"spiffe://be683db3aaa7/node/n 1", "space"},
      {"spiffe://be683db3aaa7/node/n\xc3\xa4", "beyond ASCII"},
      {"spiffe://be683db3aaa7/node/\xff", "UTF-8"},
      {"spiffe://be683db3aaa7/node/" + std::string(65'536, 'n'), "bytes; the limit is 2048"},
      {"", "empty"},
  };
  for (const auto& test : cases) {
    EXPECT_EQ(WhoIs(WithUri(test.uri)), "CREDENTIAL_REFUSED") << test.uri.substr(0, 100);
    EXPECT_THAT(WhyNot(WithUri(test.uri)), HasSubstr(test.why));
    EXPECT_LT(WhyNot(WithUri(test.uri)).size(), 1'000u);
  }
}

TEST(IdentityTest, TwoUrisThatDifferAreRefused) {
  CertificateNames names = WithUri("spiffe://be683db3aaa7/node/n1");
  names.uris.push_back("spiffe://be683db3aaa7/node/n1");
  EXPECT_EQ(WhoIs(names), "node/n1");

  names.uris.push_back("https://elsewhere/");
  EXPECT_THAT(WhyNot(names), HasSubstr("differs"));

  EXPECT_THAT(WhyNot({std::vector<std::string>(101, "spiffe://be683db3aaa7/node/n1"), {}, "", ""}),
              HasSubstr("100"));
  EXPECT_THAT(WhyNot({{}, std::vector<std::string>(101, "a.example.org"), "", ""}),
              HasSubstr("100"));
}

TEST(IdentityTest, MatchesMakeOtherCertificatesKnown) {
  const std::vector<CertificateMatch> matches = {
      {Field::kUri, "spiffe://corp/agents/{name}/gpu", "node/{name}"},
      {Field::kDns, "{name}.gpu.example.org", "node/{name}"},
      {Field::kCommonName, "Alice Smith", "user/alice"},
  };

  EXPECT_EQ(WhoIs(WithUri("spiffe://corp/agents/n7/gpu"), matches), "node/n7");
  EXPECT_EQ(WhoIs({{}, {"web.example.org", "n8.gpu.example.org"}, "", ""}, matches), "node/n8");
  EXPECT_EQ(WhoIs({{}, {}, "Alice Smith", ""}, matches), "user/alice");
  EXPECT_EQ(
      WhoIs({{"spiffe://corp/agents/n7/gpu"}, {"n8.gpu.example.org"}, "Alice Smith", ""}, matches),
      "node/n7");
}

TEST(IdentityTest, AMatchTakesNoMoreThanItSays) {
  const std::vector<CertificateMatch> matches = {
      {Field::kUri, "spiffe://corp/agents/{name}/gpu", "node/{name}"},
      {Field::kDns, "{name}.gpu.example.org", "node/{name}"},
      {Field::kCommonName, "Alice Smith", "user/alice"},
  };
  for (const char* uri : {"spiffe://corp/agents/a/b/gpu", "spiffe://corp/agents//gpu",
                          "spiffe://corp/agents/n7/gpu/x", "xspiffe://corp/agents/n7/gpu",
                          "spiffe://corp/agents/gpu"}) {
    EXPECT_EQ(WhoIs(WithUri(uri), matches), "CREDENTIAL_REFUSED") << uri;
  }
  for (const char* dns :
       {"a.b.gpu.example.org", ".gpu.example.org", "gpu.example.org", "n8.gpu.example.org.evil"}) {
    EXPECT_EQ(WhoIs({{}, {dns}, "", ""}, matches), "CREDENTIAL_REFUSED") << dns;
  }
  for (const char* name : {"alice smith", "Alice Smith ", "Alice", ""}) {
    EXPECT_EQ(WhoIs({{}, {}, name, ""}, matches), "CREDENTIAL_REFUSED") << name;
  }
}

TEST(IdentityTest, HostileNamesSpoilTheirMatch) {
  const std::vector<CertificateMatch> dns = {{Field::kDns, "{name}.example.org", "node/{name}"}};
  for (const std::string& hostile :
       {std::string("*.example.org"), std::string("N1.example.org"), std::string("n1..example.org"),
        std::string("n1%2e.example.org"), std::string("n1\0.example.org", 15),
        std::string(254, 'a')}) {
    // A good name beside it does not save it.
    EXPECT_EQ(WhoIs({{}, {"n1.example.org", hostile}, "", ""}, dns), "CREDENTIAL_REFUSED")
        << hostile;
  }
  // DNS knows no case, but nodes do.
  EXPECT_EQ(WhoIs({{}, {"N1.example.org"}, "", ""}, dns), "CREDENTIAL_REFUSED");
  const std::vector<CertificateMatch> cn = {{Field::kCommonName, "{name}", "user/{name}"}};
  EXPECT_EQ(WhoIs({{}, {}, "alice", ""}, cn), "user/alice");
  for (const std::string& hostile :
       {std::string("ali\0ce", 6), std::string("alice\n"), std::string("a/b"),
        std::string("../root"), std::string(65'536, 'a'), std::string("*"),
        std::string("{name}")}) {
    EXPECT_EQ(WhoIs({{}, {}, hostile, ""}, cn), "CREDENTIAL_REFUSED") << hostile.substr(0, 20);
  }
  // What no match looks at is not judged: many a person's common name has no place here.
  EXPECT_EQ(WhoIs({{"spiffe://be683db3aaa7/node/n1"}, {"*.example.org"}, "a\nb", ""}, dns),
            "node/n1");
}

TEST(IdentityTest, OneMatchThatNamesTwoIsRefused) {
  const std::vector<CertificateMatch> dns = {{Field::kDns, "{name}.example.org", "node/{name}"}};

  EXPECT_THAT(WhyNot({{}, {"n1.example.org", "n2.example.org"}, "", ""}, dns),
              HasSubstr("both node/n1 and node/n2"));
  EXPECT_EQ(WhoIs({{}, {"n1.example.org", "n1.example.org"}, "", ""}, dns), "node/n1");
}

TEST(IdentityTest, MatchesAreChecked) {
  MUSTER_EXPECT_OK(CheckMatch({Field::kDns, "{name}.example.org", "node/{name}"}));
  MUSTER_EXPECT_OK(CheckMatch({Field::kCommonName, "Alice Smith", "user/alice"}));
  for (const CertificateMatch& match : std::vector<CertificateMatch>{
           {Field::kDns, "", "node/n1"},
           {Field::kDns, "*.example.org", "node/n1"},
           {Field::kDns, "{name}.{name}.org", "node/{name}"},
           {Field::kDns, "{name}.example.org", "node/n1"},
           {Field::kDns, "n1.example.org", "node/{name}"},
           {Field::kDns, "n1.example.org", "n1"},
           {Field::kDns, "n1.example.org", "node/"},
           {Field::kDns, "n1.example.org", "local"},
           {Field::kDns, "n1.example.org", "user/a b"},
           {Field::kDns, std::string(3'000, 'a'), "user/a"},
       }) {
    EXPECT_THAT(CheckMatch(match), StatusIs(absl::StatusCode::kInvalidArgument))
        << match.pattern.substr(0, 50);
  }
}

TEST(IdentityTest, SerialsHaveOneForm) {
  EXPECT_EQ(NormalSerial("3FA2"), "3fa2");
  EXPECT_EQ(NormalSerial("00:0a:B0"), "ab0");
  EXPECT_EQ(NormalSerial(""), "");
  EXPECT_EQ(NormalSerial("00"), "");
  EXPECT_EQ(NormalSerial("0x3f"), "");
  EXPECT_EQ(NormalSerial(std::string(1'000, 'a')), "");
}

}  // namespace
}  // namespace muster
