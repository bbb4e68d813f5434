// An HTTP server that answers exactly what a test scripts, wrong or right.
#ifndef MUSTER_TESTS_SUPPORT_SCRIPTED_HTTP_SERVER_H_
#define MUSTER_TESTS_SUPPORT_SCRIPTED_HTTP_SERVER_H_

#include <cstdint>
#include <functional>
#include <list>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "storage/base/mutex.h"

namespace muster {

// Listens on a loopback port that the kernel gives. Thread-safe. Its threads end with it.
class ScriptedHttpServer {
 public:
  struct Request {
    std::string method;
    std::string path;
    // The whole head, for looking up headers.
    std::string head;
    // What came behind it, as its Content-Length says.
    std::string body;
    // Which connection it came on, from 0, and the how-manieth request of the server it is, from 0.
    int connection = 0;
    int number = 0;

    // The value of a header; "" if absent. `name` in any case.
    std::string Header(absl::string_view name) const;
    // First and last byte of the Range header.
    std::optional<std::pair<int64_t, int64_t>> Range() const;
  };
  struct Answer {
    // Sent as it is.
    std::string bytes;
    enum class Then {
      kKeepOpen,
      kClose,
      // Sends nothing more, and leaves the connection open until the client or the server ends.
      kStall,
      // Sends a byte now and then, until the client or the server ends.
      kTrickle,
    } then = Then::kKeepOpen;
  };
  // Called from several threads at once.
  using Handler = std::function<Answer(const Request& request)>;

  explicit ScriptedHttpServer(Handler handler);
  ~ScriptedHttpServer();
  ScriptedHttpServer(const ScriptedHttpServer&) = delete;
  ScriptedHttpServer& operator=(const ScriptedHttpServer&) = delete;

  // "127.0.0.1:PORT".
  const std::string& authority() const { return authority_; }
  std::vector<Request> requests() const;

 private:
  void Accept();
  void Serve(int socket, int connection);
  // Moves one request out of what was received; false once the connection has ended.
  static bool Receive(int socket, std::string& received, Request& request);

  const Handler handler_;
  std::string authority_;
  int listener_ = -1;
  mutable Mutex mutex_;
  std::vector<Request> requests_ MUSTER_GUARDED_BY(mutex_);
  std::vector<int> sockets_ MUSTER_GUARDED_BY(mutex_);
  std::list<std::thread> threads_ MUSTER_GUARDED_BY(mutex_);
  std::thread acceptor_;
};

// "HTTP/1.1 STATUS ...": a complete reply with a Content-Length; `headers` are lines without their
// ends.
std::string HttpReplyText(int status, const std::vector<std::string>& headers,
                          absl::string_view body);

// What a good server answers for an object with these bytes: HEAD, ranges, 416, If-Match.
std::string GoodReply(const ScriptedHttpServer::Request& request, absl::string_view object,
                      const std::string& etag);

}  // namespace muster

#endif  // MUSTER_TESTS_SUPPORT_SCRIPTED_HTTP_SERVER_H_
