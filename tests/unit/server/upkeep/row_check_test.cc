#include "server/upkeep/row_check.h"

#include <string>

#include "muster/store/rows.pb.h"
#include "server/registry/row_keys.h"
#include "storage/metadata/store_marker.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

using testing::AllOf;
using testing::HasSubstr;

const VersionUid kVersionUid(7);
const NodeUid kNodeUid(8);
const AssemblyUid kAssemblyUid(9);
const ShardIndex kShard(3);

TEST(RowCheckTest, EveryKeyHasItsKind) {
  EXPECT_EQ(RowKind(kStoreMarkerKey), "marker");
  EXPECT_EQ(RowKind(kStoreHistoryKey), "history");
  EXPECT_EQ(RowKind(RevisionKey()), "RevisionRow");
  EXPECT_EQ(RowKind(EventLogKey()), "EventLogRow");
  EXPECT_EQ(RowKind(VersionKey(kVersionUid)), "VersionRow");
  EXPECT_EQ(RowKind(ShardKey(kVersionUid, kShard)), "ShardRow");
  EXPECT_EQ(RowKind(PiecesKey(kVersionUid, kShard, 1)), "PiecesRow");
  EXPECT_EQ(RowKind(TensorsKey(kVersionUid, kShard, 1)), "TensorsRow");
  EXPECT_EQ(RowKind(CompanionKey(kVersionUid, "a")), "CompanionRow");
  EXPECT_EQ(RowKind(InventoryKey(kNodeUid)), "InventoryRow");
  EXPECT_EQ(RowKind(NodeKey(kNodeUid)), "NodeRow");
  EXPECT_EQ(RowKind(AssemblyKey(kAssemblyUid)), "AssemblyRow");
  EXPECT_EQ(RowKind(MemberKey(kAssemblyUid, kNodeUid)), "MemberRow");
  EXPECT_EQ(RowKind(AssignmentKey(kAssemblyUid, Generation(1), kNodeUid)), "AssignmentRow");
  EXPECT_EQ(RowKind(ReadinessKey(kAssemblyUid, kNodeUid)), "ReadinessRow");
  EXPECT_EQ(RowKind(EventsKey(Revision(1), 0)), "EventsRow");
  EXPECT_EQ(RowKind(EventRunKey(Revision(1))), "EventRunRow");
  EXPECT_EQ(RowKind(LocationHealthKey(kVersionUid, kShard, "file:///x")), "LocationHealthRow");
  EXPECT_EQ(RowKind(RequestKey(1, "id")), "RequestRow");
  EXPECT_EQ(RowKind(JoinTokenKey("t1")), "JoinTokenRow");
  EXPECT_EQ(RowKind(EnrolledNameKey("nodes/n1")), "EnrolledNameRow");
}

TEST(RowCheckTest, KeyThatNoRowHasIsTold) {
  for (const std::string& key :
       {std::string(), std::string("x"), std::string("!what"), VersionKey(kVersionUid) + "1",
        std::string("v"), ShardKey(kVersionUid, kShard).substr(0, 12)}) {
    EXPECT_EQ(RowKind(key), "") << key;
    EXPECT_THAT(CheckRow(key, ""),
                StatusIs(absl::StatusCode::kDataLoss, HasSubstr("has a key that no row has")));
  }
}

TEST(RowCheckTest, RowThatCannotBeReadIsToldWithItsKeyAndKind) {
  EXPECT_THAT(CheckRow(NodeKey(kNodeUid), "\xff\xff\xff"),
              StatusIs(absl::StatusCode::kDataLoss,
                       AllOf(HasSubstr("n\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x08"),
                             HasSubstr("is no NodeRow"))));
  EXPECT_THAT(CheckRow(kStoreMarkerKey, "x"), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(CheckRow(kStoreHistoryKey, "x"), StatusIs(absl::StatusCode::kDataLoss));
}

TEST(RowCheckTest, ShardWithoutADigestOrWithAShortOneIsDamaged) {
  const std::string key = ShardKey(kVersionUid, kShard);
  store::ShardRow row;
  EXPECT_FALSE(CheckRow(key, row.SerializeAsString()).ok());
  row.set_md5(std::string(15, 'd'));
  EXPECT_FALSE(CheckRow(key, row.SerializeAsString()).ok());
  row.set_md5(std::string(16, 'd'));
  MUSTER_EXPECT_OK(CheckRow(key, row.SerializeAsString()));
  row.set_root(std::string(1, 'd'));
  EXPECT_FALSE(CheckRow(key, row.SerializeAsString()).ok());
  row.set_root(std::string(16, 'd'));
  row.set_sha256(std::string(16, 'd'));
  EXPECT_FALSE(CheckRow(key, row.SerializeAsString()).ok());
}

TEST(RowCheckTest, VersionWithAContentKeyThatIsNoneIsDamaged) {
  store::VersionRow version;
  version.set_uid(kVersionUid.value);
  version.mutable_content_key()->set_key_id("muster/1");
  version.mutable_content_key()->set_master_key_id("mk-1");
  version.mutable_content_key()->set_wrapped(std::string(60, 'w'));
  MUSTER_EXPECT_OK(CheckRow(VersionKey(kVersionUid), version.SerializeAsString()));
  version.mutable_content_key()->clear_wrapped();
  EXPECT_THAT(CheckRow(VersionKey(kVersionUid), version.SerializeAsString()),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("has a content key that is none")));
}

TEST(RowCheckTest, RowUnderAnotherKeyIsDamaged) {
  store::VersionRow version;
  version.set_uid(6);
  EXPECT_THAT(CheckRow(VersionKey(kVersionUid), version.SerializeAsString()),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("is of another version")));
  store::RequestRow request;
  request.set_request_id("a");
  request.set_expire_time_us(5);
  MUSTER_EXPECT_OK(CheckRow(RequestKey(5, "a"), request.SerializeAsString()));
  EXPECT_FALSE(CheckRow(RequestKey(5, "b"), request.SerializeAsString()).ok());
  store::JoinTokenRow token;
  token.set_id("t1");
  EXPECT_FALSE(CheckRow(JoinTokenKey("t1"), token.SerializeAsString()).ok()) << "no digest";
  token.set_sha256(std::string(32, 'd'));
  MUSTER_EXPECT_OK(CheckRow(JoinTokenKey("t1"), token.SerializeAsString()));
  EXPECT_FALSE(CheckRow(JoinTokenKey("t2"), token.SerializeAsString()).ok());
  store::EnrolledNameRow name;
  name.set_node("nodes/n1");
  name.set_key_sha256(std::string(32, 'd'));
  MUSTER_EXPECT_OK(CheckRow(EnrolledNameKey("nodes/n1"), name.SerializeAsString()));
  EXPECT_FALSE(CheckRow(EnrolledNameKey("nodes/n2"), name.SerializeAsString()).ok());
  name.set_previous_key_sha256("short");
  EXPECT_FALSE(CheckRow(EnrolledNameKey("nodes/n1"), name.SerializeAsString()).ok());
}

}  // namespace
}  // namespace muster
