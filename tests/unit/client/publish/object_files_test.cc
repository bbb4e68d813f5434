// Checkpoints below a URI: listed, opened, registered in place and cut again.
#include "client/checkpoint/object_files.h"

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "client/assemble/assembler.h"
#include "client/publish/source_plan.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/status_macros.h"
#include "storage/object/memory_object_store.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/client/publish/publishing_fixture.h"
#include "tests/unit/client/torch/torch_fixtures.h"

namespace muster {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

// A store that can read, but neither list nor write, as the web; its objects are those of another.
class WebLikeStore final : public ObjectStore {
 public:
  explicit WebLikeStore(std::shared_ptr<ObjectStore> behind) : behind_(std::move(behind)) {}
  absl::StatusOr<ObjectInfo> Stat(absl::string_view key, const std::stop_token& stop) override {
    return behind_->Stat(key, stop);
  }
  absl::Status Read(absl::string_view key, int64_t offset, absl::Span<char> out,
                    const ReadOptions& options) override {
    return behind_->Read(key, offset, out, options);
  }
  absl::StatusOr<std::unique_ptr<ObjectWriter>> Create(absl::string_view,
                                                       const WriteOptions&) override {
    return absl::UnimplementedError("read only");
  }
  absl::StatusOr<ObjectInfo> Put(absl::string_view, absl::string_view,
                                 const WriteOptions&) override {
    return absl::UnimplementedError("read only");
  }
  absl::StatusOr<std::vector<ListedObject>> List(absl::string_view, const ListOptions&) override {
    return absl::UnimplementedError("can't list");
  }
  absl::Status Delete(absl::string_view) override { return absl::UnimplementedError("read only"); }

 private:
  const std::shared_ptr<ObjectStore> behind_;
};

class ObjectFilesTest : public PublishingTest {
 protected:
  ObjectFilesTest() {
    EXPECT_THAT(RegisterMemoryObjectStore(stores_), IsOk());
    const auto open = [this](const Uri& uri) -> absl::StatusOr<ObjectRef> {
      Uri behind = uri;
      behind.scheme = "memory";
      MUSTER_ASSIGN_OR_RETURN(ObjectRef ref, stores_.Open(behind.ToString()));
      ref.store = std::make_shared<WebLikeStore>(ref.store);
      return ref;
    };
    EXPECT_THAT(stores_.Register("web", open), IsOk());
    WriteSource();
  }

  void Put(const std::string& uri, const std::string& bytes) {
    const auto object = stores_.Open(uri);
    MUSTER_ASSERT_OK(object);
    MUSTER_ASSERT_OK(object->store->Put(object->key, bytes, {}));
  }

  // What WriteSource writes, as objects below `folder`.
  void Upload(const std::string& folder) {
    for (const std::string& file : FilesIn("source")) {
      Put(folder + file, ReadWholeFile(directory_.Path("source/" + file)));
    }
  }

  PublishOptions InPlace(const std::string& src) {
    PublishOptions options;
    options.source.path = src;
    options.source.in_place = true;
    options.source.piece_size_bytes = int64_t{1} << 20;
    options.model_version = kName;
    return options;
  }

  PublishOptions CutAnew(const std::string& src) {
    PublishOptions options = InPlace(src);
    options.source.in_place = false;
    return options;
  }

  absl::Status Assemble() {
    AssembleOptions options;
    options.model_version = kName;
    options.out = directory_.Path("out");
    return AssembleModel(catalogue_.client(), *puller_, options).status();
  }

