#include "client/torch/torch_file.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "client/format/dtype.h"
#include "client/format/safetensors_writer.h"
#include "client/torch/pickle_reader.h"
#include "client/torch/state_dict.h"
#include "client/torch/strided_range.h"
#include "client/torch/zip_directory.h"
#include "storage/base/error_info.h"
#include "storage/base/quote.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

constexpr absl::string_view kPickleName = "data.pkl";
constexpr size_t kMaxNamesListed = 5;

absl::Status Unsupported(absl::string_view what) {
  return MakeError(absl::StatusCode::kInvalidArgument, reasons::kTorchUnsupported, what);
}

// The bytes of a safetensors file: a header, then tensors of another file.
class ConvertedSource final : public ByteSource {
 public:
  explicit ConvertedSource(std::shared_ptr<const ByteSource> file) : file_(std::move(file)) {}

  // In the order of the header.
  void Add(StridedRange range) {
    // An empty tensor has no bytes that could be asked for.
    if (range.size_bytes() == 0) return;
    tensors_.push_back({data_bytes_, std::move(range)});
    data_bytes_ += tensors_.back().range.size_bytes();
  }
  void SetHeader(std::string header) { header_ = std::move(header); }

  const std::string& name() const override { return file_->name(); }
  const std::string& fingerprint() const override { return file_->fingerprint(); }
  absl::Status CheckUnchanged() const override { return file_->CheckUnchanged(); }
  int64_t size_bytes() const override { return HeaderBytes() + data_bytes_; }

  absl::Status Read(int64_t offset, absl::Span<char> out) const override {
    if (offset < 0 || offset > size_bytes() ||
        out.size() > static_cast<uint64_t>(size_bytes() - offset)) {
      return absl::OutOfRangeError(absl::StrCat(QuoteForMessage(name()), ": ", out.size(),
                                                " bytes at offset ", offset, " are not inside its ",
                                                size_bytes(), " bytes"));
    }
    if (offset < HeaderBytes()) {
      const auto size = std::min(out.size(), static_cast<size_t>(HeaderBytes() - offset));
      std::copy_n(header_.data() + offset, size, out.data());
      offset += static_cast<int64_t>(size);
      out.remove_prefix(size);
    }
    return ReadTensors(offset - HeaderBytes(), out);
  }

 private:
  struct Tensor {
    // Of what comes behind the header.
    int64_t begin_bytes;
    StridedRange range;
  };

  int64_t HeaderBytes() const { return static_cast<int64_t>(header_.size()); }

  absl::Status ReadTensors(int64_t offset, absl::Span<char> out) const {
    auto next = std::upper_bound(
        tensors_.begin(), tensors_.end(), offset,
        [](int64_t wanted, const Tensor& tensor) { return wanted < tensor.begin_bytes; });
    while (!out.empty()) {
      const Tensor& tensor = *std::prev(next);
      const int64_t inside = offset - tensor.begin_bytes;
      const auto size =
          std::min(out.size(), static_cast<size_t>(tensor.range.size_bytes() - inside));
      MUSTER_RETURN_IF_ERROR(tensor.range.Read(*file_, inside, out.subspan(0, size)));
      offset += static_cast<int64_t>(size);
      out.remove_prefix(size);
      if (next != tensors_.end()) ++next;
    }
    return absl::OkStatus();
  }

  const std::shared_ptr<const ByteSource> file_;
  std::string header_;
  std::vector<Tensor> tensors_;
  int64_t data_bytes_ = 0;
};

class Opening {
 public:
  Opening(std::shared_ptr<const ByteSource> file, const TorchOptions& options)
      : file_(std::move(file)), options_(options) {}

  absl::StatusOr<TorchFile> Run() {
    absl::StatusOr<TorchFile> opened = Open();
    if (!opened.ok()) return Annotate(opened.status(), Name());
    return opened;
  }

 private:
  std::string Name() const { return QuoteForMessage(file_->name()); }

