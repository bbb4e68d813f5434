#include "tests/support/scripted_http_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace muster {
namespace {

constexpr absl::string_view kHeadEnd = "\r\n\r\n";

void SendAll(int socket, absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
}

// False once the other end has closed, or the socket was shut down.
bool ReceiveMore(int socket, std::string& received) {
  char buffer[65536];
  const ssize_t got = recv(socket, buffer, sizeof(buffer), 0);
  if (got > 0) received.append(buffer, static_cast<size_t>(got));
  return got > 0;
}

// Blocks until the other end closes or the socket is shut down.
void AwaitEnd(int socket) {
  char ignored[256];
  while (recv(socket, ignored, sizeof(ignored), 0) > 0) {
  }
}

void Trickle(int socket) {
  constexpr int kByteEveryMs = 10;
  pollfd end{socket, POLLIN, 0};
  while (poll(&end, 1, kByteEveryMs) == 0) SendAll(socket, "x");
}

}  // namespace

std::string ScriptedHttpServer::Request::Header(absl::string_view name) const {
  for (const absl::string_view line : absl::StrSplit(head, "\r\n")) {
    const size_t colon = line.find(':');
    if (colon == absl::string_view::npos) continue;
    if (absl::EqualsIgnoreCase(line.substr(0, colon), name)) {
      return std::string(absl::StripAsciiWhitespace(line.substr(colon + 1)));
    }
  }
  return "";
}

std::optional<std::pair<int64_t, int64_t>> ScriptedHttpServer::Request::Range() const {
  const std::string value = Header("Range");
  const std::vector<std::string> ends =
      absl::StrSplit(absl::StripPrefix(value, "bytes="), absl::MaxSplits('-', 1));
  std::pair<int64_t, int64_t> range;
  if (ends.size() != 2 || !absl::SimpleAtoi(ends[0], &range.first) ||
      !absl::SimpleAtoi(ends[1], &range.second)) {
    return std::nullopt;
  }
  return range;
}

ScriptedHttpServer::ScriptedHttpServer(Handler handler) : handler_(std::move(handler)) {
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  socklen_t length = sizeof(address);
  if (bind(listener_, generic, length) != 0 || listen(listener_, 128) != 0 ||
      getsockname(listener_, generic, &length) != 0) {
    std::perror("scripted HTTP server");
    std::abort();
  }
  authority_ = absl::StrCat("127.0.0.1:", ntohs(address.sin_port));
  acceptor_ = std::thread([this] { Accept(); });
}

ScriptedHttpServer::~ScriptedHttpServer() {
  shutdown(listener_, SHUT_RDWR);
  acceptor_.join();
  std::list<std::thread> threads;
  {
    MutexLock lock(mutex_);
    for (const int connection : sockets_) shutdown(connection, SHUT_RDWR);
    threads.swap(threads_);
  }
  for (std::thread& thread : threads) thread.join();
  for (const int connection : sockets_) close(connection);
  close(listener_);
}

std::vector<ScriptedHttpServer::Request> ScriptedHttpServer::requests() const {
  MutexLock lock(mutex_);
  return requests_;
}

void ScriptedHttpServer::Accept() {
  for (int connection = 0;; ++connection) {
    const int accepted = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (accepted < 0) return;
    MutexLock lock(mutex_);
    sockets_.push_back(accepted);
    threads_.emplace_back([this, accepted, connection] { Serve(accepted, connection); });
  }
}

bool ScriptedHttpServer::Receive(int socket, std::string& received, Request& request) {
  size_t end = received.find(kHeadEnd.data());
  while (end == std::string::npos) {
    if (!ReceiveMore(socket, received)) return false;
    end = received.find(kHeadEnd.data());
  }
  request.head = received.substr(0, end);
  received.erase(0, end + kHeadEnd.size());
  const std::vector<std::string> words =
      absl::StrSplit(request.head.substr(0, request.head.find('\r')), ' ');
  request.method = words[0];
  request.path = words.size() > 1 ? words[1] : "";
  if (!request.Header("Expect").empty()) SendAll(socket, "HTTP/1.1 100 Continue\r\n\r\n");
  size_t length = 0;
  if (!absl::SimpleAtoi(request.Header("Content-Length"), &length)) return true;
  while (received.size() < length) {
    if (!ReceiveMore(socket, received)) return false;
  }
  request.body = received.substr(0, length);
  received.erase(0, length);
  return true;
}

void ScriptedHttpServer::Serve(int socket, int connection) {
  std::string received;
  for (;;) {
    Request request;
    request.connection = connection;
    if (!Receive(socket, received, request)) {
      shutdown(socket, SHUT_RDWR);
      return;
    }
    {
      MutexLock lock(mutex_);
      request.number = static_cast<int>(requests_.size());
      requests_.push_back(request);
    }
    const Answer answer = handler_(request);
    SendAll(socket, answer.bytes);
    if (answer.then == Answer::Then::kStall) AwaitEnd(socket);
    if (answer.then == Answer::Then::kTrickle) Trickle(socket);
    if (answer.then != Answer::Then::kKeepOpen) {
      shutdown(socket, SHUT_RDWR);
      return;
    }
  }
}

std::string HttpReplyText(int status, const std::vector<std::string>& headers,
                          absl::string_view body) {
  std::string text = absl::StrCat("HTTP/1.1 ", status, " Scripted\r\n");
  for (const std::string& header : headers) absl::StrAppend(&text, header, "\r\n");
  return absl::StrCat(text, "Content-Length: ", body.size(), kHeadEnd, body);
}

std::string GoodReply(const ScriptedHttpServer::Request& request, absl::string_view object,
                      const std::string& etag) {
  const auto size = static_cast<int64_t>(object.size());
  const std::string tag = absl::StrCat("ETag: ", etag);
  const std::string match = request.Header("If-Match");
  if (!match.empty() && match != etag) return HttpReplyText(412, {tag}, "");
  if (request.method == "HEAD") {
    return absl::StrCat("HTTP/1.1 200 OK\r\n", tag, "\r\nContent-Length: ", size, kHeadEnd);
  }
  const auto range = request.Range();
  if (!range.has_value()) return HttpReplyText(200, {tag}, object);
  if (range->first >= size) {
    return HttpReplyText(416, {absl::StrCat("Content-Range: bytes */", size)}, "");
  }
  const int64_t last = std::min(range->second, size - 1);
  const auto begin = static_cast<size_t>(range->first);
  return HttpReplyText(
      206, {tag, absl::StrCat("Content-Range: bytes ", range->first, "-", last, "/", size)},
      object.substr(begin, static_cast<size_t>(last + 1 - range->first)));
}

}  // namespace muster
