#include "client/publish/orphans.h"

#include <filesystem>

#include "gmock/gmock.h"
#include "storage/object/uri.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/client/publish/publishing_fixture.h"

namespace muster {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr char kOurs[] = "0a1b2c3d4e5f";

// Uids as servers give them.
class OrphansTest : public PublishingTest {
 protected:
  void Version(const std::string& name, const std::string& uid) {
    v1::ModelVersion& version = catalogue_.versions()[name].version;
    version.set_name(name);
    version.set_uid(uid);
    version.set_state(v1::ModelVersion::COMMITTED);
    (*version.mutable_annotations())["muster.destination"] = Destination();
  }

  std::string Destination() const { return FileUri(directory_.Path("store")); }

  std::vector<Orphan> Find(const std::string& own_server_id = "") {
    auto orphans = FindOrphans(catalogue_.client(), stores_, Destination(), own_server_id, {});
    EXPECT_THAT(orphans, IsOk());
    return orphans.value_or(std::vector<Orphan>());
  }
};

TEST_F(OrphansTest, FolderOfAVersionThatIsGoneIsFoundAndDeletedWhole) {
  Version("models/a/versions/v1", "0a1b2c3d4e5f-1");
  directory_.Write("store/a/v1-0a1b2c3d4e5f-1/shard-00000.bin", "lives");
  directory_.Write("store/a/v1-0a1b2c3d4e5f-9/shard-00000.bin", "gone");
  directory_.Write("store/a/v1-0a1b2c3d4e5f-9/companions/x/y.json", "{}");
  directory_.Write("store/a/v1-0a1b2c3d4e5f-9/.muster-tmp-7", "unfinished");

  const std::vector<Orphan> orphans = Find();

  ASSERT_THAT(orphans, SizeIs(1));
  EXPECT_EQ(orphans[0].version.name(), "models/a/versions/v1");
  EXPECT_EQ(orphans[0].version.uid(), "0a1b2c3d4e5f-9");
  EXPECT_TRUE(orphans[0].is_ours);
  EXPECT_THAT(orphans[0].uris, SizeIs(2));
  EXPECT_EQ(orphans[0].size_bytes, 6);
  MUSTER_EXPECT_OK(DeleteOrphan(stores_, orphans[0]));
  EXPECT_THAT(FilesIn("store"), ElementsAre("a/v1-0a1b2c3d4e5f-1/shard-00000.bin"));
  EXPECT_FALSE(std::filesystem::exists(directory_.Path("store/a/v1-0a1b2c3d4e5f-9")));
}

TEST_F(OrphansTest, FolderWithoutAWholeObjectIsFound) {
  Version("models/a/versions/v1", "0a1b2c3d4e5f-1");
  directory_.Write("store/b/v2-0a1b2c3d4e5f-3/.muster-tmp-7", "unfinished");

  const std::vector<Orphan> orphans = Find();

  ASSERT_THAT(orphans, SizeIs(1));
  MUSTER_EXPECT_OK(DeleteOrphan(stores_, orphans[0]));
  EXPECT_FALSE(std::filesystem::exists(directory_.Path("store/b")));
}

TEST_F(OrphansTest, ObjectsOfAnotherServerAreNeverDeletedUnasked) {
  Version("models/a/versions/v1", "0a1b2c3d4e5f-1");
  directory_.Write("store/a/v1-ffffffffffff-9/shard-00000.bin", "theirs");

  const std::vector<Orphan> orphans = Find();

  ASSERT_THAT(orphans, SizeIs(1));
  EXPECT_FALSE(orphans[0].is_ours);
  EXPECT_EQ(orphans[0].server_id, "ffffffffffff");
  EXPECT_THAT(DeleteOrphan(stores_, orphans[0]), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(FilesIn("store"), SizeIs(1));
  EXPECT_TRUE(Find("ffffffffffff")[0].is_ours);
}

TEST_F(OrphansTest, EmptyCatalogueOwnsNothing) {
  directory_.Write("store/a/v1-0a1b2c3d4e5f-9/shard-00000.bin", "somebody's");
  catalogue_.channel().OnUnary<v1::ListNodesRequest, v1::ListNodesResponse>(
      "/muster.v1.NodeService/ListNodes", [](const v1::ListNodesRequest&, v1::ListNodesResponse&,
                                             const CallOptions&) { return absl::OkStatus(); });

  ASSERT_THAT(Find(), SizeIs(1));
  EXPECT_FALSE(Find()[0].is_ours);
  EXPECT_TRUE(Find(kOurs)[0].is_ours);
}

TEST_F(OrphansTest, FilesThatPublishingDidNotWriteArePassedOver) {
  Version("models/a/versions/v1", "0a1b2c3d4e5f-1");
  directory_.Write("store/notes.txt", "x");
  directory_.Write("store/a/notes.txt", "x");
  directory_.Write("store/a/v1/shard-00000.bin", "x");
  directory_.Write("store/a/v1-0a1b2c3d4e5f/shard-00000.bin", "x");
  directory_.Write("store/a/v1-0a1b2c3d4e5-12/shard-00000.bin", "x");
  directory_.Write("store/.hidden/v1-0a1b2c3d4e5f-4/shard-00000.bin", "x");

  EXPECT_THAT(Find(), IsEmpty());
}

TEST_F(OrphansTest, DestinationThatIsNotThereHasNone) {
  Version("models/a/versions/v1", "0a1b2c3d4e5f-1");
  EXPECT_THAT(Find(), IsEmpty());
  const auto known = KnownDestinations(catalogue_.client(), {});
  MUSTER_ASSERT_OK(known);
  EXPECT_THAT(*known, ElementsAre(Destination()));
}

}  // namespace
}  // namespace muster
