#include "storage/object/hdfs_object_store.h"

#include <array>
#include <memory>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/status_macros.h"
#include "tests/support/fake_clock.h"
#include "tests/support/scripted_http_server.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::SizeIs;
using Answer = ScriptedHttpServer::Answer;
using Request = ScriptedHttpServer::Request;
using Then = ScriptedHttpServer::Answer::Then;

Answer Json(int status, absl::string_view text) {
  return {HttpReplyText(status, {"Content-Type: application/json"}, text)};
}

Answer StandsBy() {
  return Json(403,
              R"({"RemoteException": {"exception": "StandbyException", "message": "standby"}})");
}

Answer HasFile() {
  return Json(200, R"({"FileStatus": {"type": "FILE", "length": 5, "fileId": 7}})");
}

// Stalls are looked for often; how long they take is up to the clock.
const HttpStoreOptions kOptions = {
    .connection = {.stall_timeout = absl::Milliseconds(200), .proxy = ""}};

// A cluster with two name nodes, which answer as the test wants.
class HdfsObjectStoreTest : public testing::Test {
 protected:
  HdfsObjectStoreTest() {
    const EnvironmentLookup environment = [this](const char* name) -> std::string {
      if (std::string(name) != "MUSTER_WEBHDFS_ADDRESS") return "";
      return absl::StrCat(first_.authority(), ",", second_.authority());
    };
    MUSTER_EXPECT_OK(RegisterHdfsObjectStore(stores_, environment, clock_, *random_, kOptions));
  }

  absl::StatusOr<ObjectInfo> Stat(const std::string& uri) {
    MUSTER_ASSIGN_OR_RETURN(const ObjectRef object, stores_.Open(uri));
    return object.store->Stat(object.key, {});
  }

  FakeClock clock_;
  const std::unique_ptr<Random> random_ = NewSeededRandom(1);
  std::array<ScriptedHttpServer::Handler, 2> answers_ = {};
  ScriptedHttpServer first_{[this](const Request& request) { return answers_[0](request); }};
  ScriptedHttpServer second_{[this](const Request& request) { return answers_[1](request); }};
  ObjectStoreRegistry stores_;
};

TEST_F(HdfsObjectStoreTest, NameNodeOnStandbyIsLeftForGood) {
  answers_ = {[](const Request&) { return StandsBy(); }, [](const Request&) { return HasFile(); }};

  MUSTER_EXPECT_OK(Stat("hdfs://pair/a"));
  MUSTER_EXPECT_OK(Stat("hdfs://pair/b"));

  EXPECT_THAT(first_.requests(), SizeIs(1));
  EXPECT_THAT(second_.requests(), SizeIs(2));
}

// A host without power answers nothing, not even that it is not there.
TEST_F(HdfsObjectStoreTest, NameNodeThatIsSilentIsLeftThoughItTookLong) {
  answers_ = {[this](const Request&) {
                clock_.Advance(absl::Seconds(20));
                return Answer{"", Then::kStall};
              },
              [](const Request&) { return HasFile(); }};

  MUSTER_EXPECT_OK(Stat("hdfs://pair/a"));
}

TEST_F(HdfsObjectStoreTest, FailoverThatTakesLongIsWaitedFor) {
  const auto later = [this](const Request&) {
    return clock_.Monotonic() > absl::Seconds(40) ? HasFile() : StandsBy();
  };
  answers_ = {[](const Request&) { return StandsBy(); }, later};

  MUSTER_EXPECT_OK(Stat("hdfs://pair/a"));
  EXPECT_LT(clock_.Monotonic(), absl::Minutes(1));
}

TEST_F(HdfsObjectStoreTest, NameNodesThatStandByForEverAreGivenUp) {
  answers_.fill([](const Request&) { return StandsBy(); });

  EXPECT_THAT(Stat("hdfs://pair/a"),
              StatusIs(absl::StatusCode::kUnavailable,
                       AllOf(HasSubstr("hdfs://pair/a"), HasSubstr("StandbyException"))));
  EXPECT_GT(clock_.Monotonic(), absl::Seconds(30));
}

// In a failover the data node waits for the name node.
TEST_F(HdfsObjectStoreTest, DataNodeThatTakesBytesMayBeSilentForLong) {
  ScriptedHttpServer data_node([this](const Request&) {
    clock_.Advance(absl::Minutes(10));
    return Answer{"", Then::kStall};
  });
  answers_.fill([&](const Request& request) {
    if (!absl::StrContains(request.path, "noredirect=true")) return HasFile();
    return Json(200, absl::StrCat(R"({"Location": "http://)", data_node.authority(), R"(/take"})"));
  });
  const absl::StatusOr<ObjectRef> object = stores_.Open("hdfs://pair/a");
  MUSTER_ASSERT_OK(object);

  EXPECT_THAT(object->store->Put(object->key, "12345", {.size_bytes = 5}),
              StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("0 bytes in 1m30s")));
}

TEST_F(HdfsObjectStoreTest, ErrorsNameTheUriAsItWasWritten) {
  answers_.fill([](const Request&) { return Json(404, "{}"); });
  HdfsAddress address;
  address.name_nodes = {absl::StrCat("http://", first_.authority())};
  HdfsCluster cluster({.scheme = "swebhdfs", .authority = "one", .path = "root"}, address,
                      std::make_shared<HttpClient>(clock_, *random_, kOptions), *random_);

  EXPECT_THAT(cluster.Stat("a", {}),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("swebhdfs://one/root/a")));
}

}  // namespace
}  // namespace muster
