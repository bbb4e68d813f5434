// One HTTP(S) connection, by libcurl: what goes over the wire, and nothing of what it means.
//
// The only place that knows libcurl. Its environment holds for proxies: http_proxy, https_proxy,
// all_proxy, no_proxy.
#ifndef MUSTER_STORAGE_OBJECT_HTTP_CONNECTION_H_
#define MUSTER_STORAGE_OBJECT_HTTP_CONNECTION_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "storage/base/clock.h"
#include "storage/object/transfer_pace.h"

namespace muster {

struct HttpConnectionOptions {
  absl::Duration connect_timeout = absl::Seconds(10);
  // A request that moved fewer than kHttpStallBytes in this time, redirects and waiting for the
  // server included, is given up.
  absl::Duration stall_timeout = absl::Seconds(10);
  // PEM file and directory of certificates that are trusted; "" means libcurl's own.
  std::string ca_file = {};
  std::string ca_directory = {};
  // Overrides the environment; "" means no proxy.
  std::optional<std::string> proxy = {};
  // Asked before a connection to a local address (IsLocalAddress) is opened, with the URL of the request, or of the
  // redirect, that leads to it; empty: may be.
  std::function<bool(absl::string_view url)> may_be_local = {};
  // Ports of this machine that are proxies of the environment; these are not asked about.
  std::set<int> local_proxy_ports = {};
};

inline constexpr int64_t kHttpStallBytes = 1024;
// More redirects than this in a row are a loop.
inline constexpr int kHttpRedirectsMax = 5;

// What AWS Signature Version 4 is made with.
struct HttpSigning {
  std::string access_key_id;
  std::string secret_access_key;
  std::string region;
  std::string service;
};

struct HttpRequest {
  std::string url;
  // Asks for the head only.
  bool head_only = false;
  // "FIRST-LAST", inclusive; "" asks for everything.
  std::string range = {};
  // Complete lines, "name: value". Redirects take them along, so a secret needs
  // `follow_redirects` to be false.
  std::vector<std::string> headers = {};
  // "" is GET, or HEAD with `head_only`.
  std::string method = {};
  // Sent with the request; what it views outlives that.
  std::optional<absl::string_view> body = {};
  // Signs method, address and `headers`, which hold the lines "x-amz-date" and
  // "x-amz-content-sha256". The query of `url` is sorted, with a '=' in each part; a redirect would
  // need another signature, so none is followed.
  std::optional<HttpSigning> signing = {};
  bool follow_redirects = true;
  // Proves by SPNEGO who the user is, with the Kerberos tickets of the process, to the host of
  // `url`.
  bool negotiate = false;
  // Opens another connection. On one that was used before libcurl sends the request again, without telling, if
  // it is closed before the first byte of a reply.
  bool fresh = false;
  // Ends the request once its reply is too slow; outlives it. Null: only a stall does.
  TransferPace* pace = nullptr;
  // Replaces that of the connection; for what the server works on in silence.
  std::optional<absl::Duration> stall_timeout = {};
};

// The head of a reply, after redirects. Values are as the server sent them; "" if it didn't.
struct HttpReply {
  int status = 0;
  std::string etag;
  std::string last_modified;
  std::string content_range;
  std::optional<int64_t> content_length;
  // Zero where the server named none.
  absl::Duration retry_after;
  // The headers that begin with "x-amz-", by their lower-case names.
  std::map<std::string, std::string> amz = {};

  // The value of one of them; "" if the server sent none.
  std::string Amz(const std::string& name) const;
};

// HTTP/1.1, one request at a time; the connection is reused by the next one. Not thread-safe.
//
// Redirects are followed within http and https, never from https to http; those of a signed request
// are not, so that there are no credentials which they could take along. HTTP replies with an error
// status are not errors here.
class HttpConnection {
 public:
  // Gets the body in parts. False ends the request. It may block: that time counts for no timeout.
  using TakeBody = absl::FunctionRef<bool(const HttpReply& reply, absl::string_view bytes)>;

  // kInternal: libcurl can't be used. `clock` outlives the connection.
  static absl::StatusOr<std::unique_ptr<HttpConnection>> Make(Clock& clock,
                                                              const HttpConnectionOptions& options);
  ~HttpConnection();

  // Returns the head of a reply that came whole or that `take_body` has ended. Errors don't name
  // the URL: kUnavailable (no connection, or broken), kDeadlineExceeded
  // STORAGE_STALLED (no connection in time, or no bytes) or STORAGE_SLOW (HttpRequest::pace), kCancelled,
  // kFailedPrecondition (certificates, redirects, not HTTP), kPermissionDenied LOCATION_NOT_ALLOWED (an address that
  // `may_be_local` refuses, which nothing is sent to).
  absl::StatusOr<HttpReply> Perform(const HttpRequest& request, TakeBody take_body,
                                    const std::stop_token& stop);

 private:
  struct Handles;
  struct Transfer;

  HttpConnection(Clock& clock, const HttpConnectionOptions& options,
                 std::unique_ptr<Handles> handles);
  // Sets what differs between requests.
  void Prepare(const HttpRequest& request, Transfer& transfer);
  absl::Status Wait(Transfer& transfer, const std::stop_token& stop);

  Clock& clock_;
  const HttpConnectionOptions options_;
  const std::unique_ptr<Handles> handles_;
};

}  // namespace muster

#endif  // MUSTER_STORAGE_OBJECT_HTTP_CONNECTION_H_
