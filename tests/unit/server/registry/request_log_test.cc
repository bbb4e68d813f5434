// Request ids, and what a nearly full store still does.

#include "server/registry/request_log.h"

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/descriptor.pb.h"
#include "google/protobuf/dynamic_message.h"
#include "gtest/gtest.h"
#include "muster/store/rows.pb.h"
#include "server/registry/limits.h"
#include "storage/base/limits.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/server/registry/registry_fixture.h"

namespace muster {
namespace {

namespace v1 = muster::v1;
using absl::StatusCode;

class RequestLogTest : public testing::Test {
 protected:
  static v1::RegisterNodeRequest Request(const std::string& id, const std::string& zone = "") {
    v1::RegisterNodeRequest request = RegisterNode("nodes/n1");
    request.mutable_node()->set_zone(zone);
    request.set_request_id(id);
    return request;
  }

  RegistryFixture fixture_;
};

TEST_F(RequestLogTest, RepeatGetsTheSameReplyAndChangesNothing) {
  const auto first = fixture_.Ask<v1::RegisterNodeResponse>(Request("id"));
  fixture_.Register("nodes/n2");
  const Revision before = fixture_.revision();
  const auto second = fixture_.Ask<v1::RegisterNodeResponse>(Request("id"));
  EXPECT_EQ(second.SerializeAsString(), first.SerializeAsString());
  EXPECT_EQ(fixture_.revision(), before);
}

TEST_F(RequestLogTest, IdWithAnotherBodyOrCallIsRefused) {
  MUSTER_EXPECT_OK(fixture_.Do(Request("id")));
  EXPECT_THAT(fixture_.Do(Request("id", "z1")),
              ErrorIs(StatusCode::kInvalidArgument, "REQUEST_ID_REUSED"));
  v1::CreateModelVersionRequest other = CreateVersion(kVersion, 1);
  other.set_request_id("id");
  EXPECT_THAT(fixture_.Do(other), ErrorIs(StatusCode::kInvalidArgument, "REQUEST_ID_REUSED"));
}

TEST_F(RequestLogTest, IdIsForgottenAfterTenMinutesWithItsRow) {
  MUSTER_EXPECT_OK(fixture_.Do(Request("id")));
  const size_t rows = RowsOf(fixture_.store()).size();
  fixture_.TickTo(kSecondUs + kRequestIdTtlUs - 1);
  EXPECT_EQ(RowsOf(fixture_.store()).size(), rows);
  fixture_.TickTo(kSecondUs + kRequestIdTtlUs);
  EXPECT_EQ(RowsOf(fixture_.store()).size(), rows - 1);
  const Revision before = fixture_.revision();
  MUSTER_EXPECT_OK(fixture_.Do(Request("id", "z1")));
  EXPECT_GT(fixture_.revision(), before);
}

// Goal: what expires costs readers of the store nothing. A range delete is looked through by each of them, and
// those that all begin at one key cost the square of their number.
TEST(RequestLogRangesTest, FewRowsGoOneByOneAndManyByARangeThatBeginsAtTheFirst) {
  RequestLog log;
  const auto add = [&log](int64_t time_us, int count) {
    Transaction tx(Revision(1), time_us);
    for (int i = 0; i < count; ++i) {
      log.Add(absl::StrCat(time_us, "-", i), "digest", v1::RegisterNodeResponse(), "",
              RequestLog::Kind::kCall, tx);
    }
  };
  for (int64_t second = 1; second <= 100; ++second) {
    add(second * kSecondUs, second % 10 == 0 ? 40 : static_cast<int>(second % 3));
  }
  std::string deleted_up_to;
  size_t single = 0, ranges = 0;
  for (int64_t second = 1; second <= 100; ++second) {
    Transaction tx(Revision(1), second * kSecondUs + kRequestIdTtlUs);
    log.Tick(tx);
    const std::vector<MetadataBatch::Operation> operations = tx.TakeOperations();
    EXPECT_LE(operations.size(), 8u);
    for (const MetadataBatch::Operation& operation : operations) {
      if (const auto* one = std::get_if<MetadataBatch::Delete>(&operation)) {
        EXPECT_GT(one->key, deleted_up_to);
        deleted_up_to = one->key;
        ++single;
        continue;
      }
      const auto& range = std::get<MetadataBatch::DeleteRange>(operation);
      EXPECT_GT(range.begin, deleted_up_to);
      EXPECT_LT(range.begin, range.end);
      deleted_up_to = range.end;
      ++ranges;
    }
  }
  EXPECT_EQ(log.size(), 0u);
  EXPECT_EQ(ranges, 10u);
  EXPECT_EQ(single, 90u);
}

TEST(RequestLogReplyTest, ReplyThatCannotBeReadIsDataLossAndNoSecondCall) {
  RequestLog log;
  store::RequestRow row;
  row.set_request_id("id");
  row.set_digest("digest");
  row.set_reply("\xff\xff\xff");
  row.set_expire_time_us(1);
  log.Load(std::move(row));

  v1::RegisterNodeResponse reply;
  EXPECT_THAT(log.Find("id", "digest", reply), StatusIs(StatusCode::kDataLoss));
}

TEST_F(RequestLogTest, RefusedCallIsNotRemembered) {
  v1::CreateAssemblyRequest request = CreateAssembly(kAssembly, kVersion, v1::Assembly::FULL);
  request.set_request_id("id");
  EXPECT_THAT(fixture_.Do(request), ErrorIs(StatusCode::kNotFound, "VERSION_UNKNOWN"));
  fixture_.Publish(kVersion, 1);
  MUSTER_EXPECT_OK(fixture_.Do(request));
}

TEST_F(RequestLogTest, ValidateOnlyIsNotRemembered) {
  v1::RegisterNodeRequest request = Request("id");
  request.set_validate_only(true);
  const Revision before = fixture_.revision();
  MUSTER_EXPECT_OK(fixture_.Do(request));
  EXPECT_EQ(fixture_.revision(), before);
  MUSTER_EXPECT_OK(fixture_.Do(Request("id")));
  EXPECT_GT(fixture_.revision(), before);
}

// Goal: a retry over an upgrade is the same call. Method: the request is read by a schema without two of its fields, in
// the middle of it and of a part of it, as a server before the upgrade reads it.
TEST(RequestDigestTest, IsTheSameWhereAFieldIsNotKnown) {
  v1::RegisterNodeRequest request = RegisterNode("nodes/n1");
  request.mutable_node()->set_zone("z");
  request.mutable_node()->set_capacity_bytes(7);
  (*request.mutable_node()->mutable_labels())["a"] = "b";
  request.mutable_lease_ttl()->set_seconds(5);
  request.set_cached_digests(std::string(16, 'd'));
  google::protobuf::DescriptorPool older;
  std::function<void(const google::protobuf::FileDescriptor*)> copy =
      [&](const google::protobuf::FileDescriptor* file) {
        if (older.FindFileByName(file->name()) != nullptr) return;
        for (int i = 0; i < file->dependency_count(); ++i) copy(file->dependency(i));
        google::protobuf::FileDescriptorProto proto;
        file->CopyTo(&proto);
        for (auto& type : *proto.mutable_message_type()) {
          auto& fields = *type.mutable_field();
          const auto unknown = [&](const auto& field) {
            return (type.name() == "Node" && field.name() == "zone") ||
                   (type.name() == "RegisterNodeRequest" && field.name() == "lease_ttl");
          };
          fields.erase(std::remove_if(fields.begin(), fields.end(), unknown), fields.end());
        }
        ASSERT_NE(older.BuildFile(proto), nullptr) << file->name();
      };
  copy(request.GetDescriptor()->file());
  google::protobuf::DynamicMessageFactory factory;
  const std::unique_ptr<google::protobuf::Message> read(
      factory.GetPrototype(older.FindMessageTypeByName(request.GetDescriptor()->full_name()))
          ->New());
  ASSERT_TRUE(read->ParseFromString(request.SerializeAsString()));
  ASSERT_NE(read->SerializeAsString(), request.SerializeAsString()) << "the order differs";

  EXPECT_EQ(RequestLog::DigestOf(*read), RequestLog::DigestOf(request));
  request.mutable_node()->set_zone("other");
  EXPECT_NE(RequestLog::DigestOf(*read), RequestLog::DigestOf(request));
}

TEST_F(RequestLogTest, IdThatIsTooLongIsRefused) {
  MUSTER_EXPECT_OK(fixture_.Do(Request(std::string(kMaxIdBytes, 'x'))));
  EXPECT_THAT(fixture_.Do(Request(std::string(kMaxIdBytes + 1, 'x'))),
              ErrorIs(StatusCode::kInvalidArgument, "INVALID_FIELD"));
}

TEST_F(RequestLogTest, FullLogRefusesFurtherIdsAndStillKnowsTheOld) {
  RequestLog log;
  for (size_t i = 0; i < kMaxRequestIds; ++i) {
    muster::store::RequestRow row;
    row.set_request_id(std::to_string(i));
    row.set_digest("digest");
    row.set_expire_time_us(1'000 + static_cast<int64_t>(i));
    log.Load(row);
  }
  v1::RegisterNodeResponse reply;
  EXPECT_THAT(log.Find("0", "digest", reply), IsOkAndHolds(true));
  EXPECT_THAT(log.Find("another", "digest", reply), IsOkAndHolds(false));
  const absl::Status refused = log.CheckRoom("ipv4:10.0.0.1:1");
  EXPECT_THAT(refused, ErrorIs(StatusCode::kResourceExhausted, "TOO_MANY_REQUEST_IDS"));
  EXPECT_TRUE(DetailOf(refused).retry_delay.has_value());
  Transaction tx(Revision(1), 1'000);
  log.Tick(tx);
  MUSTER_EXPECT_OK(log.CheckRoom("ipv4:10.0.0.1:1"));
}

class RequestLogSharesTest : public testing::Test {
 protected:
  // Until the caller is refused, or `limit` times.
  size_t Fill(const std::string& caller, size_t limit = kMaxRequestIds) {
    size_t added = 0;
    for (; added < limit && log_.CheckRoom(caller).ok(); ++added) {
      Add(absl::StrCat(caller, "#", ++ids_), caller);
    }
    return added;
  }
  void Add(const std::string& id, const std::string& caller,
           RequestLog::Kind kind = RequestLog::Kind::kCall) {
    Transaction tx(Revision(1), now_us_);
    log_.Add(id, "digest", v1::RegisterNodeResponse(), caller, kind, tx);
    for (const MetadataBatch::Operation& operation : tx.TakeOperations()) {
      if (const auto* put = std::get_if<MetadataBatch::Put>(&operation))
        rows_[put->key] = put->value;
      if (const auto* gone = std::get_if<MetadataBatch::Delete>(&operation)) rows_.erase(gone->key);
    }
  }
  void Reload() {
    log_ = RequestLog();
    for (const auto& [key, value] : rows_) {
      store::RequestRow row;
      ASSERT_TRUE(row.ParseFromString(value));
      log_.Load(std::move(row));
    }
  }
  bool Knows(const std::string& id) {
    v1::RegisterNodeResponse reply;
    return log_.Find(id, "digest", reply).value_or(false);
  }

  RequestLog log_;
  std::map<std::string, std::string> rows_;
  int64_t now_us_ = 1;
  size_t ids_ = 0;
};

TEST_F(RequestLogSharesTest, GreedyConnectionLeavesRoomForOthersOfItsHost) {
  EXPECT_EQ(Fill("ipv4:10.0.0.1:1"), (kMaxRequestIds + 2) / 3);
  EXPECT_THAT(log_.CheckRoom("ipv4:10.0.0.1:1"),
              ErrorIs(StatusCode::kResourceExhausted, "TOO_MANY_REQUEST_IDS"));

  EXPECT_EQ(Fill("ipv4:10.0.0.1:2", 1'000), 1'000u);
}

TEST_F(RequestLogSharesTest, GreedyHostLeavesRoomForOtherHosts) {
  size_t of_host = 0;
  for (int port = 1; port <= 100; ++port) of_host += Fill(absl::StrCat("ipv6:[::1]:", port));
  EXPECT_LE(of_host, kMaxRequestIds / 2);
  EXPECT_FALSE(log_.CheckRoom("ipv6:[::1]:4711").ok());

  for (int host = 1; host <= 100; ++host) {
    EXPECT_EQ(Fill(absl::StrCat("ipv4:10.0.0.", host, ":1"), 100), 100u);
  }
}

TEST_F(RequestLogSharesTest, SharesAreTheSameAfterARestart) {
  Fill("ipv4:10.0.0.1:1");
  Reload();

  EXPECT_FALSE(log_.CheckRoom("ipv4:10.0.0.1:1").ok());
  MUSTER_EXPECT_OK(log_.CheckRoom("ipv4:10.0.0.1:2"));
}

TEST_F(RequestLogSharesTest, WhatExpiresIsRoomAgain) {
  Fill("ipv4:10.0.0.1:1");
  Transaction tx(Revision(1), now_us_ + kRequestIdTtlUs);
  log_.Tick(tx);

  MUSTER_EXPECT_OK(log_.CheckRoom("ipv4:10.0.0.1:1"));
  EXPECT_EQ(log_.size(), 0u);
}

TEST_F(RequestLogSharesTest, RegistrationsTakeNobodysPlaceAndTheOldestMakeRoom) {
  for (size_t i = 0; i < kMaxRequestIds; ++i) {
    now_us_ = static_cast<int64_t>(i / 100);
    Add(absl::StrCat("r", i), "", RequestLog::Kind::kRegistration);
  }
  EXPECT_EQ(Fill("ipv4:10.0.0.1:1", 10), 10u);

  Add("another", "", RequestLog::Kind::kRegistration);

  EXPECT_FALSE(Knows("r0"));
  EXPECT_TRUE(Knows("r1"));
  EXPECT_TRUE(Knows("another"));
  EXPECT_EQ(rows_.size(), kMaxRequestIds + 10);
  Reload();
  EXPECT_EQ(log_.size(), kMaxRequestIds + 10);
  EXPECT_TRUE(Knows("r1"));
}

// What locked agents out: a table that others have filled.
TEST_F(RequestLogTest, NodeRegistersWhileCallersHaveUsedUpTheirRoom) {
  v1::DrainNodeRequest drain;
  drain.set_name("nodes/n1");
  drain.set_cancel(true);
  fixture_.Register("nodes/n1");
  const auto refused = [&](const std::string& id, absl::string_view caller) {
    drain.set_request_id(id);
    return !fixture_.registry().Apply(drain, caller).status.ok();
  };
  size_t calls = 0;
  while (!refused(absl::StrCat("d", calls), "ipv4:10.0.0.1:1")) ++calls;
  EXPECT_LT(calls, kMaxRequestIds);

  EXPECT_FALSE(refused("mine", "ipv4:10.0.0.2:1"));
  MUSTER_EXPECT_OK(fixture_.registry().Apply(Request("id"), "ipv4:10.0.0.1:1").status);
}

// Invariant 8 (docs/design.md): below the floor only what adds data is refused.
TEST_F(RequestLogTest, NearlyFullStoreRefusesOnlyWhatAddsData) {
  fixture_.Publish(kVersion, 1);
  const uint64_t epoch = fixture_.Register("nodes/n1");
  MUSTER_EXPECT_OK(fixture_.Do(CreateAssembly(kAssembly, kVersion, v1::Assembly::BALANCED)));
  MUSTER_EXPECT_OK(fixture_.Do(Join(kAssembly, "nodes/n1", epoch)));
  const uint64_t generation = fixture_.Plan(kAssembly, {{"nodes/n1", {0}}});
  const uint64_t stranger = fixture_.Register("nodes/n3");
  const int64_t floor = int64_t{256} << 20;
  fixture_.TickTo(kSecondUs, floor - 1);
  const std::string before = Describe(fixture_.registry());
  for (const Command& command :
       {Command(CreateVersion("models/m/versions/v2", 1)), Command(ShardOf(kVersion, 0)),
        Command(TensorsOf(kVersion, 0, 0, {"a"})), Command(CompanionOf(kVersion, "a")),
        Command(LocationOf(kVersion, 0, "file:///x")), Command(RegisterNode("nodes/n2")),
        Command(CreateAssembly("assemblies/b", kVersion, v1::Assembly::FULL)),
        Command(Join(kAssembly, "nodes/n3", stranger)),
        Command(StagePieces{kVersion, ShardIndex(0), 0, ""})}) {
    const absl::Status status = fixture_.Do(command);
    EXPECT_THAT(status, ErrorIs(StatusCode::kResourceExhausted, "STORE_FULL")) << command.index();
    EXPECT_TRUE(DetailOf(status).retry_delay.has_value());
  }
  EXPECT_EQ(Describe(fixture_.registry()), before);
  MUSTER_EXPECT_OK(fixture_.Do(Report(kAssembly, "nodes/n1", epoch, generation, {0})));
  EXPECT_EQ(fixture_.Shown(kAssembly).state(), v1::Assembly::READY);
  // An agent that restarts comes back to what it has.
  const uint64_t again = fixture_.Register("nodes/n1");
  EXPECT_GT(again, epoch);
  MUSTER_EXPECT_OK(fixture_.Do(Join(kAssembly, "nodes/n1", again)));
  MUSTER_EXPECT_OK(fixture_.Do(Report(kAssembly, "nodes/n1", again, generation, {0})));
  EXPECT_EQ(fixture_.Shown(kAssembly).state(), v1::Assembly::READY);
  MUSTER_EXPECT_OK(fixture_.Do(Leave(kAssembly, "nodes/n1")));
  MUSTER_EXPECT_OK(fixture_.Do(DeleteAssembly(kAssembly)));
  MUSTER_EXPECT_OK(fixture_.Do(DeregisterNode("nodes/n1")));
  MUSTER_EXPECT_OK(fixture_.Do(DeleteVersion(kVersion)));
  fixture_.TickTo(kSecondUs, floor);
  MUSTER_EXPECT_OK(fixture_.Do(RegisterNode("nodes/n2")));
}

}  // namespace
}  // namespace muster
