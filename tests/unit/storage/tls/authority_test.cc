#include "storage/tls/authority.h"

#include <openssl/ec.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <memory>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/limits.h"
#include "storage/tls/x509_values.h"
#include "tests/support/made_certificates.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::MatchesRegex;
using testing::Not;

using RequestPtr = std::unique_ptr<X509_REQ, OpenSslFreer<X509_REQ_free>>;
using StorePtr = std::unique_ptr<X509_STORE, OpenSslFreer<X509_STORE_free>>;
using ContextPtr = std::unique_ptr<X509_STORE_CTX, OpenSslFreer<X509_STORE_CTX_free>>;

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);

KeyPair Authority(absl::Duration lasting = absl::Hours(24 * 3'650)) {
  const auto made = NewAuthority("our authority", kNow, kNow + lasting);
  EXPECT_THAT(made, IsOk());
  return made.value_or(KeyPair{});
}

CertificateOrder NodeOrder() {
  return {.common_name = "n1",
          .uris = {"spiffe://c/node/n1"},
          .client = true,
          .not_before = kNow,
          .not_after = kNow + absl::Hours(24 * 7)};
}

// As OpenSSL judges it: X509_V_OK, or why not.
int Verify(const std::string& authority_pem, const std::string& leaf_pem, X509_PURPOSE* purpose,
           const char* host = nullptr, absl::Time now = kNow, const std::string& between_pem = "") {
  const auto authorities = CertificatesIn(authority_pem);
  const auto leaves = CertificatesIn(leaf_pem);
  const auto between = CertificatesIn(between_pem);
  if (authorities.empty() || leaves.empty()) return -1;
  const StorePtr store(X509_STORE_new());
  X509_STORE_add_cert(store.get(), authorities.front().get());
  const ContextPtr context(X509_STORE_CTX_new());
  STACK_OF(X509)* chain = sk_X509_new_null();
  for (const CertificatePtr& one : between) sk_X509_push(chain, one.get());
  X509_STORE_CTX_init(context.get(), store.get(), leaves.front().get(), chain);
  X509_VERIFY_PARAM* wanted = X509_STORE_CTX_get0_param(context.get());
  X509_VERIFY_PARAM_set_flags(wanted, X509_V_FLAG_X509_STRICT);
  X509_VERIFY_PARAM_set_purpose(wanted, X509_PURPOSE_get_id(purpose));
  X509_VERIFY_PARAM_set_time(wanted, absl::ToTimeT(now));
  if (host != nullptr) {
    if (X509_VERIFY_PARAM_set1_ip_asc(wanted, host) != 1)
      X509_VERIFY_PARAM_set1_host(wanted, host, 0);
  }
  X509_verify_cert(context.get());
  const int result = X509_STORE_CTX_get_error(context.get());
  sk_X509_free(chain);
  return result;
}

X509_PURPOSE* Clients() {
  return X509_PURPOSE_get0(X509_PURPOSE_get_by_id(X509_PURPOSE_SSL_CLIENT));
}
X509_PURPOSE* Servers() {
  return X509_PURPOSE_get0(X509_PURPOSE_get_by_id(X509_PURPOSE_SSL_SERVER));
}

std::string RequestText(X509_REQ* request) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509_REQ(bio.get(), request);
  return TextOfBio(*bio);
}

// A request for `key`, signed by `signer`, that asks for all of `extensions`, as OpenSSL's configuration has them.
std::string RequestFor(EVP_PKEY* key, EVP_PKEY* signer,
                       const std::vector<std::pair<int, std::string>>& extensions = {}) {
  const RequestPtr request(X509_REQ_new());
  X509_REQ_set_pubkey(request.get(), key);
  STACK_OF(X509_EXTENSION)* list = sk_X509_EXTENSION_new_null();
  for (const auto& [kind, value] : extensions) {
    sk_X509_EXTENSION_push(list, X509V3_EXT_conf_nid(nullptr, nullptr, kind, value.c_str()));
  }
  if (!extensions.empty()) X509_REQ_add_extensions(request.get(), list);
  sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free);
  const bool own_digest = EVP_PKEY_is_a(signer, "ED25519") == 1;
  X509_REQ_sign(request.get(), signer, own_digest ? nullptr : EVP_sha256());
  return RequestText(request.get());
}

