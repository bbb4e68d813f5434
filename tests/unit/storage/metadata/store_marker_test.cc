#include "storage/metadata/store_marker.h"

#include <string>
#include <vector>

#include "storage/metadata/memory_metadata_store.h"
#include "tests/support/fault_injecting_metadata_store.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::MatchesRegex;

constexpr MetadataStore::Limits kLimits = {
    .batch_operations_max = 100, .batch_bytes_max = 1 << 20, .value_bytes_max = 256 << 10};

class StoreMarkerTest : public testing::Test {
 protected:
  absl::StatusOr<std::string> Check(absl::string_view cluster_id) {
    return CheckStoreMarker(*random_, *store_, cluster_id);
  }

  void SetRow(absl::string_view key, absl::string_view value) {
    MetadataBatch batch;
    batch.operations.push_back(MetadataBatch::Put{std::string(key), std::string(value)});
    MUSTER_ASSERT_OK(store_->Commit(batch));
  }

  const std::unique_ptr<Random> random_ = NewSeededRandom(1);
  const std::unique_ptr<MetadataStore> store_ = NewMemoryMetadataStore(kLimits);
};

TEST_F(StoreMarkerTest, EmptyStoreIsMarkedWithTheIdAskedFor) {
  EXPECT_THAT(Check("prod"), IsOkAndHolds("prod"));
  EXPECT_THAT(Check("prod"), IsOkAndHolds("prod"));
  EXPECT_THAT(Check(""), IsOkAndHolds("prod"));
}

TEST_F(StoreMarkerTest, EmptyStoreGetsARandomIdThatStays) {
  const absl::StatusOr<std::string> id = Check("");

  EXPECT_THAT(id, IsOkAndHolds(MatchesRegex("[0-9a-f]{32}")));
  EXPECT_THAT(Check(""), IsOkAndHolds(*id));
  EXPECT_THAT(Check(*id), IsOkAndHolds(*id));
}

TEST_F(StoreMarkerTest, AnotherClusterIsRefusedNamingBoth) {
  MUSTER_ASSERT_OK(Check("prod"));

  EXPECT_THAT(Check("test"), StatusIs(absl::StatusCode::kFailedPrecondition,
                                      AllOf(HasSubstr("\"prod\""), HasSubstr("\"test\""))));
}

TEST_F(StoreMarkerTest, NewerFormatIsRefusedNamingBoth) {
  SetRow(kStoreMarkerKey, "muster format=7 something=else entirely");

  EXPECT_THAT(Check(""), StatusIs(absl::StatusCode::kFailedPrecondition,
                                  AllOf(HasSubstr("version 7"), HasSubstr("up to 1"))));
}

TEST_F(StoreMarkerTest, DamagedMarkerIsDataLoss) {
  const std::vector<std::string> values = {"",
                                           "muster",
                                           "mustard format=1 cluster=a",
                                           "muster format=0 cluster=a",
                                           "muster format=-1 cluster=a",
                                           "muster format=99999999999 cluster=a",
                                           "muster format=1",
                                           "muster format=1 cluster=",
                                           "muster format=1 cluster=a b",
                                           "muster format=1 cluster=a\xff",
                                           std::string(1000, 'x')};
  for (const std::string& value : values) {
    SetRow(kStoreMarkerKey, value);
    EXPECT_THAT(Check(""), StatusIs(absl::StatusCode::kDataLoss)) << value;
    EXPECT_THAT(Check("a"), StatusIs(absl::StatusCode::kDataLoss)) << value;
  }
}

TEST_F(StoreMarkerTest, RowsWithoutAMarkerAreRefused) {
  SetRow("some", "row");

  EXPECT_THAT(Check(""), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(store_->Get(kStoreMarkerKey), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(StoreMarkerTest, BadClusterIdIsInvalid) {
  for (const std::string& id : {std::string("a b"), std::string("a/b"), std::string(64, 'a'),
                                std::string("a\n"), std::string("\xc3\xa4")}) {
    EXPECT_THAT(Check(id), StatusIs(absl::StatusCode::kInvalidArgument)) << id;
  }
  EXPECT_THAT(Check(std::string(63, 'a')), IsOk());
}

TEST_F(StoreMarkerTest, FailingStoreIsReported) {
  FaultInjectingMetadataStore faulty(*store_);
  faulty.FailCommit(1, FaultInjectingMetadataStore::Fault::kBeforeApply);

  EXPECT_THAT(CheckStoreMarker(*random_, faulty, "a"), StatusIs(absl::StatusCode::kInternal));
}

}  // namespace
}  // namespace muster
