// Every file that a cache keeps, damaged in every way: what is given out is right, or nothing is; what is
// pinned stays so, or nothing is evicted; and the next fetch mends all.
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/cache/shard_cache.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/client/cache/cache_fixtures.h"
#include "tests/unit/client/encoding/encoding_fixtures.h"

namespace muster {
namespace {

namespace fs = std::filesystem;

struct Damage {
  std::string name;
  std::function<void(std::string& bytes)> apply;
};

const std::vector<Damage>& Damages() {
  static const auto* const kDamages = new std::vector<Damage>{
      {"first bit", [](std::string& bytes) { bytes.front() ^= 1; }},
      {"fifth bit", [](std::string& bytes) { bytes[std::min<size_t>(4, bytes.size() - 1)] ^= 1; }},
      {"middle bit", [](std::string& bytes) { bytes[bytes.size() / 2] ^= 0x10; }},
      {"last bit", [](std::string& bytes) { bytes.back() ^= 1; }},
      {"middle byte", [](std::string& bytes) { bytes[bytes.size() / 2] = '\0'; }},
      {"half", [](std::string& bytes) { bytes.resize(bytes.size() / 2); }},
      {"a byte less", [](std::string& bytes) { bytes.pop_back(); }},
      {"a byte more", [](std::string& bytes) { bytes += '\n'; }},
      {"nothing left", [](std::string& bytes) { bytes.clear(); }},
  };
  return *kDamages;
}

class CacheDamageTest : public ::testing::Test {
 protected:
  CacheDamageTest() {
    PullShard encoded = ShardWithPieces(object_, {});
    encoded.shard.set_name(kShardName);
    encoded.shard.set_encoding(kEncodedAs);
    encoded.shard.set_content_size_bytes(content_.size());
    shards_ = {{*CheckedShard::Make(ShardWithPieces(bytes_, {})), bytes_, bytes_},
               {*CheckedShard::Make(ShardWithoutPieces(bytes_.substr(1), {})), bytes_.substr(1),
                bytes_.substr(1)},
               {*CheckedShard::Make(encoded), object_, content_}};
    for (const Shard& shard : shards_) pin_.keys.push_back(shard.checked.ContentKey());
  }

  struct Shard {
    CheckedShard checked;
    // What is fetched, and what the entry holds.
    std::string stored;
    std::string content;
  };

  static constexpr char kEncodedAs[] = "zstd+aes-256-gcm";

  static std::string Encoded(const std::string& content) {
    EncodeRequest request = RequestFor(kEncodedAs, static_cast<int64_t>(content.size()));
    request.frame_bytes = 64 << 10;
    return EncodeAll(std::move(request), content);
  }

  std::string domain() const { return dir_.path() + "/c/default"; }

  std::unique_ptr<ShardCache> OpenCache() {
    ShardCache::Options options;
    options.form = CacheForm::kBoth;
    options.keys = NewFixedKey(KeyOf(1));
    auto cache = ShardCache::Open(dir_.path() + "/c", options);
    EXPECT_THAT(cache, IsOk());
    return *std::move(cache);
  }

  static std::string BytesOf(const CachedShard& entry) {
    std::string bytes(static_cast<size_t>(entry.size_bytes()), '\0');
    EXPECT_THAT(entry.Read(0, absl::MakeSpan(bytes)), IsOk());
    return bytes;
  }

  // As a pull does it: only what is not there yet is written.
  static absl::StatusOr<CachedShard> Fetch(ShardCache& cache, const CheckedShard& shard,
                                           const std::string& stored) {
    auto acquired = cache.Acquire(shard, {});
    if (!acquired.ok()) return acquired.status();
    if (acquired->entry.has_value()) return *std::move(acquired->entry);
    const std::vector<bool> present = acquired->part->Present();
    const auto size = static_cast<size_t>(kMiB);
    for (size_t at = 0; at < stored.size(); at += size) {
      if (at / size < present.size() && present[at / size]) continue;
      const absl::Status written =
          acquired->part->Write(static_cast<int64_t>(at), stored.substr(at, size));
      if (!written.ok()) return written;
    }
    return acquired->part->Commit();
  }

