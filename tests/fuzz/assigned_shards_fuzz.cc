// What a server assigns to a node, as any messages: the agent's table refuses a message or its sums stay
// right, and a description of a shard is refused or fits together.
//
// Input: messages of WatchAssignments, each with a byte before it that says what the node does next, and
// two bytes of its length. With the highest bit of the first byte a shard's root and size are set to what
// its pieces make, as no fuzzer finds an MD5.

#include <cstdint>
#include <cstdlib>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "client/agent/assignment_table.h"
#include "client/cache/checked_shard.h"
#include "storage/base/limits.h"
#include "storage/base/md5.h"
#include "storage/base/random.h"

namespace muster {
namespace {

void Require(bool right) {
  if (!right) std::abort();
}

void CheckShard(v1::Shard shard, bool repair) {
  const auto pieces = UnpackPieces(shard.piece_md5s());
  if (!pieces.ok()) return;
  if (repair && !pieces->empty()) {
    shard.set_root(Md5ToHex(Md5Root(*pieces)));
    shard.set_piece_count(static_cast<uint32_t>(pieces->size()));
    shard.set_piece_size_bytes(kMinPieceSizeBytes);
    shard.set_size_bytes(pieces->size() * static_cast<uint64_t>(kMinPieceSizeBytes));
  }
  ContentBytesOf(shard);
  const auto checked = CheckedShard::Make({shard, *pieces});
  if (!checked.ok()) return;
  Require(checked->size_bytes() > 0 && checked->content_size_bytes() > 0);
  Require(checked->locations().size() <= kMaxLocationsPerShard);
  Require(checked->has_pieces() || checked->whole_md5().has_value());
  int64_t end = 0;
  for (size_t i = 0; i < checked->piece_count(); ++i) {
    Require(checked->PieceOffset(i) == end && checked->PieceLength(i) > 0);
    end += checked->PieceLength(i);
  }
  Require(!checked->has_pieces() || end == checked->size_bytes());
  // Becomes the name of a file.
  const std::string key = checked->ContentKey();
  const bool counted = shard.piece_count() > 0 || !checked->has_pieces();
  Require(!counted || key == ContentKeyOf(shard));
  Require(key.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == std::string::npos);
  Require(key.size() < 100);
}

void CheckSums(const AssignmentTable& table) {
  for (const std::string& assembly : table.Assemblies()) {
    uint64_t bytes = 0;
    const auto shards = table.ShardsOf(assembly);
    for (const v1::Shard& shard : shards) bytes += shard.size_bytes();
    const AssignmentTable::Totals totals = table.TotalsOf(assembly);
    Require(totals.shards == shards.size() && totals.bytes == bytes);
    Require(totals.ready + totals.failed <= totals.shards);
  }
  const AssignmentTable::Batch batch = table.NextReports();
  Require(batch.reports.size() <= kMaxItemsPerCall);
  Require(table.HasReports() == !batch.reports.empty());
}

// One shard is worked on, and ends as `how` says.
void Work(AssignmentTable& table, uint8_t how, absl::Duration now) {
  const auto work = table.TakeWork(now);
  if (!work.has_value()) return;
  if ((how & 1) != 0) table.BeginFetch(*work);
  if ((how & 2) != 0) table.FinishReady(*work, {});
  if ((how & 4) != 0) table.FinishFailed(*work, {}, {}, now);
  if ((how & 8) != 0) table.Abandon(*work);
  if ((how & 16) != 0) table.Reported(table.NextReports());
}

void Run(const uint8_t* bytes, size_t size) {
  const auto random = NewSeededRandom(1);
  AssignmentTable table(*random, {absl::Seconds(1), absl::Seconds(60), 2.0});
  absl::Duration now;
  absl::string_view rest(reinterpret_cast<const char*>(bytes), size);
  while (rest.size() >= 3) {
    const auto how = static_cast<uint8_t>(rest[0]);
    const size_t length =
        static_cast<uint8_t>(rest[1]) + size_t{256} * static_cast<uint8_t>(rest[2]);
    rest.remove_prefix(3);
    v1::WatchAssignmentsResponse message;
    const absl::string_view text = rest.substr(0, length);
    rest.remove_prefix(text.size());
    if (!message.ParseFromArray(text.data(), static_cast<int>(text.size()))) continue;
    for (const v1::AssignedShard& assigned : message.assigned()) {
      CheckShard(assigned.shard(), (how & 0x80) != 0);
    }
    if ((how & 0x40) != 0) table.BeginStream();
    if ((how & 0x20) != 0) table.BeginEpoch();
    table.Apply(message).status().IgnoreError();
    CheckSums(table);
    Work(table, how, now);
    CheckSums(table);
    now += absl::Seconds(30);
  }
}

}  // namespace
}  // namespace muster

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  muster::Run(bytes, size);
  return 0;
}
