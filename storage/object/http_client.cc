#include "storage/object/http_client.h"

#include <algorithm>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"

namespace muster {
namespace {

// A server may break off after every byte; this bounds how often it is asked for one thing.
constexpr int kAttemptsMax = 20;
// What is too slow over so many connections in turn is so because of the server.
constexpr int kSlowAttemptsMax = 3;

bool MayRetry(absl::StatusCode code) {
  return code == absl::StatusCode::kUnavailable || code == absl::StatusCode::kDeadlineExceeded;
}

absl::Status GiveUp(const HttpAttempt& attempt, int tries) {
  const absl::Status& status = attempt.status;
  const std::string after = tries > 1 ? absl::StrCat("; tried ", tries, " times") : "";
  const absl::Status told(status.code(), absl::StrCat(status.message(), after));
  ErrorDetail detail = DetailOf(status);
  if (attempt.retry_after > absl::ZeroDuration()) detail.retry_delay = attempt.retry_after;
  if (detail.reason.empty() && !detail.retry_delay.has_value()) return told;
  return WithDetail(told, detail);
}

}  // namespace

absl::StatusOr<HttpAnswer> PerformWhole(HttpConnection& connection, const HttpRequest& request,
                                        absl::string_view uri, size_t body_bytes_max,
                                        const std::stop_token& stop) {
  HttpAnswer answer;
  bool too_big = false;
  const auto take = [&](const HttpReply&, absl::string_view bytes) {
    too_big = answer.body.size() + bytes.size() > body_bytes_max;
    if (!too_big) absl::StrAppend(&answer.body, bytes);
    return !too_big;
  };
  absl::StatusOr<HttpReply> reply = connection.Perform(request, take, stop);
  if (!reply.ok()) return Annotate(reply.status(), uri);
  if (too_big) {
    return absl::DataLossError(
        absl::StrCat(uri, ": the server's reply is longer than ", body_bytes_max));
  }
  answer.reply = *std::move(reply);
  return answer;
}

HttpClient::HttpClient(Clock& clock, Random& random, const HttpStoreOptions& options)
    : clock_(clock),
      random_(random),
      options_(options),
      pool_(clock, options.connection,
            std::clamp<size_t>(options.connections_per_host, 1, kHttpConnectionsMax)) {}

absl::Status HttpClient::Retry(absl::string_view uri, const std::stop_token& stop,
                               absl::FunctionRef<HttpAttempt(HttpConnection& connection)> attempt) {
  Backoff backoff(random_, options_.backoff);
  absl::Duration give_up = clock_.Monotonic() + options_.retry_for;
  int slow = 0;
  for (int tries = 1;; ++tries) {
    HttpAttempt result;
    {
      absl::StatusOr<HttpPool::Lease> connection = pool_.Take(stop);
      if (!connection.ok()) return Annotate(connection.status(), uri);
      result = attempt(**connection);
    }
    if (!MayRetry(result.status.code())) return result.status;
    const absl::Duration now = clock_.Monotonic();
    // A server that stalls again and again is no better for the bytes in between.
    if (result.progress && absl::IsUnavailable(result.status)) {
      give_up = now + options_.retry_for;
      backoff.Reset();
    }
    if (ReasonOf(result.status) == reasons::kStorageSlow) {
      if (++slow >= kSlowAttemptsMax) return GiveUp(result, tries);
      give_up = now + options_.retry_for;
    }
    const absl::Duration wait = std::max(backoff.Next(), result.retry_after);
    if (tries >= kAttemptsMax || now + wait > give_up) return GiveUp(result, tries);
    if (!SleepUnlessStopped(clock_, wait, stop)) {
      return absl::CancelledError(absl::StrCat(uri, ": the request was cancelled"));
    }
  }
}

}  // namespace muster
