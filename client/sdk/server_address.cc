#include "client/sdk/server_address.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "storage/base/error_info.h"
#include "storage/base/quote.h"
#include "storage/base/reasons.h"

namespace muster {
namespace {

constexpr int kDefaultServerPort = 7070;

absl::Status Refused(absl::string_view text, absl::string_view why) {
  const std::string quoted = QuoteForMessage(text);
  return MakeError(absl::StatusCode::kInvalidArgument, reasons::kInvalidServer,
                   absl::StrCat("server ", quoted, ": ", why), {{"server", quoted}});
}

// gRPC's own ways to name a target; what stands behind them is left to it.
bool IsTarget(absl::string_view text) {
  return absl::StartsWith(text, "dns:") || absl::StartsWith(text, "ipv4:") ||
         absl::StartsWith(text, "ipv6:");
}

}  // namespace

absl::StatusOr<std::string> ParseServerAddress(absl::string_view text) {
  absl::string_view address = text;
  if (absl::StartsWithIgnoreCase(address, "https://")) {
    return Refused(text,
                   "write host:port, and name the authority of its certificate with --tls-ca");
  }
  // What people copy from a browser or from another tool's settings.
  const bool has_scheme = absl::StartsWithIgnoreCase(address, "http://");
  if (has_scheme) address.remove_prefix(7);
  if (has_scheme) absl::ConsumeSuffix(&address, "/");
  const bool odd = std::any_of(address.begin(), address.end(), [](char c) {
    return static_cast<unsigned char>(c) <= ' ' || c == '\x7f' || c == '@' || c == '?';
  });
  if (odd || address.empty() || (!IsTarget(address) && absl::StrContains(address, '/'))) {
    return Refused(text, "it is not host:port, as in 127.0.0.1:7070");
  }
  const size_t bracket = address.rfind(']');
  const size_t colon = address.rfind(':');
  const bool has_port =
      colon != absl::string_view::npos && (bracket == absl::string_view::npos || colon > bracket);
  if (!has_port) return absl::StrCat(address, ":", kDefaultServerPort);
  const absl::string_view host = address.substr(0, colon);
  if (absl::StrContains(host, ':') && host.back() != ']' && !IsTarget(address)) {
    return Refused(text, "write an IPv6 address in brackets, as in [::1]:7070");
  }
  uint32_t port = 0;
  if (host.empty() || !absl::SimpleAtoi(address.substr(colon + 1), &port) || port == 0 ||
      port > 65'535) {
    return Refused(text, "it is not host:port with a port from 1 to 65535, as in 127.0.0.1:7070");
  }
  return std::string(address);
}

}  // namespace muster
