#include "client/cache/checked_shard.h"

#include "absl/strings/match.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/limits.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/client/cache/cache_fixtures.h"

namespace muster {
namespace {

using ::testing::HasSubstr;

MATCHER_P(IsRefusedWith, what, "") {
  return ::testing::ExplainMatchResult(
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(std::string(what))), arg,
      result_listener);
}

PullShard Good() { return ShardWithPieces(TestBytes(3 * kMiB + 5, 1), {"fake://a/x"}); }

TEST(CheckedShardTest, ShardWithPiecesIsTaken) {
  const auto shard = CheckedShard::Make(Good());

  MUSTER_ASSERT_OK(shard);
  EXPECT_EQ(shard->piece_count(), 4u);
  EXPECT_EQ(shard->PieceOffset(3), 3 * kMiB);
  EXPECT_EQ(shard->PieceLength(0), kMiB);
  EXPECT_EQ(shard->PieceLength(3), 5);
  EXPECT_THAT(shard->ContentKey(), ::testing::MatchesRegex("root-[0-9a-f]{32}-3145733"));
}

TEST(CheckedShardTest, ShardWithWholeMd5OnlyIsTaken) {
  const auto shard = CheckedShard::Make(ShardWithoutPieces("abc", {}));

  MUSTER_ASSERT_OK(shard);
  EXPECT_FALSE(shard->has_pieces());
  EXPECT_EQ(shard->ContentKey(), "md5-900150983cd24fb0d6963f7d28e17f72-3");
}

TEST(CheckedShardTest, SizeOutOfBoundsIsRefused) {
  PullShard shard = Good();
  for (const uint64_t size : {uint64_t{0}, uint64_t{kMaxShardSizeBytes} + 1, ~uint64_t{0}}) {
    shard.shard.set_size_bytes(size);
    EXPECT_THAT(CheckedShard::Make(shard), IsRefusedWith("size "));
  }
}

TEST(CheckedShardTest, PieceSizeOutOfBoundsIsRefused) {
  PullShard shard = Good();
  for (const uint64_t size : {uint64_t{0}, uint64_t{1}, uint64_t{kMiB} + 1, uint64_t{128} << 20,
                              uint64_t{1} << 63, ~uint64_t{0}}) {
    shard.shard.set_piece_size_bytes(size);
    EXPECT_THAT(CheckedShard::Make(shard), IsRefusedWith("piece size ")) << size;
  }
}

TEST(CheckedShardTest, PieceCountThatDoesNotFitTheSizeIsRefused) {
  PullShard fewer = Good();
  fewer.pieces.pop_back();
  PullShard more = Good();
  more.pieces.emplace_back();
  PullShard none = Good();
  none.pieces.clear();
  PullShard miscounted = Good();
  miscounted.shard.set_piece_count(7);

  EXPECT_THAT(CheckedShard::Make(fewer), IsRefusedWith("need 4 piece digests, and there are 3"));
  EXPECT_THAT(CheckedShard::Make(more), IsRefusedWith("there are 5"));
  EXPECT_THAT(CheckedShard::Make(none), IsRefusedWith("there are 0"));
  EXPECT_THAT(CheckedShard::Make(miscounted), IsRefusedWith("piece_count 7"));
}

TEST(CheckedShardTest, TooManyPiecesAreRefusedBeforeTheyAreLookedAt) {
  PullShard shard = Good();
  shard.shard.set_size_bytes(kMaxShardSizeBytes);

  EXPECT_THAT(CheckedShard::Make(shard), IsRefusedWith("are more than 100000 pieces"));
}

TEST(CheckedShardTest, RootThatIsNotThePiecesRootIsRefused) {
  PullShard other_root = Good();
  other_root.shard.set_root(Md5ToHex(Md5Of("other")));
  PullShard other_piece = Good();
  other_piece.pieces[1][0] ^= 1;
  PullShard no_root = Good();
  no_root.shard.clear_root();

  EXPECT_THAT(CheckedShard::Make(other_root), IsRefusedWith("is not the pieces' root"));
  EXPECT_THAT(CheckedShard::Make(other_piece), IsRefusedWith("is not the pieces' root"));
  EXPECT_THAT(CheckedShard::Make(no_root), IsRefusedWith("root \"\""));
}

TEST(CheckedShardTest, MalformedDigestIsRefused) {
  for (const std::string& hex : {std::string("short"), std::string(32, 'G'), std::string(32, 'A'),
                                 std::string(1 << 20, 'a'), std::string(32, '\0')}) {
    PullShard shard = ShardWithoutPieces("abc", {});
    shard.shard.set_md5(hex);
    EXPECT_THAT(CheckedShard::Make(shard), IsRefusedWith("32 lowercase hex digits"));
  }
}

TEST(CheckedShardTest, ShardWithoutAnyDigestIsRefused) {
  PullShard shard = ShardWithoutPieces("abc", {});
  shard.shard.clear_md5();

  EXPECT_THAT(CheckedShard::Make(shard), IsRefusedWith("neither an MD5 nor pieces"));
}

TEST(CheckedShardTest, TooManyLocationsAreRefused) {
  EXPECT_THAT(
      CheckedShard::Make(ShardWithoutPieces("abc", std::vector<std::string>(17, "fake://a/x"))),
      IsRefusedWith("17 locations"));
}

TEST(CheckedShardTest, HostileNameIsCutAndEscapedInTheError) {
  PullShard shard = ShardWithoutPieces("abc", {});
  shard.shard.set_name(std::string(1 << 20, '\n'));
  shard.shard.set_size_bytes(0);

  const absl::Status status = CheckedShard::Make(shard).status();

  EXPECT_LT(status.message().size(), 1000u);
  EXPECT_FALSE(absl::StrContains(status.message(), "\n"));
}

TEST(PackPiecesTest, PackedPiecesUnpackToTheSame) {
  const PullShard shard = Good();

  EXPECT_THAT(UnpackPieces(PackPieces(shard.pieces)), IsOkAndHolds(shard.pieces));
  EXPECT_THAT(UnpackPieces(""), IsOkAndHolds(::testing::IsEmpty()));
}

TEST(PackPiecesTest, WrongLengthIsRefused) {
  EXPECT_THAT(UnpackPieces("123"), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(UnpackPieces(std::string(16 * (kMaxPiecesPerShard + 1), 'x')),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace muster
