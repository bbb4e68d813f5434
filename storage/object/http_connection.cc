#include "storage/object/http_connection.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"
#include "storage/object/io_buffer.h"
#include "storage/object/location_rules.h"

namespace muster {
namespace {

// A read of the socket is at most this long, and as much is copied at once.
constexpr long kReadBytes = 256 << 10;
// How often a transfer without news looks whether it has stalled.
constexpr absl::Duration kLookInterval = absl::Milliseconds(250);
// libcurl's number for the reply that came last, after redirects.
constexpr int kLastReply = -1;

// libcurl reads sockets into memory of its own; see kIoAlignment.
void* AllocateForCurl(size_t size) {
  constexpr size_t kReadBufferMin = 16 << 10;
  if (size < kReadBufferMin) return std::malloc(size);
  void* bytes = nullptr;
  return posix_memalign(&bytes, kIoAlignment, size) == 0 ? bytes : nullptr;
}

// Before the first thread that uses libcurl continues, whoever is first.
absl::Status InitOnce() {
  static const CURLcode code = curl_global_init_mem(CURL_GLOBAL_DEFAULT, AllocateForCurl, std::free,
                                                    std::realloc, strdup, std::calloc);
  if (code == CURLE_OK) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("libcurl can't start: ", curl_easy_strerror(code)));
}

absl::Status TransportError(CURLcode code, absl::string_view detail) {
  if (detail.empty()) detail = curl_easy_strerror(code);
  switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
      return MakeError(absl::StatusCode::kDeadlineExceeded, reasons::kStorageStalled, detail);
    case CURLE_TOO_MANY_REDIRECTS:
      return absl::FailedPreconditionError(
          absl::StrCat("redirected more than ", kHttpRedirectsMax,
                       " times; register the address where the object is"));
    // Also what libcurl says about a server that answers with something other than HTTP.
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_WEIRD_SERVER_REPLY:
      return absl::FailedPreconditionError(
          absl::StrCat("not HTTP, or a redirect away from it: ", detail));
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
      return absl::FailedPreconditionError(
          absl::StrCat("the server's certificate is not trusted: ", detail,
                       "; name the authority's file in SSL_CERT_FILE"));
    case CURLE_URL_MALFORMAT:
      return absl::InvalidArgumentError(absl::StrCat("not a valid address: ", detail));
    default:
      return absl::UnavailableError(detail);
  }
}

int PortOf(const sockaddr& address) {
  sockaddr_storage copy = {};
  std::memcpy(&copy, &address,
              address.sa_family == AF_INET6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in));
  // At the same place in both.
  return ntohs(reinterpret_cast<const sockaddr_in&>(copy).sin_port);
}

std::string ShownAddress(const sockaddr& address) {
  const bool v6 = address.sa_family == AF_INET6;
  char host[NI_MAXHOST] = "";
  const socklen_t size = v6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
  getnameinfo(&address, size, host, sizeof(host), nullptr, 0, NI_NUMERICHOST);
  return absl::StrCat(v6 ? "[" : "", host, v6 ? "]:" : ":", PortOf(address));
}

std::string Header(CURL* easy, const char* name) {
  curl_header* header = nullptr;
  if (curl_easy_header(easy, name, 0, CURLH_HEADER, kLastReply, &header) != CURLHE_OK) return "";
  return std::string(absl::StripAsciiWhitespace(header->value));
}

HttpReply ReplyOf(CURL* easy) {
  HttpReply reply;
  long status = 0;
  curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
  reply.status = static_cast<int>(status);
  reply.etag = Header(easy, "ETag");
  reply.last_modified = Header(easy, "Last-Modified");
  reply.content_range = Header(easy, "Content-Range");
  curl_off_t length = -1;
  curl_easy_getinfo(easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
  if (length >= 0) reply.content_length = length;
  curl_off_t retry_after = 0;
  curl_easy_getinfo(easy, CURLINFO_RETRY_AFTER, &retry_after);
  reply.retry_after = absl::Seconds(retry_after);
  curl_header* header = nullptr;
  while ((header = curl_easy_nextheader(easy, CURLH_HEADER, kLastReply, header)) != nullptr) {
    std::string name = absl::AsciiStrToLower(header->name);
    if (!absl::StartsWith(name, "x-amz-")) continue;
    reply.amz.emplace(std::move(name), absl::StripAsciiWhitespace(header->value));
  }
  return reply;
}

absl::Status LocalAddressError(absl::string_view address) {
  return MakeError(
      absl::StatusCode::kPermissionDenied, reasons::kLocationNotAllowed,
      absl::StrCat("leads to ", address,
                   ", which is on this machine or its link and which this node is not told to "
                   "read; where it may, start it with --allow-location and this location's host"));
}

}  // namespace

std::string HttpReply::Amz(const std::string& name) const {
  const auto found = amz.find(name);
  return found == amz.end() ? "" : found->second;
}

struct HttpConnection::Handles {
  CURL* easy = curl_easy_init();
  // Keeps the connection between requests, and can be woken.
  CURLM* multi = curl_multi_init();
  char error[CURL_ERROR_SIZE] = "";

