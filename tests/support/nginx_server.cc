// nginx takes over listening sockets that are named in the variable NGINX, as it does when it is
// replaced by a newer binary. So the test binds the socket itself, to a port that the kernel gives,
// and the server accepts connections from the first moment: they wait in the socket's queue.
#include "tests/support/nginx_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "absl/strings/str_cat.h"

namespace muster {
namespace {

constexpr char kNginx[] = "/usr/sbin/nginx";
constexpr int kInheritedSocket = 3;

void Check(bool ok, const char* what) {
  if (ok) return;
  std::perror(what);
  std::abort();
}

struct Listener {
  int socket = -1;
  int port = 0;
};

Listener Listen() {
  Listener listener;
  listener.socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  Check(bind(listener.socket, generic, sizeof(address)) == 0, "bind");
  Check(listen(listener.socket, 128) == 0, "listen");
  socklen_t length = sizeof(address);
  Check(getsockname(listener.socket, generic, &length) == 0, "getsockname");
  listener.port = ntohs(address.sin_port);
  return listener;
}

std::string Config(const std::string& directory, const std::string& root, int port) {
  // As root, the worker would become a user who may not read the test's files.
  const char* const user = geteuid() == 0 ? "user root;\n" : "";
  return absl::StrCat(
      user, "daemon off;\nworker_processes 1;\npid ", directory, "/pid;\nerror_log ", directory,
      "/error.log;\nevents { worker_connections 1024; }\nhttp {\n  access_log off;\n"
      "  sendfile on;\n  keepalive_requests 1000000;\n  client_body_temp_path ",
      directory, "/body;\n  proxy_temp_path ", directory, "/proxy;\n  fastcgi_temp_path ",
      directory, "/fastcgi;\n  uwsgi_temp_path ", directory, "/uwsgi;\n  scgi_temp_path ",
      directory, "/scgi;\n  server {\n    listen 127.0.0.1:", port, ";\n    root \"", root,
      "\";\n  }\n}\n");
}

[[noreturn]] void Exec(int listening, const std::string& directory, const std::string& config) {
  // So that a test that dies takes its server along.
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  // dup2 drops the close-on-exec flag, unless both are the same descriptor.
  if (listening == kInheritedSocket) {
    fcntl(listening, F_SETFD, 0);
  } else {
    dup2(listening, kInheritedSocket);
  }
  const std::string inherited = absl::StrCat("NGINX=", kInheritedSocket, ";");
  const std::string log = absl::StrCat(directory, "/error.log");
  const char* const arguments[] = {kNginx,         "-p", directory.c_str(), "-c",
                                   config.c_str(), "-e", log.c_str(),       nullptr};
  const char* const environment[] = {inherited.c_str(), nullptr};
  execve(kNginx, const_cast<char* const*>(arguments), const_cast<char* const*>(environment));
  _exit(127);
}

}  // namespace

NginxServer::NginxServer(const std::string& root) {
  Check(access(kNginx, X_OK) == 0, "/usr/sbin/nginx, from the package nginx-light");
  const Listener listener = Listen();
  const std::string config = directory_.Join("nginx.conf");
  std::ofstream(config) << Config(directory_.path(), root, listener.port);
  authority_ = absl::StrCat("127.0.0.1:", listener.port);
  process_ = fork();
  Check(process_ >= 0, "fork");
  if (process_ == 0) Exec(listener.socket, directory_.path(), config);
  close(listener.socket);
}

NginxServer::~NginxServer() {
  // The master takes its worker along, at once.
  kill(process_, SIGTERM);
  waitpid(process_, nullptr, 0);
}

}  // namespace muster
