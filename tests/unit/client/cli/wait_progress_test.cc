#include "client/cli/wait_progress.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/fake_clock.h"

namespace muster {
namespace {

using ::testing::ElementsAre;

constexpr uint64_t kMiB = 1 << 20;

v1::Assembly State(v1::Assembly::State state, const std::string& reason) {
  v1::Assembly assembly;
  assembly.set_name("assemblies/demo");
  assembly.set_state(state);
  if (!reason.empty()) assembly.add_reasons()->set_message(reason);
  return assembly;
}

void AddMember(const std::string& node, uint64_t ready, uint64_t fetching, uint64_t assigned,
               v1::GetAssemblyResponse& response) {
  v1::AssemblyMember& member = *response.add_members();
  member.set_node("nodes/" + node);
  member.set_live(true);
  member.set_ready(ready == assigned);
  member.set_ready_bytes(ready);
  member.set_fetching_bytes(fetching);
  member.set_assigned_bytes(assigned);
}

v1::GetAssemblyResponse Loading() {
  v1::GetAssemblyResponse response;
  *response.mutable_assembly() = State(v1::Assembly::LOADING, "3 of 8 shard replicas are ready");
  AddMember("n1", 100 * kMiB, 0, 100 * kMiB, response);
  AddMember("n7", 10 * kMiB, 10 * kMiB, 100 * kMiB, response);
  AddMember("n8", 50 * kMiB, 10 * kMiB, 100 * kMiB, response);
  return response;
}

TEST(WaitLineTest, HasBytesRateTimeLeftAndTheSlowestNode) {
  EXPECT_EQ(WaitLine(Loading(), "", 10.0 * kMiB, 120),
            "demo LOADING  60%  [==============>         ]  180.0 MiB of 300.0 MiB  10.0 MiB/s  "
            "12 s left  slowest: n7 20%");
  EXPECT_EQ(WaitLine(Loading(), "nodes/n8", 10.0 * kMiB, 40),
            "n8 LOADING  60%  10.0 MiB/s  4 s left");
}

TEST(WaitLineTest, StateAndReasonsWhereNothingIsOnItsWay) {
  v1::GetAssemblyResponse response;
  *response.mutable_assembly() = State(v1::Assembly::WAITING, "1 of 3 nodes joined\x1b");
  EXPECT_EQ(WaitLine(response, "", 0, 120), "demo WAITING: 1 of 3 nodes joined?");
  EXPECT_EQ(WaitLine(response, "", 0, 20), "demo WAITING: 1 of 3");
}

TEST(WaitLineTest, BytesAreNeverMoreThanAll) {
  v1::GetAssemblyResponse response = Loading();
  response.mutable_members(1)->set_fetching_bytes(500 * kMiB);

  EXPECT_EQ(BytesThere(response, "nodes/n7"), static_cast<int64_t>(100 * kMiB));
}

class WaitProgressTest : public testing::Test {
 protected:
  FakeClock clock_;
  LiveScreen screen_{Terminal()};
  std::vector<std::string> lines_;
  WaitProgress progress_{clock_, screen_, "assemblies/demo", "",
                         [this](const std::string& line) { lines_.push_back(line); }};
};

TEST_F(WaitProgressTest, ElsewhereEachStateIsALineAndOtherNewsWait) {
  progress_.OnState(State(v1::Assembly::WAITING, "0 of 3 nodes joined"));
  for (int ready = 0; ready < 1'000; ++ready) {
    clock_.Advance(absl::Milliseconds(1));
    progress_.OnState(
        State(v1::Assembly::LOADING, absl::StrCat(ready, " of 2000 shard replicas are ready")));
    progress_.OnTime();
  }
  EXPECT_THAT(lines_, ElementsAre("demo WAITING: 0 of 3 nodes joined",
                                  "demo LOADING: 0 of 2000 shard replicas are ready"));

  // What was held back comes by itself.
  clock_.Advance(absl::Seconds(10));
  progress_.OnTime();
  progress_.OnTime();
  EXPECT_EQ(lines_.size(), 3u);
  EXPECT_EQ(lines_.back(), "demo LOADING: 999 of 2000 shard replicas are ready");

  progress_.OnState(State(v1::Assembly::READY, ""));
  EXPECT_EQ(lines_.back(), "demo READY");
}

TEST_F(WaitProgressTest, AServerThatIsAwayIsSaidOnce) {
  progress_.OnState(State(v1::Assembly::LOADING, "a"));
  progress_.OnDisconnect(absl::UnavailableError("refused"));
  progress_.OnDisconnect(absl::UnavailableError("refused"));
  progress_.OnState(State(v1::Assembly::LOADING, "a"));

  EXPECT_THAT(lines_,
              ElementsAre("demo LOADING: a", "waiting for the server: refused", "demo LOADING: a"));
}

}  // namespace
}  // namespace muster
