// Requests to the servers of one store: a bounded number of connections, and what is tried again.
#ifndef MUSTER_STORAGE_OBJECT_HTTP_CLIENT_H_
#define MUSTER_STORAGE_OBJECT_HTTP_CLIENT_H_

#include <cstddef>
#include <stop_token>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "storage/base/backoff.h"
#include "storage/base/clock.h"
#include "storage/base/random.h"
#include "storage/object/http_connection.h"
#include "storage/object/http_pool.h"

namespace muster {

// As many as a puller has at most, and a quarter for its second reads.
inline constexpr size_t kHttpConnectionsMax = 1280;

struct HttpStoreOptions {
  HttpConnectionOptions connection = {};
  // Requests at once to one host; more of them wait. 1 to kHttpConnectionsMax, values outside are
  // moved inside. The default bounds nothing that a puller doesn't: it knows how many are wanted.
  size_t connections_per_host = kHttpConnectionsMax;
  // A broken connection, 408, 429 or 5xx is tried again for so long after the last byte that came.
  // A longer Retry-After ends the call; the error carries it as retry delay.
  absl::Duration retry_for = absl::Seconds(10);
  BackoffOptions backoff = {};
};

// What is read of an error page, so that the connection can be used again.
inline constexpr size_t kHttpErrorPageBytesMax = 64 << 10;

// How one request ended.
struct HttpAttempt {
  absl::Status status = {};
  absl::Duration retry_after = {};
  // Whether bytes came that need not be asked for again.
  bool progress = false;
};

// A reply with all of its body.
struct HttpAnswer {
  HttpReply reply;
  std::string body;
};

// One request and its whole answer, whatever its status. Errors begin with `uri`; kDataLoss for a body of
// more than `body_bytes_max`.
absl::StatusOr<HttpAnswer> PerformWhole(HttpConnection& connection, const HttpRequest& request,
                                        absl::string_view uri, size_t body_bytes_max,
                                        const std::stop_token& stop);

// Thread-safe; calls block.
class HttpClient {
 public:
  // `clock` and `random` outlive the client.
  HttpClient(Clock& clock, Random& random, const HttpStoreOptions& options);

  // Runs `attempt` on a connection until it needs no other try. What may go away by itself
  // (kUnavailable, kDeadlineExceeded) is tried again with growing, jittered waits, or after the
  // server's Retry-After, until nothing has come for options.retry_for; a stall takes of that time
  // too. What was too slow (STORAGE_SLOW) goes on over another connection, and ends it at the third time.
  // Anything else ends it at once. Errors begin with `uri`; kCancelled after a stop.
  absl::Status Retry(absl::string_view uri, const std::stop_token& stop,
                     absl::FunctionRef<HttpAttempt(HttpConnection& connection)> attempt);

  Clock& clock() const { return clock_; }
  Random& random() const { return random_; }

 private:
  Clock& clock_;
  Random& random_;
  const HttpStoreOptions options_;
  HttpPool pool_;
};

}  // namespace muster

#endif  // MUSTER_STORAGE_OBJECT_HTTP_CLIENT_H_
