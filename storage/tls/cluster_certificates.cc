#include "storage/tls/cluster_certificates.h"

#include <arpa/inet.h>
#include <sys/stat.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "storage/base/limits.h"
#include "storage/base/quote.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"
#include "storage/files/staged_file.h"
#include "storage/tls/tls_files.h"

namespace muster {
namespace {

constexpr char kScheme[] = "spiffe://";
constexpr size_t kMaxClusterBytes = 63;
constexpr size_t kMaxHostBytes = 253;

bool IsUserName(absl::string_view name) {
  const auto is_part = [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' || c == '-' ||
           c == '@';
  };
  return !name.empty() && name.size() <= kMaxNodeNameLength &&
         std::all_of(name.begin(), name.end(), is_part) &&
         absl::ascii_isalnum(static_cast<unsigned char>(name.front())) &&
         absl::ascii_isalnum(static_cast<unsigned char>(name.back()));
}

bool IsAddress(const std::string& host) {
  unsigned char bytes[sizeof(in6_addr)];
  return inet_pton(AF_INET, host.c_str(), bytes) == 1 ||
         inet_pton(AF_INET6, host.c_str(), bytes) == 1;
}

bool IsHostName(absl::string_view host) {
  return !host.empty() && host.size() <= kMaxHostBytes && host.front() != '.' &&
         host.front() != '-' && std::all_of(host.begin(), host.end(), [](char c) {
           return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '-' ||
                  c == '_';
         });
}

absl::Status CheckFreePath(const std::string& path) {
  struct stat info = {};
  if (lstat(path.c_str(), &info) != 0) return absl::OkStatus();
  return absl::AlreadyExistsError(absl::StrCat(QuoteForMessage(path), ": is there already"));
}

}  // namespace

PairFiles::PairFiles(absl::string_view directory, absl::string_view name)
    : certificate(absl::StrCat(directory, "/", name, ".crt")),
      key(absl::StrCat(directory, "/", name, ".key")) {}

absl::Status CheckClusterName(absl::string_view cluster) {
  const bool allowed = std::all_of(cluster.begin(), cluster.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return absl::ascii_islower(byte) || absl::ascii_isdigit(byte) || c == '.' || c == '_' ||
           c == '-';
  });
  if (allowed && !cluster.empty() && cluster.size() <= kMaxClusterBytes &&
      !absl::StrContains(cluster, "..")) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("the cluster id ", QuoteForMessage(cluster),
                   " can't stand in certificates: those have 1 to ", kMaxClusterBytes,
                   " lowercase letters, digits, \"-\", \"_\" and \".\", no two dots in a row"));
}

absl::StatusOr<std::string> IdentityUri(absl::string_view cluster, absl::string_view who) {
  MUSTER_RETURN_IF_ERROR(CheckClusterName(cluster));
  absl::string_view name = who;
  const bool known = absl::ConsumePrefix(&name, "node/")
                         ? ParseNodeName(NodeName(name)).ok()
                         : absl::ConsumePrefix(&name, "user/") && IsUserName(name);
  if (!known || absl::StrContains(name, "..")) {
    return absl::InvalidArgumentError(
        absl::StrCat(QuoteForMessage(who),
                     " is nobody who can have a certificate; it has to be node/NAME or user/NAME, "
                     "such as node/n1"));
  }
  return absl::StrCat(kScheme, cluster, "/", who);
}

absl::StatusOr<KeyPair> NewClusterAuthority(absl::string_view cluster, absl::Time now) {
  MUSTER_RETURN_IF_ERROR(CheckClusterName(cluster));
  // A certificate has room for 64 bytes.
  std::string name = absl::StrCat("Muster authority of ", cluster);
  if (name.size() > 64) name = "Muster authority";
  return NewAuthority(name, now, now + kAuthorityTime, absl::StrCat(kScheme, cluster));
}

absl::StatusOr<std::string> ClusterOf(absl::string_view authority_pem) {
  MUSTER_ASSIGN_OR_RETURN(const CertificateFacts facts, FactsOf(authority_pem));
  for (const std::string& uri : facts.uris) {
    absl::string_view cluster = uri;
    if (absl::ConsumePrefix(&cluster, kScheme) && CheckClusterName(cluster).ok()) {
      return std::string(cluster);
    }
  }
  return absl::FailedPreconditionError(
      absl::StrCat("the authority ", QuoteForMessage(facts.subject),
                   " doesn't say for which cluster it is (no URI spiffe://CLUSTER); Muster did not "
                   "make it"));
}

absl::Duration CertificateTimeOf(absl::string_view who) {
  if (absl::StartsWith(who, "node/")) return kNodeCertificateTime;
  return absl::StartsWith(who, "user/") ? kUserCertificateTime : kServerCertificateTime;
}

absl::StatusOr<CertificateOrder> IdentityOrder(absl::string_view cluster, absl::string_view who,
                                               absl::Time now, absl::Duration lasting) {
  CertificateOrder order;
  MUSTER_ASSIGN_OR_RETURN(std::string uri, IdentityUri(cluster, who));
  order.common_name = std::string(who.substr(who.find('/') + 1));
  order.uris.push_back(std::move(uri));
  order.client = true;
  order.not_before = now;
  order.not_after = now + lasting;
  return order;
}

absl::StatusOr<CertificateOrder> ServerOrder(absl::Span<const std::string> hosts, absl::Time now,
                                             absl::Duration lasting) {
  CertificateOrder order;
  order.common_name = "musterd";
  for (const std::string& host : hosts) {
    const bool address = IsAddress(host);
    if (!address && !IsHostName(host)) {
      return absl::InvalidArgumentError(
          absl::StrCat(QuoteForMessage(host), " is neither a host name nor an IP address"));
    }
    auto& names = address ? order.addresses : order.dns;
    if (std::find(names.begin(), names.end(), host) == names.end()) names.push_back(host);
  }
  order.server = true;
  order.not_before = now;
  order.not_after = now + lasting;
  return order;
}

absl::StatusOr<KeyPair> ReadAuthorityFiles(const std::string& directory) {
  const PairFiles files(directory, kAuthorityFile);
  KeyPair authority;
  MUSTER_ASSIGN_OR_RETURN(authority.certificate_pem,
                          ReadPemFile(files.certificate, /*secret=*/false));
  MUSTER_ASSIGN_OR_RETURN(authority.key_pem, ReadPemFile(files.key, /*secret=*/true));
  return authority;
}

absl::Status CheckFree(const PairFiles& files) {
  MUSTER_RETURN_IF_ERROR(CheckFreePath(files.key));
  return CheckFreePath(files.certificate);
}

absl::Status WritePair(const PairFiles& files, const KeyPair& pair, bool may_replace) {
  if (!may_replace) MUSTER_RETURN_IF_ERROR(CheckFree(files));
  MUSTER_RETURN_IF_ERROR(WriteSecretFile(files.key, pair.key_pem, may_replace));
  return WriteWholeFile(files.certificate, pair.certificate_pem);
}

}  // namespace muster
