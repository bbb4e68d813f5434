// GoogleTest matchers for absl::Status and absl::StatusOr, which Debian's Abseil lacks.
#ifndef MUSTER_TESTS_SUPPORT_STATUS_MATCHERS_H_
#define MUSTER_TESTS_SUPPORT_STATUS_MATCHERS_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "storage/base/error_info.h"

namespace muster {

inline const absl::Status& StatusOf(const absl::Status& status) { return status; }
template <typename T>
const absl::Status& StatusOf(const absl::StatusOr<T>& status_or) {
  return status_or.status();
}

MATCHER(IsOk, "is OK") {
  *result_listener << StatusOf(arg).ToString();
  return arg.ok();
}

MATCHER_P(StatusIs, code, "has status code " + absl::StatusCodeToString(code)) {
  *result_listener << StatusOf(arg).ToString();
  return StatusOf(arg).code() == code;
}

MATCHER_P2(StatusIs, code, message_matcher, "has status code " + absl::StatusCodeToString(code)) {
  *result_listener << StatusOf(arg).ToString();
  return StatusOf(arg).code() == code &&
         ::testing::Matches(message_matcher)(std::string(StatusOf(arg).message()));
}

MATCHER_P2(ErrorIs, code, reason,
           "has status code " + absl::StatusCodeToString(code) + " and reason " + reason) {
  *result_listener << StatusOf(arg).ToString() << " reason " << ReasonOf(StatusOf(arg));
  return StatusOf(arg).code() == code && ReasonOf(StatusOf(arg)) == reason;
}

MATCHER_P(IsOkAndHolds, value_matcher, "is OK and holds a matching value") {
  *result_listener << StatusOf(arg).ToString();
  return arg.ok() && ::testing::ExplainMatchResult(value_matcher, *arg, result_listener);
}

}  // namespace muster

#define MUSTER_ASSERT_OK(expression) ASSERT_THAT(expression, ::muster::IsOk())
#define MUSTER_EXPECT_OK(expression) EXPECT_THAT(expression, ::muster::IsOk())

#endif  // MUSTER_TESTS_SUPPORT_STATUS_MATCHERS_H_
