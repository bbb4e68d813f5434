// The cache and shards that are stored encoded: what it keeps of them, what a writer that died leaves,
// and what it takes to have them.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "client/cache/shard_cache.h"
#include "client/cache/shard_decoder.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/files/spool_file.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/client/cache/cache_fixtures.h"
#include "tests/unit/client/encoding/encoding_fixtures.h"

namespace muster {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr char kEncodingUsed[] = "zstd-grouped+aes-256-gcm";
constexpr int64_t kSmallFrameBytes = 64 << 10;
constexpr int64_t kContentBytes = 3 * kMiB + 101;

std::string StoredObject(const std::string& content) {
  EncodeRequest request = RequestFor(kEncodingUsed, static_cast<int64_t>(content.size()));
  request.frame_bytes = kSmallFrameBytes;
  return EncodeAll(std::move(request), content);
}

CheckedShard Described(const std::string& object) {
  PullShard shard = ShardWithPieces(object, {});
  shard.shard.set_name(kShardName);
  shard.shard.set_encoding(kEncodingUsed);
  shard.shard.set_content_size_bytes(kContentBytes);
  shard.shard.set_key_id("prod-2026");
  return *CheckedShard::Make(shard);
}

class CacheDecodeTest : public ::testing::Test {
 protected:
  std::unique_ptr<ShardCache> OpenCache(ShardCache::Options options = {}) {
    if (options.keys == nullptr) options.keys = NewFixedKey(KeyOf(1));
    auto cache = ShardCache::Open(root(), options);
    EXPECT_THAT(cache, IsOk());
    return *std::move(cache);
  }
  std::unique_ptr<ShardCache> OpenCache(CacheForm form) {
    ShardCache::Options options;
    options.form = form;
    return OpenCache(options);
  }
  std::unique_ptr<ShardCache> OpenWithKey(uint8_t byte) {
    ShardCache::Options options;
    options.keys = NewFixedKey(KeyOf(byte));
    return OpenCache(options);
  }

  std::string root() const { return dir_.path() + "/cache"; }
  std::string domain() const { return root() + "/default"; }
  std::string PathOf(const std::string& name) const { return absl::StrCat(domain(), "/", name); }

  // Everything that a pull does once the bytes are there.
  absl::StatusOr<CachedShard> Fill(ShardCache& cache) {
    auto acquired = cache.Acquire(shard_, {});
    if (!acquired.ok()) return acquired.status();
    if (acquired->entry.has_value()) return *std::move(acquired->entry);
    const absl::Status written = acquired->part->Write(0, object_);
    if (!written.ok()) return written;
    return acquired->part->Commit();
  }

  std::string BytesOf(const CachedShard& entry) {
    std::string bytes(static_cast<size_t>(entry.size_bytes()), '\0');
    MUSTER_EXPECT_OK(entry.Read(0, absl::MakeSpan(bytes)));
    return bytes;
  }

  void FlipByte(const std::string& path, int64_t offset) {
    ASSERT_EQ(chmod(path.c_str(), 0600), 0);
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(offset);
    const char byte = static_cast<char>(file.get() ^ 1);
    file.seekp(offset);
    file.put(byte);
  }

