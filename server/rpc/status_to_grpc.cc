#include "server/rpc/status_to_grpc.h"

#include <algorithm>
#include <string>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "storage/base/error_info.h"

namespace muster {
namespace {

static_assert(static_cast<int>(absl::StatusCode::kCancelled) == grpc::StatusCode::CANCELLED);
static_assert(static_cast<int>(absl::StatusCode::kNotFound) == grpc::StatusCode::NOT_FOUND);
static_assert(static_cast<int>(absl::StatusCode::kAborted) == grpc::StatusCode::ABORTED);
static_assert(static_cast<int>(absl::StatusCode::kDataLoss) == grpc::StatusCode::DATA_LOSS);
static_assert(static_cast<int>(absl::StatusCode::kUnauthenticated) ==
              grpc::StatusCode::UNAUTHENTICATED);

// The message travels twice, percent-encoded and in the details, the metadata once in base64:
// together below 8 KiB.
constexpr size_t kMaxErrorMessageBytes = 800;
constexpr size_t kMaxMetadataBytes = 2'000;

std::string Cut(std::string text, size_t limit) {
  if (text.size() <= limit) return text;
  while (limit > 0 && (static_cast<unsigned char>(text[limit]) & 0xc0) == 0x80) --limit;
  return text.substr(0, limit) + "…";
}

}  // namespace

grpc::Status StatusToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  const auto code = status.code() == absl::StatusCode::kUnknown
                        ? grpc::StatusCode::INTERNAL
                        : static_cast<grpc::StatusCode>(status.code());
  const std::string message = Cut(std::string(status.message()), kMaxErrorMessageBytes);
  const ErrorDetail detail = DetailOf(status);
  google::rpc::ErrorInfo info;
  info.set_reason(detail.reason.empty() ? absl::StatusCodeToString(status.code()) : detail.reason);
  info.set_domain("muster.v1");
  size_t room = kMaxMetadataBytes;
  for (const auto& [key, value] : detail.metadata) {
    const std::string shown = Cut(value, room);
    (*info.mutable_metadata())[key] = shown;
    room -= std::min(room, shown.size());
  }
  google::rpc::Status details;
  details.set_code(code);
  details.set_message(message);
  details.add_details()->PackFrom(info);
  if (detail.retry_delay.has_value()) {
    google::rpc::RetryInfo retry;
    const int64_t ns = absl::ToInt64Nanoseconds(*detail.retry_delay);
    retry.mutable_retry_delay()->set_seconds(ns / 1'000'000'000);
    retry.mutable_retry_delay()->set_nanos(static_cast<int32_t>(ns % 1'000'000'000));
    details.add_details()->PackFrom(retry);
  }
  return grpc::Status(code, message, details.SerializeAsString());
}

}  // namespace muster
