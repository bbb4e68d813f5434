// The real fetcher: puller, cache and piece lists, on a memory store and a temporary directory.
#include "client/agent/cache_fetcher.h"

#include <atomic>
#include <set>
#include <string>
#include <vector>

#include "client/cache/checked_shard.h"
#include "gtest/gtest.h"
#include "storage/object/memory_object_store.h"
#include "storage/object/object_store_registry.h"
#include "tests/support/fake_channel.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace muster {
namespace {

constexpr char kListPieces[] = "/muster.v1.ModelService/ListPieces";
constexpr char kUri[] = "memory://store/shard";

class CacheFetcherTest : public testing::Test {
 protected:
  CacheFetcherTest() {
    EXPECT_THAT(RegisterMemoryObjectStore(stores_), IsOk());
    bytes_.assign((2 << 20) + 77, 'x');
    bytes_[5] = 'y';
    const absl::string_view all = bytes_;
    pieces_ = {Md5Of(all.substr(0, 1 << 20)), Md5Of(all.substr(1 << 20, 1 << 20)),
               Md5Of(all.substr(2 << 20))};
    shard_.set_name("models/m/versions/v/shards/0");
    shard_.set_index(0);
    shard_.set_size_bytes(bytes_.size());
    shard_.set_root(Md5ToHex(Md5Root(pieces_)));
    shard_.set_piece_size_bytes(1 << 20);
    shard_.set_piece_count(3);
    shard_.add_locations()->set_uri(kUri);
    Store(bytes_);
    fake_.OnUnary<v1::ListPiecesRequest, v1::ListPiecesResponse>(
        kListPieces, [this](const auto&, auto& response, const CallOptions&) {
          response.set_piece_md5s(PackPieces(pieces_));
          return list_pieces_status_;
        });
    cache_ = *ShardCache::Open(directory_.Join("cache"), {});
    puller_ = std::make_unique<Puller>(stores_, clock_, *random_, PullerOptions());
    fetcher_ = NewCacheFetcher(client_, *puller_, *cache_, "nodes/n1");
  }

  void Store(const std::string& bytes) {
    const absl::StatusOr<ObjectRef> object = stores_.Open(kUri);
    ASSERT_THAT(object, IsOk());
    ASSERT_THAT(object->store->Put(object->key, bytes, {}), IsOk());
  }

  ShardFetcher::Outcome Fetch() {
    return fetcher_->Fetch(shard_, gate_, std::stop_token(),
                           [this](uint64_t done) { done_bytes_ = done; });
  }

  // Gives every place at once.
  struct OpenGate final : ReadGate {
    absl::StatusOr<bool> Acquire(const std::string&, bool, const std::stop_token&) override {
      ++acquired;
      return true;
    }
    void Release(const std::string&) override { ++released; }
    int acquired = 0;
    int released = 0;
  };

