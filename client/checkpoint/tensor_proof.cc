#include "client/checkpoint/tensor_proof.h"

#include <algorithm>
#include <iterator>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "client/checkpoint/byte_source.h"
#include "client/checkpoint/safetensors_header.h"
#include "client/checkpoint/utf8.h"
#include "client/sdk/pages.h"
#include "storage/base/error_info.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

absl::Status Differs(absl::string_view what) {
  return MakeError(absl::StatusCode::kDataLoss, "TENSORS_DIFFER", what);
}

std::string Describe(absl::string_view name, absl::string_view dtype,
                     absl::Span<const int64_t> shape, uint64_t begin, uint64_t end) {
  return absl::StrCat(QuoteForMessage(name), " ", dtype.substr(0, kMaxDtypeBytes), " ",
                      ShapeToString(shape), " at ", begin, "-", end);
}

// The catalogue's range is of the whole file, the header's of what comes after it.
absl::Status Compare(absl::string_view file, const v1::Tensor& expected, const TensorInfo& found,
                     int64_t data_begin) {
  const std::vector<int64_t> shape(expected.shape().begin(), expected.shape().end());
  const auto begin = static_cast<uint64_t>(found.begin_bytes + data_begin);
  const auto end = static_cast<uint64_t>(found.end_bytes + data_begin);
  if (expected.name() == found.name && expected.dtype() == found.dtype &&
      absl::MakeConstSpan(shape) == absl::MakeConstSpan(found.shape) &&
      expected.begin_bytes() == begin && expected.end_bytes() == end) {
    return absl::OkStatus();
  }
  return Differs(absl::StrCat(file, ": holds ",
                              Describe(found.name, found.dtype, found.shape, begin, end), " where ",
                              Describe(expected.name(), expected.dtype(), shape,
                                       expected.begin_bytes(), expected.end_bytes()),
                              " was published"));
}

}  // namespace

absl::Status TensorProof::CheckFile(ShardIndex shard, const std::string& path,
                                    const std::string& name) {
  MUSTER_ASSIGN_OR_RETURN(const auto bytes, OpenFileByteSource(path));
  MUSTER_ASSIGN_OR_RETURN(const SafetensorsHeader header, ReadSafetensorsHeader(*bytes));
  size_t next = 0;
  int64_t tensor_bytes = 0;
  std::vector<WeightMapEntry> entries;
  MUSTER_RETURN_IF_ERROR(ForEachTensor(
      client_, model_version_, shard,
      [&](const v1::Tensor& expected) {
        if (next >= header.tensor_count()) {
          return Differs(absl::StrCat(name, ": lacks tensor ", QuoteForMessage(expected.name())));
        }
        const TensorInfo found = header.tensor(next++);
        tensor_bytes += found.end_bytes - found.begin_bytes;
        entries.push_back({expected.name(), name});
        return Compare(name, expected, found, header.data_begin_bytes());
      },
      call_));
  if (next != header.tensor_count()) {
    return Differs(absl::StrCat(name, ": holds tensor ", QuoteForMessage(header.tensor_name(next)),
                                ", which was not published"));
  }
  MutexLock lock(mutex_);
  std::move(entries.begin(), entries.end(), std::back_inserter(entries_));
  tensor_bytes_ += tensor_bytes;
  return absl::OkStatus();
}

absl::Status TensorProof::CheckWhole(uint64_t expected) {
  MutexLock lock(mutex_);
  std::sort(entries_.begin(), entries_.end(), [](const auto& a, const auto& b) {
    return std::tie(a.tensor, a.file) < std::tie(b.tensor, b.file);
  });
  const auto twice =
      std::adjacent_find(entries_.begin(), entries_.end(),
                         [](const auto& a, const auto& b) { return a.tensor == b.tensor; });
  if (twice != entries_.end()) {
    return Differs(absl::StrCat("tensor ", QuoteForMessage(twice->tensor), " is in ", twice->file,
                                " and in ", std::next(twice)->file));
  }
  if (entries_.size() == expected) return absl::OkStatus();
  return Differs(absl::StrCat("the files hold ", entries_.size(), " tensors and ", expected,
                              " were published"));
}

uint64_t TensorProof::tensor_count() const {
  MutexLock lock(mutex_);
  return entries_.size();
}

int64_t TensorProof::tensor_bytes() const {
  MutexLock lock(mutex_);
  return tensor_bytes_;
}

std::vector<WeightMapEntry> TensorProof::TakeEntries() {
  MutexLock lock(mutex_);
  return std::move(entries_);
}

}  // namespace muster
