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
    absl::StatusOr<StoreIdentity> identity = CheckStoreMarker(*random_, *store_, cluster_id);
    if (!identity.ok()) return identity.status();
    return identity->cluster_id;
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

std::string HistoryOf(Random& random, MetadataStore& store) {
  const absl::StatusOr<StoreIdentity> identity = CheckStoreMarker(random, store, "");
  EXPECT_THAT(identity, IsOk());
  return identity.ok() ? identity->history_id : "";
}

TEST_F(StoreMarkerTest, HistoryIsRandomAndStays) {
  const std::string history = HistoryOf(*random_, *store_);

  EXPECT_THAT(history, MatchesRegex("[0-9a-f]{32}"));
  EXPECT_EQ(HistoryOf(*random_, *store_), history);
  const std::unique_ptr<MetadataStore> other = NewMemoryMetadataStore(kLimits);
  EXPECT_NE(HistoryOf(*random_, *other), history);
}

TEST_F(StoreMarkerTest, StoreOfAnOlderBuildBeginsAHistory) {
  SetRow(kStoreMarkerKey, "muster format=1 cluster=prod");
  SetRow("row", "of theirs");

  EXPECT_THAT(HistoryOf(*random_, *store_), MatchesRegex("[0-9a-f]{32}"));
}

TEST_F(StoreMarkerTest, StoreThatLostEverythingButItsHistoryIsMarked) {
  MUSTER_ASSERT_OK(BeginHistory(*random_, *store_));

  EXPECT_THAT(Check("prod"), IsOkAndHolds("prod"));
}

TEST_F(StoreMarkerTest, HistoryThatBeginsReplacesTheOneBefore) {
  const std::string before = HistoryOf(*random_, *store_);

  const absl::StatusOr<std::string> begun = BeginHistory(*random_, *store_);

  MUSTER_ASSERT_OK(begun);
  EXPECT_NE(*begun, before);
  EXPECT_EQ(HistoryOf(*random_, *store_), *begun);
  EXPECT_THAT(Check(""), IsOk());
}

TEST_F(StoreMarkerTest, DamagedHistoryIsDataLoss) {
  MUSTER_ASSERT_OK(Check("prod"));
  for (const char* value : {"", "muster history=", "muster history=00", "history=x"}) {
    SetRow(kStoreHistoryKey, value);
    EXPECT_THAT(Check("prod"), StatusIs(absl::StatusCode::kDataLoss)) << value;
  }
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