// A public key of so many bits, for which nobody has to look for primes.
KeyPtr RsaKeyOf(int bits) {
  std::string number(static_cast<size_t>(bits) / 8, '\xFF');
  unsigned exponent = 65'537;
  OSSL_PARAM parameters[] = {
      OSSL_PARAM_BN("n", number.data(), number.size()),
      OSSL_PARAM_uint("e", &exponent),
      OSSL_PARAM_END,
  };
  EVP_PKEY_CTX* context = EVP_PKEY_CTX_new_from_name(nullptr, "RSA", nullptr);
  EVP_PKEY* key = nullptr;
  EVP_PKEY_fromdata_init(context);
  EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, parameters);
  EVP_PKEY_CTX_free(context);
  return KeyPtr(key);
}

KeyPtr P256() { return KeyPtr(EVP_EC_gen("P-256")); }

TEST(AuthorityTest, CertificateLeadsToTheAuthorityThatIssuedIt) {
  const KeyPair authority = Authority();

  const auto issued = IssuePair(authority, NodeOrder());

  MUSTER_ASSERT_OK(issued.status());
  EXPECT_EQ(Verify(authority.certificate_pem, issued->certificate_pem, Clients()), X509_V_OK);
  EXPECT_TRUE(IsSignedBy(issued->certificate_pem, authority.certificate_pem));
  // One of the same name is another one.
  const KeyPair other = Authority();
  EXPECT_NE(Verify(other.certificate_pem, issued->certificate_pem, Clients()), X509_V_OK);
  EXPECT_FALSE(IsSignedBy(issued->certificate_pem, other.certificate_pem));
  EXPECT_FALSE(IsSignedBy("", authority.certificate_pem));
}

TEST(AuthorityTest, CertificateSaysWhatWasOrdered) {
  CertificateOrder order = NodeOrder();
  order.dns = {"n1.example", "localhost"};
  order.addresses = {"10.0.0.1", "2001:db8::7"};

  const auto issued = IssuePair(Authority(), order);

  MUSTER_ASSERT_OK(issued.status());
  const auto facts = FactsOf(issued->certificate_pem);
  MUSTER_ASSERT_OK(facts.status());
  EXPECT_EQ(facts->subject, "spiffe://c/node/n1");
  EXPECT_EQ(facts->common_name, "n1");
  EXPECT_EQ(facts->issuer, "our authority");
  EXPECT_THAT(facts->uris, ElementsAre("spiffe://c/node/n1"));
  EXPECT_THAT(facts->dns, ElementsAre("n1.example", "localhost"));
  EXPECT_THAT(facts->addresses, ElementsAre("10.0.0.1", "2001:db8::7"));
  EXPECT_EQ(facts->valid_from, kNow - kCertificateSkew);
  EXPECT_EQ(facts->valid_until, kNow + absl::Hours(24 * 7));
  EXPECT_FALSE(facts->authority);
  EXPECT_TRUE(facts->client);
  EXPECT_FALSE(facts->server);
}

TEST(AuthorityTest, CertificateServesOnlyForWhatItIs) {
  const KeyPair authority = Authority();
  CertificateOrder order = NodeOrder();
  const auto client = IssuePair(authority, order);
  order.client = false;
  order.server = true;
  order.dns = {"muster.example"};
  order.addresses = {"127.0.0.1"};
  const auto server = IssuePair(authority, order);

  const std::string& trusted = authority.certificate_pem;
  EXPECT_EQ(Verify(trusted, client->certificate_pem, Servers()), X509_V_ERR_INVALID_PURPOSE);
  EXPECT_EQ(Verify(trusted, server->certificate_pem, Clients()), X509_V_ERR_INVALID_PURPOSE);
  EXPECT_EQ(Verify(trusted, server->certificate_pem, Servers(), "muster.example"), X509_V_OK);
  EXPECT_EQ(Verify(trusted, server->certificate_pem, Servers(), "127.0.0.1"), X509_V_OK);
  EXPECT_EQ(Verify(trusted, server->certificate_pem, Servers(), "other.example"),
            X509_V_ERR_HOSTNAME_MISMATCH);
  EXPECT_EQ(Verify(trusted, server->certificate_pem, Servers(), "127.0.0.2"),
            X509_V_ERR_IP_ADDRESS_MISMATCH);
}

