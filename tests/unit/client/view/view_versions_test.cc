#include "client/view/view_versions.h"

#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "storage/base/error_info.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/client/view/view_fixture.h"

namespace muster {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr char kSecondVersion[] = "models/llama/versions/v2";

// Two versions; the view leads to llama@v2.
class ViewVersionsTest : public ViewTest {
 protected:
  void SetUp() override {
    PublishAs(kSecondVersion);
    Fill(kName);
    Fill(kSecondVersion);
    MUSTER_ASSERT_OK(Build(MakeOptions()));
    MUSTER_ASSERT_OK(Build(MakeOptions(kSecondVersion)));
  }
};

TEST_F(ViewVersionsTest, ListSaysWhatIsThereAndCurrent) {
  const auto versions = ListViewVersions(Place());

  MUSTER_ASSERT_OK(versions);
  ASSERT_THAT(*versions, SizeIs(2));
  EXPECT_EQ((*versions)[0].name, "llama@v1");
  EXPECT_FALSE((*versions)[0].current);
  MUSTER_EXPECT_OK((*versions)[0].health);
  EXPECT_EQ((*versions)[1].record.model_version, kSecondVersion);
  EXPECT_TRUE((*versions)[1].current);
  MUSTER_EXPECT_OK((*versions)[1].health);
}

TEST_F(ViewVersionsTest, ListNamesWhatIsBrokenAndHalfMade) {
  fs::remove(directory_.Path("view.d/llama@v1/config.json"));
  auto record = ReadViewRecord(Place(), "llama@v2");
  record->state = ViewRecord::State::kBuilding;
  MUSTER_ASSERT_OK(WriteViewRecord(Place(), "llama@v2", *record));

  const auto versions = ListViewVersions(Place());

  MUSTER_ASSERT_OK(versions);
  EXPECT_EQ(ReasonOf((*versions)[0].health), "VIEW_BROKEN");
  EXPECT_EQ(ReasonOf((*versions)[1].health), "VIEW_INCOMPLETE");
}

TEST_F(ViewVersionsTest, SwitchLeadsBackAndForth) {
  MUSTER_ASSERT_OK(SwitchView(Place(), "llama@v1", {}));
  EXPECT_EQ(LinkText(), "view.d/llama@v1");
  MUSTER_ASSERT_OK(SwitchView(Place(), "llama@v2", {}));
  EXPECT_EQ(LinkText(), "view.d/llama@v2");
}

TEST_F(ViewVersionsTest, SwitchRefusesWhatIsNotThereOrNotWhole) {
  EXPECT_EQ(ReasonOf(SwitchView(Place(), "llama@v3", {})), "VIEW_VERSION_UNKNOWN");
  fs::remove(directory_.Path("view.d/llama@v1/config.json"));
  EXPECT_EQ(ReasonOf(SwitchView(Place(), "llama@v1", {})), "VIEW_BROKEN");
  EXPECT_EQ(LinkText(), "view.d/llama@v2");
}

TEST_F(ViewVersionsTest, RemovedVersionIsGoneWithItsPinAndEntriesStayVerified) {
  const size_t entries = cache_->List()->size();

  const auto gone = RemoveViewVersions(Place(), {.version = "llama@v1"});

  MUSTER_ASSERT_OK(gone);
  EXPECT_THAT(*gone, ElementsAre("llama@v1"));
  EXPECT_THAT(NamesInVersions(), ElementsAre(".llama@v2.record", ".muster-view", "llama@v2"));
  ASSERT_THAT(Pins(), SizeIs(1));
  EXPECT_EQ(Pins()[0].first, Place().OwnerOf("llama@v2"));
  EXPECT_EQ(VerifiedEntries(), entries);
  EXPECT_FALSE(cache_->Evict({.target_bytes = 0}, {})->empty());
}

TEST_F(ViewVersionsTest, CurrentVersionIsRemovedByForceOnly) {
  EXPECT_EQ(ReasonOf(RemoveViewVersions(Place(), {.version = "llama@v2"}).status()),
            "VIEW_VERSION_CURRENT");
  EXPECT_EQ(FilesIn("view.d/llama@v2").size(), 7u);

  MUSTER_ASSERT_OK(RemoveViewVersions(Place(), {.version = "llama@v2", .force = true}));

  EXPECT_EQ(LinkText(), "");
  EXPECT_THAT(NamesInVersions(), ElementsAre(".llama@v1.record", ".muster-view", "llama@v1"));
}

TEST_F(ViewVersionsTest, RemovingAllLeavesNothing) {
  const auto gone = RemoveViewVersions(Place(), {.all = true});

  MUSTER_ASSERT_OK(gone);
  EXPECT_THAT(*gone, ElementsAre("llama@v1", "llama@v2"));
  EXPECT_FALSE(fs::exists(fs::symlink_status(directory_.Path("view"))));
  EXPECT_FALSE(fs::exists(directory_.Path("view.d")));
  EXPECT_THAT(Pins(), IsEmpty());
  EXPECT_EQ(ReasonOf(RemoveViewVersions(Place(), {.all = true}).status()), "VIEW_UNKNOWN");
}

TEST_F(ViewVersionsTest, RemovalGoesOnAfterACrash) {
  fs::rename(directory_.Path("view.d/llama@v1"), directory_.Path("view.d/.llama@v1.building"));

  MUSTER_ASSERT_OK(RemoveViewVersions(Place(), {.version = "llama@v1"}));

  EXPECT_THAT(NamesInVersions(), ElementsAre(".llama@v2.record", ".muster-view", "llama@v2"));
  EXPECT_THAT(Pins(), SizeIs(1));
}

// A process that was killed while it wrote a record leaves the staged file.
TEST_F(ViewVersionsTest, RemovingAllTakesRecordsThatWereBrokenOff) {
  std::ofstream(directory_.Path("view.d/..llama@v1.record.tmp-1-0")) << "half";

  MUSTER_ASSERT_OK(RemoveViewVersions(Place(), {.all = true}));

  EXPECT_FALSE(fs::exists(directory_.Path("view.d")));
}

TEST_F(ViewVersionsTest, ViewOfACacheThatIsGoneIsRemoved) {
  fs::remove_all(directory_.Path("cache"));

  MUSTER_EXPECT_OK(RemoveViewVersions(Place(), {.all = true}));

  EXPECT_FALSE(fs::exists(directory_.Path("view.d")));
  EXPECT_FALSE(fs::exists(directory_.Path("cache")));
}

TEST_F(ViewVersionsTest, VersionWithABrokenRecordIsRemoved) {
  directory_.Write("view.d/.llama@v1.record", "odd");
  EXPECT_EQ(ReasonOf(ListViewVersions(Place())->front().health), "VIEW_RECORD_BROKEN");

  MUSTER_ASSERT_OK(RemoveViewVersions(Place(), {.version = "llama@v1"}));

  EXPECT_FALSE(fs::exists(directory_.Path("view.d/llama@v1")));
}

TEST_F(ViewVersionsTest, ViewThatIsNotThereIsUnknown) {
  const auto place = ViewPlace::At(directory_.Path("other"));

  EXPECT_EQ(ReasonOf(ListViewVersions(*place).status()), "VIEW_UNKNOWN");
  EXPECT_EQ(ReasonOf(SwitchView(*place, "llama@v1", {})), "VIEW_UNKNOWN");
  EXPECT_EQ(ReasonOf(RemoveViewVersions(*place, {.all = true}).status()), "VIEW_UNKNOWN");
}

}  // namespace
}  // namespace muster
