#include "server/secure_start.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "storage/base/error_info.h"
#include "storage/base/status_macros.h"
#include "storage/files/directories.h"
#include "storage/files/file_error.h"
#include "storage/files/staged_file.h"

namespace muster {
namespace {

constexpr size_t kMaxAddresses = 200;
constexpr absl::Duration kLookEvery = absl::Seconds(10);

// Nobody but the admin, and nodes as they need it.
constexpr char kDefaultPolicy[] = R"({"grants": [
  {"who": "user/admin", "role": "admin", "on": ["**"]},
  {"who": "node/*", "role": "node", "on": ["assemblies/**"]}
]}
)";

bool IsThere(const std::string& path) {
  struct stat info = {};
  return lstat(path.c_str(), &info) == 0;
}

std::string AddressText(const sockaddr& address) {
  char text[INET6_ADDRSTRLEN] = {};
  if (address.sa_family == AF_INET) {
    inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in&>(address).sin_addr, text, sizeof(text));
  } else if (address.sa_family == AF_INET6) {
    const in6_addr& bytes = reinterpret_cast<const sockaddr_in6&>(address).sin6_addr;
    if (!IN6_IS_ADDR_LINKLOCAL(&bytes)) inet_ntop(AF_INET6, &bytes, text, sizeof(text));
  }
  return text;
}

// For a shell.
std::string Quoted(const std::string& path) {
  const bool plain = std::all_of(path.begin(), path.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || absl::StrContains("/._-+,:=@", c);
  });
  return plain ? path : absl::StrCat("'", absl::StrReplaceAll(path, {{"'", "'\\''"}}), "'");
}

bool HasAll(const CertificateFacts& facts, const CertificateOrder& order) {
  const auto holds = [](const std::vector<std::string>& all, const std::vector<std::string>& some) {
    return std::all_of(some.begin(), some.end(), [&](const std::string& one) {
      return std::find(all.begin(), all.end(), one) != all.end();
    });
  };
  return holds(facts.dns, order.dns) && holds(facts.addresses, order.addresses);
}

bool IsDue(const CertificateFacts& facts, absl::Time now) {
  return now >= RenewalTime(facts.valid_from, facts.valid_until);
}

}  // namespace

std::vector<std::string> NamesOfThisMachine() {
  std::vector<std::string> names;
  const auto add = [&](std::string name) {
    const bool known = std::find(names.begin(), names.end(), name) != names.end();
    if (!name.empty() && !known) names.push_back(std::move(name));
  };
  char host[256] = {};
  const std::string named = gethostname(host, sizeof(host) - 1) == 0 ? host : "";
  // The kernel lets it be anything.
  if (ServerOrder({named}, absl::UnixEpoch(), kServerCertificateTime).ok()) {
    add(named);
    add(named.substr(0, named.find('.')));
  }
  for (const char* own : {"localhost", "127.0.0.1", "::1"}) add(own);
  ifaddrs* found = nullptr;
  if (getifaddrs(&found) != 0) return names;
  const std::unique_ptr<ifaddrs, decltype(&freeifaddrs)> owned(found, freeifaddrs);
  for (const ifaddrs* next = found; next != nullptr; next = next->ifa_next) {
    if (next->ifa_addr != nullptr && names.size() < kMaxAddresses)
      add(AddressText(*next->ifa_addr));
  }
  return names;
}

SecureStart::SecureStart(const Options& options, Clock& clock)
    : options_(options),
      clock_(clock),
      directory_(absl::StrCat(options.data_dir, "/tls/authority")),
      policy_file_(absl::StrCat(options.data_dir, "/policy.json")),
      authority_files_(directory_, kAuthorityFile),
      server_files_(directory_, kServerFile),
      admin_files_(directory_, kAdminFile) {}

absl::StatusOr<std::unique_ptr<SecureStart>> SecureStart::Open(const Options& options,
                                                               Clock& clock) {
  Options absolute = options;
  std::error_code error;
  absolute.data_dir =
      std::filesystem::absolute(options.data_dir, error).lexically_normal().string();
  if (error) absolute.data_dir = options.data_dir;
  absolute.data_dir = WithoutTrailingSlashes(absolute.data_dir);
  std::unique_ptr<SecureStart> start(new SecureStart(absolute, clock));
  if (const absl::Status named = CheckClusterName(options.cluster_id); !named.ok()) {
    return Annotate(named, "--secure");
  }
  if (!IsThere(start->directory_)) MUSTER_RETURN_IF_ERROR(start->MakeAuthority());
  MUSTER_RETURN_IF_ERROR(start->ReadAuthority());
  const absl::Status renewed = start->RenewWhatIsDue();
  // What is there serves for now, and the first look says what is wrong.
  if (!renewed.ok() && !ReadTlsFiles(start->files(), clock.Now()).ok()) return renewed;
  MUSTER_RETURN_IF_ERROR(start->MakePolicy());
  return start;
}

