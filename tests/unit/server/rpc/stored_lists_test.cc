#include "server/rpc/stored_lists.h"

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "muster/store/rows.pb.h"
#include "server/registry/limits.h"
#include "server/registry/row_keys.h"
#include "storage/base/limits.h"
#include "storage/metadata/memory_metadata_store.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

namespace v1 = muster::v1;

constexpr VersionUid kVersion(7);
constexpr char kList[] = "ListTensors models/m/versions/v";

class StoredListsTest : public testing::Test {
 protected:
  void Put(const std::string& key, const google::protobuf::MessageLite& row) {
    MetadataBatch batch;
    batch.operations.push_back(MetadataBatch::Put{key, row.SerializeAsString()});
    MUSTER_ASSERT_OK(store_->Commit(batch));
  }
  void PutTensors(uint32_t shard, uint32_t start, int count, size_t name_bytes) {
    store::TensorsRow row;
    for (int i = 0; i < count; ++i) {
      std::string name = absl::StrCat(shard, ".", start + i);
      name.resize(std::max(name.size(), name_bytes), 'x');
      row.add_tensors()->set_name(name);
    }
    Put(TensorsKey(kVersion, ShardIndex(shard), start), row);
  }
  // All pages of the tensors, as "shard/name"; each page within its limits.
  std::vector<std::string> AllTensors(size_t page_size, std::optional<uint32_t> shard) {
    std::vector<std::string> names;
    std::string token;
    do {
      const auto start = ParsePageToken(kList, token, Revision(9));
      v1::ListTensorsResponse page;
      MUSTER_EXPECT_OK(start);
      MUSTER_EXPECT_OK(FetchTensors(*store_, kVersion, kList, *start, page_size, shard, page));
      EXPECT_LE(page.tensors_size(), static_cast<int>(page_size));
      EXPECT_LE(page.ByteSizeLong(), kMaxPageBytes + 4'096);
      EXPECT_GT(page.tensors_size(), 0);
      for (const auto& tensor : page.tensors()) {
        names.push_back(absl::StrCat(tensor.shard(), "/", tensor.name().substr(0, 10)));
      }
      token = page.next_page_token();
    } while (!token.empty() && names.size() < 100'000);
    return names;
  }

  const std::unique_ptr<MetadataStore> store_ = NewMemoryMetadataStore(
      {.batch_operations_max = 100, .batch_bytes_max = 1u << 20, .value_bytes_max = 256u << 10});
};

TEST_F(StoredListsTest, TensorsOfAllPageSizesAreTheSame) {
  for (uint32_t shard = 0; shard < 3; ++shard) {
    PutTensors(shard, 0, 5, 0);
    PutTensors(shard, 5, 3, 0);
  }
  PutTensors(300, 0, 2, 0);
  const std::vector<std::string> all = AllTensors(1'000, std::nullopt);
  ASSERT_EQ(all.size(), 26u);
  EXPECT_EQ(all.front(), "0/0.0");
  EXPECT_EQ(all.back(), "300/300.1");

  for (const size_t page_size : {1, 2, 3, 5, 8, 25, 26, 27}) {
    EXPECT_EQ(AllTensors(page_size, std::nullopt), all) << page_size;
  }
  EXPECT_THAT(AllTensors(3, 1), testing::SizeIs(8));
}

TEST_F(StoredListsTest, PageOfLongNamesEndsAtItsBytes) {
  for (int batch = 0; batch < 20; ++batch) PutTensors(0, batch * 100, 100, 1'024);

  EXPECT_EQ(AllTensors(1'000, std::nullopt).size(), 2'000u);
}

TEST_F(StoredListsTest, ForgedTokenBeyondARowReadsNothingOfIt) {
  PutTensors(0, 0, 5, 0);
  for (const char* after : {"0 0 4294967295", "0 0 2147483648", "0 0 6", "9 9 9", "x", "1 2 3 4"}) {
    const PageStart start{after, Revision(1)};
    v1::ListTensorsResponse page;
    MUSTER_EXPECT_OK(FetchTensors(*store_, kVersion, kList, start, 10, std::nullopt, page));
    EXPECT_LE(page.tensors_size(), 5);
  }
}

TEST_F(StoredListsTest, PiecesGoOnFromRowToRow) {
  store::PiecesRow row;
  row.set_md5s(std::string(size_t{16} * kPiecesPerRow, 'a'));
  Put(PiecesKey(kVersion, ShardIndex(2), 0), row);
  row.set_md5s(std::string(16, 'b'));
  Put(PiecesKey(kVersion, ShardIndex(2), 1), row);
  const auto fetch = [&](uint32_t start, bool hex) {
    v1::ListPiecesResponse page;
    page.set_piece_count(kPiecesPerRow + 1);
    MUSTER_EXPECT_OK(FetchPieces(*store_, kVersion, ShardIndex(2), start, hex, page));
    return page;
  };

  EXPECT_EQ(fetch(0, false).piece_md5s().size(), size_t{16} * kPiecesPerRow);
  EXPECT_EQ(fetch(kPiecesPerRow - 1, false).piece_md5s(), std::string(16, 'a'));
  EXPECT_EQ(fetch(kPiecesPerRow, false).piece_md5s(), std::string(16, 'b'));
  EXPECT_EQ(fetch(kPiecesPerRow, true).piece_md5s_hex(0), "62626262626262626262626262626262");
  EXPECT_TRUE(fetch(kPiecesPerRow + 1, false).piece_md5s().empty());
  EXPECT_TRUE(fetch(UINT32_MAX, false).piece_md5s().empty());
}

TEST_F(StoredListsTest, MissingOrDamagedRowOfPiecesIsDataLoss) {
  v1::ListPiecesResponse page;
  page.set_piece_count(3);
  EXPECT_THAT(FetchPieces(*store_, kVersion, ShardIndex(0), 0, false, page),
              ErrorIs(absl::StatusCode::kDataLoss, "ROW_DAMAGED"));
  store::PiecesRow row;
  row.set_md5s("short");
  Put(PiecesKey(kVersion, ShardIndex(0), 0), row);
  EXPECT_THAT(FetchPieces(*store_, kVersion, ShardIndex(0), 2, false, page),
              ErrorIs(absl::StatusCode::kDataLoss, "ROW_DAMAGED"));
}

TEST_F(StoredListsTest, CompanionsComeInPathOrderOnceEach) {
  for (const char* path : {"b", "a/b", "a", "a b", "c/d e", "z"}) {
    store::CompanionRow row;
    row.mutable_companion()->set_path(path);
    Put(CompanionKey(kVersion, path), row);
  }
  for (size_t page_size = 1; page_size < 8; ++page_size) {
    std::vector<std::string> paths;
    std::string token;
    do {
      v1::ListCompanionsResponse page;
      const auto start = ParsePageToken(kList, token, Revision(9));
      MUSTER_ASSERT_OK(start);
      MUSTER_ASSERT_OK(FetchCompanions(*store_, kVersion, kList, *start, page_size, page));
      for (const auto& companion : page.companions()) paths.push_back(companion.path());
      token = page.next_page_token();
    } while (!token.empty());
    EXPECT_THAT(paths, testing::ElementsAre("a", "a b", "a/b", "b", "c/d e", "z"));
  }
}

TEST_F(StoredListsTest, OtherVersionsRowsAreNotListed) {
  store::TensorsRow row;
  row.add_tensors()->set_name("other");
  Put(TensorsKey(VersionUid(6), ShardIndex(0), 0), row);
  Put(TensorsKey(VersionUid(8), ShardIndex(0), 0), row);
  v1::ListTensorsResponse page;

  MUSTER_ASSERT_OK(FetchTensors(*store_, kVersion, kList, {}, 10, std::nullopt, page));

  EXPECT_EQ(page.tensors_size(), 0);
  EXPECT_TRUE(page.next_page_token().empty());
}

}  // namespace
}  // namespace muster
