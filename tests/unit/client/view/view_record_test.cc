#include "client/view/view_record.h"

#include <filesystem>
#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/error_info.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace muster {
namespace {

using ::testing::ElementsAre;

class ViewRecordTest : public testing::Test {
 protected:
  ViewRecordTest() : place_(*ViewPlace::At(directory_.Join("view"))) {
    MUSTER_EXPECT_OK(place_.Lock({}));
  }

  static ViewRecord Sample() {
    ViewRecord record;
    record.model_version = "models/llama/versions/v1";
    record.content = "0123";
    record.cache = {"/var/my cache", "default"};
    record.links = ViewLinks::kSymlink;
    record.partial = true;
    record.state = ViewRecord::State::kBuilt;
    record.files = {{"a b/model.safetensors", ViewFile::Kind::kSymlink, "root-1-2", 2, ""},
                    {"config.json", ViewFile::Kind::kWritten, "", 3, "1/2.3/4.5"},
                    {"x", ViewFile::Kind::kHardLink, "root-1-2", 2, "1/2.3"}};
    return record;
  }

  void WriteText(const std::string& text) {
    std::ofstream(place_.RecordPathOf("llama@v1")) << text;
  }

  TemporaryDirectory directory_;
  const ViewPlace place_;
};

TEST_F(ViewRecordTest, IsReadAsItWasWritten) {
  const ViewRecord record = Sample();
  MUSTER_ASSERT_OK(WriteViewRecord(place_, "llama@v1", record));

  const auto read = ReadViewRecord(place_, "llama@v1");

  MUSTER_ASSERT_OK(read);
  EXPECT_EQ(read->model_version, record.model_version);
  EXPECT_EQ(read->content, "0123");
  EXPECT_EQ(read->cache.path, "/var/my cache");
  EXPECT_EQ(read->cache.domain, "default");
  EXPECT_EQ(read->links, ViewLinks::kSymlink);
  EXPECT_TRUE(read->partial);
  EXPECT_EQ(read->state, ViewRecord::State::kBuilt);
  ASSERT_EQ(read->files.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(read->files[i].path, record.files[i].path);
    EXPECT_EQ(read->files[i].kind, record.files[i].kind);
    EXPECT_EQ(read->files[i].key, record.files[i].key);
    EXPECT_EQ(read->files[i].size_bytes, record.files[i].size_bytes);
    EXPECT_EQ(read->files[i].state, record.files[i].state);
  }
  EXPECT_THAT(read->Keys(), ElementsAre("root-1-2"));
  EXPECT_EQ(read->SizeBytes(), 7);
}

TEST_F(ViewRecordTest, AbsentOneIsNotFound) {
  EXPECT_THAT(ReadViewRecord(place_, "llama@v1"), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(ViewRecordTest, WhatIsNoRecordIsBroken) {
  for (const char* const text :
       {"", "muster-view 1\n", "muster-view 2\nend\n", "muster-view 1\nfile hard 1\nend\n",
        "muster-view 1\nfile hard 1 k s ../x\nend\n", "muster-view 1\nfile odd 1 k s x\nend\n",
        "muster-view 1\nmade hard whole never\nend\n", "muster-view 1\nodd\nend\n",
        "muster-view 1\nfile hard 1 k s x\n"}) {
    WriteText(text);
    EXPECT_EQ(ReasonOf(ReadViewRecord(place_, "llama@v1").status()), "VIEW_RECORD_BROKEN") << text;
  }
}

}  // namespace
}  // namespace muster
