#include "tests/support/fault_injecting_metadata_store.h"

#include <memory>

#include "storage/metadata/memory_metadata_store.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

constexpr MetadataStore::Limits kFaultyLimits = {
    .batch_operations_max = 100, .batch_bytes_max = 1 << 20, .value_bytes_max = 256 << 10};

MetadataBatch FaultyPutOf(const std::string& key) {
  MetadataBatch batch;
  batch.operations.push_back(MetadataBatch::Put{key, "v"});
  return batch;
}

class FaultInjectingMetadataStoreTest : public testing::Test {
 protected:
  const std::unique_ptr<MetadataStore> wrapped_ = NewMemoryMetadataStore(kFaultyLimits);
  FaultInjectingMetadataStore store_{*wrapped_};
};

TEST_F(FaultInjectingMetadataStoreTest, WithoutFaultsEverythingPasses) {
  MUSTER_EXPECT_OK(store_.Commit(FaultyPutOf("a")));
  MUSTER_EXPECT_OK(store_.CheckLeadership());

  EXPECT_THAT(store_.Get("a"), IsOkAndHolds("v"));
  EXPECT_EQ(store_.commits(), 1u);
}

TEST_F(FaultInjectingMetadataStoreTest, FaultBeforeApplyWritesNothingFromThenOn) {
  store_.FailCommit(2, FaultInjectingMetadataStore::Fault::kBeforeApply);

  MUSTER_EXPECT_OK(store_.Commit(FaultyPutOf("a")));
  EXPECT_FALSE(store_.has_failed());
  EXPECT_THAT(store_.Commit(FaultyPutOf("b")), StatusIs(absl::StatusCode::kInternal));
  EXPECT_THAT(store_.Commit(FaultyPutOf("c")), StatusIs(absl::StatusCode::kInternal));

  EXPECT_TRUE(store_.has_failed());
  EXPECT_THAT(wrapped_->Get("a"), IsOk());
  EXPECT_THAT(wrapped_->Get("b"), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(wrapped_->Get("c"), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(FaultInjectingMetadataStoreTest, FaultAfterApplyWritesThatBatchOnly) {
  store_.FailCommit(1, FaultInjectingMetadataStore::Fault::kAfterApply);

  EXPECT_THAT(store_.Commit(FaultyPutOf("a")), StatusIs(absl::StatusCode::kInternal));
  EXPECT_THAT(store_.Commit(FaultyPutOf("b")), StatusIs(absl::StatusCode::kInternal));

  EXPECT_THAT(wrapped_->Get("a"), IsOk());
  EXPECT_THAT(wrapped_->Get("b"), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_EQ(store_.commits(), 0u);
}

TEST_F(FaultInjectingMetadataStoreTest, FaultBeforeRepliesWritesAndThenNoLongerLeads) {
  store_.FailCommit(1, FaultInjectingMetadataStore::Fault::kBeforeReplies);

  MUSTER_EXPECT_OK(store_.Commit(FaultyPutOf("a")));

  EXPECT_THAT(wrapped_->Get("a"), IsOk());
  EXPECT_THAT(store_.CheckLeadership(), StatusIs(absl::StatusCode::kInternal));
  EXPECT_THAT(store_.Commit(FaultyPutOf("b")), StatusIs(absl::StatusCode::kInternal));
}

TEST_F(FaultInjectingMetadataStoreTest, LostLeadershipWritesNothing) {
  store_.LoseLeadership();

  EXPECT_THAT(store_.CheckLeadership(), StatusIs(absl::StatusCode::kAborted));
  EXPECT_THAT(store_.Commit(FaultyPutOf("a")), StatusIs(absl::StatusCode::kAborted));
  EXPECT_THAT(wrapped_->Get("a"), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(FaultInjectingMetadataStoreTest, FreeBytesAreAsSet) {
  store_.SetFreeBytes(7);

  EXPECT_THAT(store_.FreeBytes(), IsOkAndHolds(7));
}

}  // namespace
}  // namespace muster
