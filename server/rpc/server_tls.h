// The certificate that musterd shows and the authorities that it believes, renewed while it serves.
//
// gRPC reads its files by itself, at any moment and one after the other, and takes what it finds: a pair that does not
// fit fails every handshake from then on, without a word. So it never reads the operator's files. They are looked at
// here, once a second; what has changed is checked as a whole, written into one of two folders of the server's own,
// and a link that gRPC follows is led there by one rename. What does not pass changes nothing and is told once.
#ifndef MUSTER_SERVER_RPC_SERVER_TLS_H_
#define MUSTER_SERVER_RPC_SERVER_TLS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "storage/base/clock.h"
#include "storage/base/mutex.h"
#include "storage/tls/tls_files.h"

namespace grpc {
class ServerCredentials;
}  // namespace grpc

namespace muster {

// What a client has to show.
enum class ClientAuth {
  // No certificate is asked for.
  kNone,
  // One that leads to an authority, or none.
  kOptional,
  // One that leads to an authority.
  kRequire,
};

// Has gRPC take TLS 1.3 and nothing older, for which its interface has no setting: of the ciphers of TLS 1.2 it is
// left with one that needs a key which nobody has. Before the first use of gRPC, and while there is one thread; what
// GRPC_SSL_CIPHER_SUITES says already stays.
void RequireTls13();

class ServerTls {
 public:
  struct Options {
    // Certificate and key are required; the authority is where `client_auth` asks for certificates.
    TlsFiles files;
    ClientAuth client_auth = ClientAuth::kOptional;
    // The server's own, made if it is missing; only its owner can look into it.
    std::string directory;
    // Between two looks at the files.
    absl::Duration interval = absl::Seconds(1);
  };
  // Called by one thread.
  struct Observer {
    // At the beginning of each look: whoever makes the files himself may renew them now.
    std::function<void()> looking = {};
    // A set is in force, or will be within a second.
    std::function<void(const TlsMaterial&)> loaded;
    // What the files hold can't be used; the set before stays. Once for each state of the files.
    std::function<void(const absl::Status&)> refused;
    // Less than a third of the certificate's time is left, or none. Once each.
    std::function<void(const TlsMaterial&, absl::Duration left)> expiring;
  };

  // Loads the files, and tells `observer` so. Fails as ReadTlsFiles does, and with what keeps the
  // directory from being written. The clock outlives it.
  static absl::StatusOr<std::unique_ptr<ServerTls>> Open(const Options& options, Clock& clock,
                                                         Observer observer);
  ~ServerTls();
  ServerTls(const ServerTls&) = delete;
  ServerTls& operator=(const ServerTls&) = delete;

  // For a gRPC server; what changes later goes into force there.
  const std::shared_ptr<grpc::ServerCredentials>& credentials() const { return credentials_; }

  // One look at the files. By one thread: the caller's, or the one that Start makes.
  void Look();

  // Looks at each interval, until the object ends. Once.
  void Start();

 private:
  ServerTls(const Options& options, Clock& clock, Observer observer);

  // Reads, checks and stages the files as they are.
  absl::Status Load();
  absl::Status Stage(const TlsMaterial& material);
  void TellOfExpiry();
  // What the files' names lead to: their inodes, sizes and times.
  std::string StateOfFiles() const;
  void Run();

  const Options options_;
  Clock& clock_;
  const Observer observer_;
  std::shared_ptr<grpc::ServerCredentials> credentials_;
  TlsMaterial present_;
  // Of the files that were looked at last, and of those that were read last.
  std::string seen_;
  std::string read_;
  int slot_ = 0;
  bool told_third_ = false;
  bool told_end_ = false;

  Mutex mutex_;
  CondVar stop_changed_;
  bool stopped_ MUSTER_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace muster

#endif  // MUSTER_SERVER_RPC_SERVER_TLS_H_
