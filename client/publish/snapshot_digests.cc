#include "client/publish/snapshot_digests.h"

#include <algorithm>
#include <map>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "client/hash/sha256.h"
#include "storage/base/error_info.h"
#include "storage/base/quote.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

constexpr int64_t kReadBytes = int64_t{4} << 20;

}  // namespace

absl::Status CompareSha256(absl::string_view file, absl::string_view expected,
                           absl::string_view found) {
  if (expected == found) return absl::OkStatus();
  return MakeError(
      absl::StatusCode::kDataLoss, reasons::kBlobCorrupt,
      absl::StrCat(QuoteForMessage(file), ": has SHA-256 ", found, ", but its blob is named ",
                   expected, "; the download is damaged: remove the blob and download it again"),
      {{"file", std::string(file)},
       {"expected_sha256", std::string(expected)},
       {"found_sha256", std::string(found)}});
}

absl::Status CheckSha256(const ByteSource& source, absl::string_view expected,
                         const std::stop_token& stop, const ByteProgress& progress) {
  Sha256Stream digest;
  std::vector<char> buffer(static_cast<size_t>(std::min(kReadBytes, source.size_bytes())));
  for (int64_t offset = 0; offset < source.size_bytes();) {
    if (stop.stop_requested()) return absl::CancelledError("interrupted");
    const int64_t length = std::min(kReadBytes, source.size_bytes() - offset);
    const auto part = absl::MakeSpan(buffer.data(), static_cast<size_t>(length));
    MUSTER_RETURN_IF_ERROR(source.Read(offset, part));
    digest.Update(absl::string_view(part.data(), part.size()));
    offset += length;
    if (progress) progress(length);
  }
  return CompareSha256(source.name(), expected, digest.FinishHex());
}

std::string Sha256OfShard(const SourcePlan& plan, const ShardCut& shard) {
  if (!shard.range.has_value()) return "";
  const SourceFile& file = plan.checkpoint.files[shard.range->file];
  return shard.size_bytes == file.bytes->size_bytes() ? file.sha256 : "";
}

std::string Sha256OfSource(const Checkpoint& checkpoint) {
  std::map<std::string, std::string> known;
  for (const SourceFile& file : checkpoint.files) known[file.relative_path] = file.sha256;
  for (const FoundFile& file : checkpoint.companions) known[file.relative_path] = file.sha256;
  std::erase_if(known, [](const auto& entry) { return entry.second.empty(); });
  if (known.empty()) return "";
  Sha256Stream digest;
  for (const auto& [path, sha256] : known) digest.Update(absl::StrCat(sha256, "  ", path, "\n"));
  return digest.FinishHex();
}

}  // namespace muster
