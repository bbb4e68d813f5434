#include "storage/object/location_rules.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

constexpr absl::string_view kFile = "file";

bool IsLocalV4(uint32_t address) {
  const uint32_t first = address >> 24;
  // 0.0.0.0/8, where a connection to the first goes to this machine; 127.0.0.0/8; 169.254.0.0/16.
  return first == 0 || first == 127 || (address >> 16) == 0xA9FE;
}

bool IsLocalV6(const in6_addr& address) {
  // The IPv4 address that it stands for: mapped, compatible, or behind a translator (RFC 6052).
  constexpr uint8_t kTranslated[12] = {0x00, 0x64, 0xff, 0x9b};
  const uint8_t* const bytes = address.s6_addr;
  uint32_t low = 0;
  std::memcpy(&low, bytes + 12, sizeof(low));
  if (IN6_IS_ADDR_UNSPECIFIED(&address) || IN6_IS_ADDR_LOOPBACK(&address)) return true;
  if (IN6_IS_ADDR_V4MAPPED(&address) || IN6_IS_ADDR_V4COMPAT(&address) ||
      std::memcmp(bytes, kTranslated, sizeof(kTranslated)) == 0) {
    return IsLocalV4(ntohl(low));
  }
  // AWS's services of an instance are at fd00:ec2::/32.
  const bool of_instance =
      bytes[0] == 0xfd && bytes[1] == 0x00 && bytes[2] == 0x0e && bytes[3] == 0xc2;
  return IN6_IS_ADDR_LINKLOCAL(&address) || of_instance;
}

struct HostAndPort {
  std::string host;
  std::string port;
};

// The host of an IPv6 address keeps its brackets.
HostAndPort Split(absl::string_view authority) {
  const std::string lower = absl::AsciiStrToLower(authority);
  const size_t colon = lower.rfind(':');
  if (colon == std::string::npos || absl::StrContains(lower.substr(colon), "]")) return {lower, ""};
  return {lower.substr(0, colon), lower.substr(colon + 1)};
}

bool HoldsAuthority(absl::string_view prefix, absl::string_view authority) {
  if (prefix.empty()) return true;
  const HostAndPort wanted = Split(prefix);
  const HostAndPort found = Split(authority);
  return wanted.host == found.host && (wanted.port.empty() || wanted.port == found.port);
}

bool HoldsPath(absl::string_view prefix, absl::string_view path) {
  absl::ConsumeSuffix(&prefix, "/");
  return prefix.empty() || path == prefix ||
         (absl::StartsWith(path, prefix) && path[prefix.size()] == '/');
}

// Where the authority is a host; that of s3 is a bucket.
bool NamesHost(const Uri& uri) {
  return uri.scheme == "http" || uri.scheme == "https" || uri.scheme == "hdfs" ||
         uri.scheme == "swebhdfs";
}

// "localhost" is the same place without a name.
absl::string_view AuthorityOf(const Uri& uri) {
  return uri.scheme == kFile ? absl::string_view() : absl::string_view(uri.authority);
}

bool Holds(const Uri& prefix, const Uri& uri) {
  return prefix.scheme == uri.scheme && HoldsAuthority(AuthorityOf(prefix), AuthorityOf(uri)) &&
         HoldsPath(prefix.path, uri.path);
}

absl::Status Refuse(const Uri& uri, absl::string_view why, const Uri& way_out) {
  return MakeError(
      absl::StatusCode::kPermissionDenied, reasons::kLocationNotAllowed,
      absl::StrCat(uri.ToString(), ": ", why, "; where it may read there, start it with ",
                   "--allow-location ", way_out.ToString()),
      {{"location", uri.ToString()}});
}

// The folder that an object is in, or the whole host.
Uri FolderUri(const Uri& uri) {
  Uri folder = uri;
  const size_t slash = folder.path.rfind('/');
  folder.path.resize(uri.scheme == kFile && slash != std::string::npos ? slash : 0);
  return folder;
}

}  // namespace

bool IsLocalAddress(const sockaddr& address) {
  if (address.sa_family == AF_INET) {
    sockaddr_in in = {};
    std::memcpy(&in, &address, sizeof(in));
    return IsLocalV4(ntohl(in.sin_addr.s_addr));
  }
  // Anything but an internet address is of this machine.
  if (address.sa_family != AF_INET6) return true;
  sockaddr_in6 in = {};
  std::memcpy(&in, &address, sizeof(in));
  return IsLocalV6(in.sin6_addr);
}

bool IsLocalHost(absl::string_view host) {
  absl::ConsumePrefix(&host, "[");
  absl::ConsumeSuffix(&host, "]");
  absl::ConsumeSuffix(&host, ".");
  const std::string lower = absl::AsciiStrToLower(host);
  if (lower == "localhost" || absl::EndsWith(lower, ".localhost")) return true;
  in6_addr v6 = {};
  if (inet_pton(AF_INET6, lower.c_str(), &v6) == 1) return IsLocalV6(v6);
  // As getaddrinfo does: 127.1 and 0x7f000001 are addresses, too.
  in_addr v4 = {};
  return inet_aton(lower.c_str(), &v4) != 0 && IsLocalV4(ntohl(v4.s_addr));
}

absl::StatusOr<LocationRules> LocationRules::Only(const std::vector<std::string>& prefixes) {
  std::vector<Uri> parsed;
  for (const std::string& prefix : prefixes) {
    MUSTER_ASSIGN_OR_RETURN(parsed.emplace_back(), ParseUri(prefix));
  }
  // The one that leaves most room for links comes first.
  std::stable_sort(parsed.begin(), parsed.end(),
                   [](const Uri& a, const Uri& b) { return a.path.size() < b.path.size(); });
  return LocationRules(std::move(parsed));
}

absl::Status LocationRules::Check(const Uri& uri) const {
  if (everything_) return absl::OkStatus();
  const bool is_local = NamesHost(uri) && IsLocalHost(Split(uri.authority).host);
  bool named = false;
  for (const Uri& prefix : prefixes_) {
    named = named || (Holds(prefix, uri) && !(is_local && prefix.authority.empty()));
  }
  if (named) return absl::OkStatus();
  if (is_local) {
    return Refuse(uri, "is on this machine or its link, which this node is not told to read",
                  FolderUri(uri));
  }
  if (!prefixes_.empty()) {
    return Refuse(uri, "is below nothing that this node is told to read", FolderUri(uri));
  }
  if (uri.scheme != kFile) return absl::OkStatus();
  return Refuse(uri, "is a file, and this node is told of no folder to read", FolderUri(uri));
}

bool LocationRules::MayBeLocal(absl::string_view url) const {
  if (everything_) return true;
  const absl::StatusOr<Uri> uri = ParseUri(url.substr(0, url.find_first_of("?#")));
  if (!uri.ok()) return false;
  return std::any_of(prefixes_.begin(), prefixes_.end(), [&](const Uri& prefix) {
    return !prefix.authority.empty() && Holds(prefix, *uri);
  });
}

std::string LocationRules::FolderOf(absl::string_view path) const {
  const Uri uri{.scheme = std::string(kFile), .authority = "", .path = std::string(path)};
  for (const Uri& prefix : prefixes_) {
    if (!Holds(prefix, uri)) continue;
    absl::string_view folder = prefix.path;
    // A file that is named by itself is opened in its folder.
    if (folder == path) folder = folder.substr(0, folder.rfind('/') + 1);
    absl::ConsumeSuffix(&folder, "/");
    return folder.empty() ? "" : absl::StrCat("/", folder);
  }
  return "";
}

}  // namespace muster
