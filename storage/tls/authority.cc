#include "storage/tls/authority.h"

#include <arpa/inet.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "storage/base/limits.h"
#include "storage/base/quote.h"
#include "storage/base/status_macros.h"
#include "storage/tls/x509_values.h"

namespace muster {
namespace {

using RequestPtr = std::unique_ptr<X509_REQ, OpenSslFreer<X509_REQ_free>>;
using NumberPtr = std::unique_ptr<BIGNUM, OpenSslFreer<BN_free>>;
using ExtensionPtr = std::unique_ptr<X509_EXTENSION, OpenSslFreer<X509_EXTENSION_free>>;
using NamePtr = std::unique_ptr<GENERAL_NAME, OpenSslFreer<GENERAL_NAME_free>>;

constexpr size_t kSerialBytes = 16;
// As X.520 bounds it.
constexpr size_t kMaxCommonNameBytes = 64;
constexpr size_t kMaxNameBytes = 1'024;
constexpr size_t kMaxNames = 1'000;
constexpr int kMinRsaBits = 2'048;
constexpr int kMaxRsaBits = 4'096;
// What RFC 5280 has for certificates that never end.
const absl::Time kNoEnd =
    absl::FromCivil(absl::CivilSecond(9999, 12, 31, 23, 59, 59), absl::UTCTimeZone());

// OpenSSL's own words, which have nothing secret in them. For what only a lack of memory or of random numbers can bring.
absl::Status OpenSslFailed(absl::string_view what) {
  const char* const reason = ERR_reason_error_string(ERR_peek_last_error());
  const std::string why = reason == nullptr ? "no reason given" : reason;
  ERR_clear_error();
  return absl::InternalError(absl::StrCat("OpenSSL can't ", what, ": ", why));
}

absl::StatusOr<KeyPtr> MakeKey() {
  KeyPtr key(EVP_EC_gen("P-256"));
  if (key == nullptr) return OpenSslFailed("make a private key");
  return key;
}

absl::StatusOr<KeyPtr> ReadKey(absl::string_view pem) {
  bool asked = false;
  KeyPtr key = PrivateKeyIn(pem, asked);
  if (key != nullptr) return key;
  return absl::InvalidArgumentError(asked ? "the private key has a passphrase; give one without"
                                          : "this is no private key in PEM form");
}

absl::StatusOr<std::string> KeyText(EVP_PKEY* key) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) != 1) {
    return OpenSslFailed("write a private key");
  }
  return TextOfBio(*bio);
}

absl::StatusOr<std::string> PublicKeyText(EVP_PKEY* key) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_PUBKEY(bio.get(), key) != 1) return OpenSslFailed("write a public key");
  return TextOfBio(*bio);
}

absl::StatusOr<std::string> CertificateText(X509* certificate) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_X509(bio.get(), certificate) != 1) return OpenSslFailed("write a certificate");
  return TextOfBio(*bio);
}

absl::Status NoCertificate() {
  return absl::InvalidArgumentError("this is no certificate in PEM form");
}

absl::StatusOr<CertificatePtr> ReadCertificate(absl::string_view pem) {
  std::vector<CertificatePtr> found = CertificatesIn(pem);
  if (found.empty()) return NoCertificate();
  return std::move(found.front());
}

// Random, so that none is used twice and nothing has to be remembered for it.
bool SetSerial(X509& certificate) {
  unsigned char bytes[kSerialBytes];
  if (RAND_bytes(bytes, sizeof(bytes)) != 1) return false;
  // Positive, and always of as many digits.
  bytes[0] = static_cast<unsigned char>((bytes[0] & 0x7F) | 0x40);
  const NumberPtr number(BN_bin2bn(bytes, sizeof(bytes), nullptr));
  return number != nullptr &&
         BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(&certificate)) != nullptr;
}

