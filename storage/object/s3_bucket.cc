#include "storage/object/s3_bucket.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/error_info.h"
#include "storage/base/status_macros.h"
#include "storage/object/uri.h"

namespace muster {
namespace {

// A page of 1,000 keys of 1,024 bytes, each of them as "%xx".
constexpr size_t kBodyBytesMax = 16 << 20;

bool IsError(const HttpReply& reply) { return reply.status < 200 || reply.status >= 300; }

// Whether other credentials may be let in where these were not.
bool MayHaveExpired(absl::string_view s3_code) {
  return s3_code == "ExpiredToken" || s3_code == "TokenRefreshRequired" ||
         s3_code == "InvalidToken" || s3_code == "InvalidAccessKeyId";
}

}  // namespace

std::string S3Bucket::UriOf(absl::string_view key) const {
  return Uri{.scheme = "s3", .authority = name_, .path = std::string(key)}.ToString();
}

absl::StatusOr<HttpRequest> S3Bucket::Sign(const S3Call& call, const std::stop_token& stop) {
  absl::StatusOr<S3Credentials> credentials = credentials_->Get(stop);
  if (!credentials.ok()) return Annotate(credentials.status(), UriOf(call.key));
  HttpRequest request{.url = address_.UrlOf(name_, call.key, call.query),
                      .head_only = call.method == "HEAD",
                      .headers = call.headers,
                      .method = call.method == "HEAD" ? "" : call.method,
                      .body = call.body,
                      .signing = HttpSigning{.access_key_id = credentials->access_key_id,
                                             .secret_access_key = credentials->secret_access_key,
                                             .region = address_.region,
                                             .service = "s3"},
                      .stall_timeout = call.stall_timeout};
  request.headers.push_back(absl::StrCat(
      "x-amz-date: ",
      absl::FormatTime("%Y%m%dT%H%M%SZ", client_->clock().Now(), absl::UTCTimeZone())));
  // Parts carry their MD5, and hashing them once more would cost as much as all the rest.
  request.headers.push_back("x-amz-content-sha256: UNSIGNED-PAYLOAD");
  if (!credentials->session_token.empty()) {
    request.headers.push_back(absl::StrCat("x-amz-security-token: ", credentials->session_token));
  }
  if (call.body.has_value()) request.headers.push_back("content-type: application/octet-stream");
  return request;
}

HttpAttempt S3Bucket::Refused(const S3Call& call, const HttpReply& reply, absl::string_view body,
                              absl::string_view access_key_id, Renewal& renewal) {
  const S3Subject subject{UriOf(call.key), name_, call.key, address_.endpoint};
  HttpAttempt attempt{.status = S3ErrorOf(subject, reply, body), .retry_after = reply.retry_after};
  if (!MayHaveExpired(S3CodeOf(attempt.status)) || renewal.done) return attempt;
  renewal.done = true;
  credentials_->Forget(access_key_id);
  attempt.status = absl::UnavailableError(attempt.status.message());
  return attempt;
}

absl::StatusOr<S3Result> S3Bucket::Do(const S3Call& call, const std::stop_token& stop) {
  const std::string uri = UriOf(call.key);
  S3Result result;
  Renewal renewal;
  int attempts = 0;
  const absl::Status status = client_->Retry(uri, stop, [&](HttpConnection& connection) {
    result.is_repeat = ++attempts > 1;
    const absl::StatusOr<HttpRequest> request = Sign(call, stop);
    if (!request.ok()) return HttpAttempt{.status = request.status()};
    absl::StatusOr<HttpAnswer> answer =
        PerformWhole(connection, *request, uri, kBodyBytesMax, stop);
    if (!answer.ok()) return HttpAttempt{.status = answer.status()};
    result.reply = std::move(answer->reply);
    result.body = std::move(answer->body);
    return Refused(call, result.reply, result.body, request->signing->access_key_id, renewal);
  });
  if (!status.ok()) return status;
  return result;
}

absl::Status S3Bucket::Read(const S3Call& call, HttpRangeReceiver& receiver,
                            const std::stop_token& stop) {
  Renewal renewal;
  return client_->Retry(UriOf(call.key), stop, [&](HttpConnection& connection) {
    absl::StatusOr<HttpRequest> request = Sign(call, stop);
    if (!request.ok()) return HttpAttempt{.status = request.status()};
    const auto take = [&](const HttpReply& reply, absl::string_view bytes) {
      return receiver.Take(reply, bytes);
    };
    const HttpRequest next = receiver.NextRequest(*std::move(request));
    const absl::StatusOr<HttpReply> reply = connection.Perform(next, take, stop);
    HttpAttempt attempt = receiver.Finish(reply);
    // What 412 and 416 say about the range is said better without S3's words.
    if (attempt.status.ok() || !reply.ok() || !IsError(*reply) || reply->status == 412 ||
        reply->status == 416) {
      return attempt;
    }
    return Refused(call, *reply, receiver.error_page(), next.signing->access_key_id, renewal);
  });
}

}  // namespace muster
