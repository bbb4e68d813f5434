// What a node notes of its assemblies, and what a note serves as without a server.
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/agent/assembly_notes.h"
#include "client/agent/noted_assembly.h"
#include "client/cache/checked_shard.h"
#include "client/sdk/pages.h"
#include "client/sdk/pieces.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/fake_channel.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace muster {
namespace {

constexpr char kNotedVersion[] = "models/m/versions/v";
constexpr char kModelCalls[] = "/muster.v1.ModelService/";

class AssemblyNotesTest : public testing::Test {
 protected:
  AssemblyNotesTest() {
    assembly_.set_name("assemblies/demo");
    assembly_.set_uid("c-1");
    assembly_.set_model_version(kNotedVersion);
    assembly_.set_policy(v1::Assembly::FULL);
    version_.set_name(kNotedVersion);
    version_.set_uid("c-2");
    version_.set_shard_count(2);
    version_.set_state(v1::ModelVersion::COMMITTED);
    for (uint32_t index = 0; index < 2; ++index) {
      bytes_.emplace_back(1000, static_cast<char>('a' + index));
      v1::Shard& shard = shards_.emplace_back();
      shard.set_name(absl::StrCat(kNotedVersion, "/shards/", index));
      shard.set_index(index);
      shard.set_size_bytes(bytes_[index].size());
      shard.set_piece_size_bytes(1 << 20);
      shard.set_piece_count(1);
      shard.set_root(Md5ToHex(Md5Root({Md5Of(bytes_[index])})));
    }
    Serve();
    cache_ = *ShardCache::Open(directory_.Join("cache"), {});
  }

  void Serve() {
    fake_.OnUnary<v1::GetModelVersionRequest, v1::GetModelVersionResponse>(
        absl::StrCat(kModelCalls, "GetModelVersion"),
        [this](const auto&, auto& response, const CallOptions&) {
          *response.mutable_model_version() = version_;
          return absl::OkStatus();
        });
    fake_.OnUnary<v1::ListShardsRequest, v1::ListShardsResponse>(
        absl::StrCat(kModelCalls, "ListShards"),
        [this](const auto&, auto& response, const CallOptions&) {
          response.mutable_shards()->Add(shards_.begin(), shards_.end());
          return absl::OkStatus();
        });
    fake_.OnUnary<v1::ListPiecesRequest, v1::ListPiecesResponse>(
        absl::StrCat(kModelCalls, "ListPieces"),
        [this](const auto& request, auto& response, const CallOptions&) {
          response.set_piece_md5s(PackPieces({Md5Of(bytes_[request.name().back() - '0'])}));
          return absl::OkStatus();
        });
    fake_.OnUnary<v1::ListTensorsRequest, v1::ListTensorsResponse>(
        absl::StrCat(kModelCalls, "ListTensors"),
        [](const auto& request, auto& response, const CallOptions&) {
          response.add_tensors()->set_name(absl::StrCat("t", request.shard()));
          return absl::OkStatus();
        });
    fake_.OnUnary<v1::ListCompanionsRequest, v1::ListCompanionsResponse>(
        absl::StrCat(kModelCalls, "ListCompanions"),
        [](const auto&, auto& response, const CallOptions&) {
          response.add_companions()->set_path("config.json");
          return absl::OkStatus();
        });
  }

  absl::StatusOr<std::optional<node::AssemblyNote>> Make(const std::vector<v1::Shard>& held,
                                                         bool whole) {
    return MakeNote(client_, assembly_, held, whole, notes_.Read(assembly_.name()), {});
  }
  void Note() {
    const auto note = Make(shards_, true);
    MUSTER_ASSERT_OK(note);
    ASSERT_TRUE(note->has_value());
    MUSTER_ASSERT_OK(notes_.Write(**note));
  }
  std::unique_ptr<NotedAssembly> Noted() {
    absl::StatusOr<node::AssemblyNote> note = notes_.Read(assembly_.name());
    EXPECT_THAT(note, IsOk());
    auto noted = NotedAssembly::Make(*std::move(note), *random_);
    EXPECT_THAT(noted, IsOk());
    return *std::move(noted);
  }
  void PutIntoCache(uint32_t index) {
    const auto shard = CheckedShard::Make({shards_[index], {Md5Of(bytes_[index])}});
    MUSTER_ASSERT_OK(shard);
    absl::StatusOr<ShardCache::Acquired> acquired = cache_->Acquire(*shard, {});
    MUSTER_ASSERT_OK(acquired);
    MUSTER_ASSERT_OK(acquired->part->Write(0, bytes_[index]));
    MUSTER_ASSERT_OK(acquired->part->Commit());
  }
  std::string NotePath() const { return absl::StrCat(folder_.path(), "/assemblies/demo"); }

