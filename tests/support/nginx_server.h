// A real nginx that serves one directory on a port of the loopback interface.
#ifndef MUSTER_TESTS_SUPPORT_NGINX_SERVER_H_
#define MUSTER_TESTS_SUPPORT_NGINX_SERVER_H_

#include <sys/types.h>

#include <string>

#include "tests/support/temporary_directory.h"

namespace muster {

// A master and its worker, of the caller's user, that end with the object or with the caller; nothing of the
// system's nginx is read or written. Ends the test process when it can't be started.
class NginxServer {
 public:
  // `root` outlives the server.
  explicit NginxServer(const std::string& root);
  ~NginxServer();
  NginxServer(const NginxServer&) = delete;
  NginxServer& operator=(const NginxServer&) = delete;

  // "127.0.0.1:PORT".
  const std::string& authority() const { return authority_; }

 private:
  TemporaryDirectory directory_;
  std::string authority_;
  pid_t process_ = -1;
};

}  // namespace muster

#endif  // MUSTER_TESTS_SUPPORT_NGINX_SERVER_H_