bool SetTimes(X509& certificate, absl::Time from, absl::Time until) {
  return ASN1_TIME_set(X509_getm_notBefore(&certificate), absl::ToTimeT(from)) != nullptr &&
         ASN1_TIME_set(X509_getm_notAfter(&certificate), absl::ToTimeT(until)) != nullptr;
}

bool SetCommonName(X509_NAME& name, absl::string_view text) {
  return X509_NAME_add_entry_by_txt(&name, "CN", MBSTRING_UTF8,
                                    reinterpret_cast<const unsigned char*>(text.data()),
                                    static_cast<int>(text.size()), -1, 0) == 1;
}

// `value` is in the words of OpenSSL's configuration, so it is never what came from outside.
bool AddExtension(X509& certificate, X509& issuer, int kind, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, &issuer, &certificate, nullptr, nullptr, 0);
  const ExtensionPtr extension(X509V3_EXT_conf_nid(nullptr, &context, kind, value));
  return extension != nullptr && X509_add_ext(&certificate, extension.get(), -1) == 1;
}

absl::Status CheckTimes(absl::Time from, absl::Time until) {
  if (from < absl::UnixEpoch() || from >= until || until > kNoEnd) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a certificate can't be valid from ", absl::FormatTime(from, absl::UTCTimeZone()),
        " until ", absl::FormatTime(until, absl::UTCTimeZone())));
  }
  return absl::OkStatus();
}

absl::Status CheckName(absl::string_view name) {
  const bool visible = std::all_of(name.begin(), name.end(), absl::ascii_isgraph);
  if (!name.empty() && name.size() <= kMaxNameBytes && visible) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(QuoteForMessage(name),
                                                 " is no name for a certificate: those have 1 to ",
                                                 kMaxNameBytes, " visible ASCII characters"));
}

// Takes over `name`, which it makes one of `kind` first.
bool Add(GENERAL_NAMES& names, int kind, ASN1_STRING* value, absl::string_view bytes) {
  NamePtr name(GENERAL_NAME_new());
  if (name == nullptr || value == nullptr ||
      ASN1_STRING_set(value, bytes.data(), static_cast<int>(bytes.size())) != 1) {
    ASN1_STRING_free(value);
    return false;
  }
  GENERAL_NAME_set0_value(name.get(), kind, value);
  if (sk_GENERAL_NAME_push(&names, name.get()) <= 0) return false;
  name.release();
  return true;
}

absl::StatusOr<std::string> AddressBytes(const std::string& address) {
  unsigned char bytes[sizeof(in6_addr)];
  const auto text = [&](size_t size) { return std::string(reinterpret_cast<char*>(bytes), size); };
  if (inet_pton(AF_INET, address.c_str(), bytes) == 1) return text(sizeof(in_addr));
  if (inet_pton(AF_INET6, address.c_str(), bytes) == 1) return text(sizeof(in6_addr));
  return absl::InvalidArgumentError(absl::StrCat(QuoteForMessage(address), " is no IP address"));
}

absl::StatusOr<NamesPtr> MakeNames(const CertificateOrder& order) {
  const size_t count = order.uris.size() + order.dns.size() + order.addresses.size();
  if (count == 0 || count > kMaxNames) {
    return absl::InvalidArgumentError(
        absl::StrCat("a certificate has 1 to ", kMaxNames, " names, not ", count));
  }
  NamesPtr names(sk_GENERAL_NAME_new_null());
  bool added = names != nullptr;
  for (const std::string& uri : order.uris) {
    MUSTER_RETURN_IF_ERROR(CheckName(uri));
    added = added && Add(*names, GEN_URI, ASN1_IA5STRING_new(), uri);
  }
  for (const std::string& dns : order.dns) {
    MUSTER_RETURN_IF_ERROR(CheckName(dns));
    added = added && Add(*names, GEN_DNS, ASN1_IA5STRING_new(), dns);
  }
  for (const std::string& address : order.addresses) {
    MUSTER_ASSIGN_OR_RETURN(const std::string bytes, AddressBytes(address));
    added = added && Add(*names, GEN_IPADD, ASN1_OCTET_STRING_new(), bytes);
  }
  if (!added) return OpenSslFailed("make the names of a certificate");
  return names;
}

