#include "server/rpc/stored_lists.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "muster/store/rows.pb.h"
#include "server/registry/limits.h"
#include "server/registry/row_keys.h"
#include "storage/base/error_info.h"
#include "storage/base/limits.h"
#include "storage/base/md5.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// Rows of tensors have up to kMaxTensorBatchBytes, so a few fill a page.
constexpr size_t kTensorRowsPerScan = 4;

absl::Status Damaged(absl::string_view what) {
  return MakeError(absl::StatusCode::kDataLoss, reasons::kRowDamaged,
                   absl::StrCat("the server's store has no readable row for ", what,
                                ": restore its data directory"),
                   {{"row", std::string(what)}});
}

// Where a page of tensors starts: "shard row position", all numbers.
struct TensorPosition {
  uint32_t shard = 0;
  uint32_t row_start = 0;
  uint32_t next = 0;
};

std::string ToText(const TensorPosition& position) {
  return absl::StrCat(position.shard, " ", position.row_start, " ", position.next);
}

// A token that passed its checksum is ours; one that does not parse starts from the beginning.
TensorPosition ParsePosition(absl::string_view text, std::optional<uint32_t> shard) {
  TensorPosition position;
  position.shard = shard.value_or(0);
  const std::vector<absl::string_view> parts = absl::StrSplit(text, ' ');
  if (parts.size() == 3) {
    (void)absl::SimpleAtoi(parts[0], &position.shard);
    (void)absl::SimpleAtoi(parts[1], &position.row_start);
    (void)absl::SimpleAtoi(parts[2], &position.next);
  }
  return position;
}

}  // namespace

absl::Status FetchPieces(MetadataStore& store, VersionUid version, ShardIndex shard, uint32_t start,
                         bool hex, muster::v1::ListPiecesResponse& response) {
  if (start >= response.piece_count()) return absl::OkStatus();
  const auto packed = store.Get(PiecesKey(version, shard, start / kPiecesPerRow));
  store::PiecesRow row;
  const size_t skip = size_t{start % kPiecesPerRow} * sizeof(Md5Digest);
  if (!packed.ok() || !row.ParseFromString(*packed) || row.md5s().size() <= skip) {
    if (!packed.ok() && packed.status().code() != absl::StatusCode::kNotFound) {
      return packed.status();
    }
    return Damaged(absl::StrCat("the pieces of shard ", shard.value));
  }
  if (!hex) {
    response.set_piece_md5s(row.md5s().substr(skip));
    return absl::OkStatus();
  }
  for (size_t at = skip; at + sizeof(Md5Digest) <= row.md5s().size(); at += sizeof(Md5Digest)) {
    response.add_piece_md5s_hex(absl::BytesToHexString(row.md5s().substr(at, sizeof(Md5Digest))));
  }
  return absl::OkStatus();
}

absl::Status FetchTensors(MetadataStore& store, VersionUid version, const std::string& list,
                          const PageStart& start, size_t page_size, std::optional<uint32_t> shard,
                          muster::v1::ListTensorsResponse& response) {
  TensorPosition position = ParsePosition(start.after, shard);
  const std::string end =
      PrefixEnd(shard.has_value() ? TensorsKey(version, ShardIndex(*shard), 0).substr(0, 13)
                                  : AllTensorsPrefix(version));
  size_t bytes = 0;
  std::string begin = TensorsKey(version, ShardIndex(position.shard), position.row_start);
  while (true) {
    MUSTER_ASSIGN_OR_RETURN(const std::vector<MetadataStore::Row> rows,
                            store.Scan(begin, end, kTensorRowsPerScan));
    for (const MetadataStore::Row& stored : rows) {
      const auto key = ParseTensorsKey(stored.key);
      store::TensorsRow row;
      if (!key.has_value() || !row.ParseFromString(stored.value)) return Damaged("tensors");
      const bool resumed = key->shard.value == position.shard && key->start == position.row_start;
      // Whoever knows the form can make a token: what it names need not be there.
      const auto count = static_cast<uint32_t>(row.tensors_size());
      int next = resumed ? static_cast<int>(std::min(position.next, count)) : 0;
      for (; next < row.tensors_size(); ++next) {
        bytes += row.tensors(next).ByteSizeLong() + 8;
        if (static_cast<size_t>(response.tensors_size()) == page_size ||
            (bytes > kMaxPageBytes && response.tensors_size() > 0)) {
          const TensorPosition here{key->shard.value, key->start, static_cast<uint32_t>(next)};
          response.set_next_page_token(
              MakePageToken(list, PageStart{ToText(here), start.first_revision}));
          return absl::OkStatus();
        }
        muster::v1::Tensor* tensor = response.add_tensors();
        tensor->Swap(row.mutable_tensors(next));
        tensor->set_shard(key->shard.value);
      }
    }
    if (rows.size() < kTensorRowsPerScan) return absl::OkStatus();
    begin = rows.back().key + '\0';
  }
}

absl::Status FetchCompanions(MetadataStore& store, VersionUid version, const std::string& list,
                             const PageStart& start, size_t page_size,
                             muster::v1::ListCompanionsResponse& response) {
  const std::string prefix = AllCompanionsPrefix(version);
  const std::string begin =
      start.after.empty() ? prefix : CompanionKey(version, start.after) + '\0';
  MUSTER_ASSIGN_OR_RETURN(const std::vector<MetadataStore::Row> rows,
                          store.Scan(begin, PrefixEnd(prefix), page_size + 1));
  size_t bytes = 0;
  for (const MetadataStore::Row& stored : rows) {
    store::CompanionRow row;
    if (!row.ParseFromString(stored.value)) return Damaged("a companion");
    bytes += row.ByteSizeLong();
    const auto taken = static_cast<size_t>(response.companions_size());
    if (taken == page_size || (bytes > kMaxPageBytes && taken > 0)) {
      const std::string last = response.companions().rbegin()->path();
      response.set_next_page_token(MakePageToken(list, PageStart{last, start.first_revision}));
      break;
    }
    response.add_companions()->Swap(row.mutable_companion());
  }
  return absl::OkStatus();
}

}  // namespace muster