  void ExpectAssembled() {
    MUSTER_ASSERT_OK(Assemble());
    const auto opened = OpenTensorCheckpoint(directory_.Path("out"), {});
    MUSTER_ASSERT_OK(opened);
    EXPECT_THAT(opened->tensors, SizeIs(4));
    EXPECT_EQ(ReadWholeFile(directory_.Path("out/tokenizer/vocab.txt")), "one\ntwo\n");
  }
};

TEST_F(ObjectFilesTest, PrefixIsAFolderWithOrWithoutASlashAndAnObjectIsAFile) {
  Upload("memory://bucket/models/llama/");
  const auto files = NewObjectFiles(stores_);

  for (const std::string src : {"memory://bucket/models/llama/", "memory://bucket/models/llama"}) {
    const auto kind = files->Look(src);
    MUSTER_ASSERT_OK(kind);
    EXPECT_TRUE(kind->is_folder) << src;
    const auto content = files->List(src, {});
    MUSTER_ASSERT_OK(content);
    ASSERT_THAT(content->weights, SizeIs(2));
    EXPECT_EQ(content->weights[0].relative_path, "a.safetensors");
    EXPECT_EQ(content->weights[0].path, "memory://bucket/models/llama/a.safetensors");
    ASSERT_THAT(content->companions, SizeIs(3));
    EXPECT_EQ(content->companions[2].relative_path, "tokenizer/vocab.txt");
  }
  const auto file = files->Look("memory://bucket/models/llama/a%2esafetensors");
  MUSTER_ASSERT_OK(file);
  EXPECT_FALSE(file->is_folder);
  EXPECT_EQ(file->name, "a.safetensors");
}

TEST_F(ObjectFilesTest, RulesOfDirectoriesHoldForObjectsToo) {
  Upload("memory://bucket/llama/");
  Put("memory://bucket/llama/.cache/x.bin", "x");
  Put("memory://bucket/llama/modeling.py", "x");
  Put("memory://bucket/llama2/c.safetensors", "x");
  const auto content =
      NewObjectFiles(stores_)->List("memory://bucket/llama", {.exclude = {"*.txt"}});
  MUSTER_ASSERT_OK(content);
  std::vector<std::string> left_out;
  for (const LeftOut& one : content->left_out) left_out.push_back(one.path);
  EXPECT_THAT(left_out,
              ElementsAre(".cache/x.bin", "empty.txt", "modeling.py", "tokenizer/vocab.txt"));
  EXPECT_THAT(content->weights, SizeIs(2));
  EXPECT_THAT(NewObjectFiles(stores_)->List("memory://bucket/nothing", {}),
              StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(ObjectFilesTest, InPlacePinsVersionsAndWritesNothing) {
  Upload("memory://bucket/llama/");
  MUSTER_ASSERT_OK(PublishNow(InPlace("memory://bucket/llama/")));

  const v1::Location& location = version().shards[0].locations(0);
  EXPECT_EQ(location.uri(), "memory://bucket/llama/a.safetensors");
  EXPECT_NE(location.version(), "");
  EXPECT_NE(version().companions[0].locations(0).version(), "");
  const auto content = NewObjectFiles(stores_)->List("memory://bucket/", {});
  MUSTER_ASSERT_OK(content);
  EXPECT_EQ(content->weights.size() + content->companions.size(), 5u);
  ExpectAssembled();
}

TEST_F(ObjectFilesTest, ObjectThatWasReplacedSinceIsNotRead) {
  Upload("memory://bucket/llama/");
  MUSTER_ASSERT_OK(PublishNow(InPlace("memory://bucket/llama/")));
  // Equal bytes, another version.
  Upload("memory://bucket/llama/");

  const absl::Status status = Assemble();
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), HasSubstr("was replaced since it was registered"));
}

TEST_F(ObjectFilesTest, ObjectThatChangesWhileItIsPublishedIsNoticed) {
  Upload("memory://bucket/llama/");
  PublishOptions options = InPlace("memory://bucket/llama/");
  options.on_plan = [&](const SourcePlan&, int64_t) { Upload("memory://bucket/llama/"); };

  const auto summary = PublishNow(options);
  EXPECT_THAT(summary, StatusIs(absl::StatusCode::kAborted));
  EXPECT_EQ(catalogue_.versions().count(kName), 0u);
}

TEST_F(ObjectFilesTest, ObjectsAreCutAnewToAnotherPlace) {
  Upload("memory://bucket/llama/");
  PublishOptions options = Options();
  options.source.path = "memory://bucket/llama/";
  options.destination = "memory://other/store";
  MUSTER_ASSERT_OK(PublishNow(options));

  EXPECT_THAT(version().shards, SizeIs(3));
  EXPECT_EQ(version().shards[0].locations(0).version(), "");
  ExpectAssembled();
}

TEST_F(ObjectFilesTest, WebServerIsAskedForTheUsualFiles) {
  Put("memory://host/llama/model.safetensors.index.json",
      R"({"metadata":{},"weight_map":{"model.embed_tokens.weight":"a.safetensors",
          "model.layers.0.mlp.weight":"a.safetensors","model.layers.1.mlp.weight":"b.safetensors",
          "lm_head.weight":"b.safetensors"}})");
  Upload("memory://host/llama/");
  const auto plan = PlanSource(InPlace("web://host/llama/").source, *NewObjectFiles(stores_));
  MUSTER_ASSERT_OK(plan);
  EXPECT_THAT(plan->checkpoint.files, SizeIs(2));
  ASSERT_THAT(plan->checkpoint.companions, SizeIs(1));
  EXPECT_EQ(plan->checkpoint.companions[0].relative_path, "config.json");

  Upload("memory://host/unusual/");
  const auto refused = PlanSource(InPlace("web://host/unusual/").source, *NewObjectFiles(stores_));
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("name the file itself"));
  MUSTER_EXPECT_OK(
      PlanSource(InPlace("web://host/unusual/a.safetensors").source, *NewObjectFiles(stores_)));
}

TEST_F(ObjectFilesTest, WebServerIsAskedForTorchFilesWhereThereAreNoOthers) {
  const std::string file = TorchFileOf({{"a"}, {"b"}});
  Put("memory://host/one/pytorch_model.bin", file);
  Put("memory://host/many/pytorch_model.bin.index.json",
      R"({"metadata":{},"weight_map":{"a":"part.bin","b":"part.bin"}})");
  Put("memory://host/many/part.bin", file);
  Put("memory://host/many/config.json", "{}");

  for (const std::string folder : {"web://host/one/", "web://host/many/"}) {
    const auto plan = PlanSource(CutAnew(folder).source, *NewObjectFiles(stores_));
    MUSTER_ASSERT_OK(plan);
    EXPECT_THAT(plan->checkpoint.tensors, SizeIs(2)) << folder;
  }

  Upload("memory://host/one/");
  Put("memory://host/one/model.safetensors",
      ReadWholeFile(directory_.Path("source/a.safetensors")));
  const auto plan = PlanSource(CutAnew("web://host/one/").source, *NewObjectFiles(stores_));
  MUSTER_ASSERT_OK(plan);
  ASSERT_THAT(plan->checkpoint.files, SizeIs(1));
  EXPECT_THAT(plan->checkpoint.files[0].relative_path, HasSubstr("model.safetensors"));
}

TEST_F(ObjectFilesTest, UnknownSchemeAndMissingObjectAreNamed) {
  EXPECT_THAT(PlanSource(InPlace("gopher://x/y").source, *FilesOf("gopher://x/y", stores_)),
              StatusIs(absl::StatusCode::kUnimplemented));
  EXPECT_THAT(PlanSource(InPlace("memory://x/y").source, *FilesOf("memory://x/y", stores_)),
              StatusIs(absl::StatusCode::kNotFound));
}

}  // namespace
}  // namespace muster
