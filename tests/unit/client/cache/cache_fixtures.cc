#include "tests/unit/client/cache/cache_fixtures.h"

#include <stdlib.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "client/hash/piece_hasher.h"
#include "gtest/gtest.h"
#include "storage/base/random.h"
#include "storage/object/rate_limit.h"
#include "tests/support/await.h"

namespace muster {
namespace {

PullShard ShardAt(const std::string& bytes, const std::vector<std::string>& uris) {
  PullShard shard;
  shard.shard.set_name("models/m/versions/v1/shards/0");
  shard.shard.set_index(0);
  shard.shard.set_size_bytes(bytes.size());
  shard.shard.set_md5(Md5ToHex(Md5Of(bytes)));
  for (const std::string& uri : uris) {
    muster::v1::Location& location = *shard.shard.add_locations();
    location.set_uri(uri);
    location.set_priority(static_cast<uint32_t>(shard.shard.locations_size()));
  }
  return shard;
}

}  // namespace

std::string TestBytes(int64_t size, uint64_t seed) {
  const auto random = NewSeededRandom(seed);
  std::string bytes(static_cast<size_t>(size), '\0');
  for (size_t i = 0; i < bytes.size(); i += 8) {
    const uint64_t word = random->Next64();
    std::memcpy(&bytes[i], &word, std::min<size_t>(8, bytes.size() - i));
  }
  return bytes;
}

PullShard ShardWithPieces(const std::string& bytes, const std::vector<std::string>& uris) {
  PullShard shard = ShardAt(bytes, uris);
  HashQueue hashes;
  ShardHasher hasher(hashes, kMiB);
  for (size_t offset = 0; offset < bytes.size(); offset += kMiB) {
    const auto piece = absl::string_view(bytes).substr(offset, kMiB);
    EXPECT_TRUE(hasher.AddPiece(piece).ok());
  }
  const ShardDigests digests = *hasher.Finish();
  shard.shard.set_root(Md5ToHex(digests.root));
  shard.shard.set_piece_size_bytes(kMiB);
  shard.pieces = digests.pieces;
  return shard;
}

PullShard ShardWithoutPieces(const std::string& bytes, const std::vector<std::string>& uris) {
  return ShardAt(bytes, uris);
}

TempDir::TempDir() {
  std::string pattern = absl::StrCat(testing::TempDir(), "/transfer_XXXXXX");
  EXPECT_NE(mkdtemp(pattern.data()), nullptr);
  path_ = pattern;
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::vector<std::string> NamesIn(const std::string& path) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(path)) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string ContentOf(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream content;
  content << file.rdbuf();
  return content.str();
}

class ScriptedStore::Store final : public ObjectStore {
 public:
  explicit Store(ScriptedStore& script) : script_(script) {}

  absl::StatusOr<ObjectInfo> Stat(absl::string_view key, const std::stop_token&) override {
    return script_.Stat(std::string(key));
  }
  absl::Status Read(absl::string_view key, int64_t offset, absl::Span<char> out,
                    const ReadOptions& options) override {
    const auto length = static_cast<int64_t>(out.size());
    if (options.limit != nullptr) options.limit->Take(length, options.stop);
    return script_.Read({std::string(key), offset, length, options.stop}, out, options.if_version);
  }
  absl::StatusOr<std::unique_ptr<ObjectWriter>> Create(absl::string_view,
                                                       const WriteOptions&) override {
    return absl::UnimplementedError("read-only");
  }
  absl::StatusOr<ObjectInfo> Put(absl::string_view, absl::string_view,
                                 const WriteOptions&) override {
    return absl::UnimplementedError("read-only");
  }
  absl::StatusOr<std::vector<ListedObject>> List(absl::string_view, const ListOptions&) override {
    return absl::UnimplementedError("read-only");
  }
  absl::Status Delete(absl::string_view) override { return absl::UnimplementedError("read-only"); }

 private:
  ScriptedStore& script_;
};

ScriptedStore::ScriptedStore(ObjectStoreRegistry& stores) {
  auto store = std::make_shared<Store>(*this);
  const absl::Status status =
      stores.Register("fake", [store](const Uri& uri) -> absl::StatusOr<ObjectRef> {
        return ObjectRef{store, absl::StrCat(uri.authority, "/", uri.path)};
      });
  EXPECT_TRUE(status.ok()) << status;
}

void ScriptedStore::Set(const std::string& key, const std::string& bytes) {
  MutexLock lock(mutex_);
  objects_[key] = {bytes, ++versions_};
}

void ScriptedStore::FlipByte(const std::string& key, int64_t offset) {
  MutexLock lock(mutex_);
  objects_.at(key).bytes.at(static_cast<size_t>(offset)) ^= 1;
}

void ScriptedStore::Erase(const std::string& key) {
  MutexLock lock(mutex_);
  objects_.erase(key);
}

void ScriptedStore::OnRead(Hook hook) {
  MutexLock lock(mutex_);
  hook_ = std::move(hook);
}

void ScriptedStore::FailStat(const std::string& key, const absl::Status& status) {
  MutexLock lock(mutex_);
  stat_errors_[key] = status;
}

std::vector<ScriptedStore::ReadCall> ScriptedStore::reads() const {
  MutexLock lock(mutex_);
  return reads_;
}

int ScriptedStore::reads_of(const std::string& key) const {
  MutexLock lock(mutex_);
  return static_cast<int>(std::count_if(reads_.begin(), reads_.end(),
                                        [&](const ReadCall& call) { return call.key == key; }));
}

absl::StatusOr<ObjectInfo> ScriptedStore::Stat(const std::string& key) {
  MutexLock lock(mutex_);
  if (const auto it = stat_errors_.find(key); it != stat_errors_.end()) return it->second;
  const auto it = objects_.find(key);
  if (it == objects_.end()) return absl::NotFoundError(absl::StrCat("fake://", key, ": absent"));
  return ObjectInfo{.size_bytes = static_cast<int64_t>(it->second.bytes.size()),
                    .version = absl::StrCat(it->second.version)};
}

absl::Status ScriptedStore::Read(const ReadCall& call, absl::Span<char> out,
                                 const std::string& version) {
  Hook hook;
  {
    MutexLock lock(mutex_);
    hook = hook_;
  }
  if (hook) {
    if (absl::Status status = hook(call); !status.ok()) return status;
  }
  MutexLock lock(mutex_);
  const std::string uri = absl::StrCat("fake://", call.key);
  const auto it = objects_.find(call.key);
  if (it == objects_.end()) return absl::NotFoundError(absl::StrCat(uri, ": absent"));
  if (!version.empty() && version != absl::StrCat(it->second.version)) {
    return absl::AbortedError(absl::StrCat(uri, ": version changed"));
  }
  const std::string& bytes = it->second.bytes;
  if (call.offset + call.length > static_cast<int64_t>(bytes.size())) {
    return absl::OutOfRangeError(absl::StrCat(uri, ": too short"));
  }
  std::memcpy(out.data(), bytes.data() + call.offset, out.size());
  reads_.push_back(call);
  return absl::OkStatus();
}

void Gate::Open() {
  MutexLock lock(mutex_);
  open_ = true;
  opened_.NotifyAll();
}

void Gate::Wait(absl::string_view what, AwaitCaller caller) {
  MutexLock lock(mutex_);
  AwaitOrFail(
      mutex_, opened_, what, [this] { return open_; }, kPatience, caller);
}

}  // namespace muster
