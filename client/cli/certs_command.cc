#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "client/cli/commands.h"
#include "client/cli/display.h"
#include "client/cli/json_output.h"
#include "client/cli/values.h"
#include "storage/base/error_info.h"
#include "storage/base/status_macros.h"
#include "storage/files/directories.h"
#include "storage/files/staged_file.h"
#include "storage/tls/authority.h"
#include "storage/tls/cluster_certificates.h"
#include "storage/tls/tls_files.h"

namespace muster {
namespace {

// What commands on the server's own machine call it.
const char* const kOwnHosts[] = {"localhost", "127.0.0.1", "::1"};

struct CertsArguments {
  // Directories of the authority's files, and of what is made.
  std::string authority;
  std::string out = ".";
  std::vector<std::string> hosts;
  std::string cluster;
  std::string who;
  std::string file;
  std::string key;
  // 0: as long as is usual.
  double days = 0;
  bool force = false;
};

std::string DateOf(absl::Time time) {
  return absl::FormatTime("%Y-%m-%d %H:%M UTC", time, absl::UTCTimeZone());
}

std::string JsonTime(absl::Time time) {
  return JsonString(absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", time, absl::UTCTimeZone()));
}

std::string JsonStrings(const std::vector<std::string>& texts) {
  std::vector<std::string> quoted;
  for (const std::string& text : texts) quoted.push_back(JsonString(text));
  return JsonArray(quoted);
}

int64_t HoursLeft(const CertificateFacts& facts, absl::Time now) {
  return static_cast<int64_t>(std::floor(absl::ToDoubleHours(facts.valid_until - now)));
}

JsonObject FactsJson(const CertificateFacts& facts, absl::Time now) {
  const auto boolean = [](bool value) { return value ? "true" : "false"; };
  JsonObject json;
  json.Add("subject", facts.subject);
  json.Add("common_name", facts.common_name);
  json.AddRaw("uris", JsonStrings(facts.uris));
  json.AddRaw("dns", JsonStrings(facts.dns));
  json.AddRaw("addresses", JsonStrings(facts.addresses));
  json.AddRaw("authority", boolean(facts.authority));
  json.AddRaw("server", boolean(facts.server));
  json.AddRaw("client", boolean(facts.client));
  json.Add("issuer", facts.issuer);
  json.Add("serial", facts.serial);
  json.AddRaw("valid_from", JsonTime(facts.valid_from));
  json.AddRaw("valid_until", JsonTime(facts.valid_until));
  json.AddRaw("renew_at", JsonTime(RenewalTime(facts.valid_from, facts.valid_until)));
  json.Add("hours_left", HoursLeft(facts, now));
  json.Add("pin", facts.pin);
  return json;
}

std::string UseOf(const CertificateFacts& facts) {
  if (facts.authority) return "an authority";
  if (facts.server) return facts.client ? "a server and a client" : "a server";
  return facts.client ? "a client" : "neither a server nor a client";
}

std::string FactsText(const CertificateFacts& facts, absl::Time now) {
  std::vector<std::string> names = facts.uris;
  names.insert(names.end(), facts.dns.begin(), facts.dns.end());
  names.insert(names.end(), facts.addresses.begin(), facts.addresses.end());
  const int64_t hours = HoursLeft(facts, now);
  return KeyValues({
      {"subject", Printable(facts.subject)},
      {"names", Printable(absl::StrJoin(names, ", "))},
      {"for", UseOf(facts)},
      {"issuer", Printable(facts.issuer)},
      {"serial", facts.serial},
      {"valid from", DateOf(facts.valid_from)},
      {"valid until", DateOf(facts.valid_until)},
      {"hours left",
       hours < 0 ? absl::StrCat("none, it was over ", -hours, " h ago") : absl::StrCat(hours)},
      {"pin", facts.pin},
  });
}

// What was made, as told and as JSON.
class Made {
 public:
  Made(Invocation& invocation, bool force) : invocation_(invocation), force_(force) {}

  // Before anything is made.
  absl::Status Check(const PairFiles& files) const {
    return force_ ? absl::OkStatus() : Replaceable(CheckFree(files));
  }

  absl::Status Write(const PairFiles& files, const KeyPair& pair) {
    MUSTER_ASSIGN_OR_RETURN(const CertificateFacts facts, FactsOf(pair.certificate_pem));
    MUSTER_RETURN_IF_ERROR(Replaceable(WritePair(files, pair, force_)));
    JsonObject json = FactsJson(facts, invocation_.clock().Now());
    json.Add("certificate", files.certificate);
    json.Add("key", files.key);
    items_.push_back(json.ToString());
    const std::string names =
        facts.server && !facts.authority
            ? absl::StrCat(absl::StrJoin(facts.dns, ", "),
                           facts.dns.empty() || facts.addresses.empty() ? "" : ", ",
                           absl::StrJoin(facts.addresses, ", "))
            : facts.subject;
    lines_.push_back(absl::StrCat("wrote ", Printable(files.certificate), " and ",
                                  Printable(files.key), ": ", UseOf(facts), ", ", Printable(names),
                                  ", until ", DateOf(facts.valid_until)));
    return absl::OkStatus();
  }

  void Tell() const {
    if (invocation_.json()) {
      JsonObject json;
      json.AddRaw("items", JsonArray(items_));
      invocation_.PrintJson(json.ToString());
      return;
    }
    for (const std::string& line : lines_) invocation_.PrintLine(line);
  }

 private:
  absl::Status Replaceable(const absl::Status& status) const {
    if (status.code() != absl::StatusCode::kAlreadyExists) return status;
    return absl::AlreadyExistsError(absl::StrCat(status.message(), "; --force replaces it"));
  }

  Invocation& invocation_;
  const bool force_;
  std::vector<std::string> lines_;
  std::vector<std::string> items_;
};

absl::Duration LastingOf(const CertsArguments& options, absl::Duration usual) {
  return options.days > 0 ? options.days * absl::Hours(24) : usual;
}

absl::Status InFile(const std::string& path, const absl::Status& status) {
  return Annotate(status, absl::StrCat("\"", path, "\""));
}

absl::Status RunInit(Invocation& invocation, const CertsArguments& options) {
  const absl::Time now = invocation.clock().Now();
  std::vector<std::string> hosts = options.hosts;
  hosts.insert(hosts.end(), std::begin(kOwnHosts), std::end(kOwnHosts));
  MUSTER_ASSIGN_OR_RETURN(const KeyPair authority, NewClusterAuthority(options.cluster, now));
  MUSTER_ASSIGN_OR_RETURN(const CertificateOrder server,
                          ServerOrder(hosts, now, kServerCertificateTime));
  MUSTER_ASSIGN_OR_RETURN(const CertificateOrder admin,
                          IdentityOrder(options.cluster, kAdmin, now, kUserCertificateTime));
  const PairFiles authority_files(options.out, kAuthorityFile);
  const PairFiles server_files(options.out, kServerFile);
  const PairFiles admin_files(options.out, kAdminFile);
  Made made(invocation, options.force);
  for (const PairFiles* files : {&authority_files, &server_files, &admin_files}) {
    MUSTER_RETURN_IF_ERROR(made.Check(*files));
  }
  MUSTER_RETURN_IF_ERROR(MakeDirectories(options.out, options.out, {.mode = 0700}).status());
  MUSTER_ASSIGN_OR_RETURN(const KeyPair server_pair, IssuePair(authority, server));
  MUSTER_ASSIGN_OR_RETURN(const KeyPair admin_pair, IssuePair(authority, admin));
  MUSTER_RETURN_IF_ERROR(made.Write(authority_files, authority));
  MUSTER_RETURN_IF_ERROR(made.Write(server_files, server_pair));
  MUSTER_RETURN_IF_ERROR(made.Write(admin_files, admin_pair));
  made.Tell();
  return absl::OkStatus();
}

// Beside a certificate, so that its folder is all that is to be taken to its owner.
absl::Status CopyAuthority(const CertsArguments& options, const KeyPair& authority) {
  const std::string path = PairFiles(options.out, kAuthorityFile).certificate;
  const auto present = ReadPemFile(path, /*secret=*/false);
  if (absl::IsNotFound(present.status())) return WriteWholeFile(path, authority.certificate_pem);
  MUSTER_RETURN_IF_ERROR(present.status());
  if (*present == authority.certificate_pem) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("\"", path, "\": is of another authority than the one in ", options.authority,
                   "; choose another directory with --out"));
}

absl::StatusOr<CertificateOrder> OrderOf(const CertsArguments& options, const std::string& cluster,
                                         absl::Time now) {
  const absl::Duration lasting = LastingOf(options, CertificateTimeOf(options.who));
  if (options.who != kServerFile) {
    if (!options.hosts.empty()) return UsageError("--for is for `muster certs issue server`");
    return IdentityOrder(cluster, options.who, now, lasting);
  }
  if (options.hosts.empty()) {
    return UsageError("say by which names and addresses the server is reached: --for HOST[,HOST…]");
  }
  return ServerOrder(options.hosts, now, lasting);
}

absl::Status RunIssue(Invocation& invocation, const CertsArguments& options) {
  MUSTER_ASSIGN_OR_RETURN(const KeyPair authority, ReadAuthorityFiles(options.authority));
  const auto cluster = ClusterOf(authority.certificate_pem);
  if (!cluster.ok()) return InFile(options.authority, cluster.status());
  MUSTER_ASSIGN_OR_RETURN(const CertificateOrder order,
                          OrderOf(options, *cluster, invocation.clock().Now()));
  const std::string name = options.who.substr(options.who.find('/') + 1);
  if (name == kAuthorityFile) {
    return UsageError("a file ca.crt is that of an authority; choose another name");
  }
  const PairFiles files(options.out, name);
  Made made(invocation, options.force);
  MUSTER_RETURN_IF_ERROR(made.Check(files));
  MUSTER_RETURN_IF_ERROR(MakeDirectories(options.out, options.out, {.mode = 0700}).status());
  MUSTER_RETURN_IF_ERROR(CopyAuthority(options, authority));
  const auto pair = IssuePair(authority, order);
  if (!pair.ok()) return InFile(options.authority, pair.status());
  MUSTER_RETURN_IF_ERROR(made.Write(files, *pair));
  made.Tell();
  return absl::OkStatus();
}

absl::Status RunShow(Invocation& invocation, const CertsArguments& options) {
  MUSTER_ASSIGN_OR_RETURN(const std::string pem, ReadPemFile(options.file, /*secret=*/false));
  const auto all = FactsOfAll(pem);
  if (!all.ok()) return InFile(options.file, all.status());
  const absl::Time now = invocation.clock().Now();
  std::vector<std::string> shown;
  for (const CertificateFacts& facts : *all) {
    shown.push_back(invocation.json() ? FactsJson(facts, now).ToString() : FactsText(facts, now));
  }
  if (!invocation.json()) {
    invocation.Print(absl::StrJoin(shown, "\n"));
    return absl::OkStatus();
  }
  JsonObject json;
  json.AddRaw("items", JsonArray(shown));
  invocation.PrintJson(json.ToString());
  return absl::OkStatus();
}

// The same names for the same time, from now on.
absl::StatusOr<KeyPair> RenewedPair(const CertsArguments& options, const KeyPair& authority,
                                    const std::string& old_pem, absl::Time now) {
  MUSTER_ASSIGN_OR_RETURN(const CertificateFacts old, FactsOf(old_pem));
  if (old.authority) {
    return absl::FailedPreconditionError(
        "an authority isn't renewed; `muster certs init` makes one");
  }
  if (!IsSignedBy(old_pem, authority.certificate_pem)) {
    return absl::FailedPreconditionError(
        absl::StrCat("\"", Printable(old.issuer), "\" signed it, which is not the authority in ",
                     options.authority));
  }
  CertificateOrder order;
  order.common_name = old.common_name;
  order.uris = old.uris;
  order.dns = old.dns;
  order.addresses = old.addresses;
  order.server = old.server;
  order.client = old.client;
  order.not_before = now;
  order.not_after = now + LastingOf(options, old.valid_until - old.valid_from - kCertificateSkew);
  MUSTER_ASSIGN_OR_RETURN(KeyPair pair, IssuePair(authority, order));
  // Long names, and those with a quote, are not shown as they are.
  MUSTER_ASSIGN_OR_RETURN(const CertificateFacts facts, FactsOf(pair.certificate_pem));
  if (facts.uris != old.uris || facts.dns != old.dns) {
    return absl::FailedPreconditionError("its names can't be taken over; issue it again");
  }
  return pair;
}

absl::Status RunRenew(Invocation& invocation, const CertsArguments& options) {
  MUSTER_ASSIGN_OR_RETURN(const KeyPair authority, ReadAuthorityFiles(options.authority));
  MUSTER_ASSIGN_OR_RETURN(const std::string old, ReadPemFile(options.file, /*secret=*/false));
  const auto pair = RenewedPair(options, authority, old, invocation.clock().Now());
  if (!pair.ok()) return InFile(options.file, pair.status());
  PairFiles files("", "");
  files.certificate = options.file;
  files.key = options.key.empty() ? absl::StrCat(absl::StripSuffix(options.file, ".crt"), ".key")
                                  : options.key;
  Made made(invocation, /*force=*/true);
  MUSTER_RETURN_IF_ERROR(made.Write(files, *pair));
  made.Tell();
  return absl::OkStatus();
}

void AddDays(CLI::App& command, CertsArguments& options, const std::string& usual) {
  command
      .add_option("--days", options.days,
                  absl::StrCat("How long it is valid (default: ", usual, ")"))
      ->check(CLI::Range(0.0001, 3650.0));
}

void AddAuthority(CLI::App& command, CertsArguments& options) {
  command
      .add_option(
          "--ca", options.authority,
          "Directory of the authority's ca.crt and ca.key, as `muster certs init` and `musterd "
          "--secure` (DATA/tls/authority) make them")
      ->required();
}

}  // namespace

void AddCertsCommand(CLI::App& app, Command& chosen) {
  CLI::App* const certs = app.add_subcommand(
      "certs", "Certificates of an authority of your own, made and looked at without a server");
  auto options = std::make_shared<CertsArguments>();
  const auto choose = [options, &chosen](auto run) {
    return [options, &chosen, run] {
      chosen = [options, run](Invocation& invocation) { return run(invocation, *options); };
    };
  };
  certs->require_subcommand(1);
  CLI::App* const init = certs->add_subcommand(
      "init", "Make an authority, and with it certificates of a server and of its admin");
  init->add_option("--out", options->out, "Directory for ca, server and admin, each .crt and .key")
      ->required();
  init->add_option("--for", options->hosts,
                   "Host names and addresses by which the server is reached, besides localhost")
      ->delimiter(',')
      ->required();
  init->add_option("--cluster", options->cluster,
                   "Id of the cluster, for `musterd --cluster-id`; the certificates name it")
      ->required();
  init->callback(choose(RunInit));
  CLI::App* const issue =
      certs->add_subcommand("issue", "Issue a certificate with a key of its own");
  issue->add_option("WHO", options->who, "node/NAME, user/NAME or server")->required();
  AddAuthority(*issue, *options);
  issue->add_option("--out", options->out,
                    "Directory for NAME.crt, NAME.key and a copy of ca.crt (default: this one)");
  issue
      ->add_option("--for", options->hosts,
                   "Of a server: host names and addresses by which it is reached")
      ->delimiter(',');
  AddDays(*issue, *options, "7 for a node, 90 for a server, 365 for a user");
  issue->callback(choose(RunIssue));
  for (CLI::App* const command : {init, issue}) {
    command->add_flag("--force", options->force, "Replace files that are there");
  }
  CLI::App* const show = certs->add_subcommand(
      "show", "What a certificate says: names, issuer, serial number, dates, pin");
  show->callback(choose(RunShow));
  CLI::App* const renew = certs->add_subcommand(
      "renew", "Replace a certificate by one of the same names, with a new key");
  for (CLI::App* const command : {show, renew}) {
    command->add_option("FILE", options->file, "The certificate, in PEM form")->required();
  }
  AddAuthority(*renew, *options);
  renew->add_option("--key", options->key, "Its private key (default: FILE with .key for .crt)");
  AddDays(*renew, *options, "as the one before");
  renew->callback(choose(RunRenew));
  certs->footer(
      "Examples:\n"
      "  muster certs init --out tls --for muster.example,10.0.0.2 --cluster prod\n"
      "  muster certs issue node/n1 --ca tls --out n1 --days 7\n"
      "  muster certs issue user/alice --ca tls --out alice\n"
      "  muster certs issue server --ca tls --out second --for other.example\n"
      "  muster certs show n1/n1.crt\n"
      "  muster certs renew n1/n1.crt --ca tls");
}

}  // namespace muster
