#include "server/access/identity.h"

#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "server/access/resource_pattern.h"
#include "storage/base/error_info.h"
#include "storage/base/quote.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

constexpr char kCapture[] = "{name}";
constexpr size_t kCaptureBytes = sizeof(kCapture) - 1;

// SPIFFE's bound of a URI, and DNS's of a name. X.509 gives common names 64 characters, of up to 4 bytes.
constexpr size_t kMaxUriNameBytes = 2'048;
constexpr size_t kMaxDnsNameBytes = 253;
constexpr size_t kMaxCommonNameBytes = 256;
// Certificates of servers have some hundreds; those of callers a few.
constexpr size_t kMaxNames = 100;

absl::Status RefusedCertificate(absl::string_view what) {
  return MakeError(absl::StatusCode::kUnauthenticated, reasons::kCredentialRefused,
                   absl::StrCat("the certificate is refused: ", what),
                   {{"problem", std::string(what)}});
}

absl::Status RefusedCertificateName(absl::string_view field, absl::string_view name,
                                    absl::string_view why) {
  return RefusedCertificate(absl::StrCat("its ", field, " ", QuoteForMessage(name), " ", why));
}

bool HasUpper(absl::string_view text) {
  for (const char c : text) {
    if (absl::ascii_isupper(static_cast<unsigned char>(c))) return true;
  }
  return false;
}

// The scheme and the host of a URI, which are of one case only by custom.
absl::string_view UriHead(absl::string_view uri) {
  const size_t colon = uri.find("://");
  const size_t slash = uri.find('/', colon == absl::string_view::npos ? 0 : colon + 3);
  return uri.substr(0, slash);
}

// What could be read in two ways is refused, not cleaned: who made it had a reason.
absl::Status CheckPlain(absl::string_view field, absl::string_view name, size_t max_bytes) {
  if (name.size() > max_bytes) {
    return RefusedCertificateName(
        field, name, absl::StrCat("has ", name.size(), " bytes; the limit is ", max_bytes));
  }
  if (name.empty()) return RefusedCertificateName(field, name, "is empty");
  if (HasControlCharacter(name))
    return RefusedCertificateName(field, name, "holds a control character");
  if (!IsValidUtf8(name)) return RefusedCertificateName(field, name, "is not UTF-8");
  return absl::OkStatus();
}

absl::Status CheckAscii(absl::string_view field, absl::string_view name, size_t max_bytes) {
  MUSTER_RETURN_IF_ERROR(CheckPlain(field, name, max_bytes));
  for (const char c : name) {
    if (!absl::ascii_isgraph(static_cast<unsigned char>(c))) {
      return RefusedCertificateName(field, name, "holds a space or a letter beyond ASCII");
    }
  }
  if (absl::StrContains(name, "*")) return RefusedCertificateName(field, name, "has a wildcard");
  if (absl::StrContains(name, "..")) return RefusedCertificateName(field, name, "has \"..\"");
  if (absl::StrContains(name, "%"))
    return RefusedCertificateName(field, name, "has a percent code");
  return absl::OkStatus();
}

absl::Status CheckNames(const CertificateNames& names, CertificateMatch::Field field) {
  switch (field) {
    case CertificateMatch::Field::kUri:
      for (const std::string& uri : names.uris) {
        MUSTER_RETURN_IF_ERROR(CheckAscii("URI", uri, kMaxUriNameBytes));
        if (HasUpper(UriHead(uri)))
          return RefusedCertificateName("URI", uri, "has a scheme or host in upper case");
        if (uri != names.uris.front()) {
          return RefusedCertificateName(
              "URI", uri,
              absl::StrCat("differs from another one, ", QuoteForMessage(names.uris.front()),
                           "; a certificate is of one owner"));
        }
      }
      return absl::OkStatus();
    case CertificateMatch::Field::kDns:
      for (const std::string& dns : names.dns) {
        MUSTER_RETURN_IF_ERROR(CheckAscii("DNS name", dns, kMaxDnsNameBytes));
        if (HasUpper(dns)) return RefusedCertificateName("DNS name", dns, "is in upper case");
      }
      return absl::OkStatus();
    case CertificateMatch::Field::kCommonName:
      if (names.common_name.empty()) return absl::OkStatus();
      return CheckPlain("common name", names.common_name, kMaxCommonNameBytes);
  }
  return absl::OkStatus();
}

// "node/n1" or "user/alice"; nothing for another form.
std::optional<Identity> ParseWho(absl::string_view who) {
  Identity identity;
  if (absl::ConsumePrefix(&who, "node/") && IsNodeNamePart(who)) {
    identity.kind = Identity::Kind::kNode;
  } else if (absl::ConsumePrefix(&who, "user/") && IsUserName(who)) {
    identity.kind = Identity::Kind::kUser;
  } else {
    return std::nullopt;
  }
  identity.name = std::string(who);
  return identity;
}

// What "{name}" of the pattern stands for in `value`; "" for a pattern without one. Nothing where they don't match.
std::optional<std::string> Capture(absl::string_view pattern, absl::string_view value) {
  const size_t at = pattern.find(kCapture);
  if (at == absl::string_view::npos) {
    return pattern == value ? std::optional<std::string>("") : std::nullopt;
  }
  const absl::string_view tail = pattern.substr(at + kCaptureBytes);
  if (!absl::ConsumePrefix(&value, pattern.substr(0, at)) || !absl::ConsumeSuffix(&value, tail)) {
    return std::nullopt;
  }
  if (value.empty() || (!tail.empty() && absl::StrContains(value, tail.substr(0, 1))))
    return std::nullopt;
  return std::string(value);
}

