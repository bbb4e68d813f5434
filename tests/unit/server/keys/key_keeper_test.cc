// Content keys come under the current master key, all of them, and are the same keys afterwards.

#include "server/keys/key_keeper.h"

#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/commit/commit_thread.h"
#include "server/keys/master_keys.h"
#include "storage/metadata/memory_metadata_store.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;
using testing::UnorderedElementsAre;

// Master keys that a test changes. Used by one thread at a time.
class TestWrapper final : public KeyWrapper {
 public:
  explicit TestWrapper(MasterKeys keys) : keys_(std::move(keys)) {}

  void Change(MasterKeys keys) { next_ = std::make_unique<MasterKeys>(std::move(keys)); }
  const MasterKeys& keys() const { return keys_; }

  absl::StatusOr<WrappedKey> Wrap(const SecretKey& key, absl::string_view context) override {
    return keys_.Wrap(key, context);
  }
  absl::StatusOr<SecretKey> Unwrap(const WrappedKey& wrapped, absl::string_view context) override {
    return keys_.Unwrap(wrapped, context);
  }
  std::string current_id() override { return keys_.current_id(); }
  std::vector<std::string> ids() override { return keys_.ids(); }
  absl::StatusOr<bool> Refresh(const std::map<std::string, uint64_t>&) override {
    if (next_ == nullptr) return false;
    keys_ = *std::exchange(next_, nullptr);
    return true;
  }

 private:
  MasterKeys keys_;
  std::unique_ptr<MasterKeys> next_;
};

class KeyKeeperTest : public testing::Test {
 protected:
  KeyKeeperTest() {
    EXPECT_THAT(committer_.Load(), IsOk());
    thread_ = std::make_unique<CommitThread>(
        committer_, [](const absl::Status& status) { ADD_FAILURE() << status; });
    KeyKeeper::Observer observer;
    observer.loaded = [this](const std::string& current, size_t count) {
      told_.push_back(absl::StrCat("loaded ", current, " of ", count));
    };
    observer.refused = [this](const absl::Status&) { told_.push_back("refused"); };
    observer.missing = [this](const std::string& id, uint64_t count) {
      told_.push_back(absl::StrCat("missing ", id, " for ", count));
    };
    observer.rewrapped = [this](uint64_t done, uint64_t left, uint64_t failed) {
      told_.push_back(absl::StrCat("rewrapped ", done, " left ", left, " failed ", failed));
    };
    KeyKeeper::Options options;
    options.keys_per_step = 7;
    keeper_ = std::make_unique<KeyKeeper>(options, clock_, committer_, wrapper_, observer);
  }

  void Do(std::vector<Command> commands) {
    Mutex mutex;
    CondVar changed;
    bool ended = false;
    Job job;
    job.commands = std::move(commands);
    job.done = [&](JobResult result) {
      MUSTER_EXPECT_OK(result.status);
      MutexLock lock(mutex);
      ended = true;
      changed.NotifyAll();
    };
    committer_.Submit(std::move(job));
    MutexLock lock(mutex);
    while (!ended) changed.Wait(mutex);
  }
  // A draft with a key that is wrapped for it, or, with `broken`, for another one.
  void Publish(const std::string& version, bool broken = false) {
    muster::v1::CreateModelVersionRequest create;
    create.mutable_model_version()->set_name(version);
    create.mutable_model_version()->set_shard_count(1);
    Do({create});
    SetContentKey set{version, VersionUid(0), {}};
    std::string uid_text;
    committer_.Read(
        [&](const Registry& registry) {
          const Version& found = **registry.catalogue().Find(version);
          set.uid = found.uid;
          uid_text = registry.catalogue().UidText(found);
        },
        [](Revision) {});
    set.key.set_key_id(DrawContentKeyId());
    const SecretKey key = DrawKey();
    const auto wrapped =
        wrapper_.Wrap(key, ContentKeyContext(broken ? "other" : uid_text, set.key.key_id()));
    set.key.set_master_key_id(wrapped->master_key_id);
    set.key.set_wrapped(wrapped->bytes);
    Do({set});
    keys_.emplace_back(version, key);
  }
  std::map<std::string, uint64_t> Counts() {
    std::map<std::string, uint64_t> counts;
    committer_.Read(
        [&](const Registry& registry) {
          counts = registry.catalogue().content_keys().by_master_key();
        },
        [](Revision) {});
    return counts;
  }
  // The versions whose keys are not those that they were published with.
  std::vector<std::string> OtherKeys() {
    std::vector<std::string> other;
    for (const auto& [version, key] : keys_) {
      store::WrappedKeyRow row;
      std::string uid_text;
      committer_.Read(
          [&, &name = version](const Registry& registry) {
            const Version& found = **registry.catalogue().Find(name);
            row = found.row.content_key();
            uid_text = registry.catalogue().UidText(found);
          },
          [](Revision) {});
      const auto opened = wrapper_.Unwrap({row.master_key_id(), row.wrapped()},
                                          ContentKeyContext(uid_text, row.key_id()));
      if (!opened.ok() || std::memcmp(opened->data(), key.data(), SecretKey::kBytes) != 0) {
        other.push_back(version);
      }
    }
    return other;
  }
  std::vector<std::string> TakeTold() { return std::exchange(told_, {}); }

