#include "client/transfer/piece_hasher.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/client/transfer/transfer_fixtures.h"

namespace muster {
namespace {

TEST(ShardHasherTest, DigestsAreThoseOfThePiecesAndTheWhole) {
  const std::string bytes = TestBytes(2 * kMiB + 17, 3);
  const absl::string_view view = bytes;
  ShardHasher hasher(kMiB);

  MUSTER_ASSERT_OK(hasher.AddPieces({view.substr(0, kMiB), view.substr(kMiB, kMiB)}));
  MUSTER_ASSERT_OK(hasher.AddPiece(view.substr(2 * kMiB)));
  const auto digests = hasher.Finish();

  MUSTER_ASSERT_OK(digests);
  EXPECT_EQ(digests->size_bytes, 2 * kMiB + 17);
  ASSERT_EQ(digests->pieces.size(), 3u);
  EXPECT_EQ(digests->pieces[2], Md5Of(view.substr(2 * kMiB)));
  EXPECT_EQ(digests->root, Md5Root(digests->pieces));
  EXPECT_EQ(digests->md5, Md5Of(bytes));
}

TEST(ShardHasherTest, PieceAfterAShortOneIsRefused) {
  ShardHasher hasher(kMiB);

  MUSTER_ASSERT_OK(hasher.AddPiece("short"));

  EXPECT_THAT(hasher.AddPiece("another"), StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST(ShardHasherTest, EmptyOrTooLongPieceIsRefused) {
  const std::string too_long(kMiB + 1, 'x');

  EXPECT_THAT(ShardHasher(kMiB).AddPiece(""), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(ShardHasher(kMiB).AddPiece(too_long), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(ShardHasherTest, NothingAddedHasNoDigests) {
  EXPECT_THAT(ShardHasher(kMiB).Finish(), StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST(HashShardTest, ReadsInOrderAndHashesAll) {
  const std::string bytes = TestBytes(kMiB + 1, 4);
  std::vector<int64_t> offsets;

  const auto digests = HashShard(kMiB + 1, kMiB, [&](int64_t offset, absl::Span<char> out) {
    offsets.push_back(offset);
    bytes.copy(out.data(), out.size(), static_cast<size_t>(offset));
    return absl::OkStatus();
  });

  MUSTER_ASSERT_OK(digests);
  EXPECT_EQ(digests->md5, Md5Of(bytes));
  EXPECT_THAT(offsets, ::testing::ElementsAre(0, kMiB));
}

TEST(HashShardTest, ReadErrorComesBack) {
  EXPECT_THAT(HashShard(10, kMiB,
                        [](int64_t, absl::Span<char>) { return absl::UnavailableError("later"); }),
              StatusIs(absl::StatusCode::kUnavailable));
}

}  // namespace
}  // namespace muster
