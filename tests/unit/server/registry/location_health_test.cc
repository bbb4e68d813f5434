#include "server/registry/location_health.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/server/registry/registry_fixture.h"

namespace muster {
namespace {

namespace v1 = muster::v1;
using testing::ElementsAre;
using testing::IsEmpty;
using v1::ShardFailure;

// Three nodes that all hold every shard of a version whose shard 0 has a second location.
class LocationHealthTest : public testing::Test {
 protected:
  LocationHealthTest() {
    core_.TickTo(kSecondUs);
    core_.Publish(kVersion, 3);
    bad_ = Shard(0).locations(0).uri();
    MUSTER_EXPECT_OK(core_.Do(LocationOf(kVersion, 0, "file:///good")));
    MUSTER_EXPECT_OK(core_.Do(CreateAssembly(kAssembly, kVersion, v1::Assembly::FULL, 1)));
    std::vector<RegistryFixture::Part> parts;
    for (const std::string node : {"nodes/n1", "nodes/n2", "nodes/n3"}) {
      epochs_[node] = core_.Register(node);
      MUSTER_EXPECT_OK(core_.Do(Join(kAssembly, node, epochs_[node])));
      parts.push_back({node, {0, 1, 2}});
    }
    generation_ = core_.Plan(kAssembly, parts);
  }

  v1::Shard Shard(uint32_t index) {
    const auto& catalogue = core_.registry().catalogue();
    return catalogue.DescribeShard(**catalogue.Find(kVersion), index);
  }
  bool IsSuspect(const std::string& uri) {
    const v1::Shard shard = Shard(0);
    for (const auto& location : shard.locations()) {
      if (location.uri() == uri) return location.suspect();
    }
    ADD_FAILURE() << "shard 0 has no location " << uri;
    return false;
  }
  // A report about shard 0 that found `code` at `uri`.
  v1::ReportShardsRequest Found(const std::string& node, const std::string& uri,
                                ShardFailure::Code code,
                                v1::ShardReport::State state = v1::ShardReport::READY) {
    v1::ReportShardsRequest request = Report(kAssembly, node, epochs_[node], generation_, {0});
    request.mutable_reports(0)->set_state(state);
    auto* location = request.mutable_reports(0)->add_locations();
    location->set_uri(uri);
    location->set_code(code);
    return request;
  }
  // The shard is on its way again, so that the next report says something new.
  void Refetch(const std::string& node) {
    v1::ReportShardsRequest request = Report(kAssembly, node, epochs_[node], generation_, {0});
    request.mutable_reports(0)->set_state(v1::ShardReport::FETCHING);
    MUSTER_EXPECT_OK(core_.Do(request));
  }
  std::vector<const LocationChange*> Changes() const {
    std::vector<const LocationChange*> changes;
    for (const Change& change : core_.changes()) {
      if (const auto* location = std::get_if<LocationChange>(&change.what))
        changes.push_back(location);
    }
    return changes;
  }