  FakeClock clock_;
  std::unique_ptr<MetadataStore> store_ = NewMemoryMetadataStore(
      {.batch_operations_max = 100, .batch_bytes_max = 1u << 20, .value_bytes_max = 256u << 10});
  LiveTables live_{LiveTables::Options{}};
  Registry registry_{{}, live_};
  Feed feed_{{}};
  Committer committer_{SystemClock(), *store_, registry_, live_, feed_, {}, [](AssemblyUid) {}};
  TestWrapper wrapper_{MasterKeys::Of("mk-1", DrawKey())};
  std::unique_ptr<CommitThread> thread_;
  std::vector<std::string> told_;
  std::vector<std::pair<std::string, SecretKey>> keys_;
  std::unique_ptr<KeyKeeper> keeper_;
};

TEST_F(KeyKeeperTest, RotationWrapsEveryKeyAnewAndKeepsIt) {
  for (int i = 0; i < 20; ++i) Publish(absl::StrCat("models/m/versions/v", i));
  keeper_->Look();
  EXPECT_THAT(TakeTold(), IsEmpty());
  wrapper_.Change(*wrapper_.keys().With("mk-2", DrawKey()));
  keeper_->Look();
  EXPECT_THAT(TakeTold(), ElementsAre("loaded mk-2 of 2", "rewrapped 20 left 0 failed 0"));
  EXPECT_THAT(Counts(), UnorderedElementsAre(Pair("mk-2", 20)));
  EXPECT_THAT(OtherKeys(), IsEmpty());
  keeper_->Look();
  EXPECT_THAT(TakeTold(), IsEmpty());
  // Now the old one is needed by nobody.
  wrapper_.Change(*wrapper_.keys().Without("mk-1"));
  keeper_->Look();
  EXPECT_THAT(TakeTold(), ElementsAre("loaded mk-2 of 1"));
  EXPECT_THAT(OtherKeys(), IsEmpty());
}

// A call that began before the rotation hands in a key of the old master key after it.
TEST_F(KeyKeeperTest, KeyThatComesLateUnderTheOldMasterKeyIsWrappedAnewToo) {
  const MasterKeys old = wrapper_.keys();
  wrapper_.Change(*old.With("mk-2", DrawKey()));
  keeper_->Look();
  const MasterKeys both = wrapper_.keys();
  wrapper_.Change(old);
  EXPECT_TRUE(*wrapper_.Refresh({}));
  Publish("models/m/versions/late");
  wrapper_.Change(both);
  EXPECT_TRUE(*wrapper_.Refresh({}));
  TakeTold();
  keeper_->Look();
  EXPECT_THAT(TakeTold(), ElementsAre("rewrapped 1 left 0 failed 0"));
  EXPECT_THAT(Counts(), UnorderedElementsAre(Pair("mk-2", 1)));
}

TEST_F(KeyKeeperTest, WhatCanNotBeOpenedIsToldOnceAndHoldsNothingUp) {
  Publish("models/m/versions/bad", /*broken=*/true);
  Publish("models/m/versions/good");
  wrapper_.Change(*wrapper_.keys().With("mk-2", DrawKey()));
  keeper_->Look();
  EXPECT_THAT(TakeTold(), ElementsAre("loaded mk-2 of 2", "rewrapped 1 left 0 failed 1"));
  keeper_->Look();
  EXPECT_THAT(TakeTold(), IsEmpty());
  EXPECT_THAT(Counts(), UnorderedElementsAre(Pair("mk-1", 1), Pair("mk-2", 1)));
}

TEST_F(KeyKeeperTest, MasterKeyThatIsLackingIsToldOnce) {
  Publish("models/m/versions/v");
  wrapper_.Change(MasterKeys::Of("mk-9", DrawKey()));
  keeper_->Look();
  EXPECT_THAT(TakeTold(), ElementsAre("loaded mk-9 of 1", "missing mk-1 for 1"));
  keeper_->Look();
  EXPECT_THAT(TakeTold(), IsEmpty());
}

}  // namespace
}  // namespace muster
