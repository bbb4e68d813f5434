// The node's name: the identity that an agent keeps, and a name that another machine has.
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "client/agent/name_wait.h"
#include "client/agent/node_folder.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"
#include "tests/unit/client/agent/agent_fixture.h"

namespace muster {
namespace {

// A lease of another machine that has `left`, and was renewed so often.
absl::Status NameTaken(absl::Duration left, int renewals, int epoch = 7) {
  return WithDetail(absl::AbortedError("nodes/n1 is registered by another machine"),
                    ErrorDetail{"NODE_NAME_TAKEN",
                                {{"node", "nodes/n1"},
                                 {"epoch", absl::StrCat(epoch)},
                                 {"renewals", absl::StrCat(renewals)}},
                                left});
}

TEST(NameWaitTest, LeaseThatNobodyRenewsIsWaitedFor) {
  NameWait wait;
  EXPECT_TRUE(wait.Note(NameTaken(absl::Seconds(10), 4), absl::Seconds(0)));
  EXPECT_EQ(wait.wait(), absl::Seconds(5));
  EXPECT_FALSE(wait.Note(NameTaken(absl::Seconds(5), 4), absl::Seconds(5)));
  // The server was overloaded, and gives every lease its full time again.
  for (int i = 1; i <= 5; ++i) {
    EXPECT_TRUE(wait.Note(NameTaken(absl::Seconds(10), 4), absl::Seconds(10 * i)));
    EXPECT_EQ(wait.renewed(), 0);
  }
  // The server was started again, and counts from the beginning.
  EXPECT_TRUE(wait.Note(NameTaken(absl::Seconds(10), 0), absl::Seconds(60)));
  EXPECT_FALSE(wait.in_vain());
}

TEST(NameWaitTest, LeaseThatIsRenewedTwiceIsOfTheLiving) {
  NameWait wait;
  wait.Note(NameTaken(absl::Seconds(10), 4), absl::Seconds(0));
  EXPECT_FALSE(wait.Note(NameTaken(absl::Seconds(9), 5), absl::Seconds(5)));
  EXPECT_TRUE(wait.Note(NameTaken(absl::Seconds(9), 7), absl::Seconds(10)));
  EXPECT_EQ(wait.renewed(), 1);
  EXPECT_FALSE(wait.in_vain());
  // Or another one has registered meanwhile.
  EXPECT_TRUE(wait.Note(NameTaken(absl::Seconds(10), 0, 9), absl::Seconds(20)));
  EXPECT_TRUE(wait.in_vain());
}

TEST(NameWaitTest, ServerThatSaysNothingIsNotAskedWithoutPause) {
  NameWait wait;
  EXPECT_TRUE(wait.Note(absl::AbortedError("taken"), absl::Seconds(0)));
  EXPECT_EQ(wait.wait(), absl::Seconds(5));
  wait.Note(NameTaken(absl::ZeroDuration(), 0), absl::Seconds(5));
  EXPECT_GE(wait.wait(), absl::Milliseconds(100));
}

TEST_F(AgentTest, NameOfAnotherMachineIsTakenOnceItsLeaseIsOver) {
  options_.identity = "mine";
  server_.Refuse("RegisterNode", NameTaken(absl::Seconds(10), 4));
  StartAgent();
  ASSERT_TRUE(Eventually([&] { return observer_.name_taken == 1; }));
  EXPECT_FALSE(ended_.load());

  server_.Refuse("RegisterNode", absl::OkStatus());

  ASSERT_TRUE(Eventually([&] { return observer_.registered == 1; }));
  EXPECT_EQ(observer_.name_taken, 1);
  EXPECT_EQ(server_.registrations().back().identity(), "mine");
  EXPECT_FALSE(server_.registrations().back().take_over());
}

TEST_F(AgentTest, NameOfAMachineThatIsAliveEndsTheAgent) {
  std::atomic<int> renewals{0};
  server_.Refuse("RegisterNode", NameTaken(absl::Seconds(10), 0));
  StartAgent();

  ASSERT_TRUE(Eventually([&] {
    server_.Refuse("RegisterNode", NameTaken(absl::Seconds(10), ++renewals));
    return ended_.load();
  }));

  const absl::Status status = Ended();
  EXPECT_THAT(status, ErrorIs(absl::StatusCode::kAborted, "NODE_NAME_TAKEN"));
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("alive"));
  EXPECT_EQ(observer_.name_taken, 3);
  EXPECT_TRUE(server_.registrations().empty());
}

TEST_F(AgentTest, AgentThatWaitsForItsNameCanBeStopped) {
  server_.Refuse("RegisterNode", NameTaken(absl::Seconds(10), 4));
  StartAgent();
  ASSERT_TRUE(Eventually([&] { return observer_.name_taken == 1; }));
  MUSTER_EXPECT_OK(StopAgent());
}

TEST_F(AgentTest, NameIsTakenOverAtTheFirstRegistrationOnly) {
  options_.take_over = true;
  StartAgent();
  ASSERT_TRUE(Eventually([&] { return !server_.heartbeats().empty(); }));
  EXPECT_TRUE(server_.registrations().front().take_over());

  server_.ForgetNode();

  ASSERT_TRUE(Eventually([&] { return server_.registrations().size() == 2; }));
  EXPECT_FALSE(server_.registrations().back().take_over());
}

TEST(NodeFolderTest, IdentityIsKeptForItsNodeAndItsOwnerAlone) {
  const TemporaryDirectory cache;
  const std::unique_ptr<Random> random = NewSeededRandom(5);
  const NodeFolder folder(cache.path(), "nodes/n1");
  const absl::StatusOr<std::string> identity = folder.Identity(*random);
  MUSTER_ASSERT_OK(identity);
  EXPECT_EQ(identity->size(), 32u);
  EXPECT_EQ(*folder.Identity(*random), *identity);
  EXPECT_EQ(*NodeFolder(cache.path(), "nodes/n1").Identity(*random), *identity);
  EXPECT_NE(*NodeFolder(cache.path(), "nodes/n2").Identity(*random), *identity);
  struct stat found {};
  ASSERT_EQ(stat(absl::StrCat(folder.path(), "/identity").c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 07777, 0600u);
}

TEST(NodeFolderTest, IdentityThatIsDamagedIsReplaced) {
  const TemporaryDirectory cache;
  const std::unique_ptr<Random> random = NewSeededRandom(5);
  const NodeFolder folder(cache.path(), "nodes/n1");
  MUSTER_ASSERT_OK(folder.Make());
  for (const std::string& text : {std::string(), std::string("short"), std::string(32, 'X')}) {
    std::ofstream(absl::StrCat(folder.path(), "/identity")) << text;
    const absl::StatusOr<std::string> identity = folder.Identity(*random);
    MUSTER_ASSERT_OK(identity);
    EXPECT_EQ(*folder.Identity(*random), *identity);
  }
}

TEST(NodeFolderTest, IdentityThatCannotBeKeptIsAnError) {
  const TemporaryDirectory cache;
  const std::unique_ptr<Random> random = NewSeededRandom(5);
  std::ofstream(absl::StrCat(cache.path(), "/.nodes")) << "a file";
  EXPECT_FALSE(NodeFolder(cache.path(), "nodes/n1").Identity(*random).ok());
}

}  // namespace
}  // namespace muster