  absl::StatusOr<TorchFile> Open() {
    MUSTER_ASSIGN_OR_RETURN(directory_, ReadZipDirectory(*file_));
    MUSTER_ASSIGN_OR_RETURN(const ZipEntry* const entry, FindPickle());
    MUSTER_RETURN_IF_ERROR(CheckByteOrder());
    MUSTER_ASSIGN_OR_RETURN(const std::string bytes, ReadZipEntry(*file_, *entry, kMaxPickleBytes));
    const absl::StatusOr<Pickle> pickle = ReadPickle(bytes);
    if (!pickle.ok()) return Annotate(pickle.status(), kPickleName);
    const absl::StatusOr<StateDict> found = FindStateDict(*pickle);
    if (!found.ok()) return Annotate(found.status(), kPickleName);
    TorchFile opened;
    MUSTER_ASSIGN_OR_RETURN(opened.safetensors, Convert(*pickle, *found));
    Note(*found, opened.notes);
    return opened;
  }

  // "ROOT/data.pkl", where ROOT is any name.
  absl::StatusOr<const ZipEntry*> FindPickle() {
    const ZipEntry* found = nullptr;
    for (const ZipEntry& entry : directory_->entries()) {
      const size_t slash = entry.name.find('/');
      if (slash == std::string::npos || entry.name.substr(slash + 1) != kPickleName) continue;
      if (found != nullptr) {
        return Unsupported(absl::StrCat("there are two pickles, ", QuoteForMessage(found->name),
                                        " and ", QuoteForMessage(entry.name)));
      }
      found = &entry;
      root_ = entry.name.substr(0, slash + 1);
    }
    if (found == nullptr) {
      return Unsupported("is a zip archive without a data.pkl, so torch.save did not write it");
    }
    if (Find("constants.pkl") != nullptr) {
      return Unsupported(
          "is a TorchScript program; load it with torch.jit.load and save its state_dict()");
    }
    return found;
  }

  // torch writes which end comes first since 2.1; before, it was the little one on all machines that
  // matter.
  absl::Status CheckByteOrder() {
    const ZipEntry* const entry = Find("byteorder");
    if (entry == nullptr) return absl::OkStatus();
    MUSTER_ASSIGN_OR_RETURN(const std::string order, ReadZipEntry(*file_, *entry, 64));
    if (order == "little") return absl::OkStatus();
    return Unsupported(absl::StrCat("its byte order is ", QuoteForMessage(order),
                                    ", known is little; save it again on another machine"));
  }

  const ZipEntry* Find(absl::string_view name) const {
    return directory_->Find(absl::StrCat(root_, name));
  }

  absl::StatusOr<std::shared_ptr<const ByteSource>> Convert(const Pickle& pickle,
                                                            const StateDict& found) {
    struct Written {
      const StateDict::Entry* entry;
      TensorShape shape;
      int64_t size_bytes;
    };
    auto source = std::make_shared<ConvertedSource>(file_);
    std::map<std::string, std::string> metadata{{"format", "pt"}};
    std::vector<Written> written;
    // By where the tensor is: the first name.
    absl::flat_hash_map<std::string, absl::string_view> names;
    int64_t total = 0;
    for (const StateDict::Entry& entry : found.tensors) {
      const StridedShape strided = ShapeOf(pickle, entry.tensor);
      absl::StatusOr<StridedRange> range = RangeOf(pickle, entry.tensor, strided);
      if (!range.ok()) {
        return Annotate(range.status(), absl::StrCat("tensor ", QuoteForMessage(entry.name)));
      }
      if (!options_.untie && range->size_bytes() > 0) {
        const auto [first, added] =
            names.emplace(PlaceOf(pickle, entry.tensor, strided), entry.name);
        if (!added) {
          metadata.emplace(absl::StrCat(kTiedPrefix, entry.name), std::string(first->second));
          continue;
        }
      }
      written.push_back({&entry, strided.shape, range->size_bytes()});
      MUSTER_RETURN_IF_ERROR(CheckTotal(entry.name, range->size_bytes(), total));
      source->Add(*std::move(range));
    }
    SafetensorsHeaderBuilder header(metadata);
    for (const Written& tensor : written) {
      header.Add(tensor.entry->name, tensor.entry->tensor.dtype, tensor.shape, tensor.size_bytes);
    }
    MUSTER_ASSIGN_OR_RETURN(std::string bytes, std::move(header).Finish());
    source->SetHeader(std::move(bytes));
    return std::shared_ptr<const ByteSource>(std::move(source));
  }

