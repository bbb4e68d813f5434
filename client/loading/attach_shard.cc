#include "client/loading/attach_shard.h"

#include <errno.h>
#include <fcntl.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "client/cache/checked_shard.h"
#include "client/hash/md5_lanes.h"
#include "client/loading/shard_memory.h"
#include "client/sdk/pieces.h"
#include "storage/base/error_info.h"
#include "storage/base/md5.h"
#include "storage/base/reasons.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"
#include "storage/files/posix_file.h"

namespace muster {
namespace {

// Pieces between two looks at the stop token; as many as the widest hardware hashes side by side.
constexpr size_t kPiecesAtOnce = 16;

absl::Status Differs(absl::string_view what, const Md5Digest& expected, const Md5Digest& found) {
  return MakeError(absl::StatusCode::kDataLoss, reasons::kShardCorrupt,
                   absl::StrCat("shared memory: ", what, " has MD5 ", Md5ToHex(found),
                                ", expected ", Md5ToHex(expected)),
                   {{"expected_md5", Md5ToHex(expected)}, {"found_md5", Md5ToHex(found)}});
}

absl::Status Verify(const CheckedShard& shard, absl::string_view bytes,
                    const std::stop_token& stop) {
  if (static_cast<int64_t>(bytes.size()) != shard.size_bytes()) {
    return MakeError(absl::StatusCode::kDataLoss, reasons::kShardCorrupt,
                     absl::StrCat("shared memory has ", bytes.size(), " bytes, the shard has ",
                                  shard.size_bytes()));
  }
  if (!shard.has_pieces()) {
    const Md5Digest found = Md5Of(bytes);
    return found == *shard.whole_md5() ? absl::OkStatus()
                                       : Differs("the shard", *shard.whole_md5(), found);
  }
  std::vector<Md5Digest> found(kPiecesAtOnce);
  for (size_t first = 0; first < shard.piece_count(); first += kPiecesAtOnce) {
    if (stop.stop_requested()) return absl::CancelledError("the shard was not attached");
    std::vector<absl::string_view> pieces;
    for (size_t i = first; i < std::min(first + kPiecesAtOnce, shard.piece_count()); ++i) {
      pieces.push_back(bytes.substr(static_cast<size_t>(shard.PieceOffset(i)),
                                    static_cast<size_t>(shard.PieceLength(i))));
    }
    Md5Many(pieces, absl::MakeSpan(found).first(pieces.size()));
    for (size_t i = 0; i < pieces.size(); ++i) {
      const Md5Digest& expected = shard.piece_digest(first + i);
      if (found[i] != expected) {
        return Differs(absl::StrCat("piece ", first + i), expected, found[i]);
      }
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<LoadedShard> Attach(Client& client, int fd, const std::string& shard_name,
                                   const std::stop_token& stop) {
  CallOptions call;
  call.stop = stop;
  MUSTER_ASSIGN_OR_RETURN(ShardWithPieces described,
                          FetchShardWithPieces(client, shard_name, call));
  if (!described.shard.encoding().empty()) {
    return absl::UnimplementedError(
        "is stored encoded, and the catalogue has no digest of its content that the memory could "
        "be "
        "compared with; load it in this process");
  }
  const PullShard pull{std::move(described.shard), std::move(described.pieces)};
  MUSTER_ASSIGN_OR_RETURN(const CheckedShard checked, CheckedShard::Make(pull));
  UniqueFd own(fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!own.valid()) return PathError(errno, "duplicate its descriptor", "shared memory");
  MUSTER_ASSIGN_OR_RETURN(ShardMemory memory, ShardMemory::MapSealed(std::move(own)));
  MUSTER_RETURN_IF_ERROR(Verify(checked, memory.bytes(), stop));
  return LoadedShard::Make(pull.shard, std::move(memory));
}

}  // namespace

absl::StatusOr<LoadedShard> AttachShard(Client& client, int fd, const AttachOptions& options) {
  MUSTER_ASSIGN_OR_RETURN(const std::string model, FullModelVersionName(options.model_version));
  absl::StatusOr<LoadedShard> attached =
      Attach(client, fd, absl::StrCat(model, "/shards/", options.shard), options.stop);
  if (!attached.ok()) return Annotate(attached.status(), absl::StrCat("shard ", options.shard));
  return attached;
}

}  // namespace muster
