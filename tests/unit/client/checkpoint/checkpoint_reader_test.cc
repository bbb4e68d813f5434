#include "client/checkpoint/checkpoint_reader.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/format/file_names.h"
#include "client/format/index_json.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/limits.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/client/checkpoint/checkpoint_fixtures.h"

namespace muster {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using testing::UnorderedElementsAre;

constexpr char kIndex[] = "model.safetensors.index.json";

std::vector<std::string> Paths(const std::vector<FoundFile>& files) {
  std::vector<std::string> paths;
  for (const FoundFile& file : files) paths.push_back(file.relative_path);
  return paths;
}

std::vector<std::string> Names(const Checkpoint& checkpoint) {
  std::vector<std::string> names;
  for (const SourceTensor& tensor : checkpoint.tensors) names.emplace_back(tensor.name);
  return names;
}

std::vector<std::string> LeftOutSets(const Checkpoint& checkpoint) {
  std::vector<std::string> names;
  for (const WeightSet& set : checkpoint.sets) {
    if (!set.chosen) names.push_back(InFolder(set.folder, set.name));
  }
  return names;
}

std::vector<std::pair<std::string, std::string>> LeftOutPaths(const Checkpoint& checkpoint) {
  std::vector<std::pair<std::string, std::string>> paths;
  for (const LeftOut& file : checkpoint.left_out) paths.emplace_back(file.path, file.why);
  return paths;
}

TEST(TensorCheckpointTest, SingleFileGivesItsTensors) {
  TestDirectory directory;
  const std::string path =
      directory.Write("m.safetensors", FixtureFile({{"a", 3}, {"b", 2}}, R"({"format":"pt"})"));
  directory.Write("config.json", "{}");

  const auto checkpoint = OpenTensorCheckpoint(path, {});

  MUSTER_ASSERT_OK(checkpoint);
  EXPECT_THAT(Names(*checkpoint), ElementsAre("a", "b"));
  EXPECT_THAT(checkpoint->components[0].metadata, ElementsAre(Pair("format", "pt")));
  EXPECT_THAT(checkpoint->companions, IsEmpty());
  EXPECT_EQ(checkpoint->TotalBytes(), 10);
  const SourceTensor& b = checkpoint->tensors[1];
  std::string bytes(static_cast<size_t>(b.size_bytes), ' ');
  MUSTER_ASSERT_OK(checkpoint->files[b.file].bytes->Read(b.offset_bytes, absl::MakeSpan(bytes)));
  EXPECT_EQ(bytes, FixtureTensorBytes({"b", 2}));
}

TEST(TensorCheckpointTest, IndexedDirectoryGivesTensorsCompanionsAndWarnings) {
  TestDirectory directory;
  directory.Write("model-1.safetensors", FixtureFile({{"a", 3}}, R"({"format":"pt","x":"1"})"));
  directory.Write("model-2.safetensors", FixtureFile({{"b", 2}}, R"({"format":"pt","y":"2"})"));
  directory.Write("consolidated.safetensors", FixtureFile({{"a", 3}}));
  directory.Write("pytorch_model.bin", "PK");
  directory.Write(kIndex,
                  WriteIndexJson({{"a", "model-1.safetensors"}, {"b", "model-2.safetensors"}}, 10));
  directory.Write("config.json", "{}");
  directory.Write("1_Pooling/config.json", "{}");
  directory.Write(".gitattributes", "x");
  directory.Write(".git/config", "x");
  directory.Write(".cache/huggingface/x", "x");
  directory.Write(".config.json.swp", "x");
  directory.Write(".model.tmp-12-0", "x");

  const auto checkpoint = OpenTensorCheckpoint(directory.root(), {});

  MUSTER_ASSERT_OK(checkpoint);
  EXPECT_THAT(Names(*checkpoint), ElementsAre("a", "b"));
  EXPECT_THAT(checkpoint->components[0].metadata,
              ElementsAre(Pair("format", "pt"), Pair("x", "1"), Pair("y", "2")));
  EXPECT_THAT(Paths(checkpoint->companions),
              ElementsAre(".gitattributes", "1_Pooling/config.json", "config.json"));
  EXPECT_THAT(checkpoint->warnings, IsEmpty());
  EXPECT_THAT(LeftOutSets(*checkpoint),
              UnorderedElementsAre("consolidated*.safetensors", "pytorch_model*.bin"));
}

TEST(TensorCheckpointTest, HalfAModelIsLeftOutWholeAndNamed) {
  TestDirectory directory;
  directory.Write("model.safetensors", FixtureFile({{"a", 3}}));
  directory.Write("model.xml", "a network that has the chosen file's name");
  directory.Write("openvino/openvino_model.xml", "<net/>");
  directory.Write("openvino/openvino_model.bin", "weights");
  directory.Write("openvino/lonely.xml", "<net/>");
  directory.Write("onnx/model.onnx", "a graph");
  directory.Write("onnx/model.onnx_data", "its tensors");
  directory.Write("tokenizer.bin", "PK");
  directory.Write("tokenizer.json", "{}");

  const auto checkpoint = OpenTensorCheckpoint(directory.root(), {});

  MUSTER_ASSERT_OK(checkpoint);
  EXPECT_THAT(Paths(checkpoint->companions),
              ElementsAre("model.xml", "openvino/lonely.xml", "tokenizer.json"));
  EXPECT_THAT(
      LeftOutPaths(*checkpoint),
      ElementsAre(
          Pair("onnx/model.onnx_data", "of no use without \"onnx/model.onnx\", which is left out"),
          Pair("openvino/openvino_model.xml",
               "of no use without \"openvino/openvino_model.bin\", which is left out")));
  EXPECT_FALSE(checkpoint->left_out[0].expected);

  // Cut raw, both halves are published.
  const auto raw = OpenRawCheckpoint(directory.root(), {});
  MUSTER_ASSERT_OK(raw);
  EXPECT_THAT(Paths(raw->companions), testing::Contains("openvino/openvino_model.xml"));
}

TEST(TensorCheckpointTest, EmptyFoldersAreSaidToBeLeftOut) {
  TestDirectory directory;
  directory.Write("model.safetensors", FixtureFile({{"a", 3}}));
  std::filesystem::create_directories(directory.Path("2_Normalize"));

  const auto checkpoint = OpenTensorCheckpoint(directory.root(), {});

  MUSTER_ASSERT_OK(checkpoint);
  EXPECT_THAT(LeftOutPaths(*checkpoint), ElementsAre(Pair("2_Normalize/", "an empty folder")));
  EXPECT_FALSE(checkpoint->left_out[0].expected);
}

TEST(TensorCheckpointTest, DirectoryWithoutIndexTakesEveryFileOfItsTopLevel) {
  TestDirectory directory;
  directory.Write("y.safetensors", FixtureFile({{"b", 2}}));
  directory.Write("x.safetensors", FixtureFile({{"a", 3}}));
  directory.Write("deep/z.safetensors", FixtureFile({{"c", 3}}));

  const auto checkpoint = OpenTensorCheckpoint(directory.root() + "/", {});

  MUSTER_ASSERT_OK(checkpoint);
  EXPECT_THAT(Names(*checkpoint), ElementsAre("a", "b"));
  EXPECT_THAT(LeftOutSets(*checkpoint), ElementsAre("deep/*.safetensors"));
}

TEST(TensorCheckpointTest, NameInTwoFilesIsRefusedNamingBoth) {
  TestDirectory directory;
  directory.Write("x.safetensors", FixtureFile({{"a", 3}}));
  directory.Write("y.safetensors", FixtureFile({{"a", 3}}));

  EXPECT_THAT(
      OpenTensorCheckpoint(directory.root(), {}),
      StatusIs(absl::StatusCode::kInvalidArgument,
               AllOf(HasSubstr("\"a\""), HasSubstr("x.safetensors"), HasSubstr("y.safetensors"))));
}

TEST(TensorCheckpointTest, MetadataWithTwoValuesIsRefusedNamingFilesAndValues) {
  TestDirectory directory;
  directory.Write("x.safetensors", FixtureFile({{"a", 3}}, R"({"format":"pt"})"));
  directory.Write("y.safetensors", FixtureFile({{"b", 3}}, R"({"format":"tf"})"));

  EXPECT_THAT(OpenTensorCheckpoint(directory.root(), {}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("\"format\""), HasSubstr("\"pt\""), HasSubstr("\"tf\""),
                             HasSubstr("x.safetensors"), HasSubstr("y.safetensors"))));
}

