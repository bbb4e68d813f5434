#include "storage/tls/cluster_certificates.h"

#include <sys/stat.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/files/staged_file.h"
#include "storage/tls/tls_files.h"
#include "tests/support/made_certificates.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace muster {
namespace {

using absl::StatusCode;
using testing::ElementsAre;
using testing::HasSubstr;

const absl::Time kToday = absl::FromUnixSeconds(1'800'000'000);

TEST(ClusterCertificatesTest, IdentityIsAUriOfTheCluster) {
  EXPECT_THAT(IdentityUri("c1", "node/n1"), IsOkAndHolds("spiffe://c1/node/n1"));
  EXPECT_THAT(IdentityUri("c1", "user/a@b.example"), IsOkAndHolds("spiffe://c1/user/a@b.example"));
  for (const char* const who : {"", "n1", "node/", "node/a/b", "node/..", "node/a..b", "user/-a",
                                "user/a b", "group/a", "NODE/n1", "node/a@b", "user/a%2f"}) {
    EXPECT_THAT(IdentityUri("c1", who),
                StatusIs(StatusCode::kInvalidArgument, HasSubstr("node/NAME or user/NAME")))
        << who;
  }
}

TEST(ClusterCertificatesTest, ClusterThatNoUriCanNameIsRefused) {
  for (const std::string& cluster :
       {std::string(), std::string("Prod"), std::string("a/b"), std::string("a..b"),
        std::string("a b"), std::string(64, 'a')}) {
    EXPECT_THAT(NewClusterAuthority(cluster, kToday),
                StatusIs(StatusCode::kInvalidArgument, HasSubstr("can't stand in certificates")));
  }
}

TEST(ClusterCertificatesTest, AuthoritySaysForWhichClusterItIs) {
  for (const std::string& cluster : {std::string("be683db3aaa7"), std::string(63, 'c')}) {
    const auto authority = NewClusterAuthority(cluster, kToday);
    MUSTER_ASSERT_OK(authority.status());
    EXPECT_THAT(ClusterOf(authority->certificate_pem), IsOkAndHolds(cluster));
    const auto facts = FactsOf(authority->certificate_pem);
    EXPECT_TRUE(facts->authority);
    EXPECT_EQ(facts->valid_until, kToday + kAuthorityTime);
  }
  EXPECT_THAT(ClusterOf(MadeCertificate({.common_name = "other"}).certificate_pem()),
              StatusIs(StatusCode::kFailedPrecondition, HasSubstr("\"other\"")));
}

TEST(ClusterCertificatesTest, ServerHasItsNamesByKind) {
  const auto order =
      ServerOrder({"localhost", "10.0.0.1", "::1", "localhost"}, kToday, absl::Hours(1));

  MUSTER_ASSERT_OK(order.status());
  EXPECT_THAT(order->dns, ElementsAre("localhost"));
  EXPECT_THAT(order->addresses, ElementsAre("10.0.0.1", "::1"));
  EXPECT_TRUE(order->server);
  EXPECT_FALSE(order->client);
  for (const char* const host : {"", "a b", "host:7070", "*.example", "-x", "a\nb"}) {
    EXPECT_THAT(ServerOrder({host}, kToday, absl::Hours(1)),
                StatusIs(StatusCode::kInvalidArgument));
  }
}

class PairFilesTest : public testing::Test {
 protected:
  TemporaryDirectory directory_;
  const PairFiles files_{directory_.path(), kAuthorityFile};
};

TEST_F(PairFilesTest, PairIsWrittenForItsOwnerAndReadAgain) {
  const auto pair = NewClusterAuthority("c1", kToday);

  MUSTER_ASSERT_OK(WritePair(files_, *pair, /*may_replace=*/false));

  struct stat info = {};
  ASSERT_EQ(stat(files_.key.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  const auto read = ReadAuthorityFiles(directory_.path());
  MUSTER_ASSERT_OK(read.status());
  EXPECT_EQ(read->key_pem, pair->key_pem);
  EXPECT_EQ(read->certificate_pem, pair->certificate_pem);
}

TEST_F(PairFilesTest, NeitherOfAPairIsReplacedWithoutBeingAsked) {
  for (const std::string& path : {files_.certificate, files_.key}) {
    MUSTER_ASSERT_OK(WriteWholeFile(path, "mine"));
    EXPECT_THAT(WritePair(files_, {"c", "k"}, /*may_replace=*/false),
                StatusIs(StatusCode::kAlreadyExists, HasSubstr(path)));
    EXPECT_THAT(ReadPemFile(path, /*secret=*/false), IsOkAndHolds("mine"));
    struct stat info = {};
    EXPECT_NE(stat((path == files_.key ? files_.certificate : files_.key).c_str(), &info), 0);
    unlink(path.c_str());
  }
  MUSTER_ASSERT_OK(WriteWholeFile(files_.key, "mine"));
  MUSTER_EXPECT_OK(WritePair(files_, {"c", "k"}, /*may_replace=*/true));
  EXPECT_THAT(ReadPemFile(files_.key, /*secret=*/true), IsOkAndHolds("k"));
}

}  // namespace
}  // namespace muster