bool IsAuthority(const X509& certificate) {
  return X509_check_ca(const_cast<X509*>(&certificate)) == 1;
}

struct Signer {
  CertificatePtr certificate;
  KeyPtr key;
};

absl::StatusOr<Signer> OpenSigner(const KeyPair& authority, absl::Time now) {
  Signer signer;
  MUSTER_ASSIGN_OR_RETURN(signer.certificate, ReadCertificate(authority.certificate_pem));
  MUSTER_ASSIGN_OR_RETURN(signer.key, ReadKey(authority.key_pem));
  const bool fits = X509_check_private_key(signer.certificate.get(), signer.key.get()) == 1;
  ERR_clear_error();
  const std::string name = CommonNameOf(*X509_get_subject_name(signer.certificate.get()));
  if (!fits) {
    return absl::FailedPreconditionError(
        absl::StrCat("the authority's private key is not that of its certificate, \"", name, "\""));
  }
  if (!IsAuthority(*signer.certificate)) {
    return absl::FailedPreconditionError(
        absl::StrCat("the certificate of \"", name, "\" is not that of an authority"));
  }
  const absl::Time until = TimeOf(X509_get0_notAfter(signer.certificate.get()));
  if (until <= now) {
    return absl::FailedPreconditionError(
        absl::StrCat("the time of the authority \"", name, "\" was over at ",
                     absl::FormatTime(absl::RFC3339_sec, until, absl::UTCTimeZone())));
  }
  return signer;
}

bool FillLeaf(X509& leaf, X509& issuer, const CertificateOrder& order, GENERAL_NAMES& names) {
  const bool named = !order.common_name.empty() && order.common_name.size() <= kMaxCommonNameBytes;
  const char* const uses =
      order.server ? (order.client ? "serverAuth,clientAuth" : "serverAuth") : "clientAuth";
  // Names that stand alone are critical, says RFC 5280.
  return X509_set_version(&leaf, X509_VERSION_3) == 1 && SetSerial(leaf) &&
         (!named || SetCommonName(*X509_get_subject_name(&leaf), order.common_name)) &&
         X509_set_issuer_name(&leaf, X509_get_subject_name(&issuer)) == 1 &&
         AddExtension(leaf, issuer, NID_basic_constraints, "critical,CA:FALSE") &&
         AddExtension(leaf, issuer, NID_key_usage, "critical,digitalSignature") &&
         AddExtension(leaf, issuer, NID_ext_key_usage, uses) &&
         AddExtension(leaf, issuer, NID_subject_key_identifier, "hash") &&
         AddExtension(leaf, issuer, NID_authority_key_identifier, "keyid") &&
         X509_add1_ext_i2d(&leaf, NID_subject_alt_name, &names, named ? 0 : 1, X509V3_ADD_APPEND) ==
             1;
}

absl::StatusOr<KeyPtr> ReadPublicKey(absl::string_view pem) {
  const BioPtr bio = ReadingBio(pem);
  bool asked = false;
  KeyPtr key(PEM_read_bio_PUBKEY(bio.get(), nullptr, NoPassphrase, &asked));
  ERR_clear_error();
  if (key == nullptr) return absl::InvalidArgumentError("this is no public key in PEM form");
  return key;
}

