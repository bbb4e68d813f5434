// Invariant 1 (docs/design.md): what was stored comes back; what was left behind is cleaned; what
// is damaged is said.

#include <memory>
#include <string>

#include "gtest/gtest.h"
#include "muster/store/rows.pb.h"
#include "server/registry/row_keys.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/server/registry/registry_fixture.h"

namespace muster {
namespace {

namespace v1 = muster::v1;
using absl::StatusCode;

class LoadTest : public testing::Test {
 protected:
  // A draft with everything, a committed version, nodes (one lost), and an assembly with reports of
  // every state.
  void Fill() {
    MUSTER_EXPECT_OK(fixture_.Do(CreateVersion("models/draft/versions/v1", 3, 4, 2)));
    MUSTER_EXPECT_OK(fixture_.Do(ShardOf("models/draft/versions/v1", 2, 2)));
    MUSTER_EXPECT_OK(fixture_.Do(TensorsOf("models/draft/versions/v1", 2, 0, {"a"})));
    MUSTER_EXPECT_OK(fixture_.Do(CompanionOf("models/draft/versions/v1", "config.json")));
    fixture_.Publish(kVersion, 4);
    epoch_ = fixture_.Register("nodes/n1");
    const uint64_t epoch2 = fixture_.Register("nodes/n2");
    MUSTER_EXPECT_OK(fixture_.Do(CreateAssembly(kAssembly, kVersion, v1::Assembly::BALANCED)));
    MUSTER_EXPECT_OK(fixture_.Do(Join(kAssembly, "nodes/n1", epoch_)));
    MUSTER_EXPECT_OK(fixture_.Do(Join(kAssembly, "nodes/n2", epoch2)));
    generation_ = fixture_.Plan(kAssembly, {{"nodes/n1", {0, 1, 2}}, {"nodes/n2", {3}}});
    v1::ReportShardsRequest report = Report(kAssembly, "nodes/n1", epoch_, generation_, {0, 1, 2});
    report.mutable_reports(1)->set_state(v1::ShardReport::FETCHING);
    report.mutable_reports(2)->set_state(v1::ShardReport::FAILED);
    report.mutable_reports(2)->mutable_failure()->set_message("bad bytes");
    MUSTER_EXPECT_OK(fixture_.Do(report));
    MUSTER_EXPECT_OK(fixture_.Do(Report(kAssembly, "nodes/n2", epoch2, generation_, {3})));
    fixture_.SetLost("nodes/n2", true);
  }
  void Store(MetadataBatch::Operation operation) {
    MetadataBatch batch;
    batch.operations.push_back(std::move(operation));
    MUSTER_EXPECT_OK(fixture_.store().Commit(batch));
  }
  // The first row whose key begins with `kind`.
  MetadataStore::Row FirstRow(const std::string& kind) {
    const auto rows = fixture_.store().Scan(kind, PrefixEnd(kind), 1);
    EXPECT_THAT(rows, IsOk());
    return rows.ok() && !rows->empty() ? rows->front() : MetadataStore::Row();
  }

