// What an assembly says about shards that failed: a cause once, in units, and nothing of who is gone.

#include "server/registry/failure_reasons.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/limits.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/server/registry/registry_fixture.h"

namespace muster {
namespace {

namespace v1 = muster::v1;
using testing::AllOf;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

constexpr uint32_t kShards = 40;

v1::ShardFailure Failure(v1::ShardFailure::Code code, const std::string& reason,
                         const std::string& message) {
  v1::ShardFailure failure;
  failure.set_code(code);
  failure.set_reason(reason);
  failure.set_message(message);
  failure.set_attempts(1);
  return failure;
}

v1::ShardFailure NoSpace(uint32_t attempts = 1) {
  v1::ShardFailure failure = Failure(v1::ShardFailure::NO_SPACE, "CACHE_FULL",
                                     "/c has room for 40.0 MiB, and 2.0 GiB are needed");
  failure.set_needed_bytes(uint64_t{2} << 30);
  failure.set_free_bytes(uint64_t{40} << 20);
  failure.set_attempts(attempts);
  return failure;
}

class FailureReasonsTest : public testing::Test {
 protected:
  // t1 has all shards of an assembly that t2 is a member of, too; under FULL t2 has them as well.
  void Start(v1::Assembly::Policy policy) {
    fixture_.Publish(kVersion, kShards);
    MUSTER_EXPECT_OK(fixture_.Do(CreateAssembly(kAssembly, kVersion, policy)));
    for (const char* node : {"nodes/t1", "nodes/t2"}) {
      MUSTER_EXPECT_OK(fixture_.Do(Join(kAssembly, node, fixture_.Register(node))));
    }
    for (uint32_t shard = 0; shard < kShards; ++shard) all_.push_back(shard);
    std::vector<RegistryFixture::Part> parts = {{"nodes/t1", all_}};
    if (policy == v1::Assembly::FULL) parts.push_back({"nodes/t2", all_});
    generation_ = fixture_.Plan(kAssembly, parts);
  }
  void Fail(uint32_t shard, const v1::ShardFailure& failure) {
    v1::ReportShardsRequest report =
        FailedReport(kAssembly, "nodes/t1", fixture_.NodeOf("nodes/t1").epoch().value, generation_,
                     shard, failure.attempts());
    *report.mutable_reports(0)->mutable_failure() = failure;
    MUSTER_EXPECT_OK(fixture_.Do(report));
  }
  std::vector<v1::AssemblyReason> Failures() const {
    std::vector<v1::AssemblyReason> found;
    const v1::Assembly shown = fixture_.Shown(kAssembly);
    for (const v1::AssemblyReason& reason : shown.reasons()) {
      if (reason.code() == v1::AssemblyReason::SHARD_FAILED) found.push_back(reason);
    }
    return found;
  }

