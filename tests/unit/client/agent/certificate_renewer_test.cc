// A certificate is renewed in time, a failure is told once, and the end is told with the way out.
#include "client/agent/certificate_renewer.h"

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/time/clock.h"
#include "client/agent/node_certificate.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/mutex.h"
#include "storage/tls/authority.h"
#include "tests/support/await.h"
#include "tests/support/fake_channel.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace muster {
namespace {

using ::testing::HasSubstr;

// What the renewer says; set by its thread.
class Said {
 public:
  void Add(const std::string& text) {
    MutexLock lock(mutex_);
    texts_.push_back(text);
    changed_.NotifyAll();
  }
  std::vector<std::string> Await(size_t count) {
    MutexLock lock(mutex_);
    AwaitOrFail(mutex_, changed_, "what the renewer says", [&] { return texts_.size() >= count; });
    return texts_;
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  std::vector<std::string> texts_ MUSTER_GUARDED_BY(mutex_);
};

class CertificateRenewerTest : public testing::Test {
 protected:
  CertificateRenewerTest() {
    const auto authority = NewAuthority("authority", absl::Now(), absl::Now() + absl::Hours(1));
    MUSTER_EXPECT_OK(authority);
    authority_ = *authority;
    fake_.OnUnary<v1::EnrolRequest, v1::EnrolResponse>(
        "/muster.v1.EnrolmentService/Enrol",
        [this](const auto& request, auto& response, const CallOptions&) {
          tokens_.Add(request.token());
          return Sign(request.certificate_request_pem(), *response.mutable_certificate_pem());
        });
  }

  absl::Status Sign(const std::string& request_pem, std::string& certificate_pem) {
    const auto key = PublicKeyOfRequest(request_pem);
    if (!key.ok()) return key.status();
    keys_.Add(*key);
    CertificateOrder order;
    order.common_name = "n1";
    order.uris = {"spiffe://c/node/n1"};
    order.client = true;
    order.not_before = absl::Now();
    order.not_after = absl::Now() + life_;
    const auto issued = IssueCertificate(authority_, order, *key);
    if (issued.ok()) certificate_pem = *issued;
    return issued.status();
  }

  TemporaryDirectory directory_;
  KeyPair authority_;
  absl::Duration life_ = absl::Seconds(3);
  Said tokens_, keys_, warned_, renewed_;
  std::unique_ptr<Random> random_ = NewSeededRandom(7);
  FakeChannel fake_;
  Client client_{std::make_unique<ForwardingChannel>(fake_), *random_};
  NodeCertificate certificate_{NodeFolder(directory_.path(), "nodes/n1"), "nodes/n1"};
};

TEST(RenewalTimeTest, IsTwoThirdsIntoTheLifeOrUpToATenthBefore) {
  const NodeCertificate::Life life{absl::UnixEpoch(), absl::UnixEpoch() + absl::Hours(168)};
  EXPECT_EQ(RenewalTime(life, 0), absl::UnixEpoch() + absl::Hours(112));
  EXPECT_GE(RenewalTime(life, 0.999), absl::UnixEpoch() + absl::Hours(95));
}

TEST_F(CertificateRenewerTest, AnEnrolmentThatIsRepeatedKeepsItsKeyUntilItHasItsAnswer) {
  fake_.OnUnary<v1::EnrolRequest, v1::EnrolResponse>(
      "/muster.v1.EnrolmentService/Enrol", [this](const auto& request, auto&, const CallOptions&) {
        keys_.Add(*PublicKeyOfRequest(request.certificate_request_pem()));
        return absl::UnavailableError("the answer is lost");
      });
  EXPECT_THAT(certificate_.Enrol(client_, "t", {}), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(certificate_.Enrol(client_, "t", {}), StatusIs(absl::StatusCode::kUnavailable));
  const std::vector<std::string> keys = keys_.Await(2);
  EXPECT_EQ(keys[0], keys[1]);
  const auto none = certificate_.Read();
  MUSTER_ASSERT_OK(none);
  EXPECT_FALSE(none->has_value());
}

TEST_F(CertificateRenewerTest, RenewsWithANewKeyBeforeTheEnd) {
  fake_.OnUnary<v1::RenewCertificateRequest, v1::RenewCertificateResponse>(
      "/muster.v1.EnrolmentService/RenewCertificate",
      [this](const auto& request, auto& response, const CallOptions&) {
        return Sign(request.certificate_request_pem(), *response.mutable_certificate_pem());
      });
  MUSTER_ASSERT_OK(certificate_.Enrol(client_, "mjt_token", {}));
  EXPECT_EQ(tokens_.Await(1).front(), "mjt_token");
  CertificateRenewer::Options options;
  options.renewals = std::make_shared<std::atomic<uint64_t>>(0);
  options.renewed = [this](const NodeCertificate::Life& life) {
    renewed_.Add(absl::Now() < life.until ? "in time" : "late");
  };
  options.warn = [this](const std::string& text) { warned_.Add(text); };
  const auto renewals = options.renewals;
  {
    const CertificateRenewer renewer(certificate_, client_, SystemClock(), *random_, options);
    for (const std::string& when : renewed_.Await(2)) EXPECT_EQ(when, "in time");
  }
  EXPECT_GE(*renewals, 2u);
  EXPECT_TRUE(warned_.Await(0).empty());
  const std::vector<std::string> keys = keys_.Await(3);
  EXPECT_NE(keys[0], keys[1]);
  EXPECT_NE(keys[1], keys[2]);
}

TEST_F(CertificateRenewerTest, AFailureIsToldOnceAndTheEndOnceMore) {
  fake_.OnUnary<v1::RenewCertificateRequest, v1::RenewCertificateResponse>(
      "/muster.v1.EnrolmentService/RenewCertificate",
      [](const auto&, auto&, const CallOptions&) { return absl::UnavailableError("away"); });
  MUSTER_ASSERT_OK(certificate_.Enrol(client_, "t", {}));
  CertificateRenewer::Options options;
  options.warn = [this](const std::string& text) { warned_.Add(text); };
  std::vector<std::string> warned;
  {
    const CertificateRenewer renewer(certificate_, client_, SystemClock(), *random_, options);
    warned = warned_.Await(2);
  }
  ASSERT_EQ(warned_.Await(0).size(), 2u);
  EXPECT_THAT(warned[0], HasSubstr("is not renewed yet"));
  EXPECT_THAT(warned[1], HasSubstr("--join"));
}

}  // namespace
}  // namespace muster
