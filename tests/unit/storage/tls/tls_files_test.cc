#include "storage/tls/tls_files.h"

#include <sys/stat.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"
#include "storage/files/staged_file.h"
#include "tests/support/made_certificates.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace muster {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class TlsFilesTest : public testing::Test {
 protected:
  std::string Put(const std::string& name, const std::string& bytes, mode_t mode = 0600) {
    const std::string path = absl::StrCat(directory_.path(), "/", name);
    EXPECT_THAT(WriteWholeFile(path, bytes), IsOk());
    EXPECT_EQ(chmod(path.c_str(), mode), 0);
    return path;
  }
  // The files of a certificate that the authority signed.
  TlsFiles PutNode(const CertificateWish& wish) {
    const MadeCertificate node(wish, &authority_);
    return {Put("node.crt", node.certificate_pem()), Put("node.key", node.key_pem()),
            Put("ca.crt", authority_.certificate_pem())};
  }
  void ExpectRefused(const TlsFiles& files, const std::string& file, const std::string& says) {
    const auto read = ReadTlsFiles(files, absl::Now());
    EXPECT_THAT(read, StatusIs(absl::StatusCode::kInvalidArgument,
                               AllOf(HasSubstr(file), HasSubstr(says))));
    EXPECT_EQ(ReasonOf(read.status()), reasons::kTlsFilesUnusable);
    EXPECT_EQ(DetailOf(read.status()).metadata["file"], file);
    EXPECT_THAT(std::string(read.status().message()), testing::Not(HasSubstr("PRIVATE KEY")));
  }

  TemporaryDirectory directory_;
  const MadeCertificate authority_{{.common_name = "test authority"}};
};

TEST_F(TlsFilesTest, WholeSetIsRead) {
  const CertificateWish wish{.common_name = "n1", .names = "DNS:n1.example,URI:spiffe://c/node/n1"};
  const TlsFiles files = PutNode(wish);

  const auto read = ReadTlsFiles(files, absl::Now());

  MUSTER_ASSERT_OK(read.status());
  EXPECT_EQ(read->subject, "spiffe://c/node/n1");
  EXPECT_EQ(read->serial.size(), 16u);
  EXPECT_LT(absl::AbsDuration(read->valid_from - wish.valid_from), absl::Seconds(2));
  EXPECT_LT(absl::AbsDuration(read->valid_until - wish.valid_until), absl::Seconds(2));
  EXPECT_THAT(read->key_pem, HasSubstr("PRIVATE KEY"));
  EXPECT_EQ(read->authority_pem, authority_.certificate_pem());
}

TEST_F(TlsFilesTest, SubjectIsAUriThenAnotherNameThenTheCommonName) {
  const auto subject = [&](const std::string& names) {
    return ReadTlsFiles(PutNode({.common_name = "cn", .names = names}), absl::Now())->subject;
  };
  EXPECT_EQ(subject("IP:10.0.0.1,URI:spiffe://c/user/a"), "spiffe://c/user/a");
  EXPECT_EQ(subject("IP:10.0.0.1,DNS:a.example"), "10.0.0.1");
  EXPECT_EQ(subject("DNS:a.example"), "a.example");
  EXPECT_EQ(subject("IP:::1"), "::1");
  EXPECT_EQ(subject(""), "cn");
}