TEST(TensorCheckpointTest, IndexThatNamesAMissingFileIsNotFound) {
  TestDirectory directory;
  directory.Write("x.safetensors", FixtureFile({{"a", 3}}));
  directory.Write(kIndex, WriteIndexJson({{"a", "x.safetensors"}, {"b", "gone.safetensors"}}, 10));

  EXPECT_THAT(OpenTensorCheckpoint(directory.root(), {}),
              StatusIs(absl::StatusCode::kNotFound,
                       AllOf(HasSubstr(kIndex), HasSubstr("\"gone.safetensors\""))));
}

TEST(TensorCheckpointTest, IndexThatDisagreesWithItsFilesIsRefusedNamingTheTensor) {
  TestDirectory directory;
  directory.Write("x.safetensors", FixtureFile({{"a", 3}, {"b", 1}}));
  directory.Write(kIndex, WriteIndexJson({{"a", "x.safetensors"}, {"c", "x.safetensors"}}, 10));
  EXPECT_THAT(OpenTensorCheckpoint(directory.root(), {}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("\"c\""), HasSubstr("lacks it"))));

  directory.Write(kIndex, WriteIndexJson({{"a", "x.safetensors"}}, 10));
  EXPECT_THAT(OpenTensorCheckpoint(directory.root(), {}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("\"b\""), HasSubstr("does not list"))));

  directory.Write(kIndex, WriteIndexJson({{"a", "../x.safetensors"}}, 10));
  EXPECT_THAT(OpenTensorCheckpoint(directory.root(), {}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("../x.safetensors")));
}

