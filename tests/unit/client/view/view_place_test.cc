#include "client/view/view_place.h"

#include <filesystem>
#include <latch>
#include <thread>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/error_info.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace muster {
namespace {

namespace fs = std::filesystem;

class ViewPlaceTest : public testing::Test {
 protected:
  absl::StatusOr<ViewPlace> At(const std::string& relative) {
    return ViewPlace::At(directory_.Join(relative));
  }
  std::string ReasonAt(const std::string& relative) {
    const auto place = At(relative);
    return place.ok() ? ReasonOf(place->Check()) : ReasonOf(place.status());
  }
  void Write(const std::string& relative) {
    fs::create_directories(fs::path(directory_.Join(relative)).parent_path());
    std::FILE* const file = std::fopen(directory_.Join(relative).c_str(), "w");
    ASSERT_NE(file, nullptr);
    std::fclose(file);
  }

  TemporaryDirectory directory_;
};

TEST_F(ViewPlaceTest, NamesAreBesideOneAnother) {
  const auto place = At("a/../b//view/");

  MUSTER_ASSERT_OK(place);
  const std::string root = fs::canonical(directory_.path()).string();
  EXPECT_EQ(place->link(), root + "/b/view");
  EXPECT_EQ(place->versions(), root + "/b/view.d");
  EXPECT_EQ(place->PathOf("llama@v1"), root + "/b/view.d/llama@v1");
  EXPECT_EQ(place->OwnerOf("llama@v1"), "view:" + root + "/b/view.d/llama@v1");
}

TEST_F(ViewPlaceTest, LinksInTheFoldersAboveMakeNoSecondView) {
  fs::create_directory(directory_.Join("real"));
  fs::create_directory_symlink("real", directory_.Join("other"));

  EXPECT_EQ(At("other/view")->link(), At("real/view")->link());
}

TEST_F(ViewPlaceTest, PathsThatNameNoViewAreRefused) {
  for (const char* const path : {"", "/", "a\nb"}) {
    EXPECT_EQ(ReasonOf(ViewPlace::At(path).status()), "VIEW_PATH") << path;
  }
}

TEST_F(ViewPlaceTest, OtherPeoplesFilesAreLeftAlone) {
  Write("full/file");
  Write("plain");
  Write("taken.d/file");
  Write("file.d");
  fs::create_symlink("full", directory_.Join("link"));
  fs::create_symlink("elsewhere.d/llama@v1", directory_.Join("elsewhere-link"));
  fs::create_symlink("up.d/../x@y", directory_.Join("up"));

  for (const char* const path :
       {"full", "plain", "taken", "file", "link", "elsewhere-link", "up"}) {
    EXPECT_EQ(ReasonAt(path), "VIEW_NOT_OURS") << path;
    EXPECT_FALSE(At(path)->Lock({}).ok()) << path;
  }
}

TEST_F(ViewPlaceTest, MountPointIsRefused) {
  // Wherever the tests run, this is one; it also has other files.
  const auto place = ViewPlace::At("/proc");
  MUSTER_ASSERT_OK(place);
  EXPECT_EQ(ReasonOf(place->Check()), "VIEW_AT_MOUNT_POINT");
}

TEST_F(ViewPlaceTest, EmptyDirectoryBecomesTheLink) {
  fs::create_directory(directory_.Join("view"));
  const auto place = At("view");
  const auto lock = place->Lock({});
  MUSTER_ASSERT_OK(lock);
  fs::create_directory(place->PathOf("llama@v1"));

  MUSTER_ASSERT_OK(place->Switch("llama@v1"));

  EXPECT_EQ(fs::read_symlink(directory_.Join("view")), "view.d/llama@v1");
  EXPECT_EQ(place->Current(), "llama@v1");
}

TEST_F(ViewPlaceTest, SwitchReplacesTheLinkAndWhatADeadProcessLeft) {
  const auto place = At("view");
  const auto lock = place->Lock({});
  MUSTER_ASSERT_OK(lock);
  fs::create_directory(place->PathOf("llama@v1"));
  fs::create_directory(place->PathOf("llama@v2"));
  MUSTER_ASSERT_OK(place->Switch("llama@v1"));
  fs::create_symlink("nowhere", directory_.Join(".view.switching"));

  MUSTER_ASSERT_OK(place->Switch("llama@v2"));

  EXPECT_EQ(place->Current(), "llama@v2");
  EXPECT_FALSE(fs::exists(fs::symlink_status(directory_.Join(".view.switching"))));
}

TEST_F(ViewPlaceTest, LinkThatLeadsNowhereIsNoCurrentVersion) {
  const auto place = At("view");
  const auto lock = place->Lock({});
  MUSTER_ASSERT_OK(lock);
  MUSTER_ASSERT_OK(place->Switch("llama@v1"));

  EXPECT_EQ(place->Current(), std::nullopt);
  MUSTER_EXPECT_OK(place->Check());
}

TEST_F(ViewPlaceTest, LockIsOneProcessAtATime) {
  const auto place = At("new/view");
  auto lock = place->Lock({});
  MUSTER_ASSERT_OK(lock);
  std::stop_source stop;
  stop.request_stop();

  EXPECT_THAT(place->Lock(stop.get_token()), StatusIs(absl::StatusCode::kCancelled));
  lock->Reset();
  MUSTER_EXPECT_OK(place->Lock(stop.get_token()));
}

TEST_F(ViewPlaceTest, WhoComesWhileAnotherBeginsTheViewDoesNotTakeItForSomebodyElses) {
  for (int round = 0; round < 40; ++round) {
    const std::string name = absl::StrCat("view", round);
    std::latch start(4);
    std::vector<absl::Status> results(4);
    std::vector<std::jthread> threads;
    for (size_t i = 0; i < results.size(); ++i) {
      threads.emplace_back([&, i] {
        const auto place = At(name);
        start.arrive_and_wait();
        const auto lock = place->Lock({});
        results[i] = lock.status();
        if (lock.ok()) Write(absl::StrCat(name, ".d/llama@v", i, "/file"));
      });
    }
    threads.clear();
    for (const absl::Status& result : results) MUSTER_ASSERT_OK(result);
  }
}

TEST_F(ViewPlaceTest, UnusedDirectoryGoesAndAUsedOneStays) {
  const auto place = At("view");
  MUSTER_ASSERT_OK(place->Lock({}));
  Write("view.d/llama@v1/file");
  place->RemoveIfUnused();
  EXPECT_TRUE(fs::exists(directory_.Join("view.d/.muster-view")));

  fs::remove_all(place->PathOf("llama@v1"));
  place->RemoveIfUnused();
  EXPECT_FALSE(fs::exists(directory_.Join("view.d")));
}

TEST_F(ViewPlaceTest, ViewThatIsNotThereIsUnknown) {
  EXPECT_EQ(ReasonOf(At("view")->LockExisting({}).status()), "VIEW_UNKNOWN");
  EXPECT_FALSE(fs::exists(directory_.Join("view.d")));
}

}  // namespace
}  // namespace muster
