#include "client/view/view_builder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "client/cache/cache_record.h"
#include "client/checkpoint/checkpoint_reader.h"
#include "client/view/view_versions.h"
#include "gmock/gmock.h"
#include "storage/base/error_info.h"
#include "storage/files/posix_file.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/client/view/view_fixture.h"

namespace muster {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Pair;

constexpr char kV2[] = "models/llama/versions/v2";
constexpr char kFirstShard[] = "model-00001-of-00003.safetensors";

class ViewBuilderTest : public ViewTest {
 protected:
  std::string OwnerOfV1() const {
    return absl::StrCat("view:", directory_.Path("view.d/llama@v1"));
  }

  // A process that died at any moment, played by a server that hangs up: every call fails from the
  // n-th on. Returns whether the build got further than that.
  bool BuildUntilCall(int calls) {
    auto left = std::make_shared<int>(calls);
    catalogue_.Before([left](const std::string&) {
      return (*left)-- > 0 ? absl::OkStatus() : absl::UnavailableError("gone");
    });
    const bool built = Build(MakeOptions()).ok();
    catalogue_.Before({});
    return built;
  }

  ino_t InodeOf(const std::string& relative) const {
    struct stat state {};
    EXPECT_EQ(stat(directory_.Path(relative).c_str(), &state), 0) << relative;
    return state.st_ino;
  }

  mode_t ModeOf(const std::string& relative) const {
    struct stat state {};
    EXPECT_EQ(lstat(directory_.Path(relative).c_str(), &state), 0) << relative;
    return state.st_mode & 07777;
  }