namespace {

// What is shown: the authority behind the certificate, so that who knows but its pin can find and believe it.
KeyPair WithAuthority(KeyPair pair, const KeyPair& authority) {
  pair.certificate_pem += authority.certificate_pem;
  return pair;
}

}  // namespace

absl::Status SecureStart::MakeAuthority() {
  const std::string parent = ParentOf(directory_);
  MUSTER_RETURN_IF_ERROR(MakeDirectories(parent, parent, {.mode = 0700}).status());
  RemoveAbandoned(parent, [](absl::string_view name) { return name == "authority"; });
  MUSTER_ASSIGN_OR_RETURN(const KeyPair authority,
                          NewClusterAuthority(options_.cluster_id, clock_.Now()));
  MUSTER_ASSIGN_OR_RETURN(const CertificateOrder server, OrderOfServer());
  MUSTER_ASSIGN_OR_RETURN(const CertificateOrder admin, OrderOfAdmin());
  MUSTER_ASSIGN_OR_RETURN(const KeyPair issued, IssuePair(authority, server));
  const KeyPair server_pair = WithAuthority(issued, authority);
  MUSTER_ASSIGN_OR_RETURN(const KeyPair admin_pair, IssuePair(authority, admin));
  // All of it, or nothing.
  MUSTER_ASSIGN_OR_RETURN(StagedDirectory staged, StagedDirectory::Create(directory_));
  if (chmod(staged.staging_path().c_str(), 0700) != 0) {
    return PathError(errno, "close it for others", directory_);
  }
  const auto write = [&](const char* name, const KeyPair& pair) {
    made_.push_back(PairFiles(directory_, name).certificate);
    return WritePair(PairFiles(staged.staging_path(), name), pair, /*may_replace=*/false);
  };
  MUSTER_RETURN_IF_ERROR(write(kAuthorityFile, authority));
  MUSTER_RETURN_IF_ERROR(write(kServerFile, server_pair));
  MUSTER_RETURN_IF_ERROR(write(kAdminFile, admin_pair));
  return staged.Commit();
}

absl::Status SecureStart::ReadAuthority() {
  auto certificate = ReadPemFile(authority_files_.certificate, /*secret=*/false);
  if (absl::IsNotFound(certificate.status())) {
    return absl::FailedPreconditionError(absl::StrCat(
        "\"", authority_files_.certificate,
        "\" is missing: put it back; or move its folder away to have another authority, "
        "whose certificates everybody needs then"));
  }
  MUSTER_RETURN_IF_ERROR(certificate.status());
  authority_.certificate_pem = *std::move(certificate);
  auto key = ReadPemFile(authority_files_.key, /*secret=*/true);
  if (!key.ok() && !absl::IsNotFound(key.status())) return key.status();
  authority_.key_pem = std::move(key).value_or("");
  const auto cluster = ClusterOf(authority_.certificate_pem);
  if (!cluster.ok()) return Annotate(cluster.status(), authority_files_.certificate);
  if (*cluster != options_.cluster_id) {
    return absl::FailedPreconditionError(
        absl::StrCat("\"", authority_files_.certificate, "\" is the authority of cluster \"",
                     *cluster, "\", and the data directory is of \"", options_.cluster_id, "\""));
  }
  MUSTER_ASSIGN_OR_RETURN(pin_, AuthorityPin(authority_.certificate_pem));
  return absl::OkStatus();
}

absl::Status SecureStart::MakePolicy() {
  if (IsThere(policy_file_)) return absl::OkStatus();
  const absl::Status written = WriteSecretFile(policy_file_, kDefaultPolicy, /*may_replace=*/false);
  if (written.ok()) made_.push_back(policy_file_);
  return written;
}

TlsFiles SecureStart::files() const {
  return {server_files_.certificate, server_files_.key, authority_files_.certificate};
}

std::vector<std::string> SecureStart::TakeMade() { return std::exchange(made_, {}); }

absl::StatusOr<CertificateOrder> SecureStart::OrderOfServer() const {
  return ServerOrder(options_.names, clock_.Now(), kServerCertificateTime);
}

