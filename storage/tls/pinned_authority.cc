#include "storage/tls/pinned_authority.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>

#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"
#include "storage/files/unique_fd.h"
#include "storage/tls/authority.h"
#include "storage/tls/tls_handshake.h"
#include "storage/tls/x509_values.h"

namespace muster {
namespace {

constexpr absl::string_view kPinPrefix = "sha256:";
constexpr size_t kPinDigits = 64;

// Whether `leaf`, by the other certificates of the chain, leads to `authority` alone; "" or why not.
std::string WhyItDoesNotLead(X509& leaf, STACK_OF(X509) * chain, X509& authority) {
  const std::unique_ptr<X509_STORE, OpenSslFreer<X509_STORE_free>> store(X509_STORE_new());
  const std::unique_ptr<X509_STORE_CTX, OpenSslFreer<X509_STORE_CTX_free>> check(
      X509_STORE_CTX_new());
  X509_STORE_add_cert(store.get(), &authority);
  X509_STORE_CTX_init(check.get(), store.get(), &leaf, chain);
  X509_STORE_CTX_set_default(check.get(), "ssl_server");
  const bool leads = X509_verify_cert(check.get()) == 1;
  ERR_clear_error();
  return leads ? "" : X509_verify_cert_error_string(X509_STORE_CTX_get_error(check.get()));
}

std::string PemOfShown(X509& certificate) {
  const BioPtr out(BIO_new(BIO_s_mem()));
  return PEM_write_bio_X509(out.get(), &certificate) == 1 ? TextOfBio(*out) : "";
}

absl::Status Differs(const std::string& server, absl::string_view pin, absl::string_view what) {
  return MakeError(
      absl::StatusCode::kFailedPrecondition, reasons::kAuthorityDiffers,
      absl::StrCat("the server at ", server, " is not the one that ", pin, " stands for: ", what,
                   "; ask whoever runs it for its authority's pin, and trust nobody "
                   "else's"),
      {{"server", server}, {"pin", std::string(pin)}});
}

absl::Status Unreachable(const std::string& server, absl::string_view why) {
  return MakeError(absl::StatusCode::kUnavailable, reasons::kServerUnreachable,
                   absl::StrCat("no secure connection to the Muster server at ", server, ": ", why),
                   {{"server", server}});
}

absl::StatusOr<std::string> FindPinned(const std::string& server, absl::string_view pin,
                                       const SSL& session) {
  STACK_OF(X509)* chain = SSL_get_peer_cert_chain(&session);
  if (sk_X509_num(chain) < 1) return Differs(server, pin, "it shows no certificate");
  X509& leaf = *sk_X509_value(chain, 0);
  for (int i = 0; i < sk_X509_num(chain); ++i) {
    X509& shown = *sk_X509_value(chain, i);
    std::string pem = PemOfShown(shown);
    if (AuthorityPin(pem).value_or("") != pin) continue;
    const std::string why = WhyItDoesNotLead(leaf, chain, shown);
    if (why.empty()) return pem;
    return Differs(server, pin, absl::StrCat("its certificate is not of that authority, ", why));
  }
  return Differs(server, pin,
                 sk_X509_num(chain) == 1
                     ? "it shows its own certificate alone, without its authority's behind it"
                     : "no certificate that it shows has that key");
}

}  // namespace

bool IsPin(absl::string_view text) {
  return absl::ConsumePrefix(&text, kPinPrefix) && text.size() == kPinDigits &&
         text.find_first_not_of("0123456789abcdef") == absl::string_view::npos;
}

absl::StatusOr<std::string> FetchPinnedAuthority(const std::string& server, absl::string_view pin,
                                                 absl::Duration timeout) {
  if (!IsPin(pin)) {
    return MakeError(absl::StatusCode::kInvalidArgument, reasons::kUsage,
                     absl::StrCat("the pin of an authority is \"", kPinPrefix, "\" and ",
                                  kPinDigits, " lowercase hex digits, as musterd prints it"));
  }
  const HostAndPort address = SplitServer(server);
  const HandshakeDeadline deadline(timeout);
  const UniqueFd fd = ConnectTo(address, deadline);
  if (!fd.valid()) return Unreachable(server, "nobody listens there, or it answers nothing");
  // The pin is all that is checked, below.
  const TlsContext context = NewClientContext(SSL_VERIFY_NONE);
  const TlsSession session(SSL_new(context.get()));
  SSL_set_tlsext_host_name(session.get(), address.host.c_str());
  SSL_set_fd(session.get(), fd.get());
  const HandshakeStep step =
      FinishStep(*session, fd.get(), deadline, [&] { return SSL_connect(session.get()); });
  ERR_clear_error();
  if (step == HandshakeStep::kOverdue) return Unreachable(server, "it answers nothing");
  // A server that wants a certificate of this end says so only after it has shown its own.
  if (step == HandshakeStep::kFailed && SSL_get0_peer_certificate(session.get()) == nullptr) {
    return Unreachable(server, "it speaks no TLS");
  }
  return FindPinned(server, pin, *session);
}

}  // namespace muster
