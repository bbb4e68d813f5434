// Pulls shards into memory, verified, and in turns with that reads the same bytes from the same
// locations unverified, with as many connections. Prints one JSON object.

#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cache/piece_sink.h"
#include "client/hash/hash_queue.h"
#include "client/hash/md5_lanes.h"
#include "client/hash/piece_hasher.h"
#include "client/transfer/puller.h"
#include "storage/base/clock.h"
#include "storage/base/random.h"
#include "storage/files/posix_file.h"
#include "storage/object/file_object_store.h"
#include "storage/object/hdfs_object_store.h"
#include "storage/object/http_object_store.h"
#include "storage/object/s3_object_store.h"
#include "tests/bench/program.h"

namespace muster {
namespace {

using bench::CpuSeconds;
using bench::Require;

struct Options {
  std::vector<std::string> files;
  // Where the files' names are served; "" means from the files.
  std::string base_uri;
  int64_t piece_bytes = int64_t{8} << 20;
  size_t connections = 8;
  // Shards that are under way at once.
  size_t shards_at_once = 4;
  int rounds = 3;
  bool cold = false;
};

// Runs work(0) … work(count - 1) on `threads` threads.
void InParallel(size_t count, size_t threads, const std::function<void(size_t)>& work) {
  std::atomic<size_t> next = 0;
  std::vector<std::jthread> crew;
  for (size_t i = 0; i < std::min(threads, count); ++i) {
    crew.emplace_back([&] {
      for (size_t item = next++; item < count; item = next++) work(item);
    });
  }
}

class Benchmark {
 public:
  explicit Benchmark(Options options) : options_(std::move(options)) {
    Require(RegisterFileObjectStore(stores_));
    Require(RegisterHttpObjectStore(stores_, clock_, *random_, {}));
    const EnvironmentLookup environment = [](const char* name) {
      const char* const value = std::getenv(name);
      return std::string(value == nullptr ? "" : value);
    };
    Require(RegisterS3ObjectStore(stores_, environment, clock_, *random_, {}));
    Require(RegisterHdfsObjectStore(stores_, environment, clock_, *random_, {}));
    shards_.resize(options_.files.size());
    InParallel(shards_.size(), shards_.size(), [this](size_t i) { Describe(i); });
    for (const PullShard& shard : shards_) bytes_ += static_cast<int64_t>(shard.shard.size_bytes());
  }

  nlohmann::json Run() {
    nlohmann::json result = {{"target", Md5LanesTarget()},
                             {"bytes", bytes_},
                             {"shards", shards_.size()},
                             {"rounds", nlohmann::json::array()}};
    for (int round = 0; round < options_.rounds; ++round) {
      const nlohmann::json bare = Timed([this] { ReadUnverified(); });
      std::vector<double> done_after;
      nlohmann::json verified = Timed([&] { done_after = PullVerified(); });
      verified["first_shard_seconds"] = *std::min_element(done_after.begin(), done_after.end());
      result["rounds"].push_back({{"unverified", bare}, {"verified", verified}});
    }
    return result;
  }

 private:
  // Reads a file once and makes of it what a server would say about it.
  void Describe(size_t i) {
    const std::string& path = options_.files[i];
    const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (fd.get() < 0) Require(PathError(errno, "open", path));
    const int64_t size = lseek(fd.get(), 0, SEEK_END);
    std::vector<char> buffer(static_cast<size_t>(std::min(size, options_.piece_bytes)));
    ShardHasher hasher(hashes_, options_.piece_bytes);
    for (int64_t offset = 0; offset < size; offset += options_.piece_bytes) {
      const auto length = static_cast<size_t>(std::min(options_.piece_bytes, size - offset));
      Require(ReadAt(fd.get(), path, offset, absl::MakeSpan(buffer.data(), length)));
      Require(hasher.AddPiece(absl::string_view(buffer.data(), length)));
    }
    const auto digests = hasher.Finish();
    Require(digests.status());
    PullShard& pull = shards_[i];
    pull.shard.set_index(static_cast<uint32_t>(i));
    pull.shard.set_size_bytes(static_cast<uint64_t>(size));
    pull.shard.set_piece_size_bytes(static_cast<uint64_t>(options_.piece_bytes));
    pull.shard.set_piece_count(static_cast<uint32_t>(digests->pieces.size()));
    pull.shard.set_root(Md5ToHex(digests->root));
    pull.shard.set_md5(Md5ToHex(digests->md5));
    pull.pieces = digests->pieces;
    const std::string name = path.substr(path.rfind('/') + 1);
    pull.shard.add_locations()->set_uri(options_.base_uri.empty()
                                            ? absl::StrCat("file://", path)
                                            : absl::StrCat(options_.base_uri, "/", name));
  }

