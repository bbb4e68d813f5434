#include "storage/tls/tls_probe.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "storage/files/unique_fd.h"

namespace muster {
namespace {

// Takes one connection, reads what comes first, answers and closes.
class OneConnection {
 public:
  explicit OneConnection(std::string answer, bool reset = false) {
    listener_ = UniqueFd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    EXPECT_EQ(bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(listen(listener_.get(), 1), 0);
    EXPECT_EQ(getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
    server_ = absl::StrCat("127.0.0.1:", ntohs(address.sin_port));
    thread_ = std::thread([this, answer = std::move(answer), reset] {
      const UniqueFd fd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      char first = 0;
      (void)recv(fd.get(), &first, 1, 0);
      (void)send(fd.get(), answer.data(), answer.size(), MSG_NOSIGNAL);
      // With bytes that nobody has read, a close is a reset.
      char rest[4'096];
      if (!reset) (void)recv(fd.get(), rest, sizeof(rest), 0);
    });
  }
  ~OneConnection() { thread_.join(); }

  const std::string& server() const { return server_; }

 private:
  UniqueFd listener_;
  std::string server_;
  std::thread thread_;
};

TlsProbe Probe(const std::string& server) {
  TlsProbeOptions options;
  options.server = server;
  return ProbeTls(options);
}

// A server that is killed while it is asked says nothing; whether it speaks TLS is not known by that. Agents once gave up
// for it.
TEST(TlsProbeTest, AConnectionThatIsClosedSaysNothing) {
  for (const bool reset : {false, true}) {
    const OneConnection other("", reset);

    EXPECT_EQ(Probe(other.server()).outcome, TlsProbe::Outcome::kClosed) << reset;
  }
}

TEST(TlsProbeTest, WhoAnswersInAnotherLanguageSpeaksNoTls) {
  const OneConnection other("HTTP/1.1 400 Bad Request\r\n\r\n");

  EXPECT_EQ(Probe(other.server()).outcome, TlsProbe::Outcome::kPlaintext);
}

TEST(TlsProbeTest, AnAlertIsARefusal) {
  // TLS 1.2, of two bytes: fatal, handshake_failure (RFC 8446, 6).
  const OneConnection other(std::string("\x15\x03\x03\x00\x02\x02\x28", 7));

  EXPECT_EQ(Probe(other.server()).outcome, TlsProbe::Outcome::kClientRefused);
}

TEST(TlsProbeTest, WhereNobodyListensThereIsNoConnection) {
  EXPECT_EQ(Probe("127.0.0.1:1").outcome, TlsProbe::Outcome::kNoConnection);
}

}  // namespace
}  // namespace muster
