#include "server/registry/validation.h"

#include <string>

#include "gtest/gtest.h"
#include "storage/base/limits.h"
#include "storage/base/md5.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/server/registry/registry_fixture.h"

namespace muster {
namespace {

namespace v1 = muster::v1;

v1::Shard GoodShard() { return ShardOf(kVersion, 0).shard; }

// A shard of `pieces` pieces, the last one of a single byte.
v1::Shard PiecedShard(uint64_t pieces) {
  v1::Shard shard = GoodShard();
  shard.set_piece_size_bytes(kMinPieceSizeBytes);
  shard.set_size_bytes((pieces - 1) * kMinPieceSizeBytes + 1);
  shard.set_piece_md5s(std::string(pieces * 16, 'x'));
  shard.set_root(Md5ToHex(Md5Of(shard.piece_md5s())));
  return shard;
}

MATCHER_P(IsInvalid, field, "is INVALID_FIELD of this field") {
  *result_listener << arg.ToString();
  const ErrorDetail detail = DetailOf(arg);
  return arg.code() == absl::StatusCode::kInvalidArgument && detail.reason == "INVALID_FIELD" &&
         detail.metadata.count("field") == 1 && detail.metadata.at("field") == field;
}

TEST(ValidationTest, GoodShardIsAccepted) {
  MUSTER_EXPECT_OK(CheckShard(GoodShard(), 1));
  MUSTER_EXPECT_OK(CheckShard(PiecedShard(3), 1));
  v1::Shard by_root_only = PiecedShard(1);
  by_root_only.clear_md5();
  MUSTER_EXPECT_OK(CheckShard(by_root_only, 1));
}

TEST(ValidationTest, ShardIndexIsRequiredAndBelowTheCount) {
  v1::Shard shard = GoodShard();
  shard.set_index(4);
  MUSTER_EXPECT_OK(CheckShard(shard, 5));
  EXPECT_THAT(CheckShard(shard, 4), IsInvalid("index"));
  shard.clear_index();
  EXPECT_THAT(CheckShard(shard, 5), IsInvalid("index"));
}

TEST(ValidationTest, ShardWithoutSizeDigestOrLocationIsRefused) {
  v1::Shard shard = GoodShard();
  shard.set_size_bytes(0);
  EXPECT_THAT(CheckShard(shard, 1), IsInvalid("size_bytes"));
  shard = GoodShard();
  shard.clear_md5();
  EXPECT_THAT(CheckShard(shard, 1), IsInvalid("md5"));
  shard.set_md5(std::string(32, 'A'));
  EXPECT_THAT(CheckShard(shard, 1), IsInvalid("md5"));
  shard = GoodShard();
  shard.clear_locations();
  EXPECT_THAT(CheckShard(shard, 1), IsInvalid("locations"));
}

TEST(ValidationTest, ContentSizeComesExactlyWithAnEncoding) {
  v1::Shard shard = GoodShard();
  shard.set_content_size_bytes(5);
  EXPECT_THAT(CheckShard(shard, 1), IsInvalid("content_size_bytes"));
  shard.set_encoding("zstd+aes-256-gcm");
  shard.set_key_id("prod-2026");
  MUSTER_EXPECT_OK(CheckShard(shard, 1));
  shard.clear_content_size_bytes();
  EXPECT_THAT(CheckShard(shard, 1), IsInvalid("content_size_bytes"));
  shard.clear_encoding();
  EXPECT_THAT(CheckShard(shard, 1), IsInvalid("key_id"));
  shard.clear_key_id();
  MUSTER_EXPECT_OK(CheckShard(shard, 1));
}

TEST(ValidationTest, LongVersionOfALocationIsRefused) {
  v1::Shard shard = GoodShard();
  shard.mutable_locations(0)->set_version(std::string(kMaxLocationVersionBytes, 'v'));
  MUSTER_EXPECT_OK(CheckShard(shard, 1));
  shard.mutable_locations(0)->mutable_version()->push_back('v');
  EXPECT_THAT(CheckShard(shard, 1), IsInvalid("version"));
}

TEST(ValidationTest, SeventeenLocationsOrOneTwiceAreRefused) {
  v1::Shard shard = GoodShard();
  for (int i = 1; i < kMaxLocationsPerShard; ++i) {
    shard.add_locations()->set_uri("file:///copy" + std::to_string(i));
  }
  MUSTER_EXPECT_OK(CheckShard(shard, 1));
  shard.mutable_locations(1)->set_uri(shard.locations(0).uri());
  EXPECT_THAT(CheckShard(shard, 1), IsInvalid("uri"));
  shard.mutable_locations(1)->set_uri("file:///copy1");
  shard.add_locations()->set_uri("file:///one_more");
  EXPECT_THAT(CheckShard(shard, 1), IsInvalid("locations"));
}

TEST(ValidationTest, PiecesHaveToFitSizeAndRoot) {
  v1::Shard shard = PiecedShard(2);
  shard.set_size_bytes(2 * kMinPieceSizeBytes);
  MUSTER_EXPECT_OK(CheckShard(shard, 1));
  shard.set_size_bytes(2 * kMinPieceSizeBytes + 1);
  EXPECT_THAT(CheckShard(shard, 1), IsInvalid("piece_md5s"));
  shard = PiecedShard(2);
  shard.set_root(std::string(32, '0'));
  EXPECT_THAT(CheckShard(shard, 1), IsInvalid("root"));
  shard = PiecedShard(2);
  shard.set_piece_size_bytes(kMinPieceSizeBytes + 1);
  EXPECT_THAT(CheckShard(shard, 1), IsInvalid("piece_size_bytes"));
  shard = PiecedShard(2);
  shard.clear_piece_md5s();
  EXPECT_THAT(CheckShard(shard, 1), IsInvalid("piece_md5s"));
}

TEST(ValidationTest, HugeShardWithTinyPieceListIsRefused) {
  v1::Shard shard = PiecedShard(2);
  shard.set_size_bytes(INT64_MAX);
  EXPECT_THAT(CheckShard(shard, 1), IsInvalid("number of pieces"));
}

TEST(ValidationTest, LocationNeedsAScheme) {
  v1::Location location;
  for (const std::string uri :
       {"", "file", "://x", "file://", "1s3://x", "fi le:///x", "file:///a b", "file:///a\nb"}) {
    location.set_uri(uri);
    EXPECT_THAT(CheckLocation(location), IsInvalid("uri")) << uri;
  }
  location.set_uri("s3://" + std::string(kMaxUriBytes - 5, 'x'));
  MUSTER_EXPECT_OK(CheckLocation(location));
  location.set_uri(location.uri() + "x");
  EXPECT_THAT(CheckLocation(location), IsInvalid("uri"));
}

TEST(ValidationTest, LocationFieldsEndAtTheirLimits) {
  v1::Location location;
  location.set_uri("file:///x");
  location.set_priority(kMaxLocationPriority);
  location.set_max_readers(kMaxLocationReaders);
  location.set_zone(std::string(kMaxShortTextBytes, 'z'));
  MUSTER_EXPECT_OK(CheckLocation(location));
  location.set_priority(kMaxLocationPriority + 1);
  EXPECT_THAT(CheckLocation(location), IsInvalid("priority"));
  location.set_priority(0);
  location.set_zone(location.zone() + "z");
  EXPECT_THAT(CheckLocation(location), IsInvalid("zone"));
}

TEST(ValidationTest, ItemCountsEndAtTheLimit) {
  EXPECT_THAT(CheckItemCount("shards", 0), IsInvalid("shards"));
  MUSTER_EXPECT_OK(CheckItemCount("shards", 1'000));
  EXPECT_THAT(CheckItemCount("shards", 1'001),
              ErrorIs(absl::StatusCode::kResourceExhausted, "TOO_MANY_ITEMS"));
}

TEST(ValidationTest, TensorBatchHasToAscendInsideTheShard) {
  v1::AddTensorsRequest batch = TensorsOf(kVersion, 0, 0, {"a", "b"});
  MUSTER_EXPECT_OK(CheckTensorBatch(batch, 20));
  EXPECT_THAT(CheckTensorBatch(batch, 19), IsInvalid("range of tensor 'b'"));
  batch.mutable_tensors(1)->set_begin_bytes(9);
  EXPECT_THAT(CheckTensorBatch(batch, 20), IsInvalid("range of tensor 'b'"));
  batch.clear_start();
  EXPECT_THAT(CheckTensorBatch(batch, 20), IsInvalid("start"));
}

TEST(ValidationTest, TensorBatchEndsAtItsBytes) {
  v1::AddTensorsRequest batch = TensorsOf(kVersion, 0, 0, std::vector<std::string>(999, "n"));
  MUSTER_EXPECT_OK(CheckTensorBatch(batch, 100'000));
  for (auto& tensor : *batch.mutable_tensors()) tensor.set_name(std::string(300, 'n'));
  EXPECT_THAT(CheckTensorBatch(batch, 100'000),
              ErrorIs(absl::StatusCode::kResourceExhausted, "TOO_MANY_ITEMS"));
}

TEST(ValidationTest, CompanionPathStaysInsideItsDirectory) {
  for (const std::string path : {"", "/a", "a/", "a//b", "../a", "a/./b", "a\\b", "a\tb"}) {
    EXPECT_THAT(CheckCompanion(CompanionOf(kVersion, path).companion), IsInvalid("path")) << path;
  }
  MUSTER_EXPECT_OK(CheckCompanion(CompanionOf(kVersion, "a/..b").companion));
}

TEST(ValidationTest, CompanionOverItsSizeIsRefused) {
  MUSTER_EXPECT_OK(CheckCompanion(CompanionOf(kVersion, "a", kMaxCompanionBytes).companion));
  EXPECT_THAT(CheckCompanion(CompanionOf(kVersion, "a", kMaxCompanionBytes + 1).companion),
              IsInvalid("size_bytes"));
}

TEST(ValidationTest, LeaseTtlIsOneSecondToOneHour) {
  v1::RegisterNodeRequest request = RegisterNode("nodes/n1");
  for (const auto& [seconds, nanos, valid] :
       {std::tuple(1, 0, true), std::tuple(3600, 0, true), std::tuple(0, 999'999'999, false),
        std::tuple(3600, 1, false), std::tuple(-5, 0, false), std::tuple(5, -1, false)}) {
    request.mutable_lease_ttl()->set_seconds(seconds);
    request.mutable_lease_ttl()->set_nanos(nanos);
    EXPECT_EQ(CheckRegistration(request).ok(), valid) << seconds << "." << nanos;
  }
}

TEST(ValidationTest, EveryNamedPolicyIsAccepted) {
  for (int policy = v1::Assembly::DECLARED; policy <= v1::Assembly::RANKED; ++policy) {
    MUSTER_EXPECT_OK(CheckAssembly(
        CreateAssembly(kAssembly, kVersion, static_cast<v1::Assembly::Policy>(policy)).assembly()));
  }
  EXPECT_THAT(CheckAssembly(
                  CreateAssembly(kAssembly, kVersion, v1::Assembly::POLICY_UNSPECIFIED).assembly()),
              IsInvalid("policy"));
}

TEST(ValidationTest, ClaimHasToFitItsKind) {
  v1::Claim claim;
  EXPECT_THAT(CheckClaim(claim, 3), IsInvalid("claim"));
  claim.set_kind(v1::Claim::SHARDS);
  EXPECT_THAT(CheckClaim(claim, 3), IsInvalid("shards"));
  claim.add_shards(2);
  MUSTER_EXPECT_OK(CheckClaim(claim, 3));
  claim.set_kind(v1::Claim::ALL);
  EXPECT_THAT(CheckClaim(claim, 3), IsInvalid("claim"));
  claim.set_kind(v1::Claim::RANKS);
  EXPECT_THAT(CheckClaim(claim, 3), IsInvalid("shards"));
  claim.clear_shards();
  EXPECT_THAT(CheckClaim(claim, 3), IsInvalid("ranks"));
  claim.add_ranks(0);
  MUSTER_EXPECT_OK(CheckClaim(claim, 3));
}

// A claim is stored whole: 200,000 ranks beside one shard once made a row that the store refused.
TEST(ValidationTest, ListOfAnotherKindIsRefused) {
  v1::Claim claim;
  claim.set_kind(v1::Claim::SHARDS);
  claim.add_shards(0);
  claim.add_ranks(0);
  EXPECT_THAT(CheckClaim(claim, 1), IsInvalid("ranks"));
  claim.set_kind(v1::Claim::RANKS);
  EXPECT_THAT(CheckClaim(claim, 1), IsInvalid("shards"));
  claim.set_kind(v1::Claim::ANY);
  EXPECT_THAT(CheckClaim(claim, 1), IsInvalid("claim"));
  claim.clear_shards();
  EXPECT_THAT(CheckClaim(claim, 1), IsInvalid("claim"));
}

TEST(ValidationTest, UnknownEnumValuesAreRefused) {
  for (const int unknown : {-1, v1::ShardFailure::Code_MAX + 1, 1'000'000}) {
    v1::ReportShardsRequest reports = Report(kAssembly, "nodes/n1", 1, 1, {0});
    v1::ShardReport& report = *reports.mutable_reports(0);
    MUSTER_EXPECT_OK(CheckReports(reports));
    report.mutable_failure()->set_code(static_cast<v1::ShardFailure::Code>(unknown));
    EXPECT_THAT(CheckReports(reports), IsInvalid("failure.code")) << unknown;
    report.mutable_failure()->set_code(v1::ShardFailure::NODE_ERROR);
    report.add_locations()->set_code(static_cast<v1::ShardFailure::Code>(unknown));
    EXPECT_THAT(CheckReports(reports), IsInvalid("locations.code")) << unknown;
    report.mutable_locations(0)->set_code(v1::ShardFailure::UNREADABLE);
    MUSTER_EXPECT_OK(CheckReports(reports));
    report.set_state(static_cast<v1::ShardReport::State>(unknown));
    EXPECT_THAT(CheckReports(reports), IsInvalid("state")) << unknown;

    v1::Assembly assembly = CreateAssembly(kAssembly, kVersion, v1::Assembly::FULL).assembly();
    assembly.set_policy(static_cast<v1::Assembly::Policy>(unknown));
    EXPECT_THAT(CheckAssembly(assembly), IsInvalid("policy")) << unknown;
    v1::Claim claim;
    claim.set_kind(static_cast<v1::Claim::Kind>(unknown));
    EXPECT_THAT(CheckClaim(claim, 1), IsInvalid("claim")) << unknown;
  }
  v1::EventFilter filter;
  filter.add_kinds(v1::Event::NODE_LOST);
  MUSTER_EXPECT_OK(CheckEventFilter(filter));
  filter.add_kinds(static_cast<v1::Event::Kind>(-1));
  EXPECT_THAT(CheckEventFilter(filter), IsInvalid("kinds"));
}

TEST(ValidationTest, InventoryIsSixteenBytesAShardAndTenThousandShardsAtMost) {
  v1::RegisterNodeRequest request = RegisterNode("nodes/n1");
  for (const auto& [bytes, valid] : {std::pair(0, true), std::pair(16, true), std::pair(17, false),
                                     std::pair(160'000, true), std::pair(160'016, false)}) {
    request.set_cached_digests(std::string(bytes, 'd'));
    EXPECT_EQ(CheckRegistration(request).ok(), valid) << bytes;
  }
}

TEST(ValidationTest, DrainDeadlineIsOneSecondToSevenDays) {
  v1::DrainNodeRequest request;
  MUSTER_EXPECT_OK(CheckDrain(request));
  for (const auto& [seconds, valid] : {std::pair(0, false), std::pair(1, true),
                                       std::pair(604'800, true), std::pair(604'801, false)}) {
    request.mutable_deadline()->set_seconds(seconds);
    EXPECT_EQ(CheckDrain(request).ok(), valid) << seconds;
  }
}

TEST(ValidationTest, SelectorHasShortLabels) {
  v1::Assembly assembly = CreateAssembly(kAssembly, kVersion, v1::Assembly::FULL).assembly();
  (*assembly.mutable_node_selector())["gpu"] = "h100";
  MUSTER_EXPECT_OK(CheckAssembly(assembly));
  (*assembly.mutable_node_selector())["gpu"] = std::string(64, 'x');
  EXPECT_THAT(CheckAssembly(assembly), IsInvalid("label"));
}

TEST(ValidationTest, ReportsNeedShardGenerationAndState) {
  v1::ReportShardsRequest request = Report(kAssembly, "nodes/n1", 1, 1, {0, 1});
  MUSTER_EXPECT_OK(CheckReports(request));
  request.mutable_reports(1)->set_shard(0);
  EXPECT_THAT(CheckReports(request), IsInvalid("shard"));
  request.mutable_reports(1)->clear_shard();
  EXPECT_THAT(CheckReports(request), IsInvalid("shard"));
  request.mutable_reports(1)->set_shard(1);
  request.mutable_reports(1)->clear_generation();
  EXPECT_THAT(CheckReports(request), IsInvalid("generation"));
  request.mutable_reports(1)->set_generation(1);
  request.mutable_reports(1)->clear_state();
  EXPECT_THAT(CheckReports(request), IsInvalid("state"));
  request.clear_epoch();
  EXPECT_THAT(CheckReports(request), IsInvalid("epoch"));
}

}  // namespace
}  // namespace muster
