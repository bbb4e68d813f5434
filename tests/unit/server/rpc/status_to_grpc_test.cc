#include "server/rpc/status_to_grpc.h"

#include <string>

#include "absl/strings/escaping.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "gtest/gtest.h"
#include "storage/base/error_info.h"

namespace muster {
namespace {

google::rpc::Status DetailsOf(const grpc::Status& status) {
  google::rpc::Status details;
  EXPECT_TRUE(details.ParseFromString(status.error_details()));
  return details;
}

TEST(StatusToGrpcTest, ReasonAndMetadataBecomeErrorInfo) {
  const grpc::Status status = StatusToGrpc(
      MakeError(absl::StatusCode::kAborted, "NODE_FENCED", "stale epoch", {{"node", "nodes/a"}}));

  EXPECT_EQ(status.error_code(), grpc::StatusCode::ABORTED);
  EXPECT_EQ(status.error_message(), "stale epoch");
  const google::rpc::Status details = DetailsOf(status);
  ASSERT_EQ(details.details_size(), 1);
  google::rpc::ErrorInfo info;
  ASSERT_TRUE(details.details(0).UnpackTo(&info));
  EXPECT_EQ(info.reason(), "NODE_FENCED");
  EXPECT_EQ(info.domain(), "muster.v1");
  EXPECT_EQ(info.metadata().at("node"), "nodes/a");
}

TEST(StatusToGrpcTest, DelayBecomesRetryInfo) {
  const grpc::Status status =
      StatusToGrpc(WithDetail(absl::ResourceExhaustedError("busy"),
                              ErrorDetail{"QUEUE_FULL", {}, absl::Milliseconds(1'250)}));

  const google::rpc::Status details = DetailsOf(status);
  ASSERT_EQ(details.details_size(), 2);
  google::rpc::RetryInfo retry;
  ASSERT_TRUE(details.details(1).UnpackTo(&retry));
  EXPECT_EQ(retry.retry_delay().seconds(), 1);
  EXPECT_EQ(retry.retry_delay().nanos(), 250'000'000);
}

TEST(StatusToGrpcTest, OkHasNoDetails) {
  EXPECT_TRUE(StatusToGrpc(absl::OkStatus()).ok());
  EXPECT_TRUE(StatusToGrpc(absl::OkStatus()).error_details().empty());
}

TEST(StatusToGrpcTest, UnknownBecomesInternalWithAReason) {
  const grpc::Status status = StatusToGrpc(absl::UnknownError("what"));

  EXPECT_EQ(status.error_code(), grpc::StatusCode::INTERNAL);
  google::rpc::ErrorInfo info;
  ASSERT_TRUE(DetailsOf(status).details(0).UnpackTo(&info));
  EXPECT_FALSE(info.reason().empty());
}

TEST(StatusToGrpcTest, LongValuesStayBelowTheTrailersLimit) {
  std::string wide;
  while (wide.size() < 20'000) wide += "ü";
  const grpc::Status status = StatusToGrpc(MakeError(
      absl::StatusCode::kInvalidArgument, "INVALID_FIELD", wide, {{"a", wide}, {"b", wide}}));

  // The message travels percent-encoded, the details in base64.
  const size_t sent =
      3 * status.error_message().size() + absl::Base64Escape(status.error_details()).size();
  EXPECT_LT(sent, 8'192u);
  google::rpc::ErrorInfo info;
  ASSERT_TRUE(DetailsOf(status).details(0).UnpackTo(&info));
  EXPECT_EQ(info.metadata_size(), 2);
}

}  // namespace
}  // namespace muster
