#include "tests/unit/client/publish/publishing_fixture.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "client/hash/sha256.h"
#include "storage/object/file_object_store.h"
#include "storage/object/uri.h"
#include "tests/support/status_matchers.h"

namespace muster {

namespace fs = std::filesystem;

PublishingTest::PublishingTest() : random_(NewSeededRandom(7)) {
  EXPECT_THAT(RegisterFileObjectStore(stores_), IsOk());
  PullerOptions options;
  options.connections = 2;
  options.retry.attempts = 1;
  puller_ = std::make_unique<Puller>(stores_, clock_, *random_, options);
}

std::string PublishingTest::WriteSource() {
  directory_.Write("source/a.safetensors", FixtureFile({{"model.embed_tokens.weight", 300'000},
                                                        {"model.layers.0.mlp.weight", 400'000}},
                                                       R"({"format":"pt"})"));
  directory_.Write("source/b.safetensors", FixtureFile({{"model.layers.1.mlp.weight", 400'000},
                                                        {"lm_head.weight", 300'000}}));
  directory_.Write("source/config.json", R"({"model_type":"llama"})");
  directory_.Write("source/tokenizer/vocab.txt", "one\ntwo\n");
  directory_.Write("source/empty.txt", "");
  return directory_.Path("source");
}

std::string PublishingTest::WriteSnapshot() {
  const std::string snapshot = directory_.Path("models--o--n/snapshots/r");
  fs::create_directories(snapshot);
  for (const std::string name : {"a.safetensors", "b.safetensors"}) {
    const std::string bytes = ReadWholeFile(directory_.Path("source/" + name));
    Sha256Stream sha256;
    sha256.Update(bytes);
    const std::string blob = sha256.FinishHex();
    directory_.Write("models--o--n/blobs/" + blob, bytes);
    fs::create_symlink("../../blobs/" + blob, snapshot + "/" + name);
  }
  return snapshot;
}

std::string PublishingTest::BlobOf(const std::string& name) const {
  return fs::canonical(directory_.Path("models--o--n/snapshots/r/" + name)).string();
}

PublishOptions PublishingTest::Options() {
  PublishOptions options;
  options.source.path = WriteSource();
  options.model_version = kName;
  options.destination = FileUri(directory_.Path("store"));
  options.source.shard_count = 3;
  options.source.piece_size_bytes = int64_t{1} << 20;
  return options;
}

absl::StatusOr<PublishSummary> PublishingTest::PublishNow(const PublishOptions& options) {
  return Publish(catalogue_.client(), stores_, *random_, options);
}

std::vector<std::string> PublishingTest::FilesIn(const std::string& relative) const {
  std::vector<std::string> files;
  std::error_code error;
  const std::string root = directory_.Path(relative);
  for (fs::recursive_directory_iterator it(root, error), end; !error && it != end;
       it.increment(error)) {
    if (it->is_regular_file()) files.push_back(fs::relative(it->path(), root).string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::string PublishingTest::ShardPath(uint32_t index) {
  return "/" + ParseUri(version().shards[index].locations(0).uri())->path;
}

void PublishingTest::FlipByte(const std::string& path, int64_t offset) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(offset);
  const char byte = static_cast<char>(file.get());
  file.seekp(offset);
  file.put(static_cast<char>(byte ^ 1));
  ASSERT_TRUE(file.good());
}

}  // namespace muster