TEST(TensorCheckpointTest, LinkOutOfTheDirectoryIsNeverRead) {
  TestDirectory directory;
  directory.Write("secret", "s");
  directory.Write("outside.safetensors", FixtureFile({{"o", 3}}));
  directory.Write("m/x.safetensors", FixtureFile({{"a", 3}}));
  directory.Write("m/real.json", "{}");
  std::filesystem::create_symlink("../secret", directory.Path("m/leak.json"));
  std::filesystem::create_symlink("real.json", directory.Path("m/inside.json"));
  std::filesystem::create_symlink("nowhere", directory.Path("m/dangling.json"));
  std::filesystem::create_symlink("..", directory.Path("m/up"));
  std::filesystem::create_symlink("around", directory.Path("m/around"));
  ASSERT_EQ(::mkfifo(directory.Path("m/pipe").c_str(), 0600), 0);

  const auto checkpoint = OpenTensorCheckpoint(directory.Path("m"), {});

  MUSTER_ASSERT_OK(checkpoint);
  EXPECT_THAT(Paths(checkpoint->companions), ElementsAre("inside.json", "real.json"));
  EXPECT_THAT(
      LeftOutPaths(*checkpoint),
      ElementsAre(Pair("around", "a link that leads in a circle"),
                  Pair("dangling.json", "a link to nothing"),
                  Pair("leak.json", "a link out of the directory"),
                  Pair("pipe", "not a regular file"), Pair("up", "a link out of the directory")));

  std::filesystem::create_symlink("../outside.safetensors", directory.Path("m/o.safetensors"));
  directory.Write(std::string("m/") + kIndex,
                  WriteIndexJson({{"a", "x.safetensors"}, {"o", "o.safetensors"}}, 1));
  EXPECT_THAT(OpenTensorCheckpoint(directory.Path("m"), {}),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("link out of the directory")));
}

