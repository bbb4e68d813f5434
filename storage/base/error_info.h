// What an error says to programs: a reason, the values that led to it, and when to try again.
//
// The core returns absl::Status values that carry an ErrorDetail; server/rpc turns it into
// google.rpc.ErrorInfo and RetryInfo, and client/sdk turns those back. Thread-safe: pure functions.
#ifndef MUSTER_STORAGE_BASE_ERROR_INFO_H_
#define MUSTER_STORAGE_BASE_ERROR_INFO_H_

#include <map>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace muster {

struct ErrorDetail {
  // One of storage/base/reasons.h, of at most 63 characters; "" where the error has none.
  std::string reason;
  // Every dynamic value that the message names, by lower_snake_case key.
  std::map<std::string, std::string> metadata;
  // Set where the caller is asked to try again after that long.
  std::optional<absl::Duration> retry_delay;
};

// Makes an error with a detail. `code` must not be OK.
absl::Status MakeError(absl::StatusCode code, absl::string_view reason, absl::string_view message,
                       std::map<std::string, std::string> metadata = {});

// Replaces the detail of an error; an OK status stays as it is.
absl::Status WithDetail(absl::Status status, const ErrorDetail& detail);

// The detail of `status`; an empty one where it has none or it can't be read.
ErrorDetail DetailOf(const absl::Status& status);

// Shorthand for DetailOf(status).reason.
std::string ReasonOf(const absl::Status& status);

// Puts "`context`: " before the message and keeps code and detail; an OK status stays as it is.
absl::Status Annotate(const absl::Status& status, absl::string_view context);

}  // namespace muster

#endif  // MUSTER_STORAGE_BASE_ERROR_INFO_H_
