// Model versions: what may be added to a draft, when it is complete, and what stays possible after
// the commit.

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/registry/limits.h"
#include "storage/base/limits.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/server/registry/registry_fixture.h"

namespace muster {
namespace {

namespace v1 = muster::v1;
using absl::StatusCode;
using testing::HasSubstr;

class CatalogueTest : public testing::Test {
 protected:
  v1::ModelVersion Shown() {
    const auto version = fixture_.registry().catalogue().Find(kVersion);
    EXPECT_THAT(version, IsOk());
    return version.ok() ? fixture_.registry().catalogue().Describe(**version) : v1::ModelVersion();
  }
  // Carries the command out and expects that it changes nothing.
  absl::Status DoesNothing(const Command& command) {
    const std::string before = Describe(fixture_.registry());
    const absl::Status status = fixture_.Do(command);
    EXPECT_EQ(Describe(fixture_.registry()), before);
    return status;
  }

  RegistryFixture fixture_;
};

TEST_F(CatalogueTest, CreatedVersionIsADraftWithItsRevision) {
  const auto reply = fixture_.Ask<v1::CreateModelVersionResponse>(CreateVersion(kVersion, 2));
  EXPECT_EQ(reply.revision(), 1u);
  EXPECT_EQ(reply.model_version().state(), v1::ModelVersion::DRAFT);
  EXPECT_EQ(reply.model_version().uid(), "0123456789ab-1");
}

TEST_F(CatalogueTest, CreateOfAPresentNameIsRefusedWithItsState) {
  fixture_.Publish(kVersion, 1);
  const absl::Status status = DoesNothing(CreateVersion(kVersion, 2));
  EXPECT_THAT(status, ErrorIs(StatusCode::kAlreadyExists, "VERSION_EXISTS"));
  EXPECT_EQ(DetailOf(status).metadata.at("state"), "COMMITTED");
}

TEST_F(CatalogueTest, CreateWithABadNameOrCountIsRefused) {
  EXPECT_THAT(DoesNothing(CreateVersion("models/llama", 1)),
              ErrorIs(StatusCode::kInvalidArgument, "INVALID_NAME"));
  EXPECT_THAT(DoesNothing(CreateVersion(kVersion, 0)),
              ErrorIs(StatusCode::kInvalidArgument, "INVALID_FIELD"));
  EXPECT_THAT(DoesNothing(CreateVersion(kVersion, 100'001)),
              ErrorIs(StatusCode::kInvalidArgument, "INVALID_FIELD"));
  EXPECT_THAT(DoesNothing(CreateVersion(kVersion, 1, 0, 1'001)),
              ErrorIs(StatusCode::kInvalidArgument, "INVALID_FIELD"));
  MUSTER_EXPECT_OK(fixture_.Do(CreateVersion(kVersion, 100'000, 0, 1'000)));
}

TEST_F(CatalogueTest, ValidateOnlyStoresNothing) {
  v1::CreateModelVersionRequest create = CreateVersion(kVersion, 1);
  create.set_validate_only(true);
  MUSTER_EXPECT_OK(DoesNothing(create));
  create.set_validate_only(false);
  MUSTER_EXPECT_OK(fixture_.Do(create));
  MUSTER_EXPECT_OK(fixture_.Do(ShardOf(kVersion, 0)));
  v1::CommitModelVersionRequest commit = CommitVersion(kVersion);
  commit.set_validate_only(true);
  MUSTER_EXPECT_OK(DoesNothing(commit));
  v1::DeleteModelVersionRequest remove = DeleteVersion(kVersion);
  remove.set_validate_only(true);
  MUSTER_EXPECT_OK(DoesNothing(remove));
}

TEST_F(CatalogueTest, UnknownVersionOrShardIsNotFound) {
  EXPECT_THAT(DoesNothing(ShardOf(kVersion, 0)), ErrorIs(StatusCode::kNotFound, "VERSION_UNKNOWN"));
  EXPECT_THAT(DoesNothing(CommitVersion(kVersion)),
              ErrorIs(StatusCode::kNotFound, "VERSION_UNKNOWN"));
  EXPECT_THAT(DoesNothing(DeleteVersion(kVersion)),
              ErrorIs(StatusCode::kNotFound, "VERSION_UNKNOWN"));
  MUSTER_EXPECT_OK(fixture_.Do(CreateVersion(kVersion, 2, 1)));
  EXPECT_THAT(DoesNothing(TensorsOf(kVersion, 0, 0, {"a"})),
              ErrorIs(StatusCode::kNotFound, "SHARD_UNKNOWN"));
  EXPECT_THAT(DoesNothing(LocationOf(kVersion, 7, "file:///x")),
              ErrorIs(StatusCode::kNotFound, "SHARD_UNKNOWN"));
}

TEST_F(CatalogueTest, RepeatedShardChangesNothingAndOtherContentIsRefused) {
  MUSTER_EXPECT_OK(fixture_.Do(CreateVersion(kVersion, 2)));
  MUSTER_EXPECT_OK(fixture_.Do(ShardOf(kVersion, 0)));
  MUSTER_EXPECT_OK(DoesNothing(ShardOf(kVersion, 0)));
  AddShard other = ShardOf(kVersion, 0);
  other.shard.set_size_bytes(999);
  EXPECT_THAT(DoesNothing(other), ErrorIs(StatusCode::kAlreadyExists, "SHARD_EXISTS"));
  EXPECT_THAT(DoesNothing(ShardOf(kVersion, 2)),
              ErrorIs(StatusCode::kInvalidArgument, "INVALID_FIELD"));
}

TEST_F(CatalogueTest, RepeatedShardMergesLocations) {
  MUSTER_EXPECT_OK(fixture_.Do(CreateVersion(kVersion, 1)));
  MUSTER_EXPECT_OK(fixture_.Do(ShardOf(kVersion, 0)));
  AddShard again = ShardOf(kVersion, 0);
  again.shard.mutable_locations(0)->set_uri("file:///second");
  EXPECT_TRUE(fixture_.Apply(again).changed);
  const auto version = fixture_.registry().catalogue().Find(kVersion);
  EXPECT_EQ(fixture_.registry().catalogue().DescribeShard(**version, 0).locations_size(), 2);
}

TEST_F(CatalogueTest, IncompleteVersionListsWhatIsMissing) {
  MUSTER_EXPECT_OK(fixture_.Do(CreateVersion(kVersion, 6, 3, 2)));
  MUSTER_EXPECT_OK(fixture_.Do(ShardOf(kVersion, 1, 2)));
  MUSTER_EXPECT_OK(fixture_.Do(ShardOf(kVersion, 2, 1)));
  MUSTER_EXPECT_OK(fixture_.Do(TensorsOf(kVersion, 2, 0, {"a"})));
  MUSTER_EXPECT_OK(fixture_.Do(CompanionOf(kVersion, "config.json")));
  const absl::Status status = DoesNothing(CommitVersion(kVersion));
  EXPECT_THAT(status, ErrorIs(StatusCode::kFailedPrecondition, "VERSION_INCOMPLETE"));
  const auto metadata = DetailOf(status).metadata;
  EXPECT_EQ(metadata.at("missing_shards"), "0,3-5");
  EXPECT_EQ(metadata.at("missing_tensors"), "2");
  EXPECT_EQ(metadata.at("missing_companions"), "1");
  EXPECT_EQ(metadata.at("shards_short_of_tensors"), "1");
  EXPECT_THAT(std::string(status.message()), HasSubstr("4 of 6 shards are missing"));
}

TEST_F(CatalogueTest, MissingShardsAreCutAndCountedWhole) {
  MUSTER_EXPECT_OK(fixture_.Do(CreateVersion(kVersion, 1'000)));
  for (uint32_t i = 0; i < 1'000; i += 2) MUSTER_EXPECT_OK(fixture_.Do(ShardOf(kVersion, i)));
  const absl::Status status = fixture_.Do(CommitVersion(kVersion));
  EXPECT_LT(DetailOf(status).metadata.at("missing_shards").size(), 1'020u);
  EXPECT_THAT(std::string(status.message()), HasSubstr("500 of 1000 shards"));
}

TEST_F(CatalogueTest, WhatADraftLacksIsKnownAfterARestart) {
  MUSTER_EXPECT_OK(fixture_.Do(CreateVersion(kVersion, 3, 4)));
  AddShard with_tensors = ShardOf(kVersion, 2);
  with_tensors.shard.set_tensor_count(3);
  MUSTER_EXPECT_OK(fixture_.Do(with_tensors));
  with_tensors = ShardOf(kVersion, 0);
  with_tensors.shard.set_tensor_count(1);
  MUSTER_EXPECT_OK(fixture_.Do(with_tensors));
  MUSTER_EXPECT_OK(fixture_.Do(TensorsOf(kVersion, 0, 0, {"a"})));
  MUSTER_EXPECT_OK(fixture_.Do(TensorsOf(kVersion, 2, 0, {"b", "c"})));
  const absl::Status before = DoesNothing(CommitVersion(kVersion));
  EXPECT_EQ(DetailOf(before).metadata.at("missing_shards"), "1");
  EXPECT_EQ(DetailOf(before).metadata.at("shards_short_of_tensors"), "2");
  EXPECT_EQ(DetailOf(before).metadata.at("missing_tensors"), "1");
  MUSTER_ASSERT_OK(fixture_.Restart());

  EXPECT_EQ(DoesNothing(CommitVersion(kVersion)), before);
  MUSTER_EXPECT_OK(fixture_.Do(TensorsOf(kVersion, 2, 2, {"d"})));
  MUSTER_EXPECT_OK(fixture_.Do(ShardOf(kVersion, 1)));
  MUSTER_EXPECT_OK(fixture_.Do(CommitVersion(kVersion)));
}

TEST_F(CatalogueTest, CompleteVersionCommitsAndCommitsAgain) {
  MUSTER_EXPECT_OK(fixture_.Do(CreateVersion(kVersion, 1, 1, 1)));
  MUSTER_EXPECT_OK(fixture_.Do(ShardOf(kVersion, 0, 1)));
  MUSTER_EXPECT_OK(fixture_.Do(TensorsOf(kVersion, 0, 0, {"a"})));
  MUSTER_EXPECT_OK(fixture_.Do(CompanionOf(kVersion, "config.json")));
  MUSTER_EXPECT_OK(fixture_.Do(CommitVersion(kVersion)));
  EXPECT_EQ(Shown().state(), v1::ModelVersion::COMMITTED);
  EXPECT_EQ(Shown().size_bytes(), 1'000u);
  EXPECT_EQ(Shown().tensors_added(), 1u);
  EXPECT_TRUE(Shown().has_commit_time());
  MUSTER_EXPECT_OK(DoesNothing(CommitVersion(kVersion)));
}

// Invariant 2 (docs/design.md): a committed model version's content never changes, its locations
// may.
TEST_F(CatalogueTest, CommittedContentIsImmutable) {
  fixture_.Publish(kVersion, 1);
  AddShard other = ShardOf(kVersion, 0);
  other.shard.set_size_bytes(1);
  EXPECT_THAT(DoesNothing(other), ErrorIs(StatusCode::kFailedPrecondition, "VERSION_NOT_DRAFT"));
  EXPECT_THAT(DoesNothing(ShardOf(kVersion, 1)),
              ErrorIs(StatusCode::kFailedPrecondition, "VERSION_NOT_DRAFT"));
  EXPECT_THAT(DoesNothing(TensorsOf(kVersion, 0, 0, {"a"})),
              ErrorIs(StatusCode::kFailedPrecondition, "VERSION_NOT_DRAFT"));
  EXPECT_THAT(DoesNothing(CompanionOf(kVersion, "x")),
              ErrorIs(StatusCode::kFailedPrecondition, "VERSION_NOT_DRAFT"));
  const Applied staged =
      fixture_.Apply(StagePieces{kVersion, ShardIndex(0), 0, "0123456789abcdef"});
  MUSTER_EXPECT_OK(staged.status);
  EXPECT_TRUE(staged.operations.empty()) << "a shard that is there keeps its digests";
  MUSTER_EXPECT_OK(fixture_.Do(LocationOf(kVersion, 0, "file:///copy")));
}

TEST_F(CatalogueTest, TensorBatchesComeInOrderAndRepeatHarmlessly) {
  MUSTER_EXPECT_OK(fixture_.Do(CreateVersion(kVersion, 1, 3)));
  MUSTER_EXPECT_OK(fixture_.Do(ShardOf(kVersion, 0, 3)));
  EXPECT_THAT(DoesNothing(TensorsOf(kVersion, 0, 1, {"b"})),
              ErrorIs(StatusCode::kFailedPrecondition, "TENSORS_OUT_OF_ORDER"));
  MUSTER_EXPECT_OK(fixture_.Do(TensorsOf(kVersion, 0, 0, {"a"})));
  MUSTER_EXPECT_OK(DoesNothing(TensorsOf(kVersion, 0, 0, {"a"})));
  EXPECT_THAT(DoesNothing(TensorsOf(kVersion, 0, 0, {"c"})),
              ErrorIs(StatusCode::kAlreadyExists, "TENSORS_EXIST"));
  EXPECT_THAT(DoesNothing(TensorsOf(kVersion, 0, 1, {"a"})),
              ErrorIs(StatusCode::kAlreadyExists, "TENSOR_NAME_TAKEN"));
  EXPECT_THAT(DoesNothing(TensorsOf(kVersion, 0, 1, {"b", "b"})),
              ErrorIs(StatusCode::kAlreadyExists, "TENSOR_NAME_TAKEN"));
  EXPECT_THAT(DoesNothing(TensorsOf(kVersion, 0, 1, {"b", "c", "d"})),
              ErrorIs(StatusCode::kInvalidArgument, "INVALID_FIELD"));
  MUSTER_EXPECT_OK(fixture_.Do(TensorsOf(kVersion, 0, 1, {"b", "c"})));
}

TEST_F(CatalogueTest, TensorsOfAnEncodedShardLieInItsContent) {
  MUSTER_EXPECT_OK(fixture_.Do(CreateVersion(kVersion, 1, 1)));
  AddShard shard = ShardOf(kVersion, 0, 1);
  shard.shard.set_encoding("zstd");
  const uint64_t content_bytes = shard.shard.size_bytes() + 1'000;
  shard.shard.set_content_size_bytes(content_bytes);
  MUSTER_EXPECT_OK(fixture_.Do(shard));
  v1::AddTensorsRequest tensors = TensorsOf(kVersion, 0, 0, {"a"});
  v1::Tensor& tensor = *tensors.mutable_tensors(0);
  tensor.set_begin_bytes(content_bytes - 2);
  tensor.set_end_bytes(content_bytes + 2);
  EXPECT_THAT(DoesNothing(tensors), ErrorIs(StatusCode::kInvalidArgument, "INVALID_FIELD"));
  tensor.set_end_bytes(content_bytes);
  MUSTER_EXPECT_OK(fixture_.Do(tensors));

  const auto version = fixture_.registry().catalogue().Find(kVersion);
  MUSTER_ASSERT_OK(version);
  EXPECT_EQ((*version)->shards[0].size_bytes, content_bytes) << "placement counts the content";
  const v1::Shard shown = fixture_.registry().catalogue().DescribeShard(**version, 0);
  EXPECT_EQ(shown.encoding(), "zstd");
  EXPECT_EQ(shown.content_size_bytes(), content_bytes);
}

TEST_F(CatalogueTest, TensorNameMayComeAgainInAnotherRankOnly) {
  MUSTER_EXPECT_OK(fixture_.Do(CreateVersion(kVersion, 3, 3)));
  for (const auto& [index, rank] : {std::pair(0, 0), std::pair(1, 0), std::pair(2, 1)}) {
    AddShard shard = ShardOf(kVersion, index, 1);
    shard.shard.set_rank(rank);
    MUSTER_EXPECT_OK(fixture_.Do(shard));
  }
  MUSTER_EXPECT_OK(fixture_.Do(TensorsOf(kVersion, 0, 0, {"a"})));
  EXPECT_THAT(DoesNothing(TensorsOf(kVersion, 1, 0, {"a"})),
              ErrorIs(StatusCode::kAlreadyExists, "TENSOR_NAME_TAKEN"));
  MUSTER_EXPECT_OK(fixture_.Do(TensorsOf(kVersion, 2, 0, {"a"})));
}

TEST_F(CatalogueTest, CompanionRepeatsHarmlesslyAndIsCounted) {
  MUSTER_EXPECT_OK(fixture_.Do(CreateVersion(kVersion, 1, 0, 1)));
  MUSTER_EXPECT_OK(fixture_.Do(CompanionOf(kVersion, "a")));
  MUSTER_EXPECT_OK(DoesNothing(CompanionOf(kVersion, "a")));
  EXPECT_THAT(DoesNothing(CompanionOf(kVersion, "a", 11)),
              ErrorIs(StatusCode::kAlreadyExists, "COMPANION_EXISTS"));
  EXPECT_THAT(DoesNothing(CompanionOf(kVersion, "b")),
              ErrorIs(StatusCode::kInvalidArgument, "INVALID_FIELD"));
}

TEST_F(CatalogueTest, LocationsAreAddedReplacedAndRemovedButForTheLast) {
  fixture_.Publish(kVersion, 1);
  AddLocation location = LocationOf(kVersion, 0, "file:///0");
  MUSTER_EXPECT_OK(DoesNothing(location));
  location.entry.mutable_location()->set_zone("z1");
  EXPECT_TRUE(fixture_.Apply(location).changed);
  EXPECT_THAT(DoesNothing(Without(kVersion, 0, "file:///0")),
              ErrorIs(StatusCode::kFailedPrecondition, "LAST_LOCATION"));
  MUSTER_EXPECT_OK(DoesNothing(Without(kVersion, 0, "file:///other")));
  for (int i = 1; i < kMaxLocationsPerShard; ++i) {
    MUSTER_EXPECT_OK(fixture_.Do(LocationOf(kVersion, 0, "file:///copy" + std::to_string(i))));
  }
  EXPECT_THAT(DoesNothing(LocationOf(kVersion, 0, "file:///one_more")),
              ErrorIs(StatusCode::kResourceExhausted, "TOO_MANY_ITEMS"));
  EXPECT_TRUE(fixture_.Apply(Without(kVersion, 0, "file:///0")).changed);
}

TEST_F(CatalogueTest, VersionInUseIsNotDeleted) {
  fixture_.Publish(kVersion, 1);
  MUSTER_EXPECT_OK(fixture_.Do(CreateAssembly(kAssembly, kVersion, v1::Assembly::BALANCED)));
  const absl::Status status = DoesNothing(DeleteVersion(kVersion));
  EXPECT_THAT(status, ErrorIs(StatusCode::kFailedPrecondition, "VERSION_IN_USE"));
  EXPECT_EQ(DetailOf(status).metadata.at("assemblies"), kAssembly);
  MUSTER_EXPECT_OK(fixture_.Do(DeleteAssembly(kAssembly)));
  MUSTER_EXPECT_OK(fixture_.Do(DeleteVersion(kVersion)));
}

TEST_F(CatalogueTest, DeletedVersionLeavesNoRowsAndItsNameGetsAnotherUid) {
  MUSTER_EXPECT_OK(fixture_.Do(CreateVersion(kVersion, 1, 1, 1)));
  const std::string uid = Shown().uid();
  MUSTER_EXPECT_OK(fixture_.Do(ShardOf(kVersion, 0, 1)));
  MUSTER_EXPECT_OK(fixture_.Do(TensorsOf(kVersion, 0, 0, {"a"})));
  MUSTER_EXPECT_OK(fixture_.Do(CompanionOf(kVersion, "a")));
  MUSTER_EXPECT_OK(fixture_.Do(DeleteVersion(kVersion)));
  EXPECT_EQ(RowsOf(fixture_.store()).size(), 1u) << "only the revision's row stays";
  MUSTER_EXPECT_OK(fixture_.Do(CreateVersion(kVersion, 1)));
  EXPECT_NE(Shown().uid(), uid);
}

TEST_F(CatalogueTest, DraftThatNobodyAddsToExpiresAfterADay) {
  MUSTER_EXPECT_OK(fixture_.Do(CreateVersion(kVersion, 2)));
  fixture_.TickTo(kSecondUs + kDraftTtlUs);
  MUSTER_EXPECT_OK(fixture_.Do(ShardOf(kVersion, 0)));
  fixture_.TickTo(kSecondUs + 2 * kDraftTtlUs);
  EXPECT_EQ(Shown().shards_added(), 1u);
  fixture_.TickTo(kSecondUs + 2 * kDraftTtlUs + 1);
  EXPECT_THAT(fixture_.registry().catalogue().Find(kVersion),
              ErrorIs(StatusCode::kNotFound, "VERSION_UNKNOWN"));
}

TEST_F(CatalogueTest, CommittedVersionDoesNotExpire) {
  fixture_.Publish(kVersion, 1);
  fixture_.TickTo(10 * kDraftTtlUs);
  EXPECT_EQ(Shown().state(), v1::ModelVersion::COMMITTED);
}

// An empty draft is a call of 100 bytes, so that what it announces must cost nothing.
TEST_F(CatalogueTest, EmptyDraftTakesNoRoomForItsShards) {
  MUSTER_ASSERT_OK(fixture_.Do(CreateVersion(kVersion, 100'000)));
  const auto shards_there = [&] {
    return (*fixture_.registry().catalogue().Find(kVersion))->shards.capacity();
  };
  EXPECT_EQ(shards_there(), 0u);
  MUSTER_ASSERT_OK(fixture_.Restart());
  EXPECT_EQ(shards_there(), 0u);
  EXPECT_THAT(fixture_.Do(CommitVersion(kVersion)), testing::Not(IsOk()));
  EXPECT_THAT(fixture_.Do(ShardOf(kVersion, 100'000)),
              ErrorIs(StatusCode::kInvalidArgument, "INVALID_FIELD"));
  MUSTER_EXPECT_OK(fixture_.Do(ShardOf(kVersion, 99'999)));
  EXPECT_EQ(shards_there(), 100'000u);
}

TEST_F(CatalogueTest, DraftsAndWhatTheyAnnounceAreBoundedInAll) {
  const auto name = [](uint64_t i) { return absl::StrCat("models/m/versions/v", i); };
  const auto full = ErrorIs(StatusCode::kResourceExhausted, "TOO_MANY_ITEMS");
  const uint64_t big = kMaxDraftShards / kMaxShardsPerVersion;
  for (uint64_t i = 0; i < big; ++i) {
    MUSTER_ASSERT_OK(fixture_.Do(CreateVersion(name(i), kMaxShardsPerVersion)));
  }
  EXPECT_THAT(fixture_.Do(CreateVersion("models/m/versions/more", 1)), full);
  MUSTER_EXPECT_OK(fixture_.Do(DeleteVersion(name(0))));
  for (uint64_t i = 0; i < kMaxDrafts - big + 1; ++i) {
    MUSTER_ASSERT_OK(fixture_.Do(CreateVersion(name(big + i), 1)));
  }
  EXPECT_THAT(fixture_.Do(CreateVersion("models/m/versions/more", 1)), full);
  MUSTER_ASSERT_OK(fixture_.Restart());
  EXPECT_THAT(fixture_.Do(CreateVersion("models/m/versions/more", 1)), full);
  // A committed version is no draft.
  MUSTER_EXPECT_OK(fixture_.Do(ShardOf(name(big), 0)));
  MUSTER_EXPECT_OK(fixture_.Do(CommitVersion(name(big))));
  MUSTER_EXPECT_OK(fixture_.Do(CreateVersion("models/m/versions/more", 1)));
}

// Goal: zones that are all different cost no time that grows with their square, and have a bound.
TEST_F(CatalogueTest, ShardsMayBeInABoundedNumberOfSetsOfZones) {
  const auto sets = static_cast<uint32_t>(kMaxZoneSets);
  MUSTER_EXPECT_OK(fixture_.Do(CreateVersion(kVersion, sets + 2)));
  const auto in_zone = [](uint32_t index, const std::string& zone) {
    AddShard command = ShardOf(kVersion, index);
    command.shard.mutable_locations(0)->set_zone(zone);
    return command;
  };
  for (uint32_t i = 0; i < sets; ++i) {
    MUSTER_ASSERT_OK(fixture_.Do(in_zone(i, absl::StrCat("z", i))));
  }

  const absl::Status refused = DoesNothing(in_zone(sets, "another"));
  EXPECT_THAT(refused, ErrorIs(StatusCode::kResourceExhausted, "TOO_MANY_ITEMS"));
  EXPECT_EQ(DetailOf(refused).metadata.at("field"), "zone");
  AddLocation moved = LocationOf(kVersion, 0, "file:///elsewhere");
  moved.entry.mutable_location()->set_zone("another");
  EXPECT_THAT(DoesNothing(moved), ErrorIs(StatusCode::kResourceExhausted, "TOO_MANY_ITEMS"));
  MUSTER_EXPECT_OK(fixture_.Do(in_zone(sets, "z7")));
  MUSTER_ASSERT_OK(fixture_.Restart());
  EXPECT_THAT(DoesNothing(in_zone(sets + 1, "another")),
              ErrorIs(StatusCode::kResourceExhausted, "TOO_MANY_ITEMS"));
  // The shard is in that zone already.
  AddLocation back = LocationOf(kVersion, 0, "file:///elsewhere");
  back.entry.mutable_location()->set_zone("z0");
  MUSTER_EXPECT_OK(fixture_.Do(back));
}

}  // namespace
}  // namespace muster