TEST(TensorCheckpointTest, OtherFormatsAreRefusedWithTheAdviceToUseRaw) {
  TestDirectory directory;
  const auto refused = [](absl::string_view what) {
    return StatusIs(absl::StatusCode::kInvalidArgument,
                    AllOf(HasSubstr(std::string(what)), HasSubstr("--strategy raw")));
  };
  EXPECT_THAT(OpenTensorCheckpoint(directory.Write("a.pth", "PK\x03\x04 zip zip zip zip"), {}),
              refused("zip"));
  EXPECT_THAT(
      OpenTensorCheckpoint(directory.Write("a.bin", std::string("\x80\x02}q\0.....", 10)), {}),
      refused("pickle"));
  EXPECT_THAT(OpenTensorCheckpoint(directory.Write("a.gguf", "GGUF............"), {}),
              refused("GGUF"));
  EXPECT_THAT(OpenTensorCheckpoint(directory.Write("a.txt", "hello, this is text"), {}),
              refused("format"));
  EXPECT_THAT(OpenTensorCheckpoint(directory.root(), {}), refused("a.bin"));
}

// A header of 640 bytes begins with the bytes of a pickle.
TEST(TensorCheckpointTest, HeaderThatLooksLikeAPickleIsRead) {
  TestDirectory directory;
  std::string json = "{}";
  json.resize(640, ' ');
  json = R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})";
  json.resize(640, ' ');

  MUSTER_EXPECT_OK(OpenTensorCheckpoint(directory.Write("a.bin", SafetensorsBytes(json, "x")), {}));
}

TEST(TensorCheckpointTest, DamagedSafetensorsFileGetsThePreciseError) {
  TestDirectory directory;

  EXPECT_THAT(OpenTensorCheckpoint(directory.Write("a.safetensors", "1234"), {}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("4 bytes, too few")));
}

TEST(TensorCheckpointTest, UnknownDtypeIsAWarningOrWithStrictAnError) {
  TestDirectory directory;
  const std::string path = directory.Write(
      "m.safetensors",
      SafetensorsBytes(R"({"a":{"dtype":"Q4","shape":[5],"data_offsets":[0,3]}})", "xyz"));

  const auto checkpoint = OpenTensorCheckpoint(path, {});
  MUSTER_ASSERT_OK(checkpoint);
  EXPECT_THAT(checkpoint->warnings, ElementsAre(HasSubstr("\"Q4\"")));
  EXPECT_THAT(OpenTensorCheckpoint(path, {.strict = true}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("\"Q4\"")));
}