// What nobody breaks, and what costs us little to check.
absl::Status CheckStrength(const EVP_PKEY& key) {
  if (EVP_PKEY_is_a(&key, "RSA") == 1) {
    const int bits = EVP_PKEY_get_bits(&key);
    if (bits >= kMinRsaBits && bits <= kMaxRsaBits) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat("an RSA key has ", kMinRsaBits, " to ",
                                                   kMaxRsaBits, " bits here, this one ", bits));
  }
  char group[64] = {};
  size_t size = 0;
  int is_explicit = 0;
  if (EVP_PKEY_is_a(&key, "EC") == 1 &&
      EVP_PKEY_get_int_param(&key, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS, &is_explicit) ==
          1 &&
      is_explicit == 0 && EVP_PKEY_get_group_name(&key, group, sizeof(group), &size) == 1) {
    const absl::string_view name(group);
    if (name == SN_X9_62_prime256v1 || name == SN_secp384r1) return absl::OkStatus();
  }
  ERR_clear_error();
  return absl::InvalidArgumentError(
      "keys here are on P-256 or P-384, or RSA; this one is of another kind");
}

// `pem` without the space around it, if it is one block and nothing else; else "". What OpenSSL would skip or stop at is
// not passed on unseen.
absl::string_view TheOneBlock(absl::string_view pem) {
  const absl::string_view block = absl::StripAsciiWhitespace(pem);
  for (const absl::string_view label :
       {"CERTIFICATE REQUEST-----", "NEW CERTIFICATE REQUEST-----"}) {
    absl::string_view inside = block;
    if (absl::ConsumePrefix(&inside, absl::StrCat("-----BEGIN ", label)) &&
        absl::ConsumeSuffix(&inside, absl::StrCat("-----END ", label)) &&
        inside.find_first_of(absl::string_view("-:\0", 3)) == absl::string_view::npos) {
      return block;
    }
  }
  return "";
}

absl::Status NoRequest() {
  return absl::InvalidArgumentError("this is no request for a certificate in PEM form");
}

absl::StatusOr<std::string> PinOf(const X509& certificate) {
  unsigned char* bytes = nullptr;
  const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(&certificate), &bytes);
  if (size <= 0) return OpenSslFailed("write a public key");
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(bytes, static_cast<size_t>(size), digest);
  OPENSSL_free(bytes);
  return absl::StrCat("sha256:", absl::BytesToHexString(absl::string_view(
                                     reinterpret_cast<const char*>(digest), sizeof(digest))));
}

absl::StatusOr<CertificateFacts> FactsOfOne(X509& certificate) {
  AlternativeNames names = NamesOf(certificate);
  CertificateFacts facts;
  facts.subject = SubjectOf(certificate);
  facts.common_name = CommonNameOf(*X509_get_subject_name(&certificate));
  facts.issuer = CommonNameOf(*X509_get_issuer_name(&certificate));
  facts.serial = SerialOf(certificate);
  facts.uris = std::move(names.uris);
  facts.dns = std::move(names.dns);
  facts.addresses = std::move(names.addresses);
  facts.authority = IsAuthority(certificate);
  facts.server = X509_check_purpose(&certificate, X509_PURPOSE_SSL_SERVER, 0) == 1;
  facts.client = X509_check_purpose(&certificate, X509_PURPOSE_SSL_CLIENT, 0) == 1;
  facts.valid_from = TimeOf(X509_get0_notBefore(&certificate));
  facts.valid_until = TimeOf(X509_get0_notAfter(&certificate));
  ERR_clear_error();
  MUSTER_ASSIGN_OR_RETURN(facts.pin, PinOf(certificate));
  return facts;
}

}  // namespace

absl::StatusOr<std::string> NewPrivateKey() {
  MUSTER_ASSIGN_OR_RETURN(const KeyPtr key, MakeKey());
  return KeyText(key.get());
}

absl::StatusOr<std::string> PublicKeyOf(absl::string_view key_pem) {
  MUSTER_ASSIGN_OR_RETURN(const KeyPtr key, ReadKey(key_pem));
  return PublicKeyText(key.get());
}

