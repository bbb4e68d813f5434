#include "storage/base/error_info.h"

#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

TEST(ErrorInfoTest, DetailSurvivesAnnotation) {
  absl::Status status =
      WithDetail(absl::UnavailableError("full"),
                 ErrorDetail{"QUEUE_FULL", {{"a:b", "1:2"}, {"", ""}}, absl::Milliseconds(250)});

  status = Annotate(status, "nodes/n1");

  EXPECT_THAT(status, StatusIs(absl::StatusCode::kUnavailable, "nodes/n1: full"));
  const ErrorDetail detail = DetailOf(status);
  EXPECT_EQ(detail.reason, "QUEUE_FULL");
  EXPECT_EQ(detail.metadata.at("a:b"), "1:2");
  EXPECT_EQ(detail.metadata.count(""), 1u);
  EXPECT_EQ(detail.retry_delay, absl::Milliseconds(250));
}

TEST(ErrorInfoTest, PlainErrorHasNoDetail) {
  EXPECT_EQ(ReasonOf(absl::NotFoundError("x")), "");
  EXPECT_FALSE(DetailOf(absl::OkStatus()).retry_delay.has_value());
}

}  // namespace
}  // namespace muster