absl::StatusOr<CertificateOrder> SecureStart::OrderOfAdmin() const {
  return IdentityOrder(options_.cluster_id, kAdmin, clock_.Now(), kUserCertificateTime);
}

std::string SecureStart::WhyServerIsDue() const {
  // Not whether it is over, which is another question.
  const auto pem = ReadPemFile(server_files_.certificate, /*secret=*/false);
  if (!pem.ok()) return std::string(pem.status().message());
  const auto facts = FactsOf(*pem);
  if (!facts.ok()) return std::string(facts.status().message());
  if (!IsSignedBy(*pem, authority_.certificate_pem)) return "it is of another authority";
  if (IsDue(*facts, clock_.Now())) return "two thirds of its time are over";
  const auto order = OrderOfServer();
  if (order.ok() && !HasAll(*facts, *order))
    return "names or addresses of this machine are not in it";
  const TlsFiles pair{server_files_.certificate, server_files_.key, ""};
  return std::string(ReadTlsFiles(pair, clock_.Now()).status().message());
}

bool SecureStart::IsAdminDue() const {
  const auto pem = ReadPemFile(admin_files_.certificate, /*secret=*/false);
  // Not where somebody took them away, or put others there.
  if (!pem.ok() || !IsThere(admin_files_.key) || !IsSignedBy(*pem, authority_.certificate_pem)) {
    return false;
  }
  const auto facts = FactsOf(*pem);
  return facts.ok() && IsDue(*facts, clock_.Now());
}

absl::Status SecureStart::Renew(const PairFiles& files,
                                const absl::StatusOr<CertificateOrder>& order) {
  MUSTER_RETURN_IF_ERROR(order.status());
  MUSTER_ASSIGN_OR_RETURN(const KeyPair issued, IssuePair(authority_, *order));
  const bool is_server = files.certificate == server_files_.certificate;
  const KeyPair pair = is_server ? WithAuthority(issued, authority_) : issued;
  MUSTER_RETURN_IF_ERROR(WritePair(files, pair, /*may_replace=*/true));
  made_.push_back(files.certificate);
  return absl::OkStatus();
}

absl::Status SecureStart::RenewWhatIsDue() {
  const std::string why = WhyServerIsDue();
  if (authority_.key_pem.empty()) {
    if (why.empty()) return absl::OkStatus();
    return absl::FailedPreconditionError(
        absl::StrCat("\"", server_files_.certificate, "\": ", why, "; a new one needs \"",
                     authority_files_.key, "\", or `muster certs issue server` where that is"));
  }
  if (!why.empty()) MUSTER_RETURN_IF_ERROR(Renew(server_files_, OrderOfServer()));
  if (IsAdminDue()) MUSTER_RETURN_IF_ERROR(Renew(admin_files_, OrderOfAdmin()));
  return absl::OkStatus();
}

absl::Status SecureStart::Look() {
  if (clock_.Monotonic() < next_look_) return absl::OkStatus();
  next_look_ = clock_.Monotonic() + kLookEvery;
  const absl::Status renewed = RenewWhatIsDue();
  // Said once, until it changes.
  if (std::exchange(told_, std::string(renewed.message())) == renewed.message()) {
    return absl::OkStatus();
  }
  return renewed;
}

std::string SecureStart::Instructions(absl::string_view address) const {
  const size_t colon = address.rfind(':');
  const absl::string_view host = address.substr(0, colon);
  const absl::string_view port = address.substr(colon);
  const bool anywhere = host == "0.0.0.0" || host == "[::]";
  const std::string here = anywhere ? absl::StrCat("localhost", port) : std::string(address);
  const std::string elsewhere =
      anywhere ? absl::StrCat(options_.names.front(), port) : std::string(address);
  // As much of the id as names the cluster elsewhere.
  const std::string context = options_.cluster_id.substr(0, 12);
  return absl::StrCat(
      "To use it on this machine: muster context set ", context, " --server ", here, " --tls-ca ",
      Quoted(authority_files_.certificate), " --tls-cert ", Quoted(admin_files_.certificate),
      " --tls-key ", Quoted(admin_files_.key), " && muster context use ", context,
      "\nFor a node n1: muster tokens create --node n1; with the token that it prints, on "
      "the node: muster agent --server ",
      elsewhere, " --node n1 --assembly ASSEMBLY --join TOKEN --ca ",
      AuthorityPin(authority_.certificate_pem).value_or("PIN"), "\n");
}

}  // namespace muster
