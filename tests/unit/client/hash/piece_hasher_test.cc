#include "client/hash/piece_hasher.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/client/cache/cache_fixtures.h"

namespace muster {
namespace {

TEST(ShardHasherTest, DigestsAreThoseOfThePiecesAndTheWhole) {
  const std::string bytes = TestBytes(2 * kMiB + 17, 3);
  const absl::string_view view = bytes;
  HashQueue hashes;
  ShardHasher hasher(hashes, kMiB);

  MUSTER_ASSERT_OK(hasher.AddPiece(view.substr(0, kMiB)));
  MUSTER_ASSERT_OK(hasher.AddPiece(view.substr(kMiB, kMiB)));
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
  HashQueue hashes;
  ShardHasher hasher(hashes, kMiB);

  MUSTER_ASSERT_OK(hasher.AddPiece("short"));

  EXPECT_THAT(hasher.AddPiece("another"), StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST(ShardHasherTest, EmptyOrTooLongPieceIsRefused) {
  const std::string too_long(kMiB + 1, 'x');
  HashQueue hashes;

  EXPECT_THAT(ShardHasher(hashes, kMiB).AddPiece(""), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(ShardHasher(hashes, kMiB).AddPiece(too_long),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(ShardHasherTest, NothingAddedHasNoDigests) {
  HashQueue hashes;
  EXPECT_THAT(ShardHasher(hashes, kMiB).Finish(), StatusIs(absl::StatusCode::kFailedPrecondition));
}

}  // namespace
}  // namespace muster