  OpenGate gate_;
  FakeClock clock_;
  std::unique_ptr<Random> random_ = NewSeededRandom(9);
  TemporaryDirectory directory_;
  ObjectStoreRegistry stores_;
  FakeChannel fake_;
  Client client_{std::make_unique<ForwardingChannel>(fake_), *random_};
  absl::Status list_pieces_status_;
  std::string bytes_;
  std::vector<Md5Digest> pieces_;
  v1::Shard shard_;
  std::unique_ptr<ShardCache> cache_;
  std::unique_ptr<Puller> puller_;
  std::unique_ptr<ShardFetcher> fetcher_;
  std::atomic<uint64_t> done_bytes_{0};
};

TEST_F(CacheFetcherTest, FetchedShardIsInTheInventoryUnderItsRoot) {
  EXPECT_EQ(fetcher_->Inventory(), "");

  MUSTER_EXPECT_OK(Fetch().status);

  EXPECT_EQ(fetcher_->Inventory(), PackPieces({Md5Root(pieces_)}));
}

TEST_F(CacheFetcherTest, OutcomeSaysWhatTheLocationsWereLike) {
  shard_.mutable_locations(0)->set_max_readers(1);
  bytes_[7] ^= 1;
  Store(bytes_);
  const ShardFetcher::Outcome corrupt = Fetch();
  bytes_[7] ^= 1;
  Store(bytes_);
  const ShardFetcher::Outcome good = Fetch();

  ASSERT_EQ(corrupt.locations.size(), 1);
  EXPECT_EQ(corrupt.locations[0].uri(), kUri);
  EXPECT_EQ(corrupt.locations[0].code(), v1::ShardFailure::CORRUPT);
  MUSTER_EXPECT_OK(good.status);
  ASSERT_EQ(good.locations.size(), 1);
  EXPECT_EQ(good.locations[0].code(), v1::ShardFailure::CODE_UNSPECIFIED);
  EXPECT_EQ(gate_.acquired, 2);
  EXPECT_EQ(gate_.released, 2);
}

TEST_F(CacheFetcherTest, FetchedShardIsHeldAfterwards) {
  EXPECT_FALSE(fetcher_->Holds(shard_, std::stop_token()));

  const ShardFetcher::Outcome outcome = Fetch();

  MUSTER_EXPECT_OK(outcome.status);
  EXPECT_EQ(outcome.fetched_bytes, static_cast<int64_t>(bytes_.size()));
  EXPECT_TRUE(fetcher_->Holds(shard_, std::stop_token()));
  EXPECT_EQ(done_bytes_, bytes_.size());
  EXPECT_EQ(fake_.calls(kListPieces), 1);
}

TEST_F(CacheFetcherTest, WrongByteIsReportedAsCorruptWithBothDigests) {
  std::string wrong = bytes_;
  wrong[1'500'000] = 'z';
  Store(wrong);

  const ShardFetcher::Outcome outcome = Fetch();

  EXPECT_THAT(outcome.status, StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_EQ(outcome.failure.code(), v1::ShardFailure::CORRUPT);
  EXPECT_EQ(outcome.failure.expected_md5(), Md5ToHex(pieces_[1]));
  EXPECT_NE(outcome.failure.found_md5(), outcome.failure.expected_md5());
  EXPECT_FALSE(fetcher_->Holds(shard_, std::stop_token()));
}

TEST_F(CacheFetcherTest, PieceListOfAnotherShardIsNotUsed) {
  pieces_[0][0] ^= 1;

  const ShardFetcher::Outcome outcome = Fetch();

  EXPECT_THAT(outcome.status, ErrorIs(absl::StatusCode::kDataLoss, "PIECES_DIFFER"));
  EXPECT_EQ(outcome.failure.code(), v1::ShardFailure::NODE_ERROR);
}

TEST_F(CacheFetcherTest, ShardThatTheServerForgotIsAFailure) {
  list_pieces_status_ =
      MakeError(absl::StatusCode::kNotFound, "VERSION_UNKNOWN", "no such version");

  EXPECT_THAT(Fetch().status, ErrorIs(absl::StatusCode::kNotFound, "VERSION_UNKNOWN"));
}

TEST_F(CacheFetcherTest, AssignedShardsArePinnedForAssemblyAndNode) {
  const std::string key = ContentKeyOf(shard_);
  MUSTER_ASSERT_OK(cache_->SetPin({"assemblies/old/nodes/n1", {key}}, {}));
  MUSTER_ASSERT_OK(cache_->SetPin({"assemblies/old/nodes/n2", {key}}, {}));

  MUSTER_ASSERT_OK(fetcher_->Assign({"assemblies/demo", "cluster-7"}, {shard_}));
  MUSTER_ASSERT_OK(fetcher_->AssignNoOthers({"assemblies/demo"}));

  const auto pins = cache_->Pins();
  MUSTER_ASSERT_OK(pins);
  ASSERT_EQ(pins->size(), 2u);
  EXPECT_EQ(pins->front().owner, "assemblies/demo/nodes/n1");
  EXPECT_EQ(pins->front().keys, std::vector<std::string>{key});
  EXPECT_EQ(pins->back().owner, "assemblies/old/nodes/n2");
}

TEST_F(CacheFetcherTest, OthersPinsAreLetGoByAssemblyAndNeverThoseOfPeople) {
  const std::string key = ContentKeyOf(shard_);
  MUSTER_ASSERT_OK(cache_->SetPin({"assemblies/old/nodes/n2", {key}, "c1-7"}, {}));
  MUSTER_ASSERT_OK(cache_->SetPin({"assemblies/old/nodes/n3", {key}, "c1-9"}, {}));
  MUSTER_ASSERT_OK(cache_->SetPin({"view:/srv/assemblies/old/nodes/n2", {key}}, {}));
  MUSTER_ASSERT_OK(fetcher_->Assign({"assemblies/demo", "c1-8"}, {shard_}));

  const auto needed = fetcher_->NeededByOthers();
  MUSTER_ASSERT_OK(needed);
  EXPECT_EQ(*needed, (std::set<ShardFetcher::AssemblyId>{{"assemblies/old", "c1-7"},
                                                         {"assemblies/old", "c1-9"}}));
  MUSTER_ASSERT_OK(fetcher_->LetGoForOthers({"assemblies/old", "c1-7"}));
  MUSTER_ASSERT_OK(fetcher_->LetGoForOthers({"assemblies/demo", "c1-8"}));

  std::vector<std::string> owners;
  const auto pins = cache_->Pins();
  MUSTER_ASSERT_OK(pins);
  for (const CachePin& pin : *pins) owners.push_back(pin.owner);
  EXPECT_EQ(owners, (std::vector<std::string>{"assemblies/demo/nodes/n1", "assemblies/old/nodes/n3",
                                              "view:/srv/assemblies/old/nodes/n2"}));
  EXPECT_EQ(pins->front().uid, "c1-8");
}

TEST_F(CacheFetcherTest, AssemblyThatDoesNotFitIsRefusedBeforeTheFirstByte) {
  const auto size = static_cast<int64_t>(bytes_.size());
  cache_ = *ShardCache::Open(directory_.Join("small"), {.budget_bytes = size + 10});
  fetcher_ = NewCacheFetcher(client_, *puller_, *cache_, "nodes/n1");
  v1::Shard other = shard_;
  other.set_root(std::string(32, 'a'));
  other.set_size_bytes(11);
  MUSTER_ASSERT_OK(fetcher_->Assign({"assemblies/demo", "cluster-7"}, {shard_, other}));

  const ShardFetcher::Outcome refused = Fetch();
  other.set_size_bytes(10);
  MUSTER_ASSERT_OK(fetcher_->Assign({"assemblies/demo", "cluster-7"}, {shard_, other}));
  const ShardFetcher::Outcome taken = Fetch();

  EXPECT_THAT(refused.status, ErrorIs(absl::StatusCode::kResourceExhausted, "CACHE_FULL"));
  EXPECT_EQ(refused.failure.code(), v1::ShardFailure::NO_SPACE);
  EXPECT_EQ(refused.failure.reason(), "CACHE_FULL");
  EXPECT_EQ(refused.failure.needed_bytes(), bytes_.size() + 11);
  EXPECT_EQ(refused.failure.free_bytes(), bytes_.size() + 10);
  EXPECT_EQ(refused.fetched_bytes, 0);
  MUSTER_EXPECT_OK(taken.status);
}

TEST_F(CacheFetcherTest, AssemblyThatFitsOnlyAloneIsRefusedBesideAnother) {
  const auto size = static_cast<int64_t>(bytes_.size());
  cache_ = *ShardCache::Open(directory_.Join("small"), {.budget_bytes = 2 * size});
  fetcher_ = NewCacheFetcher(client_, *puller_, *cache_, "nodes/n1");
  v1::Shard later = shard_;
  later.set_root(std::string(32, 'a'));
  v1::Shard other = shard_;
  other.clear_root();
  other.clear_piece_size_bytes();
  other.clear_piece_count();
  other.set_md5(Md5ToHex(Md5Of(bytes_)));
  MUSTER_ASSERT_OK(fetcher_->Assign({"assemblies/first", "cluster-7"}, {shard_, later}));
  MUSTER_ASSERT_OK(fetcher_->Assign({"assemblies/second", "cluster-7"}, {other}));
  MUSTER_ASSERT_OK(Fetch().status);

  // What the first one still waits for has the room.
  shard_ = other;
  EXPECT_THAT(Fetch().status, ErrorIs(absl::StatusCode::kResourceExhausted, "CACHE_FULL"));

  MUSTER_ASSERT_OK(fetcher_->Assign({"assemblies/first", "cluster-7"}, {}));
  MUSTER_EXPECT_OK(Fetch().status);
}

TEST_F(CacheFetcherTest, StopEndsAFetch) {
  std::stop_source stop;
  stop.request_stop();

  const auto outcome = fetcher_->Fetch(shard_, gate_, stop.get_token(), [](uint64_t) {});

  EXPECT_THAT(outcome.status, StatusIs(absl::StatusCode::kCancelled));
  EXPECT_FALSE(fetcher_->Holds(shard_, std::stop_token()));
}

}  // namespace
}  // namespace muster
