#include "storage/metadata/batch_limits.h"

#include <string>
#include <variant>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace muster {
namespace {

// Keys are bytes; a message shows the start of them.
constexpr size_t kShownKeyBytesMax = 64;

std::string ShownKey(absl::string_view key) {
  return absl::StrCat("\"", absl::CHexEscape(key.substr(0, kShownKeyBytesMax)), "\"");
}

}  // namespace

absl::Status CheckBatch(const MetadataBatch& batch, const MetadataStore::Limits& limits) {
  const size_t operations = batch.conditions.size() + batch.operations.size();
  if (operations > limits.batch_operations_max) {
    return absl::InvalidArgumentError(absl::StrCat("batch has ", operations,
                                                   " conditions and operations, the store takes ",
                                                   limits.batch_operations_max, "; split it"));
  }
  const size_t bytes = batch.SizeBytes();
  if (bytes > limits.batch_bytes_max) {
    return absl::InvalidArgumentError(absl::StrCat("batch has ", bytes, " bytes, the store takes ",
                                                   limits.batch_bytes_max, "; split it"));
  }
  for (const MetadataBatch::Operation& operation : batch.operations) {
    const auto* put = std::get_if<MetadataBatch::Put>(&operation);
    if (put != nullptr && put->value.size() > limits.value_bytes_max) {
      return absl::InvalidArgumentError(absl::StrCat("value of row ", ShownKey(put->key), " has ",
                                                     put->value.size(), " bytes, the store takes ",
                                                     limits.value_bytes_max));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckScanLimit(size_t limit) {
  if (limit == 0) return absl::InvalidArgumentError("scan limit is 0; ask for at least 1 row");
  return absl::OkStatus();
}

}  // namespace muster
