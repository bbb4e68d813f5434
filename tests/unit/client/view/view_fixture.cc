#include "tests/unit/client/view/view_fixture.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "storage/object/uri.h"
#include "tests/support/status_matchers.h"

namespace muster {

namespace fs = std::filesystem;

ViewTest::ViewTest() : cache_(*ShardCache::Open(directory_.Path("cache"), {})) { PublishAs(kName); }

void ViewTest::PublishAs(const std::string& name, CutStrategy strategy) {
  PublishOptions options = Options();
  options.model_version = name;
  options.source.strategy = strategy;
  directory_.Write("source/b.safetensors",
                   FixtureFile({{"model.layers.1.mlp.weight", 400'000},
                                {absl::StrCat("lm_head.", name), 300'000}}));
  directory_.Write("source/config.json", absl::StrCat(R"({"name":")", name, R"("})"));
  MUSTER_EXPECT_OK(PublishNow(options));
}

void ViewTest::Fill(const std::string& name, const std::vector<uint32_t>& indices) {
  for (const auto& [index, shard] : catalogue_.versions().at(name).shards) {
    if (!indices.empty() && std::find(indices.begin(), indices.end(), index) == indices.end()) {
      continue;
    }
    PullShard pull{shard, *UnpackPieces(shard.piece_md5s())};
    MUSTER_EXPECT_OK(puller_->PullToCache(pull, *cache_, {}, {}).pull.status);
  }
}

ViewOptions ViewTest::MakeOptions(const std::string& name) const {
  ViewOptions options;
  options.model_version = name;
  options.directory = directory_.Path("view");
  return options;
}

absl::StatusOr<ViewSummary> ViewTest::Build(const ViewOptions& options) {
  return BuildView(catalogue_.client(), *puller_, *cache_, options);
}

std::string ViewTest::Content(const std::string& relative) const {
  return ReadWholeFile(directory_.Path(relative));
}

std::string ViewTest::LinkText() const {
  std::error_code error;
  return fs::read_symlink(directory_.Path("view"), error).string();
}

std::vector<std::pair<std::string, size_t>> ViewTest::Pins() {
  std::vector<std::pair<std::string, size_t>> pins;
  const auto found = cache_->Pins();
  MUSTER_EXPECT_OK(found);
  for (const CachePin& pin : *found) pins.emplace_back(pin.owner, pin.keys.size());
  return pins;
}

size_t ViewTest::VerifiedEntries() { return cache_->Inventory(1000).size(); }

std::vector<std::string> ViewTest::NamesInVersions() const {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(directory_.Path("view.d"), error), end; !error && it != end;
       it.increment(error)) {
    names.push_back(it->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace muster