  std::string EntryOf(uint32_t shard) {
    return absl::StrCat("cache/default/", ContentKeyOf(version().shards[shard]));
  }
};

TEST_F(ViewBuilderTest, ViewIsTheModelAsEnginesOpenIt) {
  Fill(kName);

  const auto summary = Build(MakeOptions());

  MUSTER_ASSERT_OK(summary);
  EXPECT_FALSE(summary->kept);
  EXPECT_TRUE(summary->current);
  EXPECT_EQ(summary->files, 7u);
  EXPECT_EQ(LinkText(), "view.d/llama@v1");
  EXPECT_THAT(FilesIn("view.d/llama@v1"),
              ElementsAre("config.json", "empty.txt", "model-00001-of-00003.safetensors",
                          "model-00002-of-00003.safetensors", "model-00003-of-00003.safetensors",
                          "model.safetensors.index.json", "tokenizer/vocab.txt"));
  const auto opened = OpenTensorCheckpoint(directory_.Path("view"), {});
  MUSTER_ASSERT_OK(opened);
  EXPECT_EQ(opened->tensors.size(), 4u);
  for (const SourceTensor& tensor : opened->tensors) {
    std::string bytes(static_cast<size_t>(tensor.size_bytes), '\0');
    MUSTER_ASSERT_OK(
        opened->files[tensor.file].bytes->Read(tensor.offset_bytes, absl::MakeSpan(bytes)));
    EXPECT_EQ(bytes, FixtureTensorBytes({std::string(tensor.name), tensor.shape[0]}));
  }
  EXPECT_EQ(Content("view/tokenizer/vocab.txt"), "one\ntwo\n");
  EXPECT_THAT(NamesInVersions(), ElementsAre(".llama@v1.record", ".muster-view", "llama@v1"));
}

TEST_F(ViewBuilderTest, HardLinksAreTheEntriesThatStayVerifiedAndPinned) {
  Fill(kName);

  MUSTER_ASSERT_OK(Build(MakeOptions()));

  EXPECT_EQ(InodeOf(absl::StrCat("view/", kFirstShard)), InodeOf(EntryOf(0)));
  EXPECT_EQ(VerifiedEntries(), 3u);
  EXPECT_THAT(Pins(), ElementsAre(Pair(OwnerOfV1(), 3u)));
  EXPECT_THAT(*cache_->Evict({.target_bytes = 0}, {}), IsEmpty());
}

TEST_F(ViewBuilderTest, FilesAreReadOnlyAndFoldersOpen) {
  Fill(kName);
  const mode_t before = umask(0077);

  const auto built = Build(MakeOptions());

  umask(before);
  MUSTER_ASSERT_OK(built);
  EXPECT_EQ(ModeOf("view.d"), 0755u);
  EXPECT_EQ(ModeOf("view.d/llama@v1"), 0755u);
  EXPECT_EQ(ModeOf("view.d/llama@v1/tokenizer"), 0755u);
  for (const std::string& file : FilesIn("view.d/llama@v1")) {
    EXPECT_EQ(ModeOf("view.d/llama@v1/" + file), 0444u) << file;
  }
}

TEST_F(ViewBuilderTest, AnotherModeIsThatOfFilesAndEntries) {
  Fill(kName);
  ViewOptions options = MakeOptions();
  options.file_mode = 0440;

  MUSTER_ASSERT_OK(Build(options));

  EXPECT_EQ(ModeOf("view.d/llama@v1/config.json"), 0440u);
  EXPECT_EQ(ModeOf(EntryOf(1)), 0440u);
  EXPECT_EQ(VerifiedEntries(), 3u);
}

TEST_F(ViewBuilderTest, SymbolicLinksAreRelative) {
  Fill(kName);
  ViewOptions options = MakeOptions();
  options.links = ViewLinks::kSymlink;

  MUSTER_ASSERT_OK(Build(options));

  const fs::path link = directory_.Path(absl::StrCat("view.d/llama@v1/", kFirstShard));
  EXPECT_EQ(fs::read_symlink(link), "../../" + EntryOf(0));
  EXPECT_EQ(InodeOf(absl::StrCat("view/", kFirstShard)), InodeOf(EntryOf(0)));
  EXPECT_THAT(Pins(), ElementsAre(Pair(OwnerOfV1(), 3u)));
}

TEST_F(ViewBuilderTest, CopiesNeedNoEntries) {
  Fill(kName);
  ViewOptions options = MakeOptions();
  options.links = ViewLinks::kCopy;

  MUSTER_ASSERT_OK(Build(options));

  EXPECT_NE(InodeOf(absl::StrCat("view/", kFirstShard)), InodeOf(EntryOf(0)));
  EXPECT_EQ(Content(absl::StrCat("view/", kFirstShard)), Content(EntryOf(0)));
  EXPECT_THAT(Pins(), IsEmpty());
  MUSTER_ASSERT_OK(cache_->Evict({.target_bytes = 0}, {}));
  const auto again = Build(options);
  MUSTER_ASSERT_OK(again);
  EXPECT_TRUE(again->kept);
}

TEST_F(ViewBuilderTest, RotThatNobodyHasNoticedIsNotCopied) {
  Fill(kName);
  const std::string entry = directory_.Path(EntryOf(0));
  ASSERT_EQ(chmod(entry.c_str(), 0600), 0);
  {
    const UniqueFd fd(open(entry.c_str(), O_WRONLY));
    MUSTER_ASSERT_OK(
        WriteAt(fd.get(), entry, static_cast<int64_t>(fs::file_size(entry)) - 1, "\xA5"));
  }
  // As a disk does it: the record still fits.
  struct stat state {};
  ASSERT_EQ(stat(entry.c_str(), &state), 0);
  const UniqueFd domain(open(directory_.Path("cache/default").c_str(), O_RDONLY | O_DIRECTORY));
  MUSTER_ASSERT_OK(CacheRecord(domain.get(), fs::path(entry).filename().string()).Write(state));
  ASSERT_EQ(VerifiedEntries(), 3u);
  ViewOptions options = MakeOptions();
  options.links = ViewLinks::kCopy;

  EXPECT_THAT(Build(options), StatusIs(absl::StatusCode::kDataLoss));

  EXPECT_FALSE(fs::exists(entry)) << "it would be copied again";
  EXPECT_FALSE(fs::exists(fs::symlink_status(directory_.Path("view"))));
}

TEST_F(ViewBuilderTest, ModelOfOneShardIsOneFileWithoutIndex) {
  PublishOptions publish = Options();
  publish.model_version = kV2;
  publish.source.path = directory_.Path("source/a.safetensors");
  publish.source.shard_count = 1;
  MUSTER_ASSERT_OK(PublishNow(publish));
  Fill(kV2);

  MUSTER_ASSERT_OK(Build(MakeOptions(kV2)));

  EXPECT_THAT(FilesIn("view.d/llama@v2"), ElementsAre("model.safetensors"));
}

TEST_F(ViewBuilderTest, RawShardsBecomeTheFilesThatTheyWereCutFrom) {
  PublishAs(kV2, CutStrategy::kRaw);
  Fill(kV2);

  MUSTER_ASSERT_OK(Build(MakeOptions(kV2)));

  for (const std::string& file : FilesIn("source")) {
    EXPECT_EQ(Content("view/" + file), Content("source/" + file)) << file;
  }
}

TEST_F(ViewBuilderTest, VersionThatIsThereIsKept) {
  Fill(kName);
  MUSTER_ASSERT_OK(Build(MakeOptions()));
  const ino_t before = InodeOf("view.d/llama@v1");

  const auto again = Build(MakeOptions());

  MUSTER_ASSERT_OK(again);
  EXPECT_TRUE(again->kept);
  EXPECT_EQ(InodeOf("view.d/llama@v1"), before);
  EXPECT_THAT(Pins(), ElementsAre(Pair(OwnerOfV1(), 3u)));
}

TEST_F(ViewBuilderTest, SecondVersionIsSwitchedToOnce) {
  PublishAs(kV2);
  Fill(kName);
  Fill(kV2);
  MUSTER_ASSERT_OK(Build(MakeOptions()));
  MUSTER_ASSERT_OK(Build(MakeOptions(kV2)));
  EXPECT_EQ(LinkText(), "view.d/llama@v2");

  // A rollback by hand, and then the agent of v2 finds its model READY again.
  MUSTER_ASSERT_OK(SwitchView(Place(), "llama@v1", {}));
  const auto again = Build(MakeOptions(kV2));

  MUSTER_ASSERT_OK(again);
  EXPECT_FALSE(again->current);
  EXPECT_EQ(LinkText(), "view.d/llama@v1");
}

TEST_F(ViewBuilderTest, DamagedVersionIsMadeAnewAndDirStaysWhereItLeads) {
  PublishAs(kV2);
  Fill(kName);
  Fill(kV2);
  MUSTER_ASSERT_OK(Build(MakeOptions()));
  MUSTER_ASSERT_OK(Build(MakeOptions(kV2)));
  for (const std::string file : {"config.json", kFirstShard, "model.safetensors.index.json"}) {
    const std::string path = directory_.Path("view.d/llama@v1/" + file);
    fs::remove(path);
    if (file == "config.json") directory_.Write("view.d/llama@v1/" + file, "{}");

    const auto again = Build(MakeOptions());

    MUSTER_ASSERT_OK(again) << file;
    EXPECT_FALSE(again->kept) << file;
    EXPECT_FALSE(again->current) << file;
    EXPECT_EQ(FilesIn("view.d/llama@v1").size(), 7u) << file;
    EXPECT_THAT(NamesInVersions(), ElementsAre(".llama@v1.record", ".llama@v2.record",
                                               ".muster-view", "llama@v1", "llama@v2"));
  }
  EXPECT_THAT(Content("view.d/llama@v1/config.json"), HasSubstr("v1"));
  // The links of what was replaced were taken away with their entries' records in mind.
  EXPECT_EQ(VerifiedEntries(), cache_->List()->size());
}

TEST_F(ViewBuilderTest, EntryThatRottedIsReplacedInTheView) {
  Fill(kName);
  MUSTER_ASSERT_OK(Build(MakeOptions()));
  const std::string entry = directory_.Path(EntryOf(0));
  ASSERT_EQ(chmod(entry.c_str(), 0600), 0);
  FlipByte(entry, 500'000);
  EXPECT_THAT(cache_->Check(ContentKeyOf(version().shards[0]), {}, {}),
              StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(Build(MakeOptions()), StatusIs(absl::StatusCode::kFailedPrecondition));
  Fill(kName);

  const auto again = Build(MakeOptions());

  MUSTER_ASSERT_OK(again);
  EXPECT_FALSE(again->kept);
  EXPECT_EQ(InodeOf(absl::StrCat("view/", kFirstShard)), InodeOf(EntryOf(0)));
}

TEST_F(ViewBuilderTest, MissingShardsMakeNoView) {
  Fill(kName, {1});

  const auto built = Build(MakeOptions());

  EXPECT_THAT(built, StatusIs(absl::StatusCode::kFailedPrecondition,
                              HasSubstr("lacks 2 of 3 shards (0,2)")));
  EXPECT_EQ(ReasonOf(built.status()), "VIEW_INCOMPLETE");
  EXPECT_FALSE(fs::exists(fs::symlink_status(directory_.Path("view"))));
  EXPECT_FALSE(fs::exists(directory_.Path("view.d")));
  EXPECT_THAT(Pins(), IsEmpty());
}

TEST_F(ViewBuilderTest, PartialViewListsWhatIsThereAndGrows) {
  Fill(kName, {1});
  ViewOptions options = MakeOptions();
  options.only_shards = {1};

  MUSTER_ASSERT_OK(Build(options));

  EXPECT_THAT(FilesIn("view.d/llama@v1"),
              ElementsAre("config.json", "empty.txt", "model-00002-of-00003.safetensors",
                          "model.safetensors.index.json", "tokenizer/vocab.txt"));
  const std::string index = Content("view/model.safetensors.index.json");
  EXPECT_THAT(index, HasSubstr("model-00002-of-00003.safetensors"));
  EXPECT_THAT(index, Not(HasSubstr("model-00001-of-00003.safetensors")));
  EXPECT_THAT(Pins(), ElementsAre(Pair(OwnerOfV1(), 1u)));
  EXPECT_TRUE(ListViewVersions(Place())->front().record.partial);

  Fill(kName);
  options.only_shards = {0, 1, 2};
  MUSTER_ASSERT_OK(Build(options));

  EXPECT_EQ(FilesIn("view.d/llama@v1").size(), 7u);
  EXPECT_FALSE(ListViewVersions(Place())->front().record.partial);
  EXPECT_THAT(Pins(), ElementsAre(Pair(OwnerOfV1(), 3u)));
}

TEST_F(ViewBuilderTest, HostilePathsAreRefused) {
  Fill(kName);
  for (const std::string path : {"../evil", "/etc/evil", "a/../../evil",
                                 "model-00001-of-00003.safetensors", "line\nbreak"}) {
    version().companions[0].set_path(path);

    const auto built = Build(MakeOptions());

    EXPECT_THAT(built, StatusIs(absl::StatusCode::kInvalidArgument)) << path;
    EXPECT_EQ(ReasonOf(built.status()), "UNSAFE_PATH") << path;
    EXPECT_FALSE(fs::exists(directory_.Path("view.d"))) << path;
  }
}

TEST_F(ViewBuilderTest, CorruptCompanionLeavesNothing) {
  Fill(kName);
  FlipByte(directory_.Path("store/llama/v1-u1/companions/config.json"), 3);

  EXPECT_THAT(Build(MakeOptions()), StatusIs(absl::StatusCode::kDataLoss));

  EXPECT_FALSE(fs::exists(directory_.Path("view.d")));
  EXPECT_THAT(Pins(), IsEmpty());
  EXPECT_EQ(VerifiedEntries(), 3u);
}

TEST_F(ViewBuilderTest, FailureAtAnyCallLeavesNothing) {
  Fill(kName);
  int calls = 0;
  while (!BuildUntilCall(calls)) {
    EXPECT_FALSE(fs::exists(directory_.Path("view.d"))) << calls;
    EXPECT_THAT(Pins(), IsEmpty()) << calls;
    ASSERT_LT(++calls, 100);
  }
  EXPECT_GT(calls, 5);
  EXPECT_EQ(VerifiedEntries(), 3u);
}

TEST_F(ViewBuilderTest, FailureOfARebuildLeavesTheOldOne) {
  Fill(kName);
  MUSTER_ASSERT_OK(Build(MakeOptions()));
  fs::remove(directory_.Path("view.d/llama@v1/config.json"));
  int calls = 0;
  while (!BuildUntilCall(calls)) {
    EXPECT_THAT(NamesInVersions(), ElementsAre(".llama@v1.record", ".muster-view", "llama@v1"));
    EXPECT_THAT(Pins(), ElementsAre(Pair(OwnerOfV1(), 3u))) << calls;
    ASSERT_LT(++calls, 100);
  }
  EXPECT_TRUE(fs::exists(directory_.Path("view/config.json")));
}

TEST_F(ViewBuilderTest, WhatACrashLeftIsMadeAnew) {
  Fill(kName);
  MUSTER_ASSERT_OK(Build(MakeOptions()));
  // As after a crash between the record and the name.
  fs::rename(directory_.Path("view.d/llama@v1"), directory_.Path("view.d/.llama@v1.building"));

  const auto again = Build(MakeOptions());

  MUSTER_ASSERT_OK(again);
  EXPECT_FALSE(again->kept);
  EXPECT_THAT(NamesInVersions(), ElementsAre(".llama@v1.record", ".muster-view", "llama@v1"));
  EXPECT_EQ(VerifiedEntries(), 3u);
}

TEST_F(ViewBuilderTest, CrashBeforeTheSwitchIsMadeGood) {
  Fill(kName);
  MUSTER_ASSERT_OK(Build(MakeOptions()));
  auto record = ReadViewRecord(Place(), "llama@v1");
  MUSTER_ASSERT_OK(record);
  record->state = ViewRecord::State::kBuilt;
  MUSTER_ASSERT_OK(WriteViewRecord(Place(), "llama@v1", *record));
  fs::remove(directory_.Path("view"));

  const auto again = Build(MakeOptions());

  MUSTER_ASSERT_OK(again);
  EXPECT_TRUE(again->kept);
  EXPECT_EQ(LinkText(), "view.d/llama@v1");
}

TEST_F(ViewBuilderTest, OtherContentUnderTheSameNameIsRefused) {
  Fill(kName);
  MUSTER_ASSERT_OK(Build(MakeOptions()));
  version().companions[0].set_md5("00000000000000000000000000000000");

  const auto built = Build(MakeOptions());

  EXPECT_EQ(ReasonOf(built.status()), "VIEW_VERSION_DIFFERS") << built.status();
  EXPECT_EQ(FilesIn("view.d/llama@v1").size(), 7u);
}

TEST_F(ViewBuilderTest, HardLinksAcrossFileSystemsAreRefusedAndSymlinksTaken) {
  struct stat here {};
  struct stat there {};
  if (stat("/dev/shm", &there) != 0 || stat(directory_.root().c_str(), &here) != 0 ||
      here.st_dev == there.st_dev || access("/dev/shm", W_OK) != 0) {
    GTEST_SKIP() << "there is no second file system to write to";
  }
  Fill(kName);
  std::string root = "/dev/shm/muster-view-test-XXXXXX";
  ASSERT_NE(mkdtemp(root.data()), nullptr);
  ViewOptions options = MakeOptions();
  options.directory = root + "/view";
  options.links = ViewLinks::kHard;

  const auto refused = Build(options);
  options.links.reset();
  const auto built = Build(options);

  EXPECT_EQ(ReasonOf(refused.status()), "VIEW_LINKS_IMPOSSIBLE") << refused.status();
  MUSTER_EXPECT_OK(built);
  EXPECT_TRUE(built.ok() && built->links == ViewLinks::kSymlink);
  EXPECT_EQ(ReadWholeFile(absl::StrCat(root, "/view/", kFirstShard)), Content(EntryOf(0)));
  fs::remove_all(root);
}

TEST_F(ViewBuilderTest, DraftMakesNoView) {
  version().version.set_state(v1::ModelVersion::DRAFT);

  EXPECT_EQ(ReasonOf(Build(MakeOptions()).status()), "VERSION_NOT_COMMITTED");
}

TEST_F(ViewBuilderTest, StopIsHeardWhileAnotherProcessHasTheView) {
  MUSTER_ASSERT_OK(Place().Lock({}));
  const auto lock = Place().Lock({});
  std::stop_source stop;
  stop.request_stop();
  ViewOptions options = MakeOptions();
  options.stop = stop.get_token();

  EXPECT_THAT(Build(options), StatusIs(absl::StatusCode::kCancelled));
}

}  // namespace
}  // namespace muster