  ~Handles() {
    curl_easy_cleanup(easy);
    curl_multi_cleanup(multi);
  }
};

// One request under way.
struct HttpConnection::Transfer {
  Clock& clock;
  const HttpConnectionOptions& options;
  CURL* const easy;
  const TakeBody take_body;
  std::optional<HttpReply> reply = {};
  // libcurl takes a head that breaks off for a short one.
  bool head_is_whole = false;
  bool refused = false;
  // Of the last local address that was refused.
  std::string refused_address = {};
  absl::Duration stall_timeout = {};
  // Since when, and how much in that time; for the stall.
  absl::Duration window_start = {};
  int64_t window_bytes = 0;
  // What had been sent when the window began.
  int64_t window_sent = 0;
  std::optional<TransferPace::Transfer> pace = {};

  static size_t Write(char* bytes, size_t one, size_t count, void* self) {
    auto& transfer = *static_cast<Transfer*>(self);
    if (!transfer.reply.has_value()) transfer.reply = ReplyOf(transfer.easy);
    const absl::Duration before = transfer.clock.Monotonic();
    transfer.refused = !transfer.take_body(*transfer.reply, absl::string_view(bytes, one * count));
    const absl::Duration taken = transfer.clock.Monotonic() - before;
    transfer.window_start += taken;
    transfer.window_bytes += static_cast<int64_t>(one * count);
    if (transfer.pace.has_value()) {
      transfer.pace->Paused(taken);
      transfer.pace->Moved(static_cast<int64_t>(one * count));
    }
    return transfer.refused ? 0 : one * count;
  }

  static size_t TakeHeadLine(char* line, size_t one, size_t count, void* self) {
    auto& transfer = *static_cast<Transfer*>(self);
    const absl::string_view text = absl::StripAsciiWhitespace({line, one * count});
    if (text.empty()) transfer.head_is_whole = true;
    if (absl::StartsWith(text, "HTTP/")) transfer.head_is_whole = false;
    return one * count;
  }

  // Called for each address of a host, of the proxy's where there is one, after redirects too.
  static curl_socket_t Open(void* self, curlsocktype, curl_sockaddr* address) {
    auto& transfer = *static_cast<Transfer*>(self);
    if (!transfer.MayOpen(address->addr)) {
      transfer.refused_address = ShownAddress(address->addr);
      return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
  }

  bool MayOpen(const sockaddr& address) const {
    if (options.may_be_local == nullptr || !IsLocalAddress(address)) return true;
    if (options.local_proxy_ports.contains(PortOf(address))) return true;
    const char* url = nullptr;
    curl_easy_getinfo(easy, CURLINFO_EFFECTIVE_URL, &url);
    return url != nullptr && options.may_be_local(url);
  }

  // Whether waiting on is worth it.
  absl::Status CheckPace() {
    if (pace.has_value()) {
      if (const auto slow = pace->TooSlow()) {
        return MakeError(absl::StatusCode::kDeadlineExceeded, reasons::kStorageSlow, *slow);
      }
    }
    const absl::Duration now = clock.Monotonic();
    if (now - window_start < stall_timeout) return absl::OkStatus();
    curl_off_t sent = 0;
    curl_easy_getinfo(easy, CURLINFO_SIZE_UPLOAD_T, &sent);
    if (window_bytes + sent - window_sent < kHttpStallBytes) {
      return MakeError(absl::StatusCode::kDeadlineExceeded, reasons::kStorageStalled,
                       absl::StrCat("stalled: ", window_bytes, " bytes in ",
                                    absl::FormatDuration(stall_timeout)));
    }
    window_start = now;
    window_bytes = 0;
    window_sent = sent;
    return absl::OkStatus();
  }
};

HttpConnection::HttpConnection(Clock& clock, const HttpConnectionOptions& options,
                               std::unique_ptr<Handles> handles)
    : clock_(clock), options_(options), handles_(std::move(handles)) {}

HttpConnection::~HttpConnection() = default;

absl::StatusOr<std::unique_ptr<HttpConnection>> HttpConnection::Make(
    Clock& clock, const HttpConnectionOptions& options) {
  MUSTER_RETURN_IF_ERROR(InitOnce());
  auto handles = std::make_unique<Handles>();
  if (handles->easy == nullptr || handles->multi == nullptr) {
    return absl::InternalError("libcurl has no memory for a connection");
  }
  CURL* const easy = handles->easy;
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, handles->error);
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy, CURLOPT_MAXREDIRS, long{kHttpRedirectsMax});
  curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, kReadBytes);
  curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(easy, CURLOPT_USERAGENT, "muster");
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                   static_cast<long>(absl::ToInt64Milliseconds(options.connect_timeout)));
  if (!options.ca_file.empty()) curl_easy_setopt(easy, CURLOPT_CAINFO, options.ca_file.c_str());
  if (!options.ca_directory.empty()) {
    curl_easy_setopt(easy, CURLOPT_CAPATH, options.ca_directory.c_str());
  }
  if (options.proxy.has_value()) curl_easy_setopt(easy, CURLOPT_PROXY, options.proxy->c_str());
  return absl::WrapUnique(new HttpConnection(clock, options, std::move(handles)));
}

