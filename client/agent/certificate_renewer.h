// Renews a node's certificate in time.
#ifndef MUSTER_CLIENT_AGENT_CERTIFICATE_RENEWER_H_
#define MUSTER_CLIENT_AGENT_CERTIFICATE_RENEWER_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/agent/node_certificate.h"
#include "client/sdk/client.h"
#include "storage/base/clock.h"
#include "storage/base/random.h"

namespace muster {

// When a certificate is renewed: two thirds into its life, or up to a tenth of it before that, so that nodes which were
// enrolled together don't all come at once. `chance` is in [0, 1).
absl::Time RenewalTime(const NodeCertificate::Life& life, double chance);

// Has a thread of its own, from its construction to its end.
class CertificateRenewer {
 public:
  struct Options {
    // Grows with each renewal; the client's connections go by it.
    std::shared_ptr<std::atomic<uint64_t>> renewals;
    // Called on the renewer's thread. A failure is told once, until a renewal succeeds, and once more when the
    // certificate has ended.
    std::function<void(const NodeCertificate::Life&)> renewed = [](const auto&) {};
    std::function<void(const std::string&)> warn = [](const std::string&) {};
  };

  // All outlive it. The client shows the certificate.
  CertificateRenewer(const NodeCertificate& certificate, Client& client, Clock& clock,
                     Random& random, Options options);

 private:
  void Run(const std::stop_token& stop);
  // Waits until the time of day; false when it is stopped.
  bool WaitUntil(absl::Time time, const std::stop_token& stop) const;
  // Tries until it succeeds, or is stopped.
  void Renew(const NodeCertificate::Life& life, const std::stop_token& stop);

  const NodeCertificate& certificate_;
  Client& client_;
  Clock& clock_;
  Random& random_;
  const Options options_;
  // The last: it uses the others.
  std::jthread thread_;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_AGENT_CERTIFICATE_RENEWER_H_