TEST(AuthorityTest, CertificateThatWasIssuedIssuesNone) {
  const KeyPair authority = Authority();
  const auto node = IssuePair(authority, NodeOrder());

  EXPECT_THAT(IssuePair(*node, NodeOrder()), StatusIs(absl::StatusCode::kFailedPrecondition,
                                                      HasSubstr("is not that of an authority")));
  // Nor does one that has it signed by other means.
  const BioPtr bio = ReadingBio(node->key_pem);
  const KeyPtr key(PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr));
  const auto forged = IssuePair(authority, NodeOrder());
  const auto leaf = std::move(CertificatesIn(forged->certificate_pem).front());
  X509_set_issuer_name(leaf.get(),
                       X509_get_subject_name(CertificatesIn(node->certificate_pem).front().get()));
  X509_sign(leaf.get(), key.get(), EVP_sha256());
  const BioPtr out(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(out.get(), leaf.get());
  EXPECT_NE(Verify(authority.certificate_pem, TextOfBio(*out), Clients(), nullptr, kNow,
                   node->certificate_pem),
            X509_V_OK);
}

TEST(AuthorityTest, SerialNumbersHave128BitsAndDiffer) {
  const KeyPair authority = Authority();
  std::set<std::string> serials;
  for (int i = 0; i < 20; ++i) {
    serials.insert(FactsOf(IssuePair(authority, NodeOrder())->certificate_pem)->serial);
  }
  EXPECT_EQ(serials.size(), 20u);
  for (const std::string& serial : serials) EXPECT_THAT(serial, MatchesRegex("[0-9a-f]{32}"));
}

TEST(AuthorityTest, CertificateIsOverWithItsAuthority) {
  const KeyPair authority = Authority(absl::Hours(48));
  const auto issued = IssuePair(authority, NodeOrder());
  MUSTER_ASSERT_OK(issued.status());
  EXPECT_EQ(FactsOf(issued->certificate_pem)->valid_until, kNow + absl::Hours(48));

  CertificateOrder late = NodeOrder();
  late.not_before = kNow + absl::Hours(48);
  late.not_after = kNow + absl::Hours(72);
  EXPECT_THAT(IssuePair(authority, late),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("was over at")));
}

TEST(AuthorityTest, TimesThatNoCertificateCanHaveAreRefused) {
  CertificateOrder order = NodeOrder();
  order.not_after = order.not_before - absl::Hours(1);
  EXPECT_THAT(IssuePair(Authority(), order),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("can't be valid from")));
  EXPECT_THAT(NewAuthority("a", kNow, absl::InfiniteFuture()),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(NewAuthority("a", absl::InfinitePast(), kNow),
              StatusIs(absl::StatusCode::kInvalidArgument));
  // Beyond the two digits of a year that short dates have.
  const auto distant = NewAuthority("a", kNow, kNow + absl::Hours(24 * 365 * 40));
  MUSTER_ASSERT_OK(distant.status());
  EXPECT_EQ(FactsOf(distant->certificate_pem)->valid_until, kNow + absl::Hours(24 * 365 * 40));
}