absl::StatusOr<HttpReply> HttpConnection::Perform(const HttpRequest& request, TakeBody take_body,
                                                  const std::stop_token& stop) {
  CURL* const easy = handles_->easy;
  handles_->error[0] = '\0';
  Transfer transfer{.clock = clock_, .options = options_, .easy = easy, .take_body = take_body};
  transfer.window_start = clock_.Monotonic();
  transfer.stall_timeout = request.stall_timeout.value_or(options_.stall_timeout);
  if (request.pace != nullptr) transfer.pace.emplace(*request.pace, request.url);
  Prepare(request, transfer);
  curl_slist* lines = nullptr;
  for (const std::string& line : request.headers) lines = curl_slist_append(lines, line.c_str());
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, lines);
  const absl::Status status = Wait(transfer, stop);
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, nullptr);
  curl_slist_free_all(lines);
  MUSTER_RETURN_IF_ERROR(status);
  if (!transfer.head_is_whole) {
    return absl::UnavailableError("the connection broke in the middle of the reply's head");
  }
  return transfer.reply.has_value() ? *std::move(transfer.reply) : ReplyOf(easy);
}

void HttpConnection::Prepare(const HttpRequest& request, Transfer& transfer) {
  CURL* const easy = transfer.easy;
  curl_easy_setopt(easy, CURLOPT_URL, request.url.c_str());
  const bool encrypted = absl::StartsWithIgnoreCase(request.url, "https:");
  curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, encrypted ? "https" : "http,https");
  // In this order: asking for the head only changes the method, and asking for more restores it.
  curl_easy_setopt(easy, CURLOPT_NOBODY, request.head_only ? 1L : 0L);
  if (request.body.has_value()) {
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
                     static_cast<curl_off_t>(request.body->size()));
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request.body->empty() ? "" : request.body->data());
  } else if (!request.head_only) {
    curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
  }
  curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST,
                   request.method.empty() ? nullptr : request.method.c_str());
  curl_easy_setopt(easy, CURLOPT_RANGE, request.range.empty() ? nullptr : request.range.c_str());
  const bool is_signed = request.signing.has_value();
  const HttpSigning signing = request.signing.value_or(HttpSigning{});
  const std::string scope = absl::StrCat("aws:amz:", signing.region, ":", signing.service);
  curl_easy_setopt(easy, CURLOPT_AWS_SIGV4, is_signed ? scope.c_str() : nullptr);
  const bool has_user = is_signed || request.negotiate;
  curl_easy_setopt(easy, CURLOPT_HTTPAUTH,
                   is_signed           ? CURLAUTH_AWS_SIGV4
                   : request.negotiate ? CURLAUTH_NEGOTIATE
                                       : CURLAUTH_BASIC);
  // Empty ones make libcurl negotiate.
  curl_easy_setopt(easy, CURLOPT_USERNAME, has_user ? signing.access_key_id.c_str() : nullptr);
  curl_easy_setopt(easy, CURLOPT_PASSWORD, has_user ? signing.secret_access_key.c_str() : nullptr);
  curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, request.fresh ? 1L : 0L);
  curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, !is_signed && request.follow_redirects ? 1L : 0L);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &Transfer::Write);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, &Transfer::TakeHeadLine);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, &transfer);
  curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, &Transfer::Open);
  curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, &transfer);
}

absl::Status HttpConnection::Wait(Transfer& transfer, const std::stop_token& stop) {
  CURLM* const multi = handles_->multi;
  const std::stop_callback wake(stop, [multi] { curl_multi_wakeup(multi); });
  curl_multi_add_handle(multi, transfer.easy);
  const auto look_ms = static_cast<int>(
      absl::ToInt64Milliseconds(std::min(kLookInterval, transfer.stall_timeout / 4)));
  absl::Status status;
  int running = 1;
  while (running > 0 && status.ok()) {
    const CURLMcode code = curl_multi_perform(multi, &running);
    if (code != CURLM_OK) {
      status = absl::InternalError(curl_multi_strerror(code));
    } else if (stop.stop_requested()) {
      status = absl::CancelledError("the request was cancelled");
    } else if (running > 0) {
      status = transfer.CheckPace();
      if (status.ok()) curl_multi_poll(multi, nullptr, 0, look_ms, nullptr);
    }
  }
  int left = 0;
  while (CURLMsg* message = curl_multi_info_read(multi, &left)) {
    const CURLcode code = message->data.result;
    if (!status.ok() || code == CURLE_OK || transfer.refused) continue;
    const bool refused = code == CURLE_COULDNT_CONNECT && !transfer.refused_address.empty();
    status = refused ? LocalAddressError(transfer.refused_address)
                     : TransportError(code, handles_->error);
  }
  // A connection in the middle of a reply is closed by this.
  curl_multi_remove_handle(multi, transfer.easy);
  return status;
}

}  // namespace muster