absl::StatusOr<KeyPair> NewAuthority(absl::string_view common_name, absl::Time not_before,
                                     absl::Time not_after, const std::string& uri) {
  MUSTER_RETURN_IF_ERROR(CheckTimes(not_before - kCertificateSkew, not_after));
  if (common_name.empty() || common_name.size() > kMaxCommonNameBytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "an authority's name has 1 to ", kMaxCommonNameBytes, " bytes, not ", common_name.size()));
  }
  NamesPtr names;
  if (!uri.empty()) {
    CertificateOrder order;
    order.uris.push_back(uri);
    MUSTER_ASSIGN_OR_RETURN(names, MakeNames(order));
  }
  MUSTER_ASSIGN_OR_RETURN(const KeyPtr key, MakeKey());
  const CertificatePtr made(X509_new());
  if (made == nullptr || X509_set_version(made.get(), X509_VERSION_3) != 1 || !SetSerial(*made) ||
      !SetTimes(*made, not_before - kCertificateSkew, not_after) ||
      !SetCommonName(*X509_get_subject_name(made.get()), common_name) ||
      X509_set_issuer_name(made.get(), X509_get_subject_name(made.get())) != 1 ||
      X509_set_pubkey(made.get(), key.get()) != 1 ||
      !AddExtension(*made, *made, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") ||
      !AddExtension(*made, *made, NID_key_usage, "critical,keyCertSign,cRLSign") ||
      !AddExtension(*made, *made, NID_subject_key_identifier, "hash") ||
      (names != nullptr && X509_add1_ext_i2d(made.get(), NID_subject_alt_name, names.get(), 0,
                                             X509V3_ADD_APPEND) != 1) ||
      X509_sign(made.get(), key.get(), EVP_sha256()) == 0) {
    return OpenSslFailed("make an authority");
  }
  KeyPair pair;
  MUSTER_ASSIGN_OR_RETURN(pair.certificate_pem, CertificateText(made.get()));
  MUSTER_ASSIGN_OR_RETURN(pair.key_pem, KeyText(key.get()));
  return pair;
}

absl::StatusOr<std::string> IssueCertificate(const KeyPair& authority,
                                             const CertificateOrder& order,
                                             absl::string_view public_key_pem) {
  if (!order.server && !order.client) {
    return absl::InvalidArgumentError("a certificate is for a server, a client, or both");
  }
  MUSTER_ASSIGN_OR_RETURN(const Signer signer, OpenSigner(authority, order.not_before));
  const absl::Time from = order.not_before - kCertificateSkew;
  const absl::Time until =
      std::min(order.not_after, TimeOf(X509_get0_notAfter(signer.certificate.get())));
  MUSTER_RETURN_IF_ERROR(CheckTimes(from, until));
  MUSTER_ASSIGN_OR_RETURN(const NamesPtr names, MakeNames(order));
  MUSTER_ASSIGN_OR_RETURN(const KeyPtr key, ReadPublicKey(public_key_pem));
  MUSTER_RETURN_IF_ERROR(CheckStrength(*key));
  const CertificatePtr leaf(X509_new());
  // The key comes first: its digest is one of the rest.
  if (leaf == nullptr || X509_set_pubkey(leaf.get(), key.get()) != 1 ||
      !SetTimes(*leaf, from, until) || !FillLeaf(*leaf, *signer.certificate, order, *names) ||
      X509_sign(leaf.get(), signer.key.get(), EVP_sha256()) == 0) {
    return OpenSslFailed("make a certificate");
  }
  return CertificateText(leaf.get());
}

absl::StatusOr<KeyPair> IssuePair(const KeyPair& authority, const CertificateOrder& order) {
  KeyPair pair;
  MUSTER_ASSIGN_OR_RETURN(pair.key_pem, NewPrivateKey());
  MUSTER_ASSIGN_OR_RETURN(const std::string public_key, PublicKeyOf(pair.key_pem));
  MUSTER_ASSIGN_OR_RETURN(pair.certificate_pem, IssueCertificate(authority, order, public_key));
  return pair;
}