  // Every kind of file: entries with all that lies beside them, a part with its claims, a pin.
  void MakeAll() {
    const auto cache = OpenCache();
    for (const Shard& shard : shards_) {
      MUSTER_ASSERT_OK(Fetch(*cache, shard.checked, shard.stored));
      if (!shard.checked.is_encoded()) continue;
      MUSTER_ASSERT_OK(Fetch(*cache, shard.checked.Stored(), shard.stored));
    }
    MUSTER_ASSERT_OK(cache->SetPin(pin_, {}));
    fs::remove(absl::StrCat(domain(), "/", part_.ContentKey()));
    auto acquired = cache->Acquire(part_, {});
    MUSTER_ASSERT_OK(acquired);
    ASSERT_NE(acquired->part, nullptr);
    MUSTER_ASSERT_OK(acquired->part->Write(0, part_bytes_.substr(0, 2 * kMiB)));
  }

  void CheckAll() {
    const auto cache = OpenCache();
    for (const Shard& shard : shards_) {
      const auto found = cache->Lookup(shard.checked, {});
      if (found.ok()) {
        EXPECT_EQ(BytesOf(*found), shard.content);
      }
      const auto fetched = Fetch(*cache, shard.checked, shard.stored);
      MUSTER_ASSERT_OK(fetched);
      EXPECT_EQ(BytesOf(*fetched), shard.content);
      MUSTER_EXPECT_OK(cache->Check(shard.checked.ContentKey(), {}, {}));
      if (!shard.checked.is_encoded()) continue;
      const auto stored = cache->Lookup(shard.checked.Stored(), {});
      if (stored.ok()) {
        EXPECT_EQ(BytesOf(*stored), shard.stored);
      }
    }
    const auto fetched = Fetch(*cache, part_, part_bytes_);
    MUSTER_ASSERT_OK(fetched);
    EXPECT_EQ(BytesOf(*fetched), part_bytes_);
    const auto pins = cache->Pins();
    if (!pins.ok()) {
      EXPECT_FALSE(cache->Evict({}, {}).ok());
      return;
    }
    ASSERT_EQ(pins->size(), 1u);
    EXPECT_EQ(pins->front().owner, pin_.owner);
    EXPECT_EQ(pins->front().keys, pin_.keys);
  }

  // Relative to the domain.
  std::vector<std::string> Files() const {
    std::vector<std::string> files;
    for (const auto& entry : fs::recursive_directory_iterator(domain())) {
      if (entry.is_regular_file()) files.push_back(fs::relative(entry.path(), domain()).string());
    }
    return files;
  }

  const TempDir dir_;
  const std::string bytes_ = TestBytes(kMiB + 4'096, 3);
  const std::string content_ = Weights(kMiB + 4'096);
  const std::string object_ = Encoded(content_);
  const std::string part_bytes_ = TestBytes(3 * kMiB, 4);
  const CheckedShard part_ = *CheckedShard::Make(ShardWithPieces(part_bytes_, {}));
  std::vector<Shard> shards_;
  CachePin pin_{"assemblies/demo/nodes/n1", {}};
};

TEST_F(CacheDamageTest, DamagedFilesAreRefusedOrMended) {
  MakeAll();
  const std::vector<std::string> files = Files();
  EXPECT_GE(files.size(), 15u) << ::testing::PrintToString(files);
  for (const std::string& file : files) {
    for (const Damage& damage : Damages()) {
      SCOPED_TRACE(absl::StrCat(file, ": ", damage.name));
      MakeAll();
      const std::string path = absl::StrCat(domain(), "/", file);
      std::string bytes = ContentOf(path);
      if (bytes.empty()) continue;
      damage.apply(bytes);
      ASSERT_EQ(chmod(path.c_str(), 0600), 0);
      std::ofstream(path, std::ios::trunc | std::ios::binary) << bytes;

      CheckAll();
      if (HasFatalFailure()) return;
    }
  }
}

// A pin that is removed is no pin: nothing tells one from the other.
TEST_F(CacheDamageTest, RemovedFilesAreMended) {
  MakeAll();
  for (const std::string& file : Files()) {
    if (absl::StartsWith(file, "pins/")) continue;
    SCOPED_TRACE(file);
    MakeAll();
    fs::remove(absl::StrCat(domain(), "/", file));

    CheckAll();
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace muster