  RegistryFixture core_;
  std::map<std::string, uint64_t> epochs_;
  uint64_t generation_ = 0;
  std::string bad_;
};

TEST_F(LocationHealthTest, TwoNodesMakeALocationSuspect) {
  MUSTER_EXPECT_OK(core_.Do(Found("nodes/n1", bad_, ShardFailure::CORRUPT)));
  EXPECT_FALSE(IsSuspect(bad_));

  MUSTER_EXPECT_OK(core_.Do(Found("nodes/n2", bad_, ShardFailure::MISSING)));

  EXPECT_TRUE(IsSuspect(bad_));
  EXPECT_FALSE(IsSuspect("file:///good"));
  ASSERT_EQ(Changes().size(), 1);
  EXPECT_TRUE(Changes()[0]->suspect);
  EXPECT_EQ(Changes()[0]->uri, bad_);
  EXPECT_EQ(Changes()[0]->version_name, kVersion);
  EXPECT_EQ(Changes()[0]->node, "nodes/n2");
  EXPECT_EQ(Changes()[0]->found, ShardFailure::MISSING);
}

TEST_F(LocationHealthTest, OneNodeAloneNeverMakesALocationSuspect) {
  for (int i = 0; i < 5; ++i) {
    Refetch("nodes/n1");
    MUSTER_EXPECT_OK(
        core_.Do(Found("nodes/n1", bad_, ShardFailure::SLOW, v1::ShardReport::FAILED)));
    core_.TickTo((i + 2) * 90 * kSecondUs);
  }

  EXPECT_FALSE(IsSuspect(bad_));
  EXPECT_THAT(Changes(), IsEmpty());
}

TEST_F(LocationHealthTest, ComplaintsMoreThanTenMinutesApartAreUnrelated) {
  MUSTER_EXPECT_OK(core_.Do(Found("nodes/n1", bad_, ShardFailure::CORRUPT)));
  core_.TickTo(602 * kSecondUs);

  MUSTER_EXPECT_OK(core_.Do(Found("nodes/n2", bad_, ShardFailure::CORRUPT)));

  EXPECT_FALSE(IsSuspect(bad_));
}

TEST_F(LocationHealthTest, OneVerifiedReadClearsALocation) {
  MUSTER_EXPECT_OK(core_.Do(Found("nodes/n1", bad_, ShardFailure::CORRUPT)));
  MUSTER_EXPECT_OK(core_.Do(Found("nodes/n2", bad_, ShardFailure::CORRUPT)));
  ASSERT_TRUE(IsSuspect(bad_));

  MUSTER_EXPECT_OK(core_.Do(Found("nodes/n3", bad_, ShardFailure::CODE_UNSPECIFIED)));

  EXPECT_FALSE(IsSuspect(bad_));
  ASSERT_EQ(Changes().size(), 2);
  EXPECT_FALSE(Changes()[1]->suspect);
  EXPECT_EQ(Changes()[1]->node, "nodes/n3");
}

TEST_F(LocationHealthTest, FaultsOfTheNodeItselfAndOtherLocationsSayNothing) {
  for (const std::string node : {"nodes/n1", "nodes/n2"}) {
    MUSTER_EXPECT_OK(core_.Do(Found(node, bad_, ShardFailure::NO_SPACE)));
    Refetch(node);
    MUSTER_EXPECT_OK(core_.Do(Found(node, "file:///elsewhere", ShardFailure::CORRUPT)));
  }

  EXPECT_FALSE(IsSuspect(bad_));
  EXPECT_FALSE(core_.Apply(Found("nodes/n1", bad_, ShardFailure::CORRUPT)).changed);
}

TEST_F(LocationHealthTest, FailureThatNamesALocationIsAComplaint) {
  for (const std::string node : {"nodes/n1", "nodes/n2"}) {
    v1::ReportShardsRequest request = Report(kAssembly, node, epochs_[node], generation_, {0});
    request.mutable_reports(0)->set_state(v1::ShardReport::FAILED);
    request.mutable_reports(0)->mutable_failure()->set_code(ShardFailure::UNREADABLE);
    request.mutable_reports(0)->mutable_failure()->set_location(bad_);
    MUSTER_EXPECT_OK(core_.Do(request));
  }

  EXPECT_TRUE(IsSuspect(bad_));
}

TEST_F(LocationHealthTest, SuspicionIsLoadedBackAndEndsWithTheLocation) {
  MUSTER_EXPECT_OK(core_.Do(Found("nodes/n1", bad_, ShardFailure::CORRUPT)));
  MUSTER_EXPECT_OK(core_.Do(Found("nodes/n2", bad_, ShardFailure::CORRUPT)));
  MUSTER_ASSERT_OK(core_.Restart());
  EXPECT_TRUE(IsSuspect(bad_));
  EXPECT_THAT(core_.registry().catalogue().health().SuspectShards(
                  (*core_.registry().catalogue().Find(kVersion))->uid, 10),
              ElementsAre(0));

  MUSTER_EXPECT_OK(core_.Do(Without(kVersion, 0, bad_)));
  MUSTER_EXPECT_OK(core_.Do(LocationOf(kVersion, 0, bad_)));

  EXPECT_FALSE(IsSuspect(bad_));
  MUSTER_ASSERT_OK(core_.Restart());
  EXPECT_FALSE(IsSuspect(bad_));
}

TEST_F(LocationHealthTest, SuspicionGoesWithTheVersion) {
  MUSTER_EXPECT_OK(core_.Do(Found("nodes/n1", bad_, ShardFailure::CORRUPT)));
  MUSTER_EXPECT_OK(core_.Do(DeleteAssembly(kAssembly)));

  MUSTER_EXPECT_OK(core_.Do(DeleteVersion(kVersion)));

  for (const auto& row : RowsOf(core_.store())) EXPECT_NE(row.key[0], 'h');
}

TEST_F(LocationHealthTest, SuspicionThatAClientSendsIsIgnored) {
  AddLocation location = LocationOf(kVersion, 1, "file:///other");
  location.entry.mutable_location()->set_suspect(true);

  MUSTER_EXPECT_OK(core_.Do(location));

  const v1::Shard shard = Shard(1);
  for (const auto& shown : shard.locations()) EXPECT_FALSE(shown.suspect());
}

TEST_F(LocationHealthTest, ManyFindingsOfOneCallFitIntoTransactions) {
  core_.Publish("models/big/versions/v1", 200);
  MUSTER_EXPECT_OK(
      core_.Do(CreateAssembly("assemblies/big", "models/big/versions/v1", v1::Assembly::FULL, 1)));
  MUSTER_EXPECT_OK(core_.Do(Join("assemblies/big", "nodes/n1", epochs_["nodes/n1"])));
  std::vector<uint32_t> shards(200);
  for (uint32_t i = 0; i < 200; ++i) shards[i] = i;
  const uint64_t generation = core_.Plan("assemblies/big", {{"nodes/n1", shards}});
  v1::ReportShardsRequest request =
      Report("assemblies/big", "nodes/n1", epochs_["nodes/n1"], generation, shards);
  const auto& catalogue = core_.registry().catalogue();
  for (auto& report : *request.mutable_reports()) {
    report.set_state(v1::ShardReport::FAILED);
    auto* location = report.add_locations();
    location->set_uri(
        catalogue.DescribeShard(**catalogue.Find("models/big/versions/v1"), report.shard())
            .locations(0)
            .uri());
    location->set_code(ShardFailure::UNREADABLE);
  }

  MUSTER_EXPECT_OK(core_.Do(request));

  size_t rows = 0;
  for (const auto& row : RowsOf(core_.store())) rows += row.key[0] == 'h' ? 1 : 0;
  EXPECT_EQ(rows, 200);
}

}  // namespace
}  // namespace muster
