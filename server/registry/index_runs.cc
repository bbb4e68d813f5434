#include "server/registry/index_runs.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace muster {

google::protobuf::RepeatedField<uint32_t> PackRuns(absl::Span<const uint32_t> indices) {
  RunPacker packer;
  for (const uint32_t index : indices) packer.Add(index);
  return packer.Take();
}

absl::StatusOr<std::vector<uint32_t>> UnpackRuns(
    const google::protobuf::RepeatedField<uint32_t>& runs, uint32_t limit) {
  std::vector<uint32_t> indices;
  uint64_t position = 0;
  if (runs.size() % 2 != 0) return absl::DataLossError("a packed set of shards is cut off");
  for (int i = 0; i < runs.size(); i += 2) {
    position += runs[i];
    const uint64_t end = position + runs[i + 1];
    if (end > limit) {
      return absl::DataLossError(
          absl::StrCat("a packed set of shards reaches ", end, " of ", limit));
    }
    for (; position < end; ++position) indices.push_back(static_cast<uint32_t>(position));
  }
  return indices;
}

std::string RunsToText(absl::Span<const uint32_t> indices, size_t max_bytes) {
  std::string text;
  for (size_t i = 0; i < indices.size();) {
    if (text.size() > max_bytes) return text + ",…";
    size_t end = i + 1;
    while (end < indices.size() && indices[end] == indices[end - 1] + 1) ++end;
    absl::StrAppend(&text, text.empty() ? "" : ",", indices[i]);
    if (end - i > 1) absl::StrAppend(&text, "-", indices[end - 1]);
    i = end;
  }
  return text;
}

}  // namespace muster
