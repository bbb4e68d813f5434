#include "client/sdk/retrying_channel.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"

namespace muster {
namespace {

class RetryingChannel final : public Channel {
 public:
  RetryingChannel(std::unique_ptr<Channel> inner, Clock& clock, Random& random,
                  const RetryOptions& options)
      : inner_(std::move(inner)), clock_(clock), random_(random), options_(options) {}

  absl::Status Unary(absl::string_view method, const Message& request, Message& response,
                     const CallOptions& options) override {
    const absl::Duration timeout =
        options.timeout.value_or(options_.call_timeout + options.server_wait);
    const absl::Duration attempt_timeout = options_.attempt_timeout + options.server_wait;
    const absl::Duration end = clock_.Monotonic() + timeout;
    Backoff backoff(random_, options_.backoff);
    for (int attempt = 1;; ++attempt) {
      const absl::Duration left = end - clock_.Monotonic();
      const bool last = left <= attempt_timeout;
      CallOptions once = options;
      once.timeout = last ? left : attempt_timeout;
      response.Clear();
      const absl::Status status = inner_->Unary(method, request, response, once);
      const bool attempt_too_long = !last && absl::IsDeadlineExceeded(status);
      if (!IsRetryable(status) && !attempt_too_long) return status;
      if (!options.returned_reason.empty() && ReasonOf(status) == options.returned_reason) {
        return status;
      }

      const absl::Duration wait =
          std::max(DetailOf(status).retry_delay.value_or(absl::ZeroDuration()), backoff.Next());
      if (clock_.Monotonic() + wait >= end) return GaveUp(status, timeout, attempt);
      if (!SleepUnlessStopped(clock_, wait, options.stop)) {
        return absl::CancelledError(
            absl::StrCat(method, " was stopped while waiting to try again"));
      }
    }
  }

  absl::Status Stream(absl::string_view method, const Message& request, Message& message,
                      absl::FunctionRef<bool()> on_message, const CallOptions& options) override {
    return inner_->Stream(method, request, message, on_message, options);
  }

 private:
  static absl::Status GaveUp(const absl::Status& status, absl::Duration timeout, int attempts) {
    return Annotate(
        status, absl::StrCat("gave up after ", attempts, attempts == 1 ? " attempt" : " attempts",
                             " within ", absl::FormatDuration(timeout)));
  }

  const std::unique_ptr<Channel> inner_;
  Clock& clock_;
  Random& random_;
  const RetryOptions options_;
};

}  // namespace

std::unique_ptr<Channel> NewRetryingChannel(std::unique_ptr<Channel> inner, Clock& clock,
                                            Random& random, const RetryOptions& options) {
  return std::make_unique<RetryingChannel>(std::move(inner), clock, random, options);
}

bool IsRetryable(const absl::Status& status) {
  const ErrorDetail detail = DetailOf(status);
  // A certificate that was refused once is refused again.
  if (detail.reason == reasons::kTlsFailed) return false;
  return absl::IsUnavailable(status) || (!status.ok() && detail.retry_delay.has_value());
}

}  // namespace muster
