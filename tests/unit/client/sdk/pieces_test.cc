#include "client/sdk/pieces.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/support/fake_channel.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

constexpr uint64_t kPieceSize = 1 << 20;

// A server with one shard of five pieces that hands out two at a time.
class PiecesTest : public testing::Test {
 protected:
  PiecesTest() {
    for (int i = 0; i < 5; ++i) pieces_.push_back(Md5Of(absl::StrCat("piece ", i)));
    shard_.set_name("models/m/versions/v/shards/0");
    shard_.set_index(0);
    shard_.set_size_bytes(4 * kPieceSize + 1);
    shard_.set_piece_size_bytes(kPieceSize);
    shard_.set_piece_count(5);
    shard_.set_root(Md5ToHex(Md5Root(pieces_)));
    fake_.OnUnary<v1::ListPiecesRequest, v1::ListPiecesResponse>(
        "/muster.v1.ModelService/ListPieces",
        [this](const auto& request, auto& response, const CallOptions&) {
          for (size_t i = request.start(); i < pieces_.size() && i < request.start() + 2; ++i) {
            response.mutable_piece_md5s()->append(reinterpret_cast<const char*>(pieces_[i].data()),
                                                  16);
          }
          response.mutable_piece_md5s()->append(extra_);
          return absl::OkStatus();
        });
    fake_.OnUnary<v1::GetShardRequest, v1::GetShardResponse>(
        "/muster.v1.ModelService/GetShard",
        [this](const auto&, auto& response, const CallOptions&) {
          *response.mutable_shard() = shard_;
          return absl::OkStatus();
        });
  }

  std::unique_ptr<Random> random_ = NewSeededRandom(3);
  FakeChannel fake_;
  Client client_{std::make_unique<ForwardingChannel>(fake_), *random_};
  std::vector<Md5Digest> pieces_;
  std::string extra_;
  v1::Shard shard_;
};

TEST_F(PiecesTest, RunsAreJoinedAndCheckedAgainstTheRoot) {
  const auto fetched = FetchShardWithPieces(client_, shard_.name());

  MUSTER_ASSERT_OK(fetched);
  EXPECT_EQ(fetched->pieces, pieces_);
  EXPECT_EQ(fetched->shard.root(), shard_.root());
}

TEST_F(PiecesTest, ShardWithoutPiecesHasNone) {
  shard_.set_piece_count(0);

  EXPECT_THAT(FetchPieces(client_, shard_), IsOkAndHolds(testing::IsEmpty()));
}

TEST_F(PiecesTest, ListThatIsNotTheRootsIsRefused) {
  pieces_[3][0] ^= 1;

  EXPECT_THAT(FetchPieces(client_, shard_), ErrorIs(absl::StatusCode::kDataLoss, "PIECES_DIFFER"));
}

TEST_F(PiecesTest, ListThatEndsEarlyIsRefusedAndNotALoop) {
  pieces_.pop_back();

  EXPECT_THAT(FetchPieces(client_, shard_), ErrorIs(absl::StatusCode::kDataLoss, "PIECES_DIFFER"));
}

TEST_F(PiecesTest, HalfADigestIsRefused) {
  extra_ = "12345678";

  EXPECT_THAT(FetchPieces(client_, shard_), ErrorIs(absl::StatusCode::kDataLoss, "PIECES_DIFFER"));
}

TEST_F(PiecesTest, CountThatDoesNotFitTheSizeIsRefusedBeforeAnyCall) {
  shard_.set_size_bytes(uint64_t{1} << 62);
  shard_.set_piece_count(4'000'000'000);

  EXPECT_THAT(FetchPieces(client_, shard_), ErrorIs(absl::StatusCode::kDataLoss, "PIECES_DIFFER"));
  EXPECT_EQ(fake_.calls("/muster.v1.ModelService/ListPieces"), 0);
}

}  // namespace
}  // namespace muster
