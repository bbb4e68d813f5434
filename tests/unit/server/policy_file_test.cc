#include "server/policy_file.h"

#include <unistd.h>

#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/files/staged_file.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace muster {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr char kReader[] = R"({"grants": [{"who": "user/a", "role": "reader", "on": ["**"]}]})";
constexpr char kAdmin[] = R"({"grants": [{"who": "user/a", "role": "admin", "on": ["**"]}]})";

class PolicyFileTest : public testing::Test {
 protected:
  void Put(const std::string& text) { MUSTER_ASSERT_OK(WriteWholeFile(path_, text)); }

  // As often as it takes for a change that has settled.
  void Look() {
    file_.Look();
    file_.Look();
  }

  const TemporaryDirectory directory_;
  const std::string path_ = directory_.path() + "/policy.json";
  std::vector<std::shared_ptr<const Policy>> changed_;
  std::vector<absl::Status> refused_;
  PolicyFile file_{path_,
                   SystemClock(),
                   {[this](std::shared_ptr<const Policy> policy) { changed_.push_back(policy); },
                    [this](const absl::Status& status) { refused_.push_back(status); }}};
};

TEST_F(PolicyFileTest, AChangeIsToldOnce) {
  Put(kReader);
  const auto first = file_.Load();
  MUSTER_ASSERT_OK(first);
  Look();
  EXPECT_THAT(changed_, SizeIs(0));

  Put(kAdmin);
  Look();
  Look();
  ASSERT_THAT(changed_, SizeIs(1));
  EXPECT_NE(changed_[0]->digest(), (*first)->digest());
  EXPECT_THAT(refused_, SizeIs(0));
}

TEST_F(PolicyFileTest, AMistakeIsToldOnceAndChangesNothing) {
  Put(kReader);
  MUSTER_ASSERT_OK(file_.Load());
  Put("{\n\"grants\": [{\"who\": \"user/a\", \"role\": \"king\", \"on\": [\"**\"]}]}");
  Look();
  Look();

  EXPECT_THAT(changed_, SizeIs(0));
  ASSERT_THAT(refused_, SizeIs(1));
  EXPECT_THAT(std::string(refused_[0].message()), HasSubstr(path_));
  EXPECT_THAT(std::string(refused_[0].message()), HasSubstr("line 2"));
  EXPECT_THAT(std::string(refused_[0].message()), HasSubstr("king"));

  ASSERT_EQ(unlink(path_.c_str()), 0);
  Look();
  EXPECT_THAT(refused_, SizeIs(2));
  Put(kAdmin);
  Look();
  EXPECT_THAT(changed_, SizeIs(1));
}

TEST_F(PolicyFileTest, WhatIsNoFileIsRefused) {
  EXPECT_FALSE(ReadPolicyFile(path_).ok());
  EXPECT_FALSE(ReadPolicyFile(directory_.path()).ok());
  EXPECT_FALSE(ReadPolicyFile("/dev/zero").ok());
}

}  // namespace
}  // namespace muster
