#include "client/transfer/pull_failure.h"

#include <errno.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"
#include "storage/files/file_error.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

using muster::v1::ShardFailure;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(PullFailureTest, StoreErrorsGetTheirCodes) {
  const auto code = [](const absl::Status& status) { return LocationFailure(status, "u").code; };

  EXPECT_EQ(code(absl::NotFoundError("")), ShardFailure::MISSING);
  EXPECT_EQ(code(absl::OutOfRangeError("")), ShardFailure::MISSING);
  EXPECT_EQ(code(absl::DataLossError("")), ShardFailure::CORRUPT);
  EXPECT_EQ(code(absl::AbortedError("")), ShardFailure::CORRUPT);
  EXPECT_EQ(code(absl::DeadlineExceededError("")), ShardFailure::SLOW);
  EXPECT_EQ(code(absl::UnavailableError("")), ShardFailure::UNREADABLE);
  EXPECT_EQ(code(absl::PermissionDeniedError("")), ShardFailure::UNREADABLE);
  const absl::Status refused =
      MakeError(absl::StatusCode::kPermissionDenied, reasons::kLocationNotAllowed, "");
  EXPECT_EQ(code(refused), ShardFailure::NOT_ALLOWED);
  EXPECT_THAT(ToStatus(LocationFailure(refused, "u")),
              ErrorIs(absl::StatusCode::kPermissionDenied, "LOCATION_NOT_ALLOWED"));
}

TEST(PullFailureTest, WhatIsInAFileIsNotToldToTheServer) {
  for (const char* location : {"file:///etc/key", "FILE:///etc/key"}) {
    PullFailure failure = {.code = ShardFailure::CORRUPT,
                           .message = "s: file:///etc/key: piece 0 has MD5 0123, expected 4567",
                           .location = location,
                           .expected_md5 = "4567",
                           .found_md5 = "0123"};
    ShardFailure told = ToProto(failure);
    EXPECT_EQ(told.expected_md5(), "4567");
    EXPECT_EQ(told.found_md5(), "");
    EXPECT_THAT(told.message(),
                AllOf(HasSubstr(location), HasSubstr("log"), Not(HasSubstr("0123"))));

    failure.code = ShardFailure::MISSING;
    failure.message = "s: file:///etc/key: has 65 bytes, registered are 66";
    told = ToProto(failure);
    EXPECT_THAT(told.message(), AllOf(HasSubstr("shorter"), Not(HasSubstr("65"))));
  }
}

TEST(PullFailureTest, NodeErrorsGetTheirCodes) {
  EXPECT_EQ(NodeFailure(absl::ResourceExhaustedError("")).code, ShardFailure::NO_SPACE);
  EXPECT_EQ(NodeFailure(absl::InternalError("")).code, ShardFailure::NODE_ERROR);
  EXPECT_EQ(NodeFailure(PathError(ENOSPC, "open it", "/k")).code, ShardFailure::NO_SPACE);
  EXPECT_EQ(NodeFailure(PathError(EMFILE, "open it", "/k")).code, ShardFailure::NODE_ERROR);
}

TEST(PullFailureTest, ReasonsAndRoomAreTold) {
  const absl::Status full =
      MakeError(absl::StatusCode::kResourceExhausted, reasons::kCacheFull, "full",
                {{"needed_bytes", "2147520512"}, {"available_bytes", "41943040"}});
  const ShardFailure told = ToProto(NodeFailure(full));
  EXPECT_EQ(told.reason(), "CACHE_FULL");
  EXPECT_EQ(told.needed_bytes(), 2'147'520'512u);
  EXPECT_EQ(told.free_bytes(), 41'943'040u);

  const absl::Status denied = MakeError(absl::StatusCode::kPermissionDenied, reasons::kS3Error, "");
  EXPECT_EQ(ToProto(LocationFailure(denied, "s3://b/x")).reason(), "S3_ERROR");
  EXPECT_EQ(ToProto(NodeFailure(absl::InternalError(""))).reason(), "INTERNAL");
}

TEST(PullFailureTest, ProtoCarriesEverything) {
  const PullFailure failure = {.code = ShardFailure::CORRUPT,
                               .message = "bad",
                               .location = "s3://b/x",
                               .expected_md5 = "e",
                               .found_md5 = "f"};

  const ShardFailure proto = ToProto(failure);

  EXPECT_EQ(proto.code(), ShardFailure::CORRUPT);
  EXPECT_EQ(proto.message(), "bad");
  EXPECT_EQ(proto.location(), "s3://b/x");
  EXPECT_EQ(proto.expected_md5(), "e");
  EXPECT_EQ(proto.found_md5(), "f");
}

TEST(PullFailureTest, LongMessageIsCutAtACharacter) {
  PullFailure failure;
  failure.message = std::string(1023, 'x') + "é";

  EXPECT_EQ(ToProto(failure).message(), std::string(1023, 'x'));
}

TEST(PullFailureTest, StatusCarriesReasonAndValues) {
  const PullFailure failure = {.code = ShardFailure::CORRUPT,
                               .message = "bad",
                               .location = "file:///x",
                               .expected_md5 = "e",
                               .found_md5 = "f",
                               .status_code = absl::StatusCode::kDataLoss};

  const absl::Status status = ToStatus(failure);

  EXPECT_THAT(status, ErrorIs(absl::StatusCode::kDataLoss, "SHARD_CORRUPT"));
  EXPECT_EQ(DetailOf(status).metadata.at("location"), "file:///x");
  EXPECT_EQ(DetailOf(status).metadata.at("found_md5"), "f");
}

}  // namespace
}  // namespace muster