  TempDir dir_;
  const std::string content_ = Weights(kContentBytes);
  const std::string object_ = StoredObject(content_);
  const CheckedShard shard_ = Described(object_);
  const std::string stored_key_ = shard_.StoredKey();
  const std::string content_key_ = shard_.ContentKey();
};

TEST_F(CacheDecodeTest, CommittedShardIsItsContentAndTheStoredBytesGo) {
  const auto entry = Fill(*OpenCache());

  MUSTER_ASSERT_OK(entry);
  EXPECT_EQ(BytesOf(*entry), content_);
  EXPECT_EQ(entry->content().ContentKey(), content_key_);
  EXPECT_EQ(entry->path(), PathOf(content_key_));
  EXPECT_THAT(NamesIn(domain()), Contains(content_key_));
  EXPECT_THAT(NamesIn(domain()), Not(Contains(stored_key_)));
  EXPECT_THAT(NamesIn(domain()), Not(Contains(stored_key_ + ".part")));
  struct stat list {};
  ASSERT_EQ(stat(PathOf(content_key_ + ".pieces").c_str(), &list), 0);
  EXPECT_EQ(list.st_mode & 0777, 0600u) << "it tells about the plaintext";
}

TEST_F(CacheDecodeTest, ContentIsForThoseWhoHaveTheKey) {
  MUSTER_ASSERT_OK(Fill(*OpenCache()));
  const auto without = ShardCache::Open(root(), {});
  MUSTER_ASSERT_OK(without);

  for (const auto& status :
       {(*without)->Lookup(shard_, {}).status(), (*without)->Acquire(shard_, {}).status()}) {
    EXPECT_THAT(status, ErrorIs(absl::StatusCode::kFailedPrecondition, "KEY_MISSING"));
  }
  EXPECT_THAT(OpenWithKey(2)->Lookup(shard_, {}),
              ErrorIs(absl::StatusCode::kFailedPrecondition, "WRONG_KEY"));
  const auto found = OpenWithKey(1)->Lookup(shard_, {});
  MUSTER_ASSERT_OK(found);
  EXPECT_EQ(BytesOf(*found), content_);
  // Whatever the catalogue says of it.
  for (const char* encoding : {"zstd-grouped", "zipped"}) {
    PullShard renamed = ShardWithPieces(object_, {});
    renamed.shard.set_encoding(encoding);
    renamed.shard.set_content_size_bytes(kContentBytes);
    EXPECT_THAT((*without)->Lookup(*CheckedShard::Make(renamed), {}),
                ErrorIs(absl::StatusCode::kFailedPrecondition, "KEY_MISSING"));
  }
  // Nobody gets anything by it.
  MUSTER_EXPECT_OK((*without)->Check(content_key_, {}, {}));
  MUSTER_EXPECT_OK((*without)->Confirm(content_key_, {}));
}

TEST_F(CacheDecodeTest, DecryptedContentIsNotForAllUsersUnlessTheOwnerSaysSo) {
  const auto mode_of = [](const CachedShard& entry) {
    struct stat state {};
    EXPECT_EQ(fstat(entry.fd(), &state), 0);
    return state.st_mode & 07777;
  };
  const auto entry = Fill(*OpenCache(CacheForm::kBoth));
  MUSTER_ASSERT_OK(entry);
  EXPECT_EQ(mode_of(*entry), 0440u);
  EXPECT_EQ(mode_of(*OpenCache(CacheForm::kStored)->Lookup(shard_, {})), 0444u);

  ShardCache::Options options;
  options.domain = "open";
  options.entry_mode = 0444;
  const auto open_to_all = Fill(*OpenCache(options));
  MUSTER_ASSERT_OK(open_to_all);
  EXPECT_EQ(mode_of(*open_to_all), 0444u);
}

// Whatever happens to the list, the content is never given out without the key, nor kept from its owner.
TEST_F(CacheDecodeTest, DamagedListIsNeitherTheKeyNorALossOfIt) {
  MUSTER_ASSERT_OK(Fill(*OpenCache()));
  const std::string path = PathOf(content_key_ + ".pieces");
  const std::string list = ContentOf(path);
  const size_t line = list.find('\n');
  ASSERT_NE(line, std::string::npos);
  for (size_t at = 0; at < line + 20; at += 3) {
    std::string damaged = list;
    damaged[at] ^= 1;
    std::ofstream(path, std::ios::trunc | std::ios::binary) << damaged;

    EXPECT_FALSE((*ShardCache::Open(root(), {}))->Lookup(shard_, {}).ok()) << at;
    const auto entry = Fill(*OpenCache());
    MUSTER_ASSERT_OK(entry);
    ASSERT_EQ(BytesOf(*entry), content_) << at;
    ASSERT_EQ(ContentOf(path), list) << at;
  }
}

TEST_F(CacheDecodeTest, InventoryTellsTheStoredRoot) {
  const auto cache = OpenCache(CacheForm::kBoth);
  MUSTER_ASSERT_OK(Fill(*cache));

  const std::string root = stored_key_.substr(5, 32);
  EXPECT_THAT(cache->Inventory(10), ElementsAre(*Md5FromHex(root)));
}

TEST_F(CacheDecodeTest, FormStoredKeepsStoredBytesAndNeedsNoKey) {
  ShardCache::Options options;
  options.form = CacheForm::kStored;
  const auto cache = ShardCache::Open(root(), options);
  MUSTER_ASSERT_OK(cache);

  const auto entry = Fill(**cache);

  MUSTER_ASSERT_OK(entry);
  EXPECT_EQ(BytesOf(*entry), object_);
  EXPECT_EQ(entry->content().ContentKey(), stored_key_);
  MUSTER_EXPECT_OK((*cache)->Lookup(shard_, {}));
  EXPECT_THAT(NamesIn(domain()), Not(Contains(content_key_)));
}

TEST_F(CacheDecodeTest, FormBothKeepsBoth) {
  const auto cache = OpenCache(CacheForm::kBoth);

  const auto entry = Fill(*cache);

  MUSTER_ASSERT_OK(entry);
  EXPECT_EQ(BytesOf(*entry), content_);
  const auto stored = cache->Lookup(shard_.Stored(), {});
  MUSTER_ASSERT_OK(stored);
  EXPECT_EQ(BytesOf(*stored), object_);
}

TEST_F(CacheDecodeTest, StoredEntryIsDecodedWithoutAPull) {
  MUSTER_ASSERT_OK(Fill(*OpenCache(CacheForm::kStored)));

  const auto acquired = OpenCache()->Acquire(shard_, {});

  MUSTER_ASSERT_OK(acquired);
  ASSERT_TRUE(acquired->entry.has_value());
  EXPECT_EQ(BytesOf(*acquired->entry), content_);
}

TEST_F(CacheDecodeTest, WithoutAKeyNothingIsWritten) {
  const auto cache = ShardCache::Open(root(), {});
  MUSTER_ASSERT_OK(cache);

  EXPECT_THAT((*cache)->Acquire(shard_, {}),
              ErrorIs(absl::StatusCode::kFailedPrecondition, "KEY_MISSING"));
  EXPECT_THAT(*(*cache)->List(), IsEmpty());
}

TEST_F(CacheDecodeTest, UnknownEncodingIsToldBeforeAnythingIsWritten) {
  PullShard shard = ShardWithPieces(object_, {});
  shard.shard.set_encoding("zipped");
  shard.shard.set_content_size_bytes(kContentBytes);
  const auto cache = OpenCache();

  EXPECT_THAT(cache->Acquire(*CheckedShard::Make(shard), {}),
              ErrorIs(absl::StatusCode::kUnimplemented, "UNKNOWN_ENCODING"));
  EXPECT_THAT(*cache->List(), IsEmpty());
}

TEST_F(CacheDecodeTest, AfterAWrongKeyTheRightOneNeedsNoPull) {
  EXPECT_THAT(Fill(*OpenWithKey(2)), ErrorIs(absl::StatusCode::kFailedPrecondition, "WRONG_KEY"));
  EXPECT_THAT(OpenCache()->Lookup(shard_, {}), StatusIs(absl::StatusCode::kNotFound));

  auto acquired = OpenCache()->Acquire(shard_, {});

  MUSTER_ASSERT_OK(acquired);
  ASSERT_NE(acquired->part, nullptr);
  EXPECT_THAT(acquired->part->Present(), Not(Contains(false)));
  const auto entry = acquired->part->Commit();
  MUSTER_ASSERT_OK(entry);
  EXPECT_EQ(BytesOf(*entry), content_);
}

// Ends the process as kill -9 would, when its key is asked for: the stored bytes are all there.
class EndsTheProcess final : public KeySource {
 public:
  absl::StatusOr<SecretKey> KeyFor(absl::string_view, const std::stop_token&) override { _exit(9); }
};

TEST_F(CacheDecodeTest, WriterThatDiedBeforeDecodingLeavesItsBytesToTheNext) {
  const pid_t child = fork();
  if (child == 0) {
    ShardCache::Options options;
    options.keys = std::make_shared<EndsTheProcess>();
    Fill(*OpenCache(options)).IgnoreError();
    _exit(1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_EQ(WEXITSTATUS(status), 9);
  EXPECT_THAT(OpenCache()->Lookup(shard_, {}), StatusIs(absl::StatusCode::kNotFound));

  auto acquired = OpenCache()->Acquire(shard_, {});

  MUSTER_ASSERT_OK(acquired);
  ASSERT_NE(acquired->part, nullptr);
  EXPECT_THAT(acquired->part->Present(), Not(Contains(false)));
  MUSTER_EXPECT_OK(acquired->part->Commit());
}

// Of the content's part, one frame is right, one is wrong, and the rest was never written.
TEST_F(CacheDecodeTest, WriterThatDiedWhileDecodingIsNotBelieved) {
  MUSTER_ASSERT_OK(Fill(*OpenCache()));
  const std::string list = ContentOf(PathOf(content_key_ + ".pieces"));
  ASSERT_GT(std::filesystem::remove_all(root()), 0u);
  OpenCache();
  std::string part = content_.substr(0, 128 << 10);
  part[70'000] ^= 1;
  part.resize(kContentBytes, '\0');
  std::ofstream(PathOf(content_key_ + ".part")) << part;
  std::ofstream(PathOf(content_key_ + ".claims")) << "\1\1";
  std::ofstream(PathOf(content_key_ + ".pieces")) << list;

  const auto entry = Fill(*OpenCache());

  MUSTER_ASSERT_OK(entry);
  EXPECT_EQ(BytesOf(*entry), content_);
  EXPECT_THAT(NamesIn(domain()), Not(Contains(content_key_ + ".claims")));
}

TEST_F(CacheDecodeTest, StoredBytesBesideTheirContentGoAtTheNextOpen) {
  MUSTER_ASSERT_OK(Fill(*OpenCache()));
  std::ofstream(PathOf(stored_key_ + ".part")) << object_;
  std::ofstream(PathOf(stored_key_ + ".claims")) << "\1";

  MUSTER_EXPECT_OK(OpenCache()->Lookup(shard_, {}));

  EXPECT_THAT(NamesIn(domain()), Not(Contains(stored_key_ + ".part")));
  EXPECT_THAT(NamesIn(domain()), Not(Contains(stored_key_ + ".claims")));
}

TEST_F(CacheDecodeTest, EntryWithoutItsListIsNoneAndIsMadeAnew) {
  MUSTER_ASSERT_OK(Fill(*OpenCache()));
  const std::string list = PathOf(content_key_ + ".pieces");
  for (const bool torn : {false, true}) {
    if (torn) {
      FlipByte(list, 60);
    } else {
      std::filesystem::remove(list);
    }
    const auto cache = OpenCache();
    EXPECT_THAT(cache->Lookup(shard_, {}), StatusIs(absl::StatusCode::kNotFound));
    const auto entry = Fill(*cache);
    MUSTER_ASSERT_OK(entry);
    EXPECT_EQ(BytesOf(*entry), content_);
  }
}

TEST_F(CacheDecodeTest, RottenContentIsFoundByItsFrames) {
  const auto cache = OpenCache();
  MUSTER_ASSERT_OK(Fill(*cache));
  FlipByte(PathOf(content_key_), 2 * kMiB);

  EXPECT_THAT(cache->Check(content_key_, {}, {}),
              ErrorIs(absl::StatusCode::kDataLoss, "CACHE_ENTRY_CORRUPT"));
  EXPECT_THAT(cache->Lookup(shard_, {}), StatusIs(absl::StatusCode::kNotFound));

  MUSTER_ASSERT_OK(Fill(*cache));
  MUSTER_EXPECT_OK(cache->Check(content_key_, {}, {}));
  FlipByte(PathOf(content_key_), 5);
  EXPECT_THAT(cache->Lookup(shard_, {}), StatusIs(absl::StatusCode::kDataLoss));
}

TEST_F(CacheDecodeTest, RoomIsForContentAndStoredBytes) {
  const int64_t peak = kContentBytes + shard_.size_bytes();
  const std::vector<WantedShard> wanted = {{content_key_, kContentBytes, shard_.size_bytes()}};
  ShardCache::Options options;
  options.budget_bytes = peak - 1;
  {
    const auto cache = OpenCache(options);
    EXPECT_THAT(cache->CheckRoom(wanted),
                ErrorIs(absl::StatusCode::kResourceExhausted, "CACHE_FULL"));
    EXPECT_THAT(Fill(*cache), ErrorIs(absl::StatusCode::kResourceExhausted, "CACHE_FULL"));
  }
  options.budget_bytes = peak;
  const auto cache = OpenCache(options);
  MUSTER_EXPECT_OK(cache->CheckRoom(wanted));
  MUSTER_EXPECT_OK(Fill(*cache));
  EXPECT_EQ(cache->Room(wanted)->needed_bytes, 0);
}

TEST_F(CacheDecodeTest, FormDecidesWhatRoomIsNeeded) {
  const std::vector<WantedShard> wanted = {{content_key_, 1'000, 700}, {"md5-x-5", 5}};

  EXPECT_EQ(OpenCache()->Room(wanted)->needed_bytes, 1'705);
  EXPECT_EQ(OpenCache(CacheForm::kStored)->Room(wanted)->needed_bytes, 705);
  EXPECT_EQ(OpenCache(CacheForm::kBoth)->Room(wanted)->needed_bytes, 1'705);
}

TEST_F(CacheDecodeTest, PinOfTheContentKeepsWhatIsThereOfIt) {
  const auto cache = OpenCache(CacheForm::kStored);
  MUSTER_ASSERT_OK(Fill(*cache));
  MUSTER_ASSERT_OK(cache->SetPin({"assemblies/demo/nodes/n1", {content_key_}}, {}));

  EXPECT_THAT(*cache->Evict({}, {}), IsEmpty());
  MUSTER_EXPECT_OK(OpenCache()->Acquire(shard_, {}));
  // The content stands for the stored bytes now.
  const auto gone = OpenCache()->Evict({}, {});
  MUSTER_ASSERT_OK(gone);
  ASSERT_EQ(gone->size(), 1u);
  EXPECT_EQ(gone->front().key, stored_key_);
}

TEST_F(CacheDecodeTest, DecoderFillsTheMemoryOfASink) {
  const auto keys = NewFixedKey(KeyOf(1));
  const auto spool = SpoolFile::Create(dir_.path(), static_cast<int64_t>(object_.size()));
  MUSTER_ASSERT_OK(spool);
  EXPECT_THAT(NamesIn(dir_.path()), IsEmpty());
  MUSTER_ASSERT_OK(spool->Write(0, object_));
  const auto decoder = ShardDecoder::Open(
      shard_, [&](int64_t offset, absl::Span<char> out) { return spool->Read(offset, out); },
      keys.get());
  MUSTER_ASSERT_OK(decoder);
  const auto sink = MemorySink::Make(kContentBytes);
  MUSTER_ASSERT_OK(sink);

  MUSTER_ASSERT_OK(decoder->Decode(**sink, {}, nullptr));

  EXPECT_EQ(absl::string_view((*sink)->Take().get(), kContentBytes), content_);
}

TEST_F(CacheDecodeTest, DecodingKeepsWithinTheMemoryBudget) {
  const auto keys = NewFixedKey(KeyOf(1));
  const auto decoder = ShardDecoder::Open(
      shard_,
      [&](int64_t offset, absl::Span<char> out) {
        object_.copy(out.data(), out.size(), static_cast<size_t>(offset));
        return absl::OkStatus();
      },
      keys.get());
  MUSTER_ASSERT_OK(decoder);
  const auto sink = MemorySink::Make(kContentBytes);
  MUSTER_ASSERT_OK(sink);
  MemoryBudget small(1000);
  EXPECT_THAT(decoder->Decode(**sink, {}, &small),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       AllOf(HasSubstr("1000"), HasSubstr("--memory-budget"))));

  // Room for one frame at a time, which somebody has.
  MemoryBudget one(3 * kSmallFrameBytes + 100);
  ASSERT_TRUE(one.TryTake(100));
  std::stop_source stop;
  stop.request_stop();
  EXPECT_THAT(decoder->Decode(**sink, stop.get_token(), &one),
              StatusIs(absl::StatusCode::kCancelled));
  one.GiveBack(100);
  MUSTER_ASSERT_OK(decoder->Decode(**sink, {}, &one));

  EXPECT_EQ(absl::string_view((*sink)->Take().get(), kContentBytes), content_);
  EXPECT_TRUE(one.TryTake(one.size_bytes()));
}

}  // namespace
}  // namespace muster
