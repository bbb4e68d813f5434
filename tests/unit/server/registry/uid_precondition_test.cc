// A call that names a uid never meets what was made again under the name.

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/error_info.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/server/registry/registry_fixture.h"

namespace muster {
namespace {

namespace v1 = muster::v1;
using absl::StatusCode;

class UidPreconditionTest : public testing::Test {
 protected:
  // Refused for `stale`, which both uids tell, and carried out for `present`.
  template <typename Request>
  void ExpectFenced(Request request, const std::string& stale, const std::string& present) {
    ASSERT_NE(stale, present);
    for (const bool validate_only : {true, false}) {
      request.set_validate_only(validate_only);
      request.set_uid(stale);
      const Revision before = fixture_.revision();
      const absl::Status status = fixture_.Do(request);
      EXPECT_THAT(status, ErrorIs(StatusCode::kFailedPrecondition, "UID_DIFFERS"));
      EXPECT_EQ(DetailOf(status).metadata.at("uid"), stale);
      EXPECT_EQ(DetailOf(status).metadata.at("present_uid"), present);
      EXPECT_EQ(fixture_.revision(), before);
      request.set_uid(present);
      MUSTER_EXPECT_OK(fixture_.Do(request));
    }
    EXPECT_THAT(fixture_.Do([&] {
      request.set_uid(std::string(10'000, 'x'));
      return request;
    }()),
                testing::Not(IsOk()));
  }
  std::string VersionUid() {
    const auto version = fixture_.registry().catalogue().Find(kVersion);
    return fixture_.registry().catalogue().UidText(**version);
  }
  std::string NodeUidText() {
    return fixture_.registry().nodes().UidText(fixture_.NodeOf("nodes/n1"));
  }

  RegistryFixture fixture_;
};

TEST_F(UidPreconditionTest, VersionThatWasMadeAgainIsNotDeleted) {
  fixture_.Publish(kVersion, 1);
  const std::string stale = VersionUid();
  MUSTER_EXPECT_OK(fixture_.Do(DeleteVersion(kVersion)));
  fixture_.Publish(kVersion, 1);
  ExpectFenced(DeleteVersion(kVersion), stale, VersionUid());
}

TEST_F(UidPreconditionTest, AssemblyThatWasMadeAgainIsNeitherLeftNorDeleted) {
  fixture_.Publish(kVersion, 1);
  MUSTER_EXPECT_OK(fixture_.Do(CreateAssembly(kAssembly, kVersion, v1::Assembly::FULL)));
  const std::string stale = fixture_.Shown(kAssembly).uid();
  MUSTER_EXPECT_OK(fixture_.Do(DeleteAssembly(kAssembly)));
  MUSTER_EXPECT_OK(fixture_.Do(CreateAssembly(kAssembly, kVersion, v1::Assembly::FULL)));
  MUSTER_EXPECT_OK(fixture_.Do(Join(kAssembly, "nodes/n1", fixture_.Register("nodes/n1"))));
  v1::LeaveAssemblyRequest leave = Leave(kAssembly, "nodes/n1");
  leave.set_uid(stale);
  EXPECT_THAT(fixture_.Do(leave), ErrorIs(StatusCode::kFailedPrecondition, "UID_DIFFERS"));
  leave.set_uid(fixture_.Shown(kAssembly).uid());
  MUSTER_EXPECT_OK(fixture_.Do(leave));
  ExpectFenced(DeleteAssembly(kAssembly), stale, fixture_.Shown(kAssembly).uid());
}

TEST_F(UidPreconditionTest, NodeThatWasRemovedAndRegisteredAgainIsNeitherDrainedNorRemoved) {
  fixture_.Register("nodes/n1");
  const std::string stale = NodeUidText();
  MUSTER_EXPECT_OK(fixture_.Do(DeregisterNode("nodes/n1")));
  fixture_.Register("nodes/n1");
  const std::string present = NodeUidText();
  fixture_.Register("nodes/n1");
  EXPECT_EQ(NodeUidText(), present) << "another registration of the same node";
  ExpectFenced(DrainNode("nodes/n1"), stale, present);
  ExpectFenced(DeregisterNode("nodes/n1"), stale, present);
}

}  // namespace
}  // namespace muster