  nlohmann::json Timed(const std::function<void()>& work) {
    if (options_.cold) DropFromPageCache();
    const double cpu = CpuSeconds();
    const absl::Duration begin = clock_.Monotonic();
    work();
    return {{"seconds", absl::ToDoubleSeconds(clock_.Monotonic() - begin)},
            {"cpu_seconds", CpuSeconds() - cpu}};
  }

  void DropFromPageCache() const {
    for (const std::string& path : options_.files) {
      const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
      fsync(fd.get());
      posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED);
    }
  }

  // Every piece straight to where it belongs in memory.
  void ReadUnverified() {
    struct Piece {
      size_t shard;
      int64_t offset;
      int64_t length;
    };
    std::vector<std::unique_ptr<MemorySink>> memory;
    std::vector<ObjectRef> objects;
    std::vector<Piece> pieces;
    for (size_t i = 0; i < shards_.size(); ++i) {
      const auto size = static_cast<int64_t>(shards_[i].shard.size_bytes());
      auto object = stores_.Open(shards_[i].shard.locations(0).uri());
      Require(object.status());
      objects.push_back(*std::move(object));
      auto sink = MemorySink::Make(size);
      Require(sink.status());
      memory.push_back(*std::move(sink));
      for (int64_t offset = 0; offset < size; offset += options_.piece_bytes) {
        pieces.push_back({i, offset, std::min(options_.piece_bytes, size - offset)});
      }
    }
    InParallel(pieces.size(), options_.connections, [&](size_t i) {
      const Piece& piece = pieces[i];
      const ObjectRef& object = objects[piece.shard];
      Require(object.store->Read(object.key, piece.offset,
                                 memory[piece.shard]->MemoryOf(piece.offset, piece.length), {}));
    });
  }

  // Returns after how many seconds each shard was there.
  std::vector<double> PullVerified() {
    Puller puller(stores_, clock_, *random_, {.connections = options_.connections});
    std::vector<MemoryPullResult> results(shards_.size());
    std::vector<double> done_after(shards_.size());
    const absl::Duration begin = clock_.Monotonic();
    InParallel(shards_.size(), options_.shards_at_once, [&](size_t i) {
      results[i] = puller.PullToMemory(shards_[i], bytes_, {}, {});
      Require(results[i].pull.status);
      done_after[i] = absl::ToDoubleSeconds(clock_.Monotonic() - begin);
    });
    return done_after;
  }

  const Options options_;
  Clock& clock_ = SystemClock();
  const std::unique_ptr<Random> random_ = NewSeededRandom(1);
  ObjectStoreRegistry stores_;
  HashQueue hashes_;
  std::vector<PullShard> shards_;
  int64_t bytes_ = 0;
};

}  // namespace
}  // namespace muster

int main(int argc, char** argv) {
  muster::Options options;
  CLI::App app("Pulls into memory, verified and not");
  app.add_option("FILES", options.files, "Absolute paths of the shards")->required();
  app.add_option("--base-uri", options.base_uri,
                 "Where a web server, a bucket or HDFS has the files");
  app.add_option("--piece-bytes", options.piece_bytes, "A power of two from 1 MiB to 64 MiB");
  app.add_option("--connections", options.connections, "Of either side");
  app.add_option("--shards-at-once", options.shards_at_once, "Pulls under way");
  app.add_option("--rounds", options.rounds, "Turns of each side");
  app.add_flag("--cold", options.cold, "Drop the files from the page cache before each turn");
  CLI11_PARSE(app, argc, argv);
  std::puts(muster::Benchmark(std::move(options)).Run().dump().c_str());
}