// Whom one match makes of a certificate; nothing where it doesn't apply.
absl::StatusOr<std::optional<Identity>> Apply(const CertificateMatch& match,
                                              const CertificateNames& names) {
  MUSTER_RETURN_IF_ERROR(CheckNames(names, match.field));
  std::vector<std::string> values;
  if (match.field == CertificateMatch::Field::kUri) values = names.uris;
  if (match.field == CertificateMatch::Field::kDns) values = names.dns;
  if (match.field == CertificateMatch::Field::kCommonName) values = {names.common_name};
  std::optional<Identity> found;
  for (const std::string& value : values) {
    const std::optional<std::string> captured = Capture(match.pattern, value);
    if (!captured.has_value()) continue;
    const std::string who = absl::StrReplaceAll(match.as, {{kCapture, *captured}});
    std::optional<Identity> identity = ParseWho(who);
    if (!identity.has_value()) {
      return RefusedCertificate(absl::StrCat("the match ", QuoteForMessage(match.pattern),
                                             " would make it ", QuoteForMessage(who),
                                             ", which nobody can be called"));
    }
    if (found.has_value() && found->name != identity->name) {
      return RefusedCertificate(absl::StrCat("the match ", QuoteForMessage(match.pattern),
                                             " makes it both ", found->Who(), " and ",
                                             identity->Who()));
    }
    found = std::move(identity);
  }
  return found;
}

}  // namespace

std::string Identity::Who() const {
  switch (kind) {
    case Kind::kAnonymous:
      return "anonymous";
    case Kind::kLocal:
      return "local";
    case Kind::kUser:
      return absl::StrCat("user/", name);
    case Kind::kNode:
      return absl::StrCat("node/", name);
  }
  return "";
}

absl::Status CheckMatch(const CertificateMatch& match) {
  if (match.pattern.empty()) return absl::InvalidArgumentError("has an empty pattern");
  if (match.pattern.size() > kMaxUriNameBytes)
    return absl::InvalidArgumentError("has too long a pattern");
  const size_t at = match.pattern.find(kCapture);
  const bool captures = at != std::string::npos;
  if (captures && match.pattern.find(kCapture, at + 1) != std::string::npos) {
    return absl::InvalidArgumentError("has {name} twice in its pattern");
  }
  if (match.pattern.find('*') != std::string::npos) {
    return absl::InvalidArgumentError("has a * in its pattern; what may vary is written {name}");
  }
  const bool used = absl::StrContains(match.as, kCapture);
  if (captures != used) {
    return absl::InvalidArgumentError(
        captures ? "has {name} in its pattern and not in \"as\", so that many would be one"
                 : "has {name} in \"as\" and not in its pattern");
  }
  const std::string who = absl::StrReplaceAll(match.as, {{kCapture, "x"}});
  if (!ParseWho(who).has_value()) {
    return absl::InvalidArgumentError(absl::StrCat("has \"as\" ", QuoteForMessage(match.as),
                                                   "; it has to be user/NAME or node/NAME"));
  }
  return absl::OkStatus();
}

absl::StatusOr<Identity> IdentityOf(const CertificateNames& names, absl::string_view cluster,
                                    absl::Span<const CertificateMatch> matches) {
  if (names.uris.size() > kMaxNames || names.dns.size() > kMaxNames) {
    return RefusedCertificate(absl::StrCat("it has more than ", kMaxNames, " names"));
  }
  std::optional<Identity> found;
  MUSTER_RETURN_IF_ERROR(CheckNames(names, CertificateMatch::Field::kUri));
  absl::string_view uri = names.uris.empty() ? "" : absl::string_view(names.uris.front());
  if (!cluster.empty() && absl::ConsumePrefix(&uri, absl::StrCat("spiffe://", cluster)) &&
      (uri.empty() || uri[0] == '/')) {
    found = ParseWho(uri.substr(uri.empty() ? 0 : 1));
    // It says that it is of this cluster, so nothing else may say who it is.
    if (!found.has_value()) {
      return RefusedCertificateName("URI", names.uris.front(),
                                    "is of this cluster, and neither of a node nor of a user");
    }
  }
  for (const CertificateMatch& match : matches) {
    if (found.has_value()) break;
    MUSTER_ASSIGN_OR_RETURN(found, Apply(match, names));
  }
  if (!found.has_value()) {
    return RefusedCertificate(
        absl::StrCat("nothing in it says who it is of: no URI spiffe://", cluster,
                     "/node/NAME or …/user/NAME, and no match of the policy"));
  }
  found->proof = Identity::Proof::kCertificate;
  found->credential = NormalSerial(names.serial);
  return *std::move(found);
}

std::string NormalSerial(absl::string_view serial) {
  std::string normal;
  // X.509 allows 20 bytes.
  if (serial.size() > 128) return normal;
  for (const char c : serial) {
    if (c == ':') continue;
    if (!absl::ascii_isxdigit(static_cast<unsigned char>(c))) return "";
    if (normal.empty() && c == '0') continue;
    normal.push_back(absl::ascii_tolower(static_cast<unsigned char>(c)));
  }
  return normal;
}

}  // namespace muster
