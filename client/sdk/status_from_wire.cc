#include "client/sdk/status_from_wire.h"

#include <algorithm>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "storage/base/error_info.h"

namespace muster {
namespace {

// A server that names a longer delay is called again after this one.
constexpr absl::Duration kMaxRetryDelay = absl::Minutes(5);

std::optional<absl::Duration> DelayOf(const google::rpc::RetryInfo& info) {
  if (!info.has_retry_delay()) return std::nullopt;
  const absl::Duration delay =
      absl::Seconds(info.retry_delay().seconds()) + absl::Nanoseconds(info.retry_delay().nanos());
  return std::clamp(delay, absl::ZeroDuration(), kMaxRetryDelay);
}

}  // namespace

absl::Status StatusFromWire(int code, absl::string_view message, absl::string_view details) {
  if (code == 0) return absl::OkStatus();
  // absl::StatusCode has gRPC's numbers, 1 to 16.
  const bool known = code >= 1 && code <= 16;
  const absl::Status status(
      known ? static_cast<absl::StatusCode>(code) : absl::StatusCode::kUnknown, message);
  google::rpc::Status wire;
  if (details.empty() || !wire.ParseFromArray(details.data(), static_cast<int>(details.size()))) {
    return status;
  }
  ErrorDetail detail;
  for (const google::protobuf::Any& any : wire.details()) {
    google::rpc::ErrorInfo info;
    google::rpc::RetryInfo retry;
    if (any.Is<google::rpc::ErrorInfo>() && any.UnpackTo(&info)) {
      detail.reason = info.reason();
      detail.metadata = {info.metadata().begin(), info.metadata().end()};
    } else if (any.Is<google::rpc::RetryInfo>() && any.UnpackTo(&retry)) {
      detail.retry_delay = DelayOf(retry);
    }
  }
  if (detail.reason.empty() && !detail.retry_delay.has_value()) return status;
  return WithDetail(status, detail);
}

}  // namespace muster