  RegistryFixture fixture_;
  uint64_t epoch_ = 0, generation_ = 0;
};

TEST_F(LoadTest, EmptyStoreLoadsAsEmptyRegistry) {
  RegistryFixture other;
  MUSTER_EXPECT_OK(other.Restart());
  EXPECT_EQ(other.revision(), Revision(0));
}

TEST_F(LoadTest, EverythingIsAsBefore) {
  Fill();
  const std::string before = Describe(fixture_.registry());
  const auto rows = RowsOf(fixture_.store()).size();
  MUSTER_ASSERT_OK(fixture_.Restart());
  EXPECT_EQ(Describe(fixture_.registry()), before);
  EXPECT_EQ(RowsOf(fixture_.store()).size(), rows);
}

// Rows of 0.1.0 have one time, and don't say whose a request id is or since when a node is released.
TEST_F(LoadTest, RowsOfTheFirstReleaseAreReadAsTheyAre) {
  Fill();
  const NodeUid lost = fixture_.NodeOf("nodes/n2").uid;
  MUSTER_EXPECT_OK(fixture_.Do(ReleaseNode{lost, fixture_.NodeOf("nodes/n2").epoch()}));
  v1::DrainNodeRequest drain = DrainNode("nodes/n1", 60);
  drain.set_request_id("id");
  MUSTER_EXPECT_OK(fixture_.Do(drain));
  const size_t events = fixture_.registry().event_log().Entries().size();
  for (const MetadataStore::Row& row : RowsOf(fixture_.store())) {
    store::RevisionRow revision;
    store::NodeRow node;
    store::RequestRow request;
    store::EventsRow told;
    if (row.key == RevisionKey() && revision.ParseFromString(row.value)) {
      revision.clear_time_of_day_ahead_us();
      Store(MetadataBatch::Put{row.key, revision.SerializeAsString()});
    } else if (row.key.front() == 'n' && node.ParseFromString(row.value)) {
      node.clear_drain_due_us();
      node.clear_released_us();
      Store(MetadataBatch::Put{row.key, node.SerializeAsString()});
    } else if (row.key.front() == 'q' && request.ParseFromString(row.value)) {
      request.clear_caller();
      Store(MetadataBatch::Put{row.key, request.SerializeAsString()});
    } else if (row.key.front() == 'e' && told.ParseFromString(row.value)) {
      told.clear_server_time_ahead_us();
      Store(MetadataBatch::Put{row.key, told.SerializeAsString()});
    }
  }

  MUSTER_ASSERT_OK(fixture_.Restart());

  const auto drain_state = [&] { return fixture_.NodeOf("nodes/n1").row.drain_state(); };
  const auto known = [&] {
    const Revision before = fixture_.revision();
    return fixture_.Do(drain).ok() && fixture_.revision() == before;
  };
  EXPECT_TRUE(known());
  EXPECT_EQ(fixture_.registry().event_log().Entries().size(), events);
  fixture_.TickTo(60 * kSecondUs);
  EXPECT_EQ(drain_state(), v1::Drain::DRAINING);
  fixture_.TickTo(61 * kSecondUs);
  EXPECT_EQ(drain_state(), v1::Drain::OVERDUE);
  fixture_.TickTo(600 * kSecondUs);
  EXPECT_TRUE(known());
  fixture_.TickTo(601 * kSecondUs);
  EXPECT_FALSE(known());
  fixture_.TickTo(24 * 3'600 * kSecondUs);
  EXPECT_TRUE(fixture_.registry().nodes().by_name().contains("nodes/n2"));
  fixture_.TickTo(24 * 3'600 * kSecondUs + kSecondUs);
  EXPECT_FALSE(fixture_.registry().nodes().by_name().contains("nodes/n2"));
}

TEST_F(LoadTest, WorkGoesOnAfterwards) {
  Fill();
  const Revision before = fixture_.revision();
  MUSTER_ASSERT_OK(fixture_.Restart());
  MUSTER_EXPECT_OK(fixture_.Do(Report(kAssembly, "nodes/n1", epoch_, generation_, {1, 2})));
  EXPECT_GT(fixture_.revision(), before);
  EXPECT_THAT(fixture_.Do(TensorsOf("models/draft/versions/v1", 2, 1, {"a"})),
              ErrorIs(StatusCode::kAlreadyExists, "TENSOR_NAME_TAKEN"));
  EXPECT_THAT(fixture_.Do(CompanionOf("models/draft/versions/v1", "config.json", 11)),
              ErrorIs(StatusCode::kAlreadyExists, "COMPANION_EXISTS"));
  MUSTER_EXPECT_OK(fixture_.Do(TensorsOf("models/draft/versions/v1", 2, 1, {"b"})));
}

TEST_F(LoadTest, RequestIdsAndWasReadySurvive) {
  Fill();
  v1::RegisterNodeRequest request = RegisterNode("nodes/n3");
  request.set_request_id("id");
  const auto first = fixture_.Ask<v1::RegisterNodeResponse>(request);
  fixture_.SetLost("nodes/n2", false);
  MUSTER_EXPECT_OK(fixture_.Do(Report(kAssembly, "nodes/n1", epoch_, generation_, {1, 2})));
  EXPECT_EQ(fixture_.Shown(kAssembly).state(), v1::Assembly::READY);
  fixture_.SetLost("nodes/n2", true);
  MUSTER_ASSERT_OK(fixture_.Restart());
  EXPECT_EQ(fixture_.Shown(kAssembly).state(), v1::Assembly::DEGRADED);
  EXPECT_EQ(fixture_.Ask<v1::RegisterNodeResponse>(request).SerializeAsString(),
            first.SerializeAsString());
}

TEST_F(LoadTest, PlanIsWantedAgain) {
  Fill();
  fixture_.plans_wanted().clear();
  MUSTER_ASSERT_OK(fixture_.Restart());
  EXPECT_EQ(fixture_.plans_wanted().size(), 1u);
}

TEST_F(LoadTest, MemberOfAGoneNodeIsForgotten) {
  Fill();
  const auto assembly = fixture_.registry().assemblies().Find(kAssembly);
  const AssemblyUid uid = (*assembly)->uid();
  Store(MetadataBatch::Put{MemberKey(uid, NodeUid(9'999)), ""});
  Store(MetadataBatch::Put{ReadinessKey(uid, NodeUid(9'999)), ""});
  Store(MetadataBatch::Put{AssignmentKey(uid, Generation(generation_), NodeUid(9'999)), ""});
  MUSTER_ASSERT_OK(fixture_.Restart());
  for (const auto& row : RowsOf(fixture_.store())) {
    const auto key = ParseAssemblyRowKey(row.key);
    EXPECT_FALSE(key.has_value() && key->node == NodeUid(9'999));
  }
  EXPECT_EQ(fixture_.Shown(kAssembly).nodes_joined(), 2u);
}

// Older servers wrote a big plan whole into a directory before it counted.
TEST_F(LoadTest, PlanDirectoryThatIsNotTheAssemblysIsForgotten) {
  Fill();
  const std::string before = Describe(fixture_.registry());
  const size_t rows = RowsOf(fixture_.store()).size();
  const AssemblyUid uid = (*fixture_.registry().assemblies().Find(kAssembly))->uid();
  for (const char* node : {"nodes/n1", "nodes/n2"}) {
    Store(MetadataBatch::Put{AssignmentKey(uid, Generation(9'999), fixture_.NodeOf(node).uid), ""});
  }
  EXPECT_EQ(RowsOf(fixture_.store()).size(), rows + 2);
  MUSTER_ASSERT_OK(fixture_.Restart());
  EXPECT_EQ(RowsOf(fixture_.store()).size(), rows);
  EXPECT_EQ(Describe(fixture_.registry()).substr(before.find('\n')),
            before.substr(before.find('\n')));
}

TEST_F(LoadTest, DamagedRowsAreDataLoss) {
  Fill();
  const std::string garbage = "\x0a\xff\xff";
  for (const std::string kind : {"!", "a", "b", "c", "n", "q", "s", "t", "v"}) {
    MetadataStore::Row row = FirstRow(kind);
    if (row.key.empty()) {
      row.key = RequestKey(1, "x");
      ASSERT_EQ(kind, "q");
    }
    Store(MetadataBatch::Put{row.key, garbage});
    EXPECT_THAT(fixture_.Restart(), StatusIs(StatusCode::kDataLoss)) << kind;
    if (kind == "q") {
      Store(MetadataBatch::Delete{row.key});
    } else {
      Store(MetadataBatch::Put{row.key, row.value});
    }
  }
  MUSTER_EXPECT_OK(fixture_.Restart());
}

// Rows that can be read, and would be used beyond their ends.
TEST_F(LoadTest, ShortDigestsAndHugeCountsAreDataLoss) {
  Fill();
  const MetadataStore::Row shard_row = FirstRow("s");
  for (const size_t digest_bytes : {0, 1, 15, 17}) {
    store::ShardRow shard;
    ASSERT_TRUE(shard.ParseFromString(shard_row.value));
    shard.set_md5(std::string(digest_bytes, 'd'));
    shard.clear_root();
    Store(MetadataBatch::Put{shard_row.key, shard.SerializeAsString()});
    EXPECT_THAT(fixture_.Restart(), StatusIs(StatusCode::kDataLoss)) << digest_bytes;
  }
  Store(MetadataBatch::Put{shard_row.key, shard_row.value});
  const MetadataStore::Row version_row = FirstRow("v");
  store::VersionRow version;
  ASSERT_TRUE(version.ParseFromString(version_row.value));
  version.set_shard_count(4'000'000'000);
  Store(MetadataBatch::Put{version_row.key, version.SerializeAsString()});
  EXPECT_THAT(fixture_.Restart(), StatusIs(StatusCode::kDataLoss));
  Store(MetadataBatch::Put{version_row.key, version_row.value});
  MUSTER_EXPECT_OK(fixture_.Restart());
}

TEST_F(LoadTest, KeysOfAnotherFormAndRowsOfNothingAreDataLoss) {
  Fill();
  const std::string shard = FirstRow("s").value;
  for (const std::string& key :
       {std::string("sx"), std::string("bx"), std::string("cx"),
        ShardKey(VersionUid(77), ShardIndex(0)), ShardKey(VersionUid(1), ShardIndex(3)),
        MemberKey(AssemblyUid(77), NodeUid(1))}) {
    Store(MetadataBatch::Put{key, key[0] == 's' ? shard : ""});
    EXPECT_THAT(fixture_.Restart(), StatusIs(StatusCode::kDataLoss)) << key;
    Store(MetadataBatch::Delete{key});
  }
}

}  // namespace
}  // namespace muster
