#include "client/assemble/tensor_proof.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <tuple>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "client/checkpoint/tied_tensors.h"
#include "client/format/byte_source.h"
#include "client/format/file_names.h"
#include "client/format/index_json.h"
#include "client/format/safetensors_header.h"
#include "client/sdk/pages.h"
#include "storage/base/error_info.h"
#include "storage/base/limits.h"
#include "storage/base/numbers.h"
#include "storage/base/quote.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

absl::Status Differs(absl::string_view what) {
  return MakeError(absl::StatusCode::kDataLoss, reasons::kTensorsDiffer, what);
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
  const std::string name = CatalogueTensorName(FolderOf(file), found.name);
  if (expected.name() == name && expected.dtype() == found.dtype &&
      absl::MakeConstSpan(shape) == absl::MakeConstSpan(found.shape) &&
      expected.begin_bytes() == begin && expected.end_bytes() == end) {
    return absl::OkStatus();
  }
  return Differs(absl::StrCat(file, ": holds ",
                              Describe(name, found.dtype, found.shape, begin, end), " where ",
                              Describe(expected.name(), expected.dtype(), shape,
                                       expected.begin_bytes(), expected.end_bytes()),
                              " was published"));
}

// What the metadata says of names whose tensor is in the file.
std::vector<TiedTensor> TiedIn(const SafetensorsHeader& header, const std::string& path,
                               const std::string& name) {
  std::vector<TiedTensor> tied;
  for (const auto& [other, held] : TiedNames(header.Metadata())) {
    const std::optional<size_t> found = header.Find(held);
    // It becomes a name in a file, so that it has to be as short and clean as any.
    if (!found.has_value() || other.size() > kMaxTensorNameBytes || HasControlCharacter(other)) {
      continue;
    }
    const TensorInfo info = header.tensor(*found);
    tied.push_back({other, name, path, std::string(info.dtype), info.shape,
                    header.data_begin_bytes() + info.begin_bytes,
                    info.end_bytes - info.begin_bytes});
  }
  return tied;
}

}  // namespace

absl::Status TensorProof::CheckFile(const v1::Shard& shard, const std::string& path,
                                    const std::string& name) {
  MUSTER_ASSIGN_OR_RETURN(const auto bytes, OpenFileByteSource(path));
  MUSTER_ASSIGN_OR_RETURN(const SafetensorsHeader header, ReadSafetensorsHeader(*bytes));
  size_t next = 0;
  std::vector<Entry> entries;
  MUSTER_RETURN_IF_ERROR(ForEachTensor(
      client_, model_version_, ShardIndex(shard.index()),
      [&](const v1::Tensor& expected) {
        if (next >= header.tensor_count()) {
          return Differs(absl::StrCat(name, ": lacks tensor ", QuoteForMessage(expected.name())));
        }
        const TensorInfo found = header.tensor(next++);
        entries.push_back({std::string(found.name), name,
                           shard.has_rank() ? int64_t{shard.rank()} : -1,
                           found.end_bytes - found.begin_bytes});
        return Compare(name, expected, found, header.data_begin_bytes());
      },
      call_));
  if (next != header.tensor_count()) {
    return Differs(absl::StrCat(name, ": holds tensor ", QuoteForMessage(header.tensor_name(next)),
                                ", which was not published"));
  }
  // A name may be in the files of several ranks.
  std::vector<TiedTensor> tied;
  if (!shard.has_rank()) tied = TiedIn(header, path, name);
  MutexLock lock(mutex_);
  std::move(entries.begin(), entries.end(), std::back_inserter(entries_));
  std::move(tied.begin(), tied.end(), std::back_inserter(tied_));
  return absl::OkStatus();
}

absl::Status TensorProof::CheckWhole(uint64_t expected) {
  MutexLock lock(mutex_);
  const auto key = [](const Entry& entry) {
    return std::make_tuple(entry.rank, FolderOf(entry.file), absl::string_view(entry.tensor));
  };
  std::sort(entries_.begin(), entries_.end(), [&](const Entry& a, const Entry& b) {
    return std::make_pair(key(a), absl::string_view(a.file)) <
           std::make_pair(key(b), absl::string_view(b.file));
  });
  const auto twice =
      std::adjacent_find(entries_.begin(), entries_.end(),
                         [&](const Entry& a, const Entry& b) { return key(a) == key(b); });
  if (twice != entries_.end()) {
    return Differs(absl::StrCat("tensor ", QuoteForMessage(twice->tensor), " is in ", twice->file,
                                " and in ", std::next(twice)->file));
  }
  if (entries_.size() == expected) return absl::OkStatus();
  return Differs(absl::StrCat("the files hold ", entries_.size(), " tensors and ", expected,
                              " were published"));
}

// Those that are not a tensor of their own, each once.
std::vector<TiedTensor> TensorProof::NewNames() const {
  const auto key = [](absl::string_view file, absl::string_view tensor) {
    return InFolder(FolderOf(file), tensor);
  };
  MutexLock lock(mutex_);
  if (tied_.empty()) return {};
  absl::flat_hash_set<std::string> taken;
  for (const Entry& entry : entries_) taken.insert(key(entry.file, entry.tensor));
  std::vector<TiedTensor> tied = tied_;
  // Files were looked at in any order.
  std::sort(tied.begin(), tied.end(), [](const TiedTensor& a, const TiedTensor& b) {
    return std::tie(a.name, a.file) < std::tie(b.name, b.file);
  });
  std::erase_if(
      tied, [&](const TiedTensor& one) { return !taken.insert(key(one.file, one.name)).second; });
  return tied;
}

absl::StatusOr<std::vector<TiedFile>> TensorProof::WriteTied(
    const std::vector<v1::Companion>& companions, const std::string& directory,
    OutputLayout& layout) {
  MUSTER_ASSIGN_OR_RETURN(std::vector<TiedFile> files,
                          WriteTiedFiles(NewNames(), companions, directory, layout));
  MutexLock lock(mutex_);
  for (const TiedFile& file : files) {
    for (const TiedTensor& tensor : file.tensors) {
      entries_.push_back({tensor.name, file.path, -1, tensor.size_bytes});
    }
  }
  return files;
}

uint64_t TensorProof::tensor_count() const {
  MutexLock lock(mutex_);
  return entries_.size();
}

int64_t TensorProof::tensor_bytes() const {
  MutexLock lock(mutex_);
  int64_t bytes = 0;
  for (const Entry& entry : entries_) bytes += entry.size_bytes;
  return bytes;
}

std::string TensorProof::IndexJsonFor(const OutputLayout& layout,
                                      const OutputLayout::Index& index) const {
  absl::flat_hash_set<absl::string_view> files;
  for (const size_t file : index.files) files.insert(layout.files[file].path);
  std::vector<WeightMapEntry> entries;
  int64_t bytes = 0;
  MutexLock lock(mutex_);
  for (const Entry& entry : entries_) {
    if (!files.contains(entry.file)) continue;
    entries.push_back({entry.tensor, std::string(BaseNameOf(entry.file))});
    bytes += entry.size_bytes;
  }
  return WriteIndexJson(std::move(entries), bytes);
}

}  // namespace muster
