// Whose a node's name is: the identity that registered it has it while its lease runs.

#include <string>
#include <utility>

#include "gtest/gtest.h"
#include "storage/base/error_info.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/server/registry/registry_fixture.h"

namespace muster {
namespace {

namespace v1 = muster::v1;
using absl::StatusCode;

v1::RegisterNodeRequest RegisterAs(const std::string& identity) {
  v1::RegisterNodeRequest request = RegisterNode("nodes/n1");
  request.set_identity(identity);
  return request;
}

const std::string kMine(16, 'a');
const std::string kOthers(16, 'b');

class NodeNamesTest : public testing::Test {
 protected:
  uint64_t RegisterMine() {
    v1::RegisterNodeRequest request = RegisterAs(kMine);
    request.mutable_node()->set_address("rack7:22");
    return fixture_.Ask<v1::RegisterNodeResponse>(request).epoch();
  }
  uint64_t Epoch() { return fixture_.NodeOf("nodes/n1").epoch().value; }

  RegistryFixture fixture_;
};

TEST_F(NodeNamesTest, SameIdentityRegistersAtOnceWhileTheLeaseRuns) {
  const uint64_t epoch = RegisterMine();
  MUSTER_EXPECT_OK(fixture_.Do(RegisterAs(kMine)));
  EXPECT_GT(Epoch(), epoch);
}

TEST_F(NodeNamesTest, AnotherIdentityOrNoneIsRefusedWhileTheLeaseRuns) {
  const uint64_t epoch = RegisterMine();
  const Revision before = fixture_.revision();
  v1::RegisterNodeRequest preview = RegisterAs(kOthers);
  preview.set_validate_only(true);
  for (const auto& request : {RegisterAs(kOthers), RegisterAs(""), preview}) {
    EXPECT_THAT(fixture_.Do(request), ErrorIs(StatusCode::kAborted, "NODE_NAME_TAKEN"));
  }
  EXPECT_EQ(fixture_.revision(), before);
  EXPECT_EQ(Epoch(), epoch);
}

TEST_F(NodeNamesTest, RefusalSaysWhoHasTheNameAndForHowLong) {
  const uint64_t epoch = RegisterMine();
  const absl::Status refused = fixture_.Do(RegisterAs(kOthers));
  ErrorDetail detail = DetailOf(refused);
  EXPECT_EQ(detail.metadata["node"], "nodes/n1");
  EXPECT_EQ(detail.metadata["address"], "rack7:22");
  EXPECT_EQ(detail.metadata["epoch"], std::to_string(epoch));
  EXPECT_EQ(detail.metadata["lease_left_ms"], "10000");
  EXPECT_EQ(detail.metadata["renewals"], "0");
  EXPECT_FALSE(detail.metadata["registered"].empty());
  ASSERT_TRUE(detail.retry_delay.has_value());
  EXPECT_GE(*detail.retry_delay, absl::Seconds(10));
  EXPECT_LE(*detail.retry_delay, absl::Seconds(11));
  for (const auto& identity : {kMine, kOthers}) {
    EXPECT_EQ(refused.ToString().find(identity), std::string::npos);
  }
}

TEST_F(NodeNamesTest, NameOfALostOrRemovedNodeIsAnybodys) {
  RegisterMine();
  fixture_.SetLost("nodes/n1", true);
  MUSTER_EXPECT_OK(fixture_.Do(RegisterAs(kOthers)));
  EXPECT_THAT(fixture_.Do(RegisterAs(kMine)), ErrorIs(StatusCode::kAborted, "NODE_NAME_TAKEN"));
  MUSTER_EXPECT_OK(fixture_.Do(DeregisterNode("nodes/n1")));
  MUSTER_EXPECT_OK(fixture_.Do(RegisterAs(kMine)));
}

TEST_F(NodeNamesTest, TakeOverTakesTheNameAtOnceAndKeepsIt) {
  const uint64_t epoch = RegisterMine();
  v1::RegisterNodeRequest request = RegisterAs(kOthers);
  request.set_take_over(true);
  MUSTER_EXPECT_OK(fixture_.Do(request));
  EXPECT_GT(Epoch(), epoch);
  EXPECT_THAT(fixture_.Do(RegisterAs(kMine)), ErrorIs(StatusCode::kAborted, "NODE_NAME_TAKEN"));
}

TEST_F(NodeNamesTest, NodeWithoutIdentityIsTheNewestRegistrations) {
  const uint64_t first = fixture_.Register("nodes/n1");
  const uint64_t second = fixture_.Register("nodes/n1");
  EXPECT_GT(second, first);
  MUSTER_EXPECT_OK(fixture_.Do(RegisterAs(kMine)));
  EXPECT_THAT(fixture_.Do(RegisterNode("nodes/n1")),
              ErrorIs(StatusCode::kAborted, "NODE_NAME_TAKEN"));
}

TEST_F(NodeNamesTest, IdentityOutlivesARestartAndDrains) {
  RegisterMine();
  MUSTER_EXPECT_OK(fixture_.Do(DrainNode("nodes/n1")));
  MUSTER_EXPECT_OK(fixture_.Restart());
  EXPECT_THAT(fixture_.Do(RegisterAs(kOthers)), ErrorIs(StatusCode::kAborted, "NODE_NAME_TAKEN"));
  MUSTER_EXPECT_OK(fixture_.Do(RegisterAs(kMine)));
  EXPECT_TRUE(fixture_.NodeOf("nodes/n1").draining());
}

TEST_F(NodeNamesTest, IdentityThatCanBeGuessedIsRefused) {
  for (const size_t bytes : {1, 15, 65}) {
    EXPECT_THAT(fixture_.Do(RegisterAs(std::string(bytes, 'c'))),
                ErrorIs(StatusCode::kInvalidArgument, "INVALID_FIELD"));
  }
  MUSTER_EXPECT_OK(fixture_.Do(RegisterAs(std::string(64, 'c'))));
}

}  // namespace
}  // namespace muster
