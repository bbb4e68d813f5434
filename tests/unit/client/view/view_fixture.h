// A published model in a cache, and views of it.
#ifndef MUSTER_TESTS_UNIT_CLIENT_VIEW_VIEW_FIXTURE_H_
#define MUSTER_TESTS_UNIT_CLIENT_VIEW_VIEW_FIXTURE_H_

#include <memory>
#include <string>
#include <vector>

#include "client/cache/shard_cache.h"
#include "client/view/view_builder.h"
#include "client/view/view_place.h"
#include "tests/unit/client/publish/publishing_fixture.h"

namespace muster {

// The view is "view" of the directory and the cache "cache". The model version is llama@v1, of
// three shards, until a test publishes another one.
class ViewTest : public PublishingTest {
 protected:
  ViewTest();

  // Publishes the model as `name`, with one tensor that depends on it.
  void PublishAs(const std::string& name, CutStrategy strategy = CutStrategy::kLayer);
  // Pulls all shards of a model version, or those of `indices`, into the cache.
  void Fill(const std::string& name, const std::vector<uint32_t>& indices = {});

  ViewOptions MakeOptions(const std::string& name = kName) const;
  absl::StatusOr<ViewSummary> Build(const ViewOptions& options);
  ViewPlace Place() const { return *ViewPlace::At(directory_.Path("view")); }

  // Below the directory; "" where it can't be read.
  std::string Content(const std::string& relative) const;
  // Of the link "view".
  std::string LinkText() const;
  // The pinners, and how many entries they pin.
  std::vector<std::pair<std::string, size_t>> Pins();
  // How many entries count as verified without being hashed.
  size_t VerifiedEntries();
  // All names in DIR.d.
  std::vector<std::string> NamesInVersions() const;

  const std::unique_ptr<ShardCache> cache_;
  std::vector<std::string> warnings_;
};

}  // namespace muster

#endif  // MUSTER_TESTS_UNIT_CLIENT_VIEW_VIEW_FIXTURE_H_