absl::StatusOr<std::string> NewRequest(absl::string_view key_pem, absl::string_view common_name) {
  MUSTER_ASSIGN_OR_RETURN(const KeyPtr key, ReadKey(key_pem));
  const RequestPtr request(X509_REQ_new());
  const BioPtr bio(BIO_new(BIO_s_mem()));
  if (request == nullptr || bio == nullptr ||
      X509_REQ_set_version(request.get(), X509_REQ_VERSION_1) != 1 ||
      (common_name.size() <= kMaxCommonNameBytes && !common_name.empty() &&
       !SetCommonName(*X509_REQ_get_subject_name(request.get()), common_name)) ||
      X509_REQ_set_pubkey(request.get(), key.get()) != 1 ||
      X509_REQ_sign(request.get(), key.get(), EVP_sha256()) == 0 ||
      PEM_write_bio_X509_REQ(bio.get(), request.get()) != 1) {
    return OpenSslFailed("make a request for a certificate");
  }
  return TextOfBio(*bio);
}

absl::StatusOr<std::string> PublicKeyOfRequest(absl::string_view request_pem) {
  if (request_pem.size() > kMaxCertificateRequestBytes) {
    return absl::InvalidArgumentError(absl::StrCat("a request for a certificate of ",
                                                   request_pem.size(), " bytes; at most ",
                                                   kMaxCertificateRequestBytes, " are taken"));
  }
  const BioPtr bio = ReadingBio(TheOneBlock(request_pem));
  bool asked = false;
  const RequestPtr request(PEM_read_bio_X509_REQ(bio.get(), nullptr, NoPassphrase, &asked));
  EVP_PKEY* const key = request == nullptr ? nullptr : X509_REQ_get0_pubkey(request.get());
  ERR_clear_error();
  if (key == nullptr) return NoRequest();
  MUSTER_RETURN_IF_ERROR(CheckStrength(*key));
  const bool verified = X509_REQ_verify(request.get(), key) == 1;
  ERR_clear_error();
  if (!verified) {
    return absl::InvalidArgumentError(
        "the request for a certificate is not signed by the key that it is for");
  }
  return PublicKeyText(key);
}

absl::StatusOr<std::string> AuthorityPin(absl::string_view certificate_pem) {
  MUSTER_ASSIGN_OR_RETURN(const CertificatePtr certificate, ReadCertificate(certificate_pem));
  return PinOf(*certificate);
}

absl::StatusOr<CertificateFacts> FactsOf(absl::string_view certificate_pem) {
  MUSTER_ASSIGN_OR_RETURN(const CertificatePtr certificate, ReadCertificate(certificate_pem));
  return FactsOfOne(*certificate);
}

absl::StatusOr<std::vector<CertificateFacts>> FactsOfAll(absl::string_view certificates_pem) {
  const std::vector<CertificatePtr> found = CertificatesIn(certificates_pem);
  if (found.empty()) return NoCertificate();
  std::vector<CertificateFacts> all;
  for (const CertificatePtr& certificate : found) {
    MUSTER_ASSIGN_OR_RETURN(CertificateFacts facts, FactsOfOne(*certificate));
    all.push_back(std::move(facts));
  }
  return all;
}

bool IsSignedBy(absl::string_view certificate_pem, absl::string_view authority_pem) {
  const auto certificate = ReadCertificate(certificate_pem);
  const auto authority = ReadCertificate(authority_pem);
  if (!certificate.ok() || !authority.ok()) return false;
  const bool is_signed = X509_check_issued(authority->get(), certificate->get()) == X509_V_OK &&
                         X509_verify(certificate->get(), X509_get0_pubkey(authority->get())) == 1;
  ERR_clear_error();
  return is_signed;
}

absl::Time RenewalTime(absl::Time valid_from, absl::Time valid_until) {
  return valid_from + (valid_until - valid_from) * 2 / 3;
}

}  // namespace muster
