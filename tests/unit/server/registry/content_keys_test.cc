// The content keys of model versions: once made they stay, under whichever master key, and go with their version.

#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/limits.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/server/registry/registry_fixture.h"

namespace muster {
namespace {

namespace v1 = muster::v1;
using absl::StatusCode;
using testing::IsEmpty;
using testing::Pair;
using testing::UnorderedElementsAre;

store::WrappedKeyRow Key(const std::string& id, const std::string& master) {
  store::WrappedKeyRow key;
  key.set_key_id(absl::StrCat(kContentKeyIdPrefix, id));
  key.set_master_key_id(master);
  key.set_wrapped(absl::StrCat("wrapped by ", master));
  return key;
}

class ContentKeysTest : public testing::Test {
 protected:
  const Version& Found() { return **fixture_.registry().catalogue().Find(kVersion); }
  SetContentKey Set(const std::string& id, const std::string& master) {
    return {kVersion, Found().uid, Key(id, master)};
  }
  const std::map<std::string, uint64_t>& Counts() {
    return fixture_.registry().catalogue().content_keys().by_master_key();
  }
  absl::Status DoesNothing(const Command& command) {
    const Revision before = fixture_.revision();
    const absl::Status status = fixture_.Do(command);
    EXPECT_EQ(fixture_.revision(), before);
    return status;
  }

