// What the command line and the MUSTER_* variables of musterd set.
#ifndef MUSTER_SERVER_SERVER_OPTIONS_H_
#define MUSTER_SERVER_SERVER_OPTIONS_H_

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "server/rpc/server_tls.h"
#include "storage/tls/tls_files.h"

namespace muster {

struct ServerOptions {
  std::string data_dir;
  std::string listen = "127.0.0.1:7070";
  // None: calls are neither encrypted nor authenticated.
  TlsFiles tls;
  ClientAuth client_auth = ClientAuth::kOptional;
  // The file of master keys; none: no content keys are made or given.
  std::string master_key;
  // Listen beyond loopback without a certificate.
  bool insecure = false;
  // "": users may do everything, nodes may join any assembly.
  std::string policy_file;
  // "": nothing is told; "-": on stdout.
  std::string audit_file;
  bool audit_reads = false;
  bool audit_fail_open = false;
  // Make authority, certificates and policy in the data directory, and use them; see server/secure_start.h.
  bool secure = false;
  // Further names and addresses of this machine for the certificate that is made.
  std::vector<std::string> secure_names;
  // Issue certificates to nodes, where the data directory has an authority.
  bool enroll = true;
  double node_certificate_life_s = 7 * 86'400;
  // "" takes the store's own; a name must match it.
  std::string cluster_id;
  // Where the bound address is written once the server serves; "" means nowhere.
  std::string address_file;
  double lease_ttl_s = 10;
  double move_grace_s = 30;
  double forget_nodes_s = 86'400;
  double event_log_age_s = 3'600;
  uint64_t event_log_max = 1'000'000;
  double progress_interval_s = 10;
  uint64_t min_free_bytes = uint64_t{256} << 20;
  uint64_t queue_limit = 4'096;
  uint64_t queue_bytes = uint64_t{64} << 20;
  uint64_t max_connections = 16'384;
  uint64_t connection_bytes = uint64_t{1} << 30;
  // 0: without an end.
  double connection_age_s = 0;
  double store_timeout_s = 0;
  std::string log_level = "info";
  // Serve with what is there although acknowledged rows are missing.
  bool accept_loss = false;
};

// musterd check DIR
struct CheckOptions {
  std::string directory;
};

// musterd backup DIR --to DEST
struct BackupOptions {
  std::string directory;
  std::string to;
};

// musterd check-policy FILE
struct CheckPolicyOptions {
  std::string file;
};

// musterd restore --from BACKUP --to DIR
struct RestoreOptions {
  std::string from;
  std::string to;
};

// musterd master-key new|rotate|retire FILE
struct MasterKeyOptions {
  enum class Action { kNew, kRotate, kRetire };
  Action action = Action::kNew;
  std::string file;
  // The rest is for kRetire: which one, and how it is known that no content key needs it: by the rows of a data
  // directory, or by the operator's word.
  std::string id;
  std::string data_dir;
  bool unused = false;
};

using ServerCommand = std::variant<ServerOptions, CheckOptions, CheckPolicyOptions, BackupOptions,
                                   RestoreOptions, MasterKeyOptions, int>;

// What to do, or the exit code with which to end at once: --help, --version, or a mistake, which
// was explained on stderr.
ServerCommand ParseServerOptions(int argc, char** argv);

}  // namespace muster

#endif  // MUSTER_SERVER_SERVER_OPTIONS_H_