  static StridedShape ShapeOf(const Pickle& pickle, const PickleTensor& tensor) {
    StridedShape strided;
    strided.offset = tensor.offset;
    for (const PickleValue& value : pickle.Items(tensor.shape)) {
      strided.shape.push_back(value.number);
    }
    for (const PickleValue& value : pickle.Items(tensor.strides)) {
      strided.strides.push_back(value.number);
    }
    return strided;
  }

  // The storage must have as many bytes as the pickle says, no more and no less.
  absl::StatusOr<StridedRange> RangeOf(const Pickle& pickle, const PickleTensor& tensor,
                                       const StridedShape& strided) const {
    const PickleStorage& storage = pickle.Storage(tensor.storage);
    const ZipEntry* const entry = Find(absl::StrCat("data/", storage.key));
    if (entry == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat("its storage ", QuoteForMessage(storage.key), " is not in the archive"));
    }
    // Dtypes that are known have whole bytes.
    int64_t expected = 0;
    if (__builtin_mul_overflow(storage.element_count, *DtypeBits(storage.type->dtype) / 8,
                               &expected) ||
        expected != entry->size_bytes) {
      return absl::InvalidArgumentError(absl::StrCat(
          "its storage ", QuoteForMessage(storage.key), " has ", entry->size_bytes,
          " bytes, the pickle says ", storage.element_count, " elements of ", storage.type->dtype));
    }
    return StridedRange::Make(strided, *DtypeBits(tensor.dtype) / 8, entry->offset_bytes,
                              entry->size_bytes);
  }

  // Equal for tensors that are the same.
  static std::string PlaceOf(const Pickle& pickle, const PickleTensor& tensor,
                             const StridedShape& strided) {
    return absl::StrCat(ShapeToString(strided.shape), ShapeToString(strided.strides),
                        strided.offset, " ", tensor.dtype, " ", pickle.Storage(tensor.storage).key);
  }

  absl::Status CheckTotal(absl::string_view name, int64_t size_bytes, int64_t& total) const {
    const auto limit = static_cast<__int128>(file_->size_bytes()) * kMaxSharing + kMaxSharedBytes;
    if (!__builtin_add_overflow(total, size_bytes, &total) && total <= limit) {
      return absl::OkStatus();
    }
    return Unsupported(absl::StrCat(
        "tensor ", QuoteForMessage(name), " has ", size_bytes,
        " bytes, with which the tensors are ", "far bigger than the file of ", file_->size_bytes(),
        " bytes; call contiguous() on tensors that expand() made, or leave them out"));
  }

  void Note(const StateDict& found, std::vector<std::string>& notes) const {
    if (!found.key.empty()) {
      notes.push_back(
          absl::StrCat(Name(), ": its tensors are those of ", QuoteForMessage(found.key)));
    }
    if (found.left_out.empty()) return;
    std::vector<std::string> quoted;
    for (const std::string& name : found.left_out) {
      if (quoted.size() == kMaxNamesListed) break;
      quoted.push_back(QuoteForMessage(name));
    }
    std::string list = absl::StrJoin(quoted, ", ");
    if (const size_t count = found.left_out.size(); count > quoted.size()) {
      absl::StrAppend(&list, " and ", count - quoted.size(), " more");
    }
    notes.push_back(absl::StrCat(Name(), ": left out, because no tensors of the model: ", list));
  }

  const std::shared_ptr<const ByteSource> file_;
  const TorchOptions& options_;
  std::optional<ZipDirectory> directory_;
  // The folder in the archive, with its slash.
  std::string root_;
};

}  // namespace

absl::StatusOr<bool> LooksLikeZip(const ByteSource& file) {
  char head[4];
  if (file.size_bytes() < static_cast<int64_t>(sizeof head)) return false;
  MUSTER_RETURN_IF_ERROR(file.Read(0, absl::MakeSpan(head)));
  return absl::string_view(head, sizeof head) == "PK\x03\x04";
}

absl::StatusOr<TorchFile> OpenTorchFile(std::shared_ptr<const ByteSource> file,
                                        const TorchOptions& options) {
  return Opening(std::move(file), options).Run();
}

}  // namespace muster
