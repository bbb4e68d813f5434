#include "server/server_options.h"

#include <CLI/CLI.hpp>
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include "storage/version/build_version.h"

namespace muster {
namespace {

// gRPC takes 99999 for port 34463, so a bad port has to be found here.
std::string CheckListen(const std::string& value) {
  const size_t colon = value.rfind(':');
  const std::string port = colon == std::string::npos ? "" : value.substr(colon + 1);
  const bool digits = !port.empty() && port.size() <= 5 &&
                      port.find_first_not_of("0123456789") == std::string::npos;
  if (colon != 0 && digits && std::stoi(port) <= 65'535) return "";
  return "'" + value + "' is not host:port with a port from 0 to 65535";
}

// CLI11 reads "-1" into an unsigned number as a huge one.
std::string CheckNotNegative(const std::string& value) {
  return value.find('-') == std::string::npos ? "" : "'" + value + "' is negative";
}

// A duration as the muster command takes it: "10s", "500ms", "1.5h"; without a unit, seconds.
CLI::Option* AddDuration(CLI::App& app, const std::string& flag, double& seconds,
                         const CLI::Range& range, const std::string& help) {
  return app.add_option(flag, seconds, help)
      ->check(range)
      ->transform(CLI::AsNumberWithUnit(
                      std::map<std::string, double>{
                          {"ms", 1e-3}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}},
                      CLI::AsNumberWithUnit::CASE_SENSITIVE)
                      .description(""))
      ->type_name("DURATION")
      ->capture_default_str();
}

void AddLeaseOptions(CLI::App& app, ServerOptions& options) {
  AddDuration(app, "--lease-ttl", options.lease_ttl_s, CLI::Range(1.0, 3600.0),
              "How long after its last heartbeat a node is lost, unless it asks for another lease; "
              "a number without a unit is in seconds, as in all durations here")
      ->envname("MUSTER_LEASE_TTL");
  AddDuration(app, "--move-grace", options.move_grace_s, CLI::Range(0.0, 86400.0),
              "How long after the loss of a node its shards go to other nodes")
      ->envname("MUSTER_MOVE_GRACE");
  AddDuration(app, "--forget-nodes-after", options.forget_nodes_s, CLI::Range(0.0, 365.0 * 86400),
              "How long after a lost node's shards went to others the node is forgotten, as if it "
              "were deregistered; 0 keeps all")
      ->envname("MUSTER_FORGET_NODES_AFTER");
}

void AddEventOptions(CLI::App& app, ServerOptions& options) {
  AddDuration(app, "--event-log-age", options.event_log_age_s, CLI::Range(1.0, 30.0 * 86400),
              "How long events are kept")
      ->envname("MUSTER_EVENT_LOG_AGE");
  app.add_option("--event-log-max", options.event_log_max, "How many events are kept, at most")
      ->envname("MUSTER_EVENT_LOG_MAX")
      ->check(CLI::Range(64, 100'000'000))
      ->capture_default_str();
  AddDuration(app, "--progress-interval", options.progress_interval_s, CLI::Range(0.2, 3600.0),
              "How long a watch stays silent before it says that nothing happened")
      ->envname("MUSTER_PROGRESS_INTERVAL");
}

// What is done instead of serving.
struct Upkeep {
  CheckOptions check;
  CheckPolicyOptions check_policy;
  BackupOptions backup;
  RestoreOptions restore;
  MasterKeyOptions master_key;
  CLI::App* master_key_command = nullptr;
  CLI::App* check_command = nullptr;
  CLI::App* check_policy_command = nullptr;
  CLI::App* backup_command = nullptr;
  CLI::App* restore_command = nullptr;
};

void AddUpkeepCommands(CLI::App& app, Upkeep& upkeep) {
  app.require_subcommand(0, 1);
  upkeep.check_command = app.add_subcommand(
      "check", "Read every row of a data directory and say what is wrong; changes nothing");
  upkeep.check_command->add_option("DIR", upkeep.check.directory, "The data directory, or a backup")
      ->required();
  upkeep.check_policy_command =
      app.add_subcommand("check-policy", "Read a policy file and say what is wrong");
  upkeep.check_policy_command->add_option("FILE", upkeep.check_policy.file, "The policy")
      ->required();
  upkeep.backup_command = app.add_subcommand(
      "backup", "Copy a data directory and check the copy; a server may be running on it");
  upkeep.backup_command->add_option("DIR", upkeep.backup.directory, "The data directory")
      ->required();
  upkeep.backup_command
      ->add_option("--to", upkeep.backup.to, "The backup: a new or an empty directory")
      ->required();
  upkeep.restore_command =
      app.add_subcommand("restore", "Make a data directory from a backup, with a new history id");
  upkeep.restore_command->add_option("--from", upkeep.restore.from, "The backup")->required();
  upkeep.restore_command
      ->add_option("--to", upkeep.restore.to, "The data directory: a new or an empty directory")
      ->required();
}

void AddMasterKeyCommands(CLI::App& app, Upkeep& upkeep) {
  upkeep.master_key_command = app.add_subcommand(
      "master-key", "Make, rotate and retire the master keys that --master-key names");
  upkeep.master_key_command->require_subcommand(1);
  MasterKeyOptions& options = upkeep.master_key;
  const auto add = [&](const char* name, const char* help, MasterKeyOptions::Action action) {
    CLI::App* const command = upkeep.master_key_command->add_subcommand(name, help);
    command->add_option("FILE", options.file, "The file of master keys")->required();
    command->callback([&options, action] { options.action = action; });
    return command;
  };
  add("new", "Make a file with one new master key, for its owner only",
      MasterKeyOptions::Action::kNew);
  add("rotate",
      "Add a new master key and make it the current one; a running server then wraps all content "
      "keys anew",
      MasterKeyOptions::Action::kRotate);
  CLI::App* const retire = add("retire", "Remove a master key that no content key needs any more",
                               MasterKeyOptions::Action::kRetire);
  retire->add_option("ID", options.id, "The master key")->required();
  CLI::Option* const rows = retire->add_option(
      "--data-dir", options.data_dir,
      "Refuse if a content key in this data directory, or backup, needs it; no server may be "
      "running on it");
  retire
      ->add_flag("--unused", options.unused,
                 "`muster keys status` says that it wraps 0 content keys; a server that is running "
                 "goes on with the key if that is wrong")
      ->excludes(rows);
}

void AddConnectionOptions(CLI::App& app, ServerOptions& options) {
  app.add_option("--max-connections", options.max_connections,
                 "How many connections may be open, about; fewer where the limit of open files "
                 "(ulimit -n) is lower, as some of those are kept for the store")
      ->envname("MUSTER_MAX_CONNECTIONS")
      ->check(CLI::Range(16, 1'000'000))
      ->capture_default_str();
  app.add_option("--connection-bytes", options.connection_bytes,
                 "What connections and their calls may take in memory, about; beyond it they are "
                 "read more slowly, and then some are closed")
      ->envname("MUSTER_CONNECTION_BYTES")
      ->check(CheckNotNegative)
      ->transform(CLI::AsSizeValue(false))
      ->capture_default_str();
  AddDuration(app, "--connection-age", options.connection_age_s, CLI::Range(0.0, 7.0 * 86400),
              "How old a connection gets before its client has to make a new one; 0: as it likes")
      ->envname("MUSTER_CONNECTION_AGE");
}

void AddTlsOptions(CLI::App& app, ServerOptions& options) {
  app.add_option("--tls-cert", options.tls.certificate,
                 "PEM file of the certificate to show, followed by those that lead to its "
                 "authority; a new one is in force some seconds after it is there")
      ->envname("MUSTER_SERVER_TLS_CERT");
  app.add_option("--tls-key", options.tls.key, "PEM file of its private key")
      ->envname("MUSTER_SERVER_TLS_KEY");
  app.add_option("--tls-ca", options.tls.authority,
                 "PEM file of the authorities that clients' certificates have to lead to")
      ->envname("MUSTER_SERVER_TLS_CA");
  const std::map<std::string, ClientAuth> kinds = {{"require", ClientAuth::kRequire},
                                                   {"optional", ClientAuth::kOptional},
                                                   {"none", ClientAuth::kNone}};
  app.add_option(
         "--client-auth", options.client_auth,
         "Whether clients show a certificate: require, optional (a bad one is refused) or none "
         "(default: optional with --tls-ca)")
      ->envname("MUSTER_CLIENT_AUTH")
      ->transform(CLI::CheckedTransformer(kinds).description("require|optional|none"));
  app.add_flag("--insecure", options.insecure,
               "Listen where other machines reach it without encrypting or authenticating calls: "
               "whoever reaches the port can do everything")
      ->envname("MUSTER_INSECURE");
  app.add_flag("--secure", options.secure,
               "Make an authority, certificates of the server and of its admin and a policy below "
               "the data directory, or use those that an earlier start made, and say how to go on")
      ->envname("MUSTER_SECURE");
  app.add_option("--secure-name", options.secure_names,
                 "With --secure: a further name or address by which this server is reached; may be "
                 "given again (default: this machine's own)")
      ->envname("MUSTER_SECURE_NAME")
      ->delimiter(',');
}

// --secure names the files itself.
void CheckSecure(const ServerOptions& options) {
  if (!options.secure) {
    if (options.secure_names.empty()) return;
    throw CLI::ValidationError("--secure-name is for --secure");
  }
  if (!options.tls.empty()) {
    throw CLI::ValidationError(
        "--secure makes the certificates itself; take away --tls-cert, --tls-key and --tls-ca, or "
        "take away --secure to use yours");
  }
  if (options.insecure) throw CLI::ValidationError("--insecure and --secure are opposites");
  if (options.client_auth == ClientAuth::kNone) {
    throw CLI::ValidationError(
        "--client-auth none would ask nobody for a certificate, and --secure goes by them");
  }
}

void AddAccessOptions(CLI::App& app, ServerOptions& options) {
  app.add_option("--policy", options.policy_file,
                 "JSON file that says who may do what; a new one is in force within a second. "
                 "Without it certificates of users may do everything, and nodes may join any "
                 "assembly")
      ->envname("MUSTER_POLICY");
  app.add_option("--audit", options.audit_file,
                 "File that gets a JSON line for each mutation and each call that was denied; - is "
                 "stdout")
      ->envname("MUSTER_AUDIT");
  app.add_flag("--audit-reads", options.audit_reads, "Tell it of reads, too")
      ->envname("MUSTER_AUDIT_READS");
  app.add_flag("--audit-fail-open", options.audit_fail_open,
               "Carry mutations out although the audit log can't be written; without it they are "
               "refused until it can")
      ->envname("MUSTER_AUDIT_FAIL_OPEN");
}

void AddEnrolmentOptions(CLI::App& app, ServerOptions& options) {
  const std::map<std::string, bool> kinds = {{"auto", true}, {"off", false}};
  app.add_option(
         "--enroll", options.enroll,
         "Whether agents get certificates by join tokens: auto, where DATA/tls/authority has "
         "an authority's ca.crt and ca.key, or off (default: auto)")
      ->envname("MUSTER_ENROLL")
      ->transform(CLI::CheckedTransformer(kinds).description("auto|off"));
  AddDuration(app, "--node-certificate-life", options.node_certificate_life_s,
              CLI::Range(1.0, 90.0 * 86400),
              "How long the certificates of agents are good for; they are renewed after two thirds "
              "of it")
      ->envname("MUSTER_NODE_CERTIFICATE_LIFE");
}

// What CLI11's checks of single options can't see.
void CheckTogether(const CLI::App& app, const ServerOptions& options) {
  CheckSecure(options);
  if (options.tls.certificate.empty() != options.tls.key.empty()) {
    throw CLI::ValidationError(options.tls.key.empty()
                                   ? "--tls-cert needs its key: --tls-key"
                                   : "--tls-key needs its certificate: --tls-cert");
  }
  const bool encrypts = !options.tls.certificate.empty();
  if (!encrypts && !options.tls.authority.empty()) {
    throw CLI::ValidationError(
        "--tls-ca needs a certificate of the server's own: --tls-cert, --tls-key");
  }
  const bool asks =
      app.get_option("--client-auth")->count() > 0 && options.client_auth != ClientAuth::kNone;
  if (asks && options.tls.authority.empty() && !options.secure) {
    throw CLI::ValidationError(
        "--client-auth needs the authorities that certificates have to lead to: --tls-ca");
  }
  if (!encrypts && !options.secure && !options.policy_file.empty()) {
    throw CLI::ValidationError(
        "--policy needs callers who can show who they are: --tls-cert and --tls-key");
  }
  if (options.audit_file.empty() && (options.audit_reads || options.audit_fail_open)) {
    throw CLI::ValidationError("--audit-reads and --audit-fail-open need --audit");
  }
  if (encrypts && options.insecure) {
    throw CLI::ValidationError("--insecure and --tls-cert are opposites");
  }
}

void AddStoreOptions(CLI::App& app, ServerOptions& options) {
  app.add_option(
         "--min-free", options.min_free_bytes,
         "Refuse calls that add data while the data directory's device has fewer bytes free")
      ->envname("MUSTER_MIN_FREE")
      ->check(CheckNotNegative)
      ->transform(CLI::AsSizeValue(false))
      ->capture_default_str();
  AddDuration(app, "--store-timeout", options.store_timeout_s, CLI::Range(0.0, 86400.0),
              "End, with exit code 5, when a write to the data directory takes longer; health says "
              "NOT_SERVING after 10 s in any case; 0: wait as long as it takes")
      ->envname("MUSTER_STORE_TIMEOUT");
}

void AddKeyOptions(CLI::App& app, ServerOptions& options) {
  app.add_option("--master-key", options.master_key,
                 "File of the master keys that wrap the content keys of encrypted model versions, "
                 "which it gives to those who may read them; `musterd master-key new` makes one. A "
                 "changed file is in force some seconds after it is there")
      ->envname("MUSTER_MASTER_KEY");
}

void AddServingOptions(CLI::App& app, ServerOptions& options) {
  app.add_option("--data-dir", options.data_dir,
                 "Directory of the metadata store; created if missing")
      ->envname("MUSTER_DATA_DIR");
  app.add_option("--listen", options.listen,
                 "host:port to serve on; port 0 takes a free one. Addresses that other machines "
                 "reach need --secure, --tls-cert and --tls-key, or --insecure")
      ->envname("MUSTER_LISTEN")
      ->check(CheckListen)
      ->capture_default_str();
  app.add_option("--cluster-id", options.cluster_id,
                 "Refuse a data directory of another cluster; the first start stores the id "
                 "(default: random)")
      ->envname("MUSTER_CLUSTER_ID");
  app.add_option("--address-file", options.address_file,
                 "File that gets the bound host:port once the server serves")
      ->envname("MUSTER_ADDRESS_FILE");
  AddTlsOptions(app, options);
  AddAccessOptions(app, options);
  AddKeyOptions(app, options);
  AddEnrolmentOptions(app, options);
  AddLeaseOptions(app, options);
  AddEventOptions(app, options);
  AddConnectionOptions(app, options);
  AddStoreOptions(app, options);
  app.add_option("--queue-limit", options.queue_limit,
                 "How many mutations may wait; further ones are refused and may be tried again")
      ->envname("MUSTER_QUEUE_LIMIT")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  app.add_option("--queue-bytes", options.queue_bytes,
                 "What mutations that wait may take in memory; more are told to try again")
      ->envname("MUSTER_QUEUE_BYTES")
      ->transform(CLI::AsSizeValue(false))
      ->capture_default_str();
  app.add_option("--log-level", options.log_level, "debug, info, warn or error")
      ->envname("MUSTER_LOG_LEVEL")
      ->check(CLI::IsMember({"debug", "info", "warn", "error"}))
      ->capture_default_str();
  app.add_flag(
      "--accept-loss", options.accept_loss,
      "Serve although rows that were acknowledged are missing, with those before them, under a "
      "new history id; without it such a data directory is refused. For one start only");
}

// Options before the words that only follow them.
std::string FirstUnknown(const CLI::App& app) {
  const std::vector<std::string> unknown = app.remaining(/*recurse=*/true);
  for (const std::string& word : unknown) {
    if (word.size() > 1 && word[0] == '-') return "the option \"" + word + "\"";
  }
  return unknown.empty() ? "something" : "\"" + unknown.front() + "\"";
}

// Returns the exit code of wrong usage.
int SayMistake(const std::string& what) {
  std::cerr << "musterd: " << what
            << "\nhint: `musterd --help` shows what it takes, with examples\n";
  return 2;
}

}  // namespace

ServerCommand ParseServerOptions(int argc, char** argv) {
  ServerOptions options;
  Upkeep upkeep;
  CLI::App app{
      "musterd keeps the catalogue of model versions, assigns shards to nodes and knows when a "
      "model is "
      "complete.",
      "musterd"};
  app.footer(
      "Every option can also be given by the environment variable named beside it.\n\n"
      "Examples:\n"
      "  musterd --data-dir /var/lib/muster\n"
      "  musterd --data-dir /tmp/m --listen 127.0.0.1:0 --address-file /tmp/m.addr\n"
      "  musterd --data-dir /var/lib/muster --listen 0.0.0.0:7070 --secure --secure-name "
      "muster.example\n"
      "  musterd --data-dir /var/lib/muster --listen 0.0.0.0:7070 --tls-cert server.crt --tls-key "
      "server.key --tls-ca ca.crt --client-auth require\n"
      "  musterd backup /var/lib/muster --to /backup/muster-1\n\n"
      "Exit codes: 0 stopped by SIGTERM or SIGINT; 2 wrong usage; 3 the data directory can't be "
      "used;\n"
      "4 can't listen on the address; 5 the store failed while running; 6 the stop took too "
      "long;\n"
      "7 too few threads or too little memory.");
  app.set_version_flag("--version", "musterd " + BuildVersion());
  AddServingOptions(app, options);
  AddUpkeepCommands(app, upkeep);
  AddMasterKeyCommands(app, upkeep);
  try {
    app.parse(argc, argv);
    // Not required() of CLI11, which would ask the commands for it, too.
    if (app.get_subcommands().empty() && app.get_option("--data-dir")->empty()) {
      throw CLI::RequiredError("--data-dir");
    }
    CheckTogether(app, options);
    if (upkeep.master_key.action == MasterKeyOptions::Action::kRetire &&
        upkeep.master_key.data_dir.empty() && !upkeep.master_key.unused) {
      throw CLI::ValidationError(
          "retire has to know that no content key needs it: --data-dir DIR, or --unused where "
          "`muster keys status` says 0");
    }
  } catch (const CLI::Success& success) {
    return app.exit(success);
  } catch (const CLI::ExtrasError&) {
    return SayMistake("it does not know " + FirstUnknown(app));
  } catch (const CLI::ParseError& error) {
    return SayMistake(error.what());
  }
  if (upkeep.check_command->parsed()) return upkeep.check;
  if (upkeep.check_policy_command->parsed()) return upkeep.check_policy;
  if (upkeep.master_key_command->parsed()) return upkeep.master_key;
  if (upkeep.backup_command->parsed()) return upkeep.backup;
  if (upkeep.restore_command->parsed()) return upkeep.restore;
  return options;
}

}  // namespace muster
