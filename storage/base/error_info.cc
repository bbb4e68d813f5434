#include "storage/base/error_info.h"

#include <cstdint>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace muster {
namespace {

constexpr char kPayloadUrl[] = "muster/error-detail";

// The payload is a list of length-prefixed strings: reason, retry delay in ns or "", key, value,
// key, value …
void Append(std::string& out, absl::string_view part) {
  absl::StrAppend(&out, part.size(), ":", part);
}

bool Take(absl::string_view& in, std::string& out) {
  const size_t colon = in.find(':');
  size_t size = 0;
  if (colon == absl::string_view::npos || !absl::SimpleAtoi(in.substr(0, colon), &size) ||
      size > in.size() - colon - 1) {
    return false;
  }
  out = std::string(in.substr(colon + 1, size));
  in.remove_prefix(colon + 1 + size);
  return true;
}

}  // namespace

absl::Status MakeError(absl::StatusCode code, absl::string_view reason, absl::string_view message,
                       std::map<std::string, std::string> metadata) {
  return WithDetail(absl::Status(code, message),
                    ErrorDetail{std::string(reason), std::move(metadata), std::nullopt});
}

absl::Status WithDetail(absl::Status status, const ErrorDetail& detail) {
  if (status.ok()) return status;
  std::string payload;
  Append(payload, detail.reason);
  Append(payload, detail.retry_delay.has_value()
                      ? absl::StrCat(absl::ToInt64Nanoseconds(*detail.retry_delay))
                      : "");
  for (const auto& [key, value] : detail.metadata) {
    Append(payload, key);
    Append(payload, value);
  }
  status.SetPayload(kPayloadUrl, absl::Cord(payload));
  return status;
}

ErrorDetail DetailOf(const absl::Status& status) {
  const auto payload = status.GetPayload(kPayloadUrl);
  if (!payload.has_value()) return {};
  const std::string flat(*payload);
  absl::string_view rest = flat;
  ErrorDetail detail;
  std::string delay;
  if (!Take(rest, detail.reason) || !Take(rest, delay)) return {};
  int64_t delay_ns = 0;
  if (absl::SimpleAtoi(delay, &delay_ns)) detail.retry_delay = absl::Nanoseconds(delay_ns);
  std::string key, value;
  while (!rest.empty() && Take(rest, key) && Take(rest, value)) detail.metadata[key] = value;
  return detail;
}

std::string ReasonOf(const absl::Status& status) { return DetailOf(status).reason; }

absl::Status Annotate(const absl::Status& status, absl::string_view context) {
  if (status.ok()) return status;
  absl::Status annotated(status.code(), absl::StrCat(context, ": ", status.message()));
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& payload) {
    annotated.SetPayload(url, payload);
  });
  return annotated;
}

}  // namespace muster
