#include "client/sdk/status_from_wire.h"

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

TEST(StatusFromWireTest, OkIsOk) { MUSTER_EXPECT_OK(StatusFromWire(0, "ignored", "")); }

TEST(StatusFromWireTest, ErrorInfoAndRetryInfoBecomeTheDetail) {
  google::rpc::ErrorInfo info;
  info.set_reason("QUEUE_FULL");
  (*info.mutable_metadata())["depth"] = "65536";
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_nanos(250'000'000);
  google::rpc::Status wire;
  wire.add_details()->PackFrom(info);
  wire.add_details()->PackFrom(retry);

  const absl::Status status = StatusFromWire(8, "overloaded", wire.SerializeAsString());

  EXPECT_THAT(status, ErrorIs(absl::StatusCode::kResourceExhausted, "QUEUE_FULL"));
  EXPECT_EQ(status.message(), "overloaded");
  EXPECT_EQ(DetailOf(status).metadata.at("depth"), "65536");
  EXPECT_EQ(DetailOf(status).retry_delay, absl::Milliseconds(250));
}

TEST(StatusFromWireTest, DamagedDetailsLeaveTheCodeAndMessage) {
  const absl::Status status = StatusFromWire(5, "no such node", "\xff\xff\xff\xff not a message");

  EXPECT_THAT(status, StatusIs(absl::StatusCode::kNotFound, "no such node"));
  EXPECT_EQ(ReasonOf(status), "");
}

TEST(StatusFromWireTest, DamagedDetailInsideAnAnyIsIgnored) {
  google::rpc::Status wire;
  auto* any = wire.add_details();
  any->set_type_url("type.googleapis.com/google.rpc.ErrorInfo");
  any->set_value("\xff\xff\xff");

  EXPECT_THAT(StatusFromWire(10, "lost", wire.SerializeAsString()),
              ErrorIs(absl::StatusCode::kAborted, ""));
}

TEST(StatusFromWireTest, HostileRetryDelayIsBounded) {
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_seconds(int64_t{1} << 60);
  google::rpc::Status wire;
  wire.add_details()->PackFrom(retry);

  const absl::Status status = StatusFromWire(14, "later", wire.SerializeAsString());

  EXPECT_EQ(DetailOf(status).retry_delay, absl::Minutes(5));
}

TEST(StatusFromWireTest, CodeThatGrpcDoesNotDefineIsUnknown) {
  EXPECT_THAT(StatusFromWire(99, "odd", ""), StatusIs(absl::StatusCode::kUnknown));
}

}  // namespace
}  // namespace muster