TEST(TensorCheckpointTest, MissingAndEmptySourcesAreRefused) {
  TestDirectory directory;
  EXPECT_THAT(OpenTensorCheckpoint(directory.Path("gone"), {}),
              StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(OpenTensorCheckpoint(directory.root(), {}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no weight files")));
  EXPECT_THAT(OpenRawCheckpoint(directory.root(), {}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no weight files")));
}

TEST(TensorCheckpointTest, CompanionBeyondTheLimitsIsRefusedNamingIt) {
  TestDirectory directory;
  directory.Write("x.safetensors", FixtureFile({{"a", 3}}));
  const std::string big = directory.Write("big.json", "{}");
  std::filesystem::resize_file(big, kMaxCompanionBytes);
  MUSTER_EXPECT_OK(OpenTensorCheckpoint(directory.root(), {}));

  std::filesystem::resize_file(big, kMaxCompanionBytes + 1);
  EXPECT_THAT(OpenTensorCheckpoint(directory.root(), {}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("big.json")));

  std::filesystem::remove(big);
  directory.Write("bad\nname.json", "{}");
  EXPECT_THAT(OpenTensorCheckpoint(directory.root(), {}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("bad\\nname.json")));
}

TEST(TensorCheckpointTest, MoreThanAThousandCompanionsAreRefusedNamingOne) {
  TestDirectory directory;
  directory.Write("x.safetensors", FixtureFile({{"a", 3}}));
  for (int i = 0; i < 1'000; ++i) directory.Write(absl::StrCat("c/", 1'000 + i), "");
  MUSTER_EXPECT_OK(OpenTensorCheckpoint(directory.root(), {}));

  directory.Write("c/last", "");

  EXPECT_THAT(
      OpenTensorCheckpoint(directory.root(), {}),
      StatusIs(absl::StatusCode::kInvalidArgument, AllOf(HasSubstr("c/last"), HasSubstr("1001"))));
}

TEST(TensorCheckpointTest, ChangeOfASourceFileIsNoticed) {
  TestDirectory directory;
  directory.Write("x.safetensors", FixtureFile({{"a", 3}}));
  const auto checkpoint = OpenTensorCheckpoint(directory.root(), {});
  MUSTER_ASSERT_OK(checkpoint);
  MUSTER_EXPECT_OK(checkpoint->CheckUnchanged());

  directory.Write("x.safetensors", FixtureFile({{"a", 4}}));

  EXPECT_THAT(checkpoint->CheckUnchanged(),
              StatusIs(absl::StatusCode::kAborted, HasSubstr("x.safetensors")));
}

TEST(TensorCheckpointTest, ComponentsKeepTheirFoldersApart) {
  TestDirectory directory;
  directory.Write("unet/m.safetensors", FixtureFile({{"w", 3}, {"b", 1}}, R"({"format":"pt"})"));
  directory.Write("vae/m.safetensors", FixtureFile({{"w", 2}}, R"({"format":"np"})"));

  const auto checkpoint = OpenTensorCheckpoint(directory.root(), {});

  MUSTER_ASSERT_OK(checkpoint);
  ASSERT_EQ(checkpoint->components.size(), 2u);
  EXPECT_EQ(checkpoint->components[1].folder, "vae");
  EXPECT_THAT(checkpoint->components[1].metadata, ElementsAre(Pair("format", "np")));
  std::vector<std::string> names;
  for (const SourceTensor& tensor : checkpoint->tensors) {
    names.push_back(checkpoint->NameInCatalogue(tensor));
  }
  EXPECT_THAT(names, ElementsAre("unet/w", "unet/b", "vae/w"));
}

TEST(TensorCheckpointTest, NamesThatMeetOnlyWithTheirFoldersAreRefusedNamingBothFiles) {
  TestDirectory directory;
  directory.Write("a/x.safetensors", FixtureFile({{"b/c", 3}}));
  directory.Write("a/b/y.safetensors", FixtureFile({{"c", 3}}));

  EXPECT_THAT(OpenTensorCheckpoint(directory.root(), {}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("\"a/b/c\""), HasSubstr("x.safetensors"),
                             HasSubstr("y.safetensors"))));
}

TEST(TensorCheckpointTest, PathsThatDifferInLetterCaseOnlyAreRefusedNamingBoth) {
  TestDirectory directory;
  directory.Write("m.safetensors", FixtureFile({{"w", 3}}));
  directory.Write("Config.json", "{}");
  directory.Write("config.json", "{}");

  EXPECT_THAT(OpenTensorCheckpoint(directory.root(), {}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("Config.json"), HasSubstr("config.json"))));
  CheckpointOptions options;
  options.walk.exclude = {"Config*"};
  MUSTER_EXPECT_OK(OpenTensorCheckpoint(directory.root(), options));
}

TEST(TensorCheckpointTest, CodeIsLeftOutUnlessAllowedAndMissedWhereAnAutoMapNamesIt) {
  TestDirectory directory;
  directory.Write("m.safetensors", FixtureFile({{"w", 3}}));
  directory.Write("modeling_x.py", "import os");
  directory.Write("helper.py", "import os");
  directory.Write("config.json", R"({"auto_map":{"AutoModel":"modeling_x.XModel"}})");

  const auto without = OpenTensorCheckpoint(directory.root(), {});
  MUSTER_ASSERT_OK(without);
  EXPECT_THAT(Paths(without->companions), ElementsAre("config.json"));
  EXPECT_THAT(LeftOutPaths(*without), ElementsAre(Pair("helper.py", HasSubstr("--allow-code")),
                                                  Pair("modeling_x.py", HasSubstr("code"))));
  EXPECT_THAT(without->warnings,
              ElementsAre(AllOf(HasSubstr("auto_map"), HasSubstr("modeling_x.py"))));

  CheckpointOptions options;
  options.walk.allow_code = true;
  const auto with = OpenTensorCheckpoint(directory.root(), options);
  MUSTER_ASSERT_OK(with);
  EXPECT_THAT(Paths(with->companions), ElementsAre("config.json", "helper.py", "modeling_x.py"));
  EXPECT_THAT(with->warnings, IsEmpty());
}

// A snapshot as huggingface_hub lays it out: links to blobs, which are named by their SHA-256 where
// the file is a large one.
class SnapshotTest : public testing::Test {
 protected:
  static constexpr char kSnapshot[] = "models--org--name/snapshots/abc123";

  void Blob(const std::string& blob, const std::string& bytes, const std::string& file) {
    directory_.Write(absl::StrCat("models--org--name/blobs/", blob), bytes);
    const std::string link = directory_.Path(absl::StrCat(kSnapshot, "/", file));
    std::filesystem::create_directories(std::filesystem::path(link).parent_path());
    const std::string up = absl::StrContains(file, '/') ? "../../../blobs/" : "../../blobs/";
    std::filesystem::create_symlink(up + blob, link);
  }

  TestDirectory directory_;
};

TEST_F(SnapshotTest, LinksAreFollowedIntoTheRepositorysBlobsOnly) {
  const std::string sha256(64, 'a');
  Blob(sha256, FixtureFile({{"w", 3}}), "model.safetensors");
  Blob(std::string(40, 'b'), "{}", "config.json");
  Blob(std::string(64, 'c'), "{}", "1_Pooling/config.json");
  directory_.Write("models--org--other/blobs/x", "secret");
  std::filesystem::create_symlink("../../../models--org--other/blobs/x",
                                  directory_.Path(absl::StrCat(kSnapshot, "/other.json")));

  const auto checkpoint = OpenTensorCheckpoint(directory_.Path(kSnapshot), {});

  MUSTER_ASSERT_OK(checkpoint);
  EXPECT_EQ(checkpoint->snapshot, "org/name@abc123");
  EXPECT_THAT(Names(*checkpoint), ElementsAre("w"));
  EXPECT_EQ(checkpoint->files[0].sha256, sha256);
  EXPECT_THAT(Paths(checkpoint->companions), ElementsAre("1_Pooling/config.json", "config.json"));
  EXPECT_EQ(checkpoint->companions[0].sha256, std::string(64, 'c'));
  EXPECT_EQ(checkpoint->companions[1].sha256, "");
  EXPECT_THAT(LeftOutPaths(*checkpoint),
              ElementsAre(Pair("other.json", "a link out of the directory")));
}

TEST_F(SnapshotTest, WholeRepositoryIsRefusedNamingTheWayToASnapshot) {
  Blob(std::string(64, 'a'), FixtureFile({{"w", 3}}), "model.safetensors");

  EXPECT_THAT(OpenTensorCheckpoint(directory_.Path("models--org--name"), {}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("snapshots/REVISION")));
}

TEST_F(SnapshotTest, BlobThatIsNotThereIsNamedByTheIndexsError) {
  Blob(std::string(64, 'a'), FixtureFile({{"w", 3}}), "model-1.safetensors");
  directory_.Write(absl::StrCat(kSnapshot, "/", kIndex),
                   WriteIndexJson({{"w", "model-1.safetensors"}}, 1));
  std::filesystem::remove(directory_.Path("models--org--name/blobs/" + std::string(64, 'a')));

  EXPECT_THAT(OpenTensorCheckpoint(directory_.Path(kSnapshot), {}),
              StatusIs(absl::StatusCode::kNotFound,
                       AllOf(HasSubstr("model-1.safetensors"), HasSubstr("a link to nothing"))));
}

TEST(RawCheckpointTest, DirectoryGivesEveryWeightFileAndKeepsIndexes) {
  TestDirectory directory;
  directory.Write("b.gguf", "12345");
  directory.Write("deep/a.pth", "123");
  directory.Write("x.safetensors", "not even one");
  directory.Write(kIndex, "{}");
  directory.Write("config.json", "{}");

  const auto checkpoint = OpenRawCheckpoint(directory.root(), {});

  MUSTER_ASSERT_OK(checkpoint);
  ASSERT_EQ(checkpoint->files.size(), 3u);
  EXPECT_EQ(checkpoint->files[0].relative_path, "b.gguf");
  EXPECT_EQ(checkpoint->files[1].relative_path, "deep/a.pth");
  EXPECT_EQ(checkpoint->TotalBytes(), 20);
  EXPECT_THAT(Paths(checkpoint->companions), ElementsAre("config.json", kIndex));
}

}  // namespace
}  // namespace muster