  RegistryFixture fixture_;
};

TEST_F(ContentKeysTest, DraftGetsOneKeyAndKeepsIt) {
  MUSTER_ASSERT_OK(fixture_.Do(CreateVersion(kVersion, 1)));
  MUSTER_EXPECT_OK(fixture_.Do(Set("a", "mk-1")));
  // A publisher that comes back, or another one at the same time.
  MUSTER_EXPECT_OK(DoesNothing(Set("b", "mk-1")));
  EXPECT_EQ(Found().row.content_key().key_id(), "muster/a");
  EXPECT_EQ(fixture_.registry().catalogue().Describe(Found()).content_key_id(), "muster/a");
  EXPECT_THAT(Counts(), UnorderedElementsAre(Pair("mk-1", 1)));
}

TEST_F(ContentKeysTest, NoKeyForWhatIsCommittedUnknownOrMadeAgain) {
  MUSTER_ASSERT_OK(fixture_.Do(CreateVersion(kVersion, 1)));
  const SetContentKey of_the_first = Set("a", "mk-1");
  MUSTER_ASSERT_OK(fixture_.Do(DeleteVersion(kVersion)));
  EXPECT_THAT(DoesNothing(of_the_first), ErrorIs(StatusCode::kNotFound, "VERSION_UNKNOWN"));
  // It is wrapped for the uid of the first one, and would open for nobody.
  MUSTER_ASSERT_OK(fixture_.Do(CreateVersion(kVersion, 1)));
  EXPECT_THAT(DoesNothing(of_the_first), ErrorIs(StatusCode::kNotFound, "VERSION_UNKNOWN"));
  MUSTER_ASSERT_OK(fixture_.Do(ShardOf(kVersion, 0)));
  MUSTER_ASSERT_OK(fixture_.Do(CommitVersion(kVersion)));
  EXPECT_THAT(DoesNothing(Set("a", "mk-1")),
              ErrorIs(StatusCode::kFailedPrecondition, "VERSION_NOT_DRAFT"));
  EXPECT_THAT(Counts(), IsEmpty());
}

TEST_F(ContentKeysTest, RewrapKeepsTheKeyAndTheVersionsRevision) {
  MUSTER_ASSERT_OK(fixture_.Do(CreateVersion(kVersion, 1)));
  MUSTER_ASSERT_OK(fixture_.Do(Set("a", "mk-1")));
  MUSTER_ASSERT_OK(fixture_.Do(ShardOf(kVersion, 0)));
  MUSTER_ASSERT_OK(fixture_.Do(CommitVersion(kVersion)));
  const std::string before = fixture_.registry().catalogue().Describe(Found()).DebugString();
  MUSTER_EXPECT_OK(fixture_.Do(RewrapContentKey{Found().uid, "mk-1", Key("a", "mk-2")}));
  EXPECT_EQ(Found().row.content_key().wrapped(), "wrapped by mk-2");
  EXPECT_THAT(Counts(), UnorderedElementsAre(Pair("mk-2", 1)));
  // Nothing of what clients see is another one (invariant 2).
  EXPECT_EQ(fixture_.registry().catalogue().Describe(Found()).DebugString(), before);
}

TEST_F(ContentKeysTest, RewrapThatComesLateDoesNothing) {
  MUSTER_ASSERT_OK(fixture_.Do(CreateVersion(kVersion, 1)));
  MUSTER_EXPECT_OK(DoesNothing(RewrapContentKey{Found().uid, "", {}}));
  MUSTER_ASSERT_OK(fixture_.Do(Set("a", "mk-2")));
  MUSTER_EXPECT_OK(DoesNothing(RewrapContentKey{Found().uid, "mk-1", Key("a", "mk-3")}));
  MUSTER_EXPECT_OK(DoesNothing(RewrapContentKey{Found().uid, "mk-2", Key("other", "mk-3")}));
  MUSTER_EXPECT_OK(DoesNothing(RewrapContentKey{VersionUid(999), "mk-2", Key("a", "mk-3")}));
  EXPECT_THAT(Counts(), UnorderedElementsAre(Pair("mk-2", 1)));
}

TEST_F(ContentKeysTest, ShardSaysNoOtherKeyOfTheServersThanItsVersionHas) {
  MUSTER_ASSERT_OK(fixture_.Do(CreateVersion(kVersion, 2)));
  const auto shard = [](uint32_t index, const std::string& key_id) {
    AddShard add = ShardOf(kVersion, index);
    add.shard.set_encoding("aes-256-gcm");
    add.shard.set_content_size_bytes(10);
    add.shard.set_key_id(key_id);
    return add;
  };
  EXPECT_THAT(DoesNothing(shard(0, "muster/a")),
              ErrorIs(StatusCode::kInvalidArgument, "INVALID_FIELD"));
  MUSTER_ASSERT_OK(fixture_.Do(Set("a", "mk-1")));
  EXPECT_THAT(DoesNothing(shard(0, "muster/b")),
              ErrorIs(StatusCode::kInvalidArgument, "INVALID_FIELD"));
  MUSTER_EXPECT_OK(fixture_.Do(shard(0, "muster/a")));
  // A key of somebody's own.
  MUSTER_EXPECT_OK(fixture_.Do(shard(1, "prod-2026")));
}

TEST_F(ContentKeysTest, KeyComesBackAfterARestartAndGoesWithItsVersion) {
  MUSTER_ASSERT_OK(fixture_.Do(CreateVersion(kVersion, 1)));
  MUSTER_ASSERT_OK(fixture_.Do(Set("a", "mk-1")));
  MUSTER_ASSERT_OK(fixture_.Restart());
  EXPECT_EQ(Found().row.content_key().wrapped(), "wrapped by mk-1");
  EXPECT_THAT(Counts(), UnorderedElementsAre(Pair("mk-1", 1)));
  MUSTER_ASSERT_OK(fixture_.Do(DeleteVersion(kVersion)));
  EXPECT_THAT(Counts(), IsEmpty());
  MUSTER_ASSERT_OK(fixture_.Restart());
  EXPECT_THAT(Counts(), IsEmpty());
}

TEST_F(ContentKeysTest, MakingAndWrappingAreEventsOfTheVersionWithoutAnyKey) {
  MUSTER_ASSERT_OK(fixture_.Do(CreateVersion(kVersion, 1)));
  const auto events = [&](const Command& command) {
    std::string told;
    for (const MetadataBatch::Operation& operation : fixture_.Apply(command).operations) {
      const auto* put = std::get_if<MetadataBatch::Put>(&operation);
      if (put != nullptr && put->key[0] == 'e') told += put->value;
    }
    return told;
  };
  const std::string made = events(Set("a", "mk-1"));
  EXPECT_THAT(made, testing::HasSubstr("CreateContentKey"));
  EXPECT_THAT(made, testing::HasSubstr("mk-1"));
  EXPECT_THAT(made, testing::Not(testing::HasSubstr("wrapped by")));
  const std::string wrapped = events(RewrapContentKey{Found().uid, "mk-1", Key("a", "mk-2")});
  EXPECT_THAT(wrapped, testing::HasSubstr("master key changed"));
  EXPECT_THAT(wrapped, testing::HasSubstr("mk-2"));
}

TEST_F(ContentKeysTest, RowWithAKeyThatNoServerMadeIsDamaged) {
  store::VersionRow row;
  MUSTER_EXPECT_OK(CheckWrappedKey(row));
  *row.mutable_content_key() = Key("a", "mk-1");
  MUSTER_EXPECT_OK(CheckWrappedKey(row));
  row.mutable_content_key()->set_wrapped(std::string(1'025, 'w'));
  EXPECT_TRUE(absl::IsDataLoss(CheckWrappedKey(row)));
  *row.mutable_content_key() = Key("a", "");
  EXPECT_TRUE(absl::IsDataLoss(CheckWrappedKey(row)));
  *row.mutable_content_key() = Key(std::string(57, 'k'), "mk-1");
  EXPECT_TRUE(absl::IsDataLoss(CheckWrappedKey(row)));
}

}  // namespace
}  // namespace muster