  const std::unique_ptr<Random> random_ = NewSeededRandom(3);
  TemporaryDirectory directory_;
  FakeChannel fake_;
  Client client_{std::make_unique<ForwardingChannel>(fake_), *random_};
  const NodeFolder folder_{directory_.Join("cache"), "nodes/n1"};
  const AssemblyNotes notes_{folder_};
  v1::Assembly assembly_;
  v1::ModelVersion version_;
  std::vector<v1::Shard> shards_;
  std::vector<std::string> bytes_;
  std::unique_ptr<ShardCache> cache_;
};

TEST_F(AssemblyNotesTest, NoteAnswersAsTheServerDid) {
  Note();
  EXPECT_THAT(notes_.Assemblies(), testing::ElementsAre("assemblies/demo"));
  const auto noted = Noted();
  Client& client = noted->client();

  EXPECT_THAT(noted->held(), testing::ElementsAre(0u, 1u));
  const auto shards = ListAllShards(client, kNotedVersion);
  MUSTER_ASSERT_OK(shards);
  EXPECT_EQ(shards->size(), 2u);
  MUSTER_EXPECT_OK(FetchPieces(client, shards->back()));
  std::string tensors;
  MUSTER_EXPECT_OK(
      ForEachTensor(client, kNotedVersion, ShardIndex(1), [&](const v1::Tensor& tensor) {
        tensors += tensor.name();
        return absl::OkStatus();
      }));
  EXPECT_EQ(tensors, "t1");
  EXPECT_EQ(ListAllCompanions(client, kNotedVersion)->size(), 1u);
  EXPECT_THAT(client.GetNode({}).status(),
              ErrorIs(absl::StatusCode::kUnavailable, "SERVER_UNREACHABLE"));
  EXPECT_THAT(ListAllShards(client, "models/m/versions/w").status(),
              ErrorIs(absl::StatusCode::kNotFound, "VERSION_UNKNOWN"));
}

TEST_F(AssemblyNotesTest, SameIsNotNotedTwice) {
  Note();
  const int lists = fake_.calls(absl::StrCat(kModelCalls, "ListShards"));
  EXPECT_FALSE(Make(shards_, true)->has_value());
  EXPECT_FALSE(Make(shards_, false)->has_value());
  EXPECT_EQ(fake_.calls(absl::StrCat(kModelCalls, "ListShards")), lists);

  EXPECT_TRUE(Make({shards_[1]}, true)->has_value());
  version_.set_uid("c-3");
  EXPECT_TRUE(Make(shards_, true)->has_value());
}

TEST_F(AssemblyNotesTest, NodeThatNeedsNoViewNotesItsShardsAlone) {
  const auto note = Make({shards_[1]}, false);
  MUSTER_ASSERT_OK(note);
  EXPECT_EQ((*note)->shards_size(), 1);
  EXPECT_EQ((*note)->held(0).tensors_size(), 0);
  EXPECT_EQ(fake_.calls(absl::StrCat(kModelCalls, "ListShards")), 0);
}

TEST_F(AssemblyNotesTest, NothingIsServedThatTheCacheDoesNotHoldVerified) {
  Note();
  const auto noted = Noted();
  PutIntoCache(0);
  EXPECT_THAT(noted->Verify(*cache_, {}),
              ErrorIs(absl::StatusCode::kFailedPrecondition, "VIEW_INCOMPLETE"));
  PutIntoCache(1);
  MUSTER_EXPECT_OK(noted->Verify(*cache_, {}));

  // Other bytes of the same size, and a record that can't vouch for them.
  const std::string key = ContentKeyOf(shards_[1]);
  const std::string entry = directory_.Join(absl::StrCat("cache/default/", key));
  std::filesystem::permissions(entry, std::filesystem::perms::owner_all);
  std::ofstream(entry, std::ios::in) << "XXXX";
  EXPECT_THAT(noted->Verify(*cache_, {}),
              ErrorIs(absl::StatusCode::kFailedPrecondition, "VIEW_INCOMPLETE"));
}

TEST_F(AssemblyNotesTest, DamagedNoteCountsForNothing) {
  Note();
  std::ostringstream text;
  text << std::ifstream(NotePath()).rdbuf();
  const std::string good = text.str();
  for (size_t at = 0; at < good.size(); at += 7) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 1);
    std::ofstream(NotePath()) << bad;
    EXPECT_THAT(notes_.Read("assemblies/demo").status(), StatusIs(absl::StatusCode::kDataLoss));
    std::ofstream(NotePath()) << good.substr(0, at);
    EXPECT_THAT(notes_.Read("assemblies/demo").status(), StatusIs(absl::StatusCode::kDataLoss));
  }
}

TEST_F(AssemblyNotesTest, HostileNoteIsCheckedLikeAServersAnswer) {
  Note();
  node::AssemblyNote note = *notes_.Read("assemblies/demo");
  node::AssemblyNote other = note;
  other.mutable_assembly()->set_model_version("models/m/versions/w");
  EXPECT_THAT(NotedAssembly::Make(other, *random_).status(), StatusIs(absl::StatusCode::kDataLoss));
  other = note;
  other.mutable_held(0)->set_shard(77);
  MUSTER_EXPECT_OK(NotedAssembly::Make(other, *random_));
  EXPECT_THAT((*NotedAssembly::Make(other, *random_))->Verify(*cache_, {}),
              StatusIs(absl::StatusCode::kDataLoss));
  other = note;
  other.mutable_held(0)->set_piece_md5s(std::string(16, 'x'));
  EXPECT_FALSE((*NotedAssembly::Make(other, *random_))->Verify(*cache_, {}).ok());
  EXPECT_FALSE(
      FetchPieces((*NotedAssembly::Make(other, *random_))->client(), other.shards(0)).ok());
  note.mutable_assembly()->set_name("assemblies/../../escape");
  EXPECT_FALSE(notes_.Write(note).ok());
  EXPECT_FALSE(notes_.Read("assemblies/../../escape").ok());
}

TEST_F(AssemblyNotesTest, NotesAreForgottenAndFoundByTheirCache) {
  EXPECT_THAT(notes_.Read("assemblies/demo").status(), StatusIs(absl::StatusCode::kNotFound));
  MUSTER_EXPECT_OK(notes_.Remove("assemblies/demo"));
  Note();
  const std::vector<AssemblyNotes> all = AssemblyNotes::OfCache(directory_.Join("cache"));
  ASSERT_EQ(all.size(), 1u);
  EXPECT_THAT(all[0].Assemblies(), testing::ElementsAre("assemblies/demo"));
  MUSTER_EXPECT_OK(notes_.Remove("assemblies/demo"));
  EXPECT_THAT(all[0].Assemblies(), testing::IsEmpty());
}

}  // namespace
}  // namespace muster
