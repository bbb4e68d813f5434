#include "storage/metadata/batch_limits.h"

#include "tests/support/status_matchers.h"

namespace muster {
namespace {

using testing::HasSubstr;

constexpr MetadataStore::Limits kSmallLimits = {
    .batch_operations_max = 3, .batch_bytes_max = 20, .value_bytes_max = 8};

TEST(BatchLimitsTest, SizeCountsEveryKeyAndValue) {
  MetadataBatch batch;
  batch.conditions = {{"ab", "c"}, {"d", std::nullopt}};
  batch.operations = {MetadataBatch::Put{"ef", "ghi"}, MetadataBatch::Delete{"j"},
                      MetadataBatch::DeleteRange{"k", "lm"}};

  EXPECT_EQ(batch.SizeBytes(), 13u);
}

TEST(BatchLimitsTest, BatchWithinLimitsIsFine) {
  MetadataBatch batch;
  batch.conditions = {{"a", "12345678901"}};
  batch.operations = {MetadataBatch::Put{"", "12345678"}, MetadataBatch::Delete{""}};

  MUSTER_EXPECT_OK(CheckBatch(batch, kSmallLimits));
}

TEST(BatchLimitsTest, TooManyOperationsNameTheLimit) {
  MetadataBatch batch;
  batch.operations.assign(4, MetadataBatch::Delete{""});

  EXPECT_THAT(CheckBatch(batch, kSmallLimits),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("has 4 conditions and")));
}

TEST(BatchLimitsTest, TooLongValueNamesTheRow) {
  MetadataBatch batch;
  batch.operations = {MetadataBatch::Put{"row\n", "123456789"}};

  EXPECT_THAT(CheckBatch(batch, kSmallLimits),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("\"row\\n\" has 9 bytes")));
}

}  // namespace
}  // namespace muster
