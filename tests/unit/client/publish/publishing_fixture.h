// A published model, a fake catalogue and the stores, for tests of publishing and assembling.
#ifndef MUSTER_TESTS_UNIT_CLIENT_PUBLISH_PUBLISHING_FIXTURE_H_
#define MUSTER_TESTS_UNIT_CLIENT_PUBLISH_PUBLISHING_FIXTURE_H_

#include <memory>
#include <string>
#include <vector>

#include "client/publish/publisher.h"
#include "client/transfer/puller.h"
#include "gtest/gtest.h"
#include "storage/object/object_store_registry.h"
#include "tests/support/fake_clock.h"
#include "tests/unit/client/checkpoint/checkpoint_fixtures.h"
#include "tests/unit/client/publish/fake_catalogue.h"

namespace muster {

class PublishingTest : public testing::Test {
 protected:
  static constexpr char kName[] = "models/llama/versions/v1";

  PublishingTest();

  // A directory with two safetensors files, companions in two folders, and metadata.
  std::string WriteSource();
  // The weights that WriteSource wrote, as a snapshot of a Hugging Face cache whose blobs are named
  // by their SHA-256; the path of the blob of `name` is BlobOf(name).
  std::string WriteSnapshot();
  std::string BlobOf(const std::string& name) const;
  // Of what WriteSource writes, into "store" of the directory.
  PublishOptions Options();
  absl::StatusOr<PublishSummary> PublishNow(const PublishOptions& options);

  // All files below `relative`, as relative paths in order.
  std::vector<std::string> FilesIn(const std::string& relative) const;
  FakeCatalogue::Version& version() { return catalogue_.versions().at(kName); }
  // The file that holds a shard.
  std::string ShardPath(uint32_t index);
  void FlipByte(const std::string& path, int64_t offset);

  TestDirectory directory_;
  FakeCatalogue catalogue_;
  FakeClock clock_;
  const std::unique_ptr<Random> random_;
  ObjectStoreRegistry stores_;
  std::unique_ptr<Puller> puller_;
};

}  // namespace muster

#endif  // MUSTER_TESTS_UNIT_CLIENT_PUBLISH_PUBLISHING_FIXTURE_H_