  RegistryFixture fixture_;
  std::vector<uint32_t> all_;
  uint64_t generation_ = 0;
};

TEST_F(FailureReasonsTest, FullCacheIsOneReasonWithTheNumbersHoweverManyShards) {
  Start(v1::Assembly::FULL);
  // More than those of which details are kept, and some that were given up.
  for (uint32_t shard = 0; shard < kShards; ++shard) Fail(shard, NoSpace(1 + shard % 3));

  ASSERT_THAT(Failures(), SizeIs(1));
  const v1::AssemblyReason reason = Failures().front();
  EXPECT_EQ(reason.message(),
            "t1: needs 2.0 GiB for this model, 40.0 MiB free in its cache (40 shards)");
  EXPECT_EQ(reason.node(), "nodes/t1");
  EXPECT_EQ(reason.failure_code(), v1::ShardFailure::NO_SPACE);
  EXPECT_EQ(reason.failure_reason(), "CACHE_FULL");
  EXPECT_EQ(reason.needed_bytes(), uint64_t{2} << 30);
  EXPECT_EQ(reason.free_bytes(), uint64_t{40} << 20);
  EXPECT_EQ(reason.shard_count(), kShards);
  EXPECT_EQ(std::vector<uint32_t>(reason.shards().begin(), reason.shards().end()), all_);
  EXPECT_EQ(fixture_.Shown(kAssembly).reasons_size(), 2) << "and that shards are missing";

  const std::string before = Describe(fixture_.registry());
  MUSTER_ASSERT_OK(fixture_.Restart());
  EXPECT_EQ(Describe(fixture_.registry()), before);
}

TEST_F(FailureReasonsTest, DifferentCausesAreToldApart) {
  Start(v1::Assembly::BALANCED);
  Fail(3, Failure(v1::ShardFailure::NODE_ERROR, "KEY_MISSING", "no key was given"));
  Fail(5, Failure(v1::ShardFailure::NODE_ERROR, "TOO_MANY_OPEN_FILES", "no descriptors"));
  Fail(6, Failure(v1::ShardFailure::NODE_ERROR, "KEY_MISSING", "no key was given"));
  Fail(9, Failure(v1::ShardFailure::MISSING, "", "s3://b/9 is missing"));
  Fail(8, Failure(v1::ShardFailure::MISSING, "", "s3://b/8 is missing"));

  ASSERT_THAT(Failures(), SizeIs(3));
  EXPECT_EQ(Failures()[0].message(), "t1: NODE_ERROR no key was given (2 shards)");
  EXPECT_THAT(Failures()[0].shards(), ElementsAre(3, 6));
  EXPECT_EQ(Failures()[1].message(), "t1: NODE_ERROR no descriptors (shard 5)");
  EXPECT_THAT(Failures()[2].message(), EndsWith(" is missing (shard 8, and 1 more shard)"));
}

TEST_F(FailureReasonsTest, GivenToAnotherNodeIsSaidWhereOneHasIt) {
  Start(v1::Assembly::BALANCED);
  for (const uint32_t shard : {1, 2}) Fail(shard, NoSpace(3));
  EXPECT_THAT(Failures()[0].message(),
              EndsWith("; no other node has been found that can take them"));

  std::vector<uint32_t> kept = {0};
  for (uint32_t shard = 3; shard < kShards; ++shard) kept.push_back(shard);
  generation_ = fixture_.Plan(kAssembly, {{"nodes/t1", kept}, {"nodes/t2", {1}}});
  EXPECT_THAT(Failures()[0].message(),
              AllOf(HasSubstr("; 1 of them given to another node"),
                    EndsWith("; no other node has been found that can take 1 of them")));

  generation_ = fixture_.Plan(kAssembly, {{"nodes/t1", kept}, {"nodes/t2", {1, 2}}});
  EXPECT_THAT(Failures()[0].message(), EndsWith("; given to other nodes"));
}

TEST_F(FailureReasonsTest, NothingIsSaidOfANodeThatIsGone) {
  Start(v1::Assembly::BALANCED);
  for (uint32_t shard = 0; shard < 3; ++shard) Fail(shard, NoSpace(3));
  ASSERT_THAT(Failures(), SizeIs(1));

  fixture_.SetLost("nodes/t1", true);
  EXPECT_THAT(Failures(), IsEmpty()) << "that it is lost says it all";
  EXPECT_EQ(fixture_.Shown(kAssembly).reasons(0).code(), v1::AssemblyReason::NODE_LOST);
  fixture_.SetLost("nodes/t1", false);
  EXPECT_THAT(Failures(), SizeIs(1)) << "it is back, and so is what it could not do";

  fixture_.SetLost("nodes/t1", true);
  fixture_.Plan(kAssembly, {{"nodes/t1", {}}, {"nodes/t2", all_}});
  const v1::Assembly shown = fixture_.Shown(kAssembly);
  for (const v1::AssemblyReason& reason : shown.reasons()) {
    EXPECT_NE(reason.node(), "nodes/t1") << reason.message();
  }
}

TEST_F(FailureReasonsTest, LostNodeOfAFullAssemblyKeepsItsShards) {
  Start(v1::Assembly::FULL);
  fixture_.SetLost("nodes/t1", true);

  const v1::AssemblyReason reason = fixture_.Shown(kAssembly).reasons(0);
  EXPECT_EQ(reason.code(), v1::AssemblyReason::NODE_LOST);
  EXPECT_THAT(reason.message(), AllOf(HasSubstr("none of them moves"), Not(HasSubstr("grace"))));
}

TEST_F(FailureReasonsTest, LongMessagesAreCutBetweenWords) {
  Start(v1::Assembly::BALANCED);
  std::string words;
  while (words.size() < 900) absl::StrAppend(&words, words.empty() ? "" : " ", "größe");
  Fail(0, Failure(v1::ShardFailure::UNREADABLE, "S3_ERROR", words));

  const std::string message = Failures()[0].message();
  EXPECT_LT(message.size(), 400u);
  EXPECT_THAT(message, HasSubstr("größe… (shard 0)"));
}

TEST_F(FailureReasonsTest, ReasonsOfHostileLengthAreCut) {
  Start(v1::Assembly::BALANCED);
  Fail(0, Failure(v1::ShardFailure::NODE_ERROR, std::string(5'000, 'R'), "x"));
  EXPECT_EQ(Failures()[0].failure_reason().size(), size_t{kMaxFailureReasonBytes});
}

TEST_F(FailureReasonsTest, MoreReasonsThanAreShownAreCountedWithoutACode) {
  fixture_.Publish(kVersion, kShards);
  MUSTER_EXPECT_OK(fixture_.Do(CreateAssembly(kAssembly, kVersion, v1::Assembly::BALANCED)));
  std::vector<RegistryFixture::Part> parts;
  for (uint32_t i = 0; i < 20; ++i) {
    const std::string node = absl::StrCat("nodes/n", i);
    MUSTER_EXPECT_OK(fixture_.Do(Join(kAssembly, node, fixture_.Register(node))));
    parts.push_back({node, {2 * i, 2 * i + 1}});
  }
  fixture_.Plan(kAssembly, parts);
  for (uint32_t i = 0; i < 20; ++i) fixture_.SetLost(absl::StrCat("nodes/n", i), true);

  const v1::Assembly shown = fixture_.Shown(kAssembly);
  ASSERT_EQ(shown.reasons_size(), kMaxReasons);
  EXPECT_EQ(shown.reasons(kMaxReasons - 1).code(), v1::AssemblyReason::CODE_UNSPECIFIED);
  EXPECT_EQ(shown.reasons(kMaxReasons - 1).message(), "6 more reasons");
}

}  // namespace
}  // namespace muster