TEST_F(TlsFilesTest, NamesOfACertificateAreShownWithoutControlCharactersAndCut) {
  const auto read = ReadTlsFiles(
      PutNode({.common_name = absl::StrCat("a\n\x1b[2J", std::string(50, 'x'))}), absl::Now());

  MUSTER_ASSERT_OK(read.status());
  EXPECT_THAT(read->subject, testing::StartsWith("a\\n\\x1b[2Jxxx"));
  const auto big =
      ReadTlsFiles(PutNode({.common_name = "n",
                            .names = absl::StrCat("URI:spiffe://", std::string(60'000, 'y'))}),
                   absl::Now());
  MUSTER_ASSERT_OK(big.status());
  EXPECT_EQ(big->subject.size(), 256u);
}

TEST_F(TlsFilesTest, AuthorityAloneAndNothingAtAllAreFine) {
  const std::string authority = Put("ca.crt", authority_.certificate_pem());

  const auto read = ReadTlsFiles({.authority = authority}, absl::Now());

  MUSTER_ASSERT_OK(read.status());
  EXPECT_EQ(read->subject, "");
  MUSTER_EXPECT_OK(ReadTlsFiles({}, absl::Now()).status());
}

TEST_F(TlsFilesTest, CertificateAndKeyComeTogether) {
  TlsFiles files = PutNode({.common_name = "n1"});
  ExpectRefused({.certificate = files.certificate}, files.certificate, "without its private key");
  ExpectRefused({.key = files.key}, files.key, "without a certificate");
}

TEST_F(TlsFilesTest, KeyOfAnotherCertificateIsRefused) {
  TlsFiles files = PutNode({.common_name = "n1"});
  files.key = Put("other.key", MadeCertificate({.common_name = "n1"}, &authority_).key_pem());

  ExpectRefused(files, files.key, "is not the private key of the certificate in");
}

TEST_F(TlsFilesTest, KeyThatOthersCanReadIsRefused) {
  const TlsFiles files = PutNode({.common_name = "n1"});
  for (const mode_t mode : {0604, 0602, 0620, 0644}) {
    ASSERT_EQ(chmod(files.key.c_str(), mode), 0);
    ExpectRefused(files, files.key, "`chmod 600` it");
  }
  // As Kubernetes mounts secrets for a group.
  for (const mode_t mode : {0400, 0440, 0640}) {
    ASSERT_EQ(chmod(files.key.c_str(), mode), 0);
    MUSTER_EXPECT_OK(ReadTlsFiles(files, absl::Now()).status());
  }
}

TEST_F(TlsFilesTest, KeyWithAPassphraseIsRefused) {
  const MadeCertificate node({.common_name = "n1"}, &authority_);
  const TlsFiles files{Put("node.crt", node.certificate_pem()),
                       Put("node.key", node.key_pem("secret")), ""};

  ExpectRefused(files, files.key, "has a passphrase");
}

TEST_F(TlsFilesTest, TimeOutsideOfTheCertificatesIsSaidWithTheNumbers) {
  const TlsFiles late = PutNode({.common_name = "n1",
                                 .valid_from = absl::Now() - absl::Hours(30),
                                 .valid_until = absl::Now() - absl::Minutes(181)});
  ExpectRefused(late, late.certificate, "the certificate of n1 expired 3h ago, ");
  const TlsFiles early =
      PutNode({.common_name = "n1", .valid_from = absl::Now() + absl::Hours(73)});
  ExpectRefused(early, early.certificate, "3 days from now; is the clock of this machine right?");
}

TEST_F(TlsFilesTest, AuthorityHasToBeOneAndInItsTime) {
  TlsFiles files = PutNode({.common_name = "n1"});
  files.authority = Put("empty.crt", "");
  ExpectRefused(files, files.authority, "holds no certificate of an authority");
  files.authority = Put("key-only.crt", authority_.key_pem());
  ExpectRefused(files, files.authority, "holds no certificate of an authority");
  const MadeCertificate old({.common_name = "old one",
                             .valid_from = absl::Now() - absl::Hours(100),
                             .valid_until = absl::Now() - absl::Hours(72)});
  files.authority = Put("old.crt", old.certificate_pem());
  ExpectRefused(files, files.authority, "the authority old one expired 3 days ago");
  // While authorities are exchanged the old one may stay beside the new one.
  files.authority =
      Put("both.crt", absl::StrCat(old.certificate_pem(), authority_.certificate_pem()));
  MUSTER_EXPECT_OK(ReadTlsFiles(files, absl::Now()).status());
}

TEST_F(TlsFilesTest, WhatIsNoPemFileIsRefused) {
  const TlsFiles good = PutNode({.common_name = "n1"});
  TlsFiles files = good;
  files.certificate = Put("noise", std::string(5'000, '\x80'));
  ExpectRefused(files, files.certificate, "holds no certificate in PEM form");
  files.certificate = good.key;
  ExpectRefused(files, files.certificate, "holds no certificate in PEM form");
  files = good;
  files.key = good.certificate;
  ExpectRefused(files, files.key, "holds no private key in PEM form");
  files.key = Put("big", std::string((1 << 20) + 1, 'x'));
  ExpectRefused(files, files.key, "has 1048577 bytes");
  files.key = directory_.path();
  EXPECT_THAT(ReadTlsFiles(files, absl::Now()), StatusIs(absl::StatusCode::kInvalidArgument));
  files.key = absl::StrCat(directory_.path(), "/nowhere");
  EXPECT_THAT(ReadTlsFiles(files, absl::Now()),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("nowhere")));
}

TEST_F(TlsFilesTest, PipeIsNotWaitedFor) {
  TlsFiles files = PutNode({.common_name = "n1"});
  files.certificate = absl::StrCat(directory_.path(), "/pipe");
  ASSERT_EQ(mkfifo(files.certificate.c_str(), 0600), 0);

  EXPECT_THAT(ReadTlsFiles(files, absl::Now()), StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace muster