TEST(AuthorityTest, NamesAreTakenAsTheyAreOrRefused) {
  const KeyPair authority = Authority();
  // What would be a second name in the words of OpenSSL's configuration.
  CertificateOrder order = NodeOrder();
  order.uris = {"spiffe://c/node/n1,URI:spiffe://c/user/admin"};
  const auto issued = IssuePair(authority, order);
  MUSTER_ASSERT_OK(issued.status());
  EXPECT_THAT(FactsOf(issued->certificate_pem)->uris, ElementsAre(order.uris.front()));

  for (const std::string& name : {std::string(), std::string("a b"), std::string("a\0b", 3),
                                  std::string("\xC3\xA4"), std::string(1'025, 'a')}) {
    order.uris = {name};
    EXPECT_THAT(IssuePair(authority, order), StatusIs(absl::StatusCode::kInvalidArgument)) << name;
  }
  order.uris = {};
  EXPECT_THAT(IssuePair(authority, order),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("1 to 1000 names")));
  order.addresses = {"10.0.0.999"};
  EXPECT_THAT(IssuePair(authority, order),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("is no IP address")));
  order = NodeOrder();
  order.client = false;
  EXPECT_THAT(IssuePair(authority, order), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(AuthorityTest, LongNameOfANodeStandsAmongTheNamesAlone) {
  const KeyPair authority = Authority();
  CertificateOrder order = NodeOrder();
  order.common_name = std::string(253, 'n');
  order.uris = {absl::StrCat("spiffe://c/node/", order.common_name)};

  const auto issued = IssuePair(authority, order);

  MUSTER_ASSERT_OK(issued.status());
  EXPECT_EQ(FactsOf(issued->certificate_pem)->common_name, "");
  EXPECT_EQ(Verify(authority.certificate_pem, issued->certificate_pem, Clients()), X509_V_OK);
  const auto key = NewPrivateKey();
  MUSTER_EXPECT_OK(PublicKeyOfRequest(NewRequest(*key, order.common_name).value()).status());
}

TEST(AuthorityTest, AuthorityWithTheKeyOfAnotherIssuesNothing) {
  KeyPair authority = Authority();
  authority.key_pem = Authority().key_pem;
  EXPECT_THAT(
      IssuePair(authority, NodeOrder()),
      StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("is not that of its certificate")));
  authority.key_pem = MadeCertificate({.common_name = "a"}).key_pem("secret");
  EXPECT_THAT(IssuePair(authority, NodeOrder()),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("has a passphrase")));
  authority.key_pem = "";
  EXPECT_THAT(IssuePair(authority, NodeOrder()), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(AuthorityTest, PinIsThatOfTheKeyAndStays) {
  // Made by `openssl x509 -pubkey | openssl pkey -pubin -outform der | sha256sum`, for a certificate of 2026.
  constexpr char kCertificate[] = R"(-----BEGIN CERTIFICATE-----
MIIBeDCCAR2gAwIBAgIUcMvZpV9igjT9s70PkCWgk6mADFgwCgYIKoZIzj0EAwIw
ETEPMA0GA1UEAwwGcGlubmVkMB4XDTI2MTIwMTAxMTY1N1oXDTM2MTEyODAxMTY1
N1owETEPMA0GA1UEAwwGcGlubmVkMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE
EZAx6WI+XQhztbsoM21sLwcm2QP/C3CXql5+Lzl7cKW2xAmU6lv4csEywikEwCfc
rc3KdV/7wrMDdauQyqlRjKNTMFEwHQYDVR0OBBYEFK7gsG4Np+vOQYfTjwwNEJGK
0T2TMB8GA1UdIwQYMBaAFK7gsG4Np+vOQYfTjwwNEJGK0T2TMA8GA1UdEwEB/wQF
MAMBAf8wCgYIKoZIzj0EAwIDSQAwRgIhANJtZ1H76+W7fXOM+JziWZI2bp9C2Opj
nMpIYTMhQffqAiEAyIjk3LIYuUG11qYJsUcBxK7tyWMN9djkUW1caE6HBtk=
-----END CERTIFICATE-----
)";
  EXPECT_THAT(
      AuthorityPin(kCertificate),
      IsOkAndHolds("sha256:1af2bd1a8f1b2ed5e14fd4e35067dc0555bd0a4e81e4e63f8b2cca8f9f4db7dd"));

  const KeyPair one = Authority();
  const auto pin = AuthorityPin(one.certificate_pem);
  EXPECT_THAT(*pin, MatchesRegex("sha256:[0-9a-f]{64}"));
  EXPECT_EQ(FactsOf(one.certificate_pem)->pin, *pin);
  EXPECT_NE(AuthorityPin(Authority().certificate_pem).value(), *pin);
  EXPECT_THAT(AuthorityPin("nothing"), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(AuthorityTest, RequestGivesItsKey) {
  const auto key = NewPrivateKey();
  const auto request = NewRequest(*key, "n1");
  MUSTER_ASSERT_OK(request.status());

  EXPECT_THAT(PublicKeyOfRequest(*request), IsOkAndHolds(PublicKeyOf(*key).value()));
  EXPECT_THAT(PublicKeyOfRequest(absl::StrCat("\n ", *request, "\n\n")), IsOk());
  const KeyPtr p384(EVP_EC_gen("P-384"));
  EXPECT_THAT(PublicKeyOfRequest(RequestFor(p384.get(), p384.get())), IsOk());
  const KeyPtr rsa(EVP_RSA_gen(2'048));
  EXPECT_THAT(PublicKeyOfRequest(RequestFor(rsa.get(), rsa.get())), IsOk());
}

TEST(AuthorityTest, NothingElseOfARequestIsTakenOver) {
  const KeyPair authority = Authority();
  const KeyPtr key = P256();
  const std::string greedy =
      RequestFor(key.get(), key.get(),
                 {{NID_basic_constraints, "critical,CA:TRUE"},
                  {NID_key_usage, "keyCertSign"},
                  {NID_ext_key_usage, "serverAuth,clientAuth"},
                  {NID_subject_alt_name, "URI:spiffe://c/user/admin,DNS:muster.example"}});

  const auto public_key = PublicKeyOfRequest(greedy);
  MUSTER_ASSERT_OK(public_key.status());
  const auto issued = IssueCertificate(authority, NodeOrder(), *public_key);

  MUSTER_ASSERT_OK(issued.status());
  const auto facts = FactsOf(*issued);
  EXPECT_FALSE(facts->authority);
  EXPECT_FALSE(facts->server);
  EXPECT_THAT(facts->uris, ElementsAre("spiffe://c/node/n1"));
  EXPECT_THAT(facts->dns, IsEmpty());
  EXPECT_EQ(Verify(authority.certificate_pem, *issued, Clients()), X509_V_OK);
}

TEST(AuthorityTest, RequestNotSignedByItsKeyIsRefused) {
  const KeyPtr key = P256();
  const KeyPtr other = P256();
  EXPECT_THAT(PublicKeyOfRequest(RequestFor(key.get(), other.get())),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("is not signed by the key")));
}

TEST(AuthorityTest, KeysThatAreWeakOrOfOtherKindsAreRefused) {
  const KeyPtr weak(EVP_RSA_gen(1'024));
  EXPECT_THAT(PublicKeyOfRequest(RequestFor(weak.get(), weak.get())),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("this one 1024")));
  const KeyPtr costly = RsaKeyOf(4'104);
  EXPECT_THAT(PublicKeyOfRequest(RequestFor(costly.get(), weak.get())),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("this one 4104")));
  for (const char* const curve : {"secp256k1", "P-224", "P-521"}) {
    const KeyPtr key(EVP_EC_gen(curve));
    EXPECT_THAT(PublicKeyOfRequest(RequestFor(key.get(), key.get())),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("of another kind")))
        << curve;
  }
  const KeyPtr edwards(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  EXPECT_THAT(PublicKeyOfRequest(RequestFor(edwards.get(), edwards.get())),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("of another kind")));
  // A curve that is spelled out may be any.
  const KeyPtr named = P256();
  EVP_PKEY_set_utf8_string_param(named.get(), "encoding", "explicit");
  EXPECT_THAT(PublicKeyOfRequest(RequestFor(named.get(), named.get())),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("of another kind")));
}

TEST(AuthorityTest, WhatIsNoRequestIsRefused) {
  const KeyPtr key = P256();
  const std::string good = RequestFor(key.get(), key.get());
  const std::string zero(1, '\0');
  const KeyPair authority = Authority();
  const std::string broken = absl::StrReplaceAll(good, {{"\nMI", "\nNI"}});
  ASSERT_NE(broken, good);
  const std::string cases[] = {
      "",
      "nothing",
      std::string(5'000, '\x80'),
      zero,
      absl::StrCat(good, zero),
      absl::StrCat(zero, good),
      absl::StrCat(good.substr(0, 60), zero, good.substr(61)),
      good.substr(0, good.size() / 2),
      absl::StrCat("Subject: somebody\n", good),
      absl::StrCat(good, "more"),
      absl::StrCat(good, good),
      absl::StrCat(good, authority.certificate_pem),
      absl::StrCat(authority.key_pem, good),
      authority.certificate_pem,
      authority.key_pem,
      broken,
      // OpenSSL would ask the terminal of the server for a passphrase.
      absl::StrReplaceAll(good, {{"REQUEST-----\nMI",
                                  "REQUEST-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,"
                                  "00112233445566778899AABBCCDDEEFF\n\nMI"}}),
  };
  for (const std::string& text : cases) {
    EXPECT_THAT(PublicKeyOfRequest(text), StatusIs(absl::StatusCode::kInvalidArgument,
                                                   AllOf(HasSubstr("no request for a certificate"),
                                                         Not(HasSubstr("PRIVATE")))))
        << text;
  }
}

TEST(AuthorityTest, BigRequestIsRefusedBeforeItIsLookedAt) {
  const KeyPtr key = P256();
  const std::string good = RequestFor(key.get(), key.get());
  const std::string padded = absl::StrCat(good, std::string((1 << 20) - good.size(), '\n'));
  EXPECT_THAT(PublicKeyOfRequest(padded), StatusIs(absl::StatusCode::kInvalidArgument,
                                                   HasSubstr("of 1048576 bytes; at most 16384")));
  EXPECT_THAT(PublicKeyOfRequest(padded.substr(0, kMaxCertificateRequestBytes)), IsOk());
}

TEST(AuthorityTest, RenewalIsDueAfterTwoThirds) {
  EXPECT_EQ(RenewalTime(kNow, kNow + absl::Hours(90)), kNow + absl::Hours(60));
}

}  // namespace
}  // namespace muster
