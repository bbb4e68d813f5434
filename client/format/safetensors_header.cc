#include "client/format/safetensors_header.h"

#include <algorithm>
#include <set>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "client/format/json_reader.h"
#include "storage/base/error_info.h"
#include "storage/base/limits.h"
#include "storage/base/quote.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

constexpr absl::string_view kMetadataKey = "__metadata__";
constexpr size_t kMaxVarintBytes = 10;

size_t EncodeVarint(uint64_t value, char* out) {
  size_t size = 0;
  for (; value >= 0x80; value >>= 7) out[size++] = static_cast<char>((value & 0x7F) | 0x80);
  out[size++] = static_cast<char>(value);
  return size;
}

void AppendVarint(uint64_t value, std::string& out) {
  char bytes[kMaxVarintBytes];
  out.append(bytes, EncodeVarint(value, bytes));
}

// Puts the length of what was appended since `start` before it.
void PrefixWithLength(size_t start, std::string& out) {
  char bytes[kMaxVarintBytes];
  out.insert(start, bytes, EncodeVarint(out.size() - start, bytes));
}

// Most writers sort already; seeing that is much quicker than sorting again.
template <typename Container, typename Less>
void SortUnlessSorted(Container& items, const Less& less) {
  if (!std::is_sorted(items.begin(), items.end(), less))
    std::sort(items.begin(), items.end(), less);
}

std::string Range(int64_t begin, int64_t end) { return absl::StrCat("[", begin, ", ", end, ")"); }

// Length of the header as the first 8 bytes say it, checked against the cap and the file.
absl::StatusOr<int64_t> ReadHeaderLength(const ByteSource& source) {
  if (source.size_bytes() < kSafetensorsLengthBytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the file has ", source.size_bytes(),
        " bytes, too few for a safetensors file; it was cut short or is of another format"));
  }
  unsigned char bytes[kSafetensorsLengthBytes];
  MUSTER_RETURN_IF_ERROR(
      source.Read(0, absl::MakeSpan(reinterpret_cast<char*>(bytes), sizeof bytes)));
  uint64_t length = 0;
  for (int i = 7; i >= 0; --i) length = (length << 8) | bytes[i];
  if (length > static_cast<uint64_t>(kMaxSafetensorsHeaderBytes)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the header length is ", length, " bytes, the format allows at most ",
                     kMaxSafetensorsHeaderBytes, "; the file is damaged or of another format"));
  }
  const int64_t room = source.size_bytes() - kSafetensorsLengthBytes;
  if (static_cast<int64_t>(length) > room) {
    return absl::InvalidArgumentError(absl::StrCat("the header length is ", length,
                                                   " bytes, but only ", room,
                                                   " bytes follow; the file was cut short"));
  }
  return static_cast<int64_t>(length);
}

}  // namespace

TensorInfo SafetensorsHeader::tensor(size_t i) const {
  const Record& record = records_[i];
  size_t position = record.entry;
  TensorInfo info;
  info.name = StringAt(position);
  info.dtype = StringAt(position);
  info.shape.resize(VarintAt(position));
  for (int64_t& dimension : info.shape) dimension = static_cast<int64_t>(VarintAt(position));
  info.begin_bytes = record.begin_bytes;
  info.end_bytes = record.end_bytes;
  return info;
}

absl::string_view SafetensorsHeader::tensor_name(size_t i) const {
  size_t position = records_[i].entry;
  return StringAt(position);
}

std::optional<size_t> SafetensorsHeader::Find(absl::string_view name) const {
  const auto found = std::lower_bound(records_.begin(), records_.end(), name,
                                      [this](const Record& record, absl::string_view wanted) {
                                        return tensor_name(record.by_name) < wanted;
                                      });
  if (found == records_.end() || tensor_name(found->by_name) != name) return std::nullopt;
  return found->by_name;
}

std::map<std::string, std::string> SafetensorsHeader::Metadata() const {
  std::map<std::string, std::string> result;
  for (size_t position : metadata_) {
    const absl::string_view key = StringAt(position);
    result.emplace_hint(result.end(), std::string(key), std::string(StringAt(position)));
  }
  return result;
}

std::vector<std::string> SafetensorsHeader::UnknownDtypes() const {
  constexpr size_t kMaxListed = 100;
  std::set<std::string> unknown;
  for (size_t i = 0; i < records_.size() && unknown.size() < kMaxListed; ++i) {
    size_t position = records_[i].entry;
    StringAt(position);
    const absl::string_view dtype = StringAt(position);
    if (!DtypeBits(dtype).has_value()) unknown.emplace(dtype);
  }
  return {unknown.begin(), unknown.end()};
}

absl::string_view SafetensorsHeader::StringAt(size_t& position) const {
  const size_t size = VarintAt(position);
  const absl::string_view text = absl::string_view(arena_).substr(position, size);
  position += size;
  return text;
}

uint64_t SafetensorsHeader::VarintAt(size_t& position) const {
  uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    const auto byte = static_cast<unsigned char>(arena_[position++]);
    value |= static_cast<uint64_t>(byte & 0x7F) << shift;
    if (byte < 0x80) break;
  }
  return value;
}

// Fills a SafetensorsHeader. Used once, by one thread.
class SafetensorsHeaderParser {
 public:
  SafetensorsHeaderParser(const ByteSource& source, int64_t length)
      : source_(source),
        reader_(source, kSafetensorsLengthBytes, kSafetensorsLengthBytes + length),
        length_(length) {}

  absl::StatusOr<SafetensorsHeader> Parse() {
    header_.data_begin_bytes_ = kSafetensorsLengthBytes + length_;
    header_.data_size_bytes_ = source_.size_bytes() - header_.data_begin_bytes_;
    // An entry is shorter than its JSON (but for lengths of strings of megabytes, a few bytes
    // each), so the arena never moves while it is filled.
    header_.arena_.reserve(static_cast<size_t>(length_) + 1024);
    MUSTER_RETURN_IF_ERROR(CheckFirstByte());
    MUSTER_RETURN_IF_ERROR(ParseTop());
    header_.arena_.shrink_to_fit();
    MUSTER_RETURN_IF_ERROR(SortMetadata());
    MUSTER_RETURN_IF_ERROR(SortTensors());
    MUSTER_RETURN_IF_ERROR(CheckLayout());
    return std::move(header_);
  }

 private:
  using Record = SafetensorsHeader::Record;

  // What one tensor's object said so far.
  struct Fields {
    std::string dtype;
    TensorShape shape;
    int64_t begin_bytes = 0;
    int64_t end_bytes = 0;
    bool has_dtype = false;
    bool has_shape = false;
    bool has_offsets = false;
  };

  absl::Status CheckFirstByte() {
    char first = 0;
    if (length_ > 0) {
      MUSTER_RETURN_IF_ERROR(source_.Read(kSafetensorsLengthBytes, absl::MakeSpan(&first, 1)));
    }
    if (first == '{') return absl::OkStatus();
    return absl::InvalidArgumentError(
        "the header does not begin with \"{\"; the file is damaged or of another format");
  }

  absl::Status ParseTop() {
    MUSTER_RETURN_IF_ERROR(reader_.Expect('{'));
    bool first = true;
    while (true) {
      MUSTER_ASSIGN_OR_RETURN(const bool more, reader_.NextElement('}', first));
      if (!more) return reader_.ExpectEnd();
      const size_t entry = header_.arena_.size();
      const absl::Status named = reader_.AppendString(kMaxTensorNameBytes, header_.arena_);
      if (!named.ok()) return Annotate(named, "a tensor's name");
      MUSTER_RETURN_IF_ERROR(reader_.Expect(':'));
      const std::string name = header_.arena_.substr(entry);
      if (name == kMetadataKey) {
        header_.arena_.resize(entry);
        MUSTER_RETURN_IF_ERROR(Annotate(ParseMetadata(), kMetadataKey));
      } else {
        const absl::Status parsed = ParseTensor(name, entry);
        if (!parsed.ok()) return Annotate(parsed, absl::StrCat("tensor ", QuoteForMessage(name)));
      }
    }
  }

  absl::Status ParseMetadata() {
    if (has_metadata_) return absl::InvalidArgumentError("appears twice");
    has_metadata_ = true;
    MUSTER_RETURN_IF_ERROR(reader_.Expect('{'));
    bool first = true;
    while (true) {
      MUSTER_ASSIGN_OR_RETURN(const bool more, reader_.NextElement('}', first));
      if (!more) return absl::OkStatus();
      const size_t entry = header_.arena_.size();
      const auto max_bytes = static_cast<size_t>(length_);
      MUSTER_RETURN_IF_ERROR(reader_.AppendString(max_bytes, header_.arena_));
      PrefixWithLength(entry, header_.arena_);
      MUSTER_RETURN_IF_ERROR(reader_.Expect(':'));
      const size_t value = header_.arena_.size();
      MUSTER_RETURN_IF_ERROR(reader_.AppendString(max_bytes, header_.arena_));
      PrefixWithLength(value, header_.arena_);
      header_.metadata_.push_back(static_cast<uint32_t>(entry));
    }
  }

  absl::Status ParseTensor(const std::string& name, size_t entry) {
    if (name.empty()) return absl::InvalidArgumentError("a name must not be empty");
    if (HasControlCharacter(name)) {
      return absl::InvalidArgumentError("a name must not hold control characters");
    }
    PrefixWithLength(entry, header_.arena_);
    Fields fields;
    MUSTER_RETURN_IF_ERROR(ParseFields(fields));
    MUSTER_RETURN_IF_ERROR(CheckFields(fields));
    AppendVarint(fields.dtype.size(), header_.arena_);
    header_.arena_.append(fields.dtype);
    AppendVarint(fields.shape.size(), header_.arena_);
    for (const int64_t dimension : fields.shape) {
      AppendVarint(static_cast<uint64_t>(dimension), header_.arena_);
    }
    header_.records_.push_back(
        Record{fields.begin_bytes, fields.end_bytes, static_cast<uint32_t>(entry), 0});
    return absl::OkStatus();
  }

  absl::Status ParseFields(Fields& fields) {
    MUSTER_RETURN_IF_ERROR(reader_.Expect('{'));
    bool first = true;
    while (true) {
      MUSTER_ASSIGN_OR_RETURN(const bool more, reader_.NextElement('}', first));
      if (!more) return absl::OkStatus();
      std::string key;
      MUSTER_RETURN_IF_ERROR(reader_.AppendString(kMaxTensorNameBytes, key));
      MUSTER_RETURN_IF_ERROR(reader_.Expect(':'));
      if (key == "dtype") {
        if (fields.has_dtype) return absl::InvalidArgumentError("\"dtype\" appears twice");
        fields.has_dtype = true;
        MUSTER_RETURN_IF_ERROR(Annotate(reader_.AppendString(kMaxDtypeBytes, fields.dtype), key));
      } else if (key == "shape") {
        if (fields.has_shape) return absl::InvalidArgumentError("\"shape\" appears twice");
        fields.has_shape = true;
        MUSTER_RETURN_IF_ERROR(Annotate(ParseShape(fields.shape), key));
      } else if (key == "data_offsets") {
        if (fields.has_offsets) return absl::InvalidArgumentError("\"data_offsets\" appears twice");
        fields.has_offsets = true;
        MUSTER_RETURN_IF_ERROR(Annotate(ParseOffsets(fields), key));
      } else {
        ++header_.ignored_field_count_;
        MUSTER_RETURN_IF_ERROR(Annotate(reader_.SkipValue(), QuoteForMessage(key)));
      }
    }
  }

  absl::Status ParseShape(TensorShape& shape) {
    MUSTER_RETURN_IF_ERROR(reader_.Expect('['));
    bool first = true;
    while (true) {
      MUSTER_ASSIGN_OR_RETURN(const bool more, reader_.NextElement(']', first));
      if (!more) return absl::OkStatus();
      if (shape.size() == kMaxTensorDimensions) {
        return absl::InvalidArgumentError(
            absl::StrCat("has more than ", kMaxTensorDimensions, " dimensions"));
      }
      MUSTER_ASSIGN_OR_RETURN(const int64_t dimension, reader_.ReadInteger());
      shape.push_back(dimension);
    }
  }

  absl::Status ParseOffsets(Fields& fields) {
    MUSTER_RETURN_IF_ERROR(reader_.Expect('['));
    MUSTER_ASSIGN_OR_RETURN(fields.begin_bytes, reader_.ReadInteger());
    MUSTER_RETURN_IF_ERROR(reader_.Expect(','));
    MUSTER_ASSIGN_OR_RETURN(fields.end_bytes, reader_.ReadInteger());
    return reader_.Expect(']');
  }

  absl::Status CheckFields(const Fields& fields) {
    if (!fields.has_dtype) return absl::InvalidArgumentError("has no \"dtype\"");
    if (!fields.has_shape) return absl::InvalidArgumentError("has no \"shape\"");
    if (!fields.has_offsets) return absl::InvalidArgumentError("has no \"data_offsets\"");
    if (fields.dtype.empty() || HasControlCharacter(fields.dtype)) {
      return absl::InvalidArgumentError(
          absl::StrCat("dtype ", QuoteForMessage(fields.dtype), " is not the name of a type"));
    }
    const std::string range = Range(fields.begin_bytes, fields.end_bytes);
    if (fields.begin_bytes > fields.end_bytes) {
      return absl::InvalidArgumentError(
          absl::StrCat("its range ", range, " ends before it begins"));
    }
    if (fields.end_bytes > header_.data_size_bytes_) {
      return absl::InvalidArgumentError(
          absl::StrCat("its range ", range, " goes past the end of the file, which has ",
                       header_.data_size_bytes_, " bytes of data; the file was cut short"));
    }
    MUSTER_ASSIGN_OR_RETURN(const std::optional<int64_t> size,
                            TensorSizeBytes(fields.dtype, fields.shape));
    if (size.has_value() && *size != fields.end_bytes - fields.begin_bytes) {
      return absl::InvalidArgumentError(absl::StrCat(
          "shape ", ShapeToString(fields.shape), " of ", fields.dtype, " needs ", *size,
          " bytes, its range ", range, " has ", fields.end_bytes - fields.begin_bytes));
    }
    return absl::OkStatus();
  }

  absl::Status SortMetadata() {
    const auto key_at = [this](size_t position) { return header_.StringAt(position); };
    auto& entries = header_.metadata_;
    SortUnlessSorted(entries, [&](uint32_t a, uint32_t b) { return key_at(a) < key_at(b); });
    for (size_t i = 1; i < entries.size(); ++i) {
      if (key_at(entries[i - 1]) == key_at(entries[i])) {
        return absl::InvalidArgumentError(absl::StrCat(
            kMetadataKey, ": key ", QuoteForMessage(key_at(entries[i])), " appears twice"));
      }
    }
    return absl::OkStatus();
  }

  absl::Status SortTensors() {
    auto& records = header_.records_;
    const auto name_at = [this](size_t i) { return header_.tensor_name(i); };
    SortUnlessSorted(records, [](const Record& a, const Record& b) {
      return std::tie(a.begin_bytes, a.end_bytes, a.entry) <
             std::tie(b.begin_bytes, b.end_bytes, b.entry);
    });
    std::deque<uint32_t> by_name(records.size());
    for (size_t i = 0; i < by_name.size(); ++i) by_name[i] = static_cast<uint32_t>(i);
    SortUnlessSorted(by_name, [&](uint32_t a, uint32_t b) { return name_at(a) < name_at(b); });
    for (size_t i = 0; i < by_name.size(); ++i) {
      records[i].by_name = by_name[i];
      if (i > 0 && name_at(by_name[i - 1]) == name_at(by_name[i])) {
        return absl::InvalidArgumentError(
            absl::StrCat("tensor ", QuoteForMessage(name_at(by_name[i])), " appears twice"));
      }
    }
    return absl::OkStatus();
  }

  // The ranges must follow one another from 0 to the end of the file.
  absl::Status CheckLayout() {
    int64_t covered = 0;
    for (size_t i = 0; i < header_.records_.size(); ++i) {
      const Record& record = header_.records_[i];
      if (record.begin_bytes != covered) return LayoutError(i, covered);
      covered = record.end_bytes;
    }
    if (covered == header_.data_size_bytes_) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("the tensors end at byte ", covered, " of the data, but the file has ",
                     header_.data_size_bytes_, " bytes of data; ",
                     header_.data_size_bytes_ - covered, " bytes belong to no tensor"));
  }

  absl::Status LayoutError(size_t i, int64_t covered) {
    const Record& record = header_.records_[i];
    const std::string self =
        absl::StrCat("tensor ", QuoteForMessage(header_.tensor_name(i)), " with range ",
                     Range(record.begin_bytes, record.end_bytes));
    const std::string before =
        i == 0 ? "the beginning of the data"
               : absl::StrCat("tensor ", QuoteForMessage(header_.tensor_name(i - 1)),
                              " with range ", Range(header_.records_[i - 1].begin_bytes, covered));
    if (record.begin_bytes < covered) {
      return absl::InvalidArgumentError(absl::StrCat(self, " overlaps ", before));
    }
    return absl::InvalidArgumentError(absl::StrCat(
        self, " leaves a hole of ", record.begin_bytes - covered, " bytes after ", before));
  }

  const ByteSource& source_;
  JsonReader reader_;
  const int64_t length_;
  SafetensorsHeader header_;
  bool has_metadata_ = false;
};

absl::StatusOr<SafetensorsHeader> ReadSafetensorsHeader(const ByteSource& source) {
  const absl::StatusOr<int64_t> length = ReadHeaderLength(source);
  if (!length.ok()) return Annotate(length.status(), QuoteForMessage(source.name()));
  SafetensorsHeaderParser parser(source, *length);
  absl::StatusOr<SafetensorsHeader> header = parser.Parse();
  if (!header.ok()) return Annotate(header.status(), QuoteForMessage(source.name()));
  return header;
}

absl::StatusOr<bool> LooksLikeSafetensors(const ByteSource& source) {
  const absl::StatusOr<int64_t> length = ReadHeaderLength(source);
  if (absl::IsInvalidArgument(length.status())) return false;
  MUSTER_RETURN_IF_ERROR(length.status());
  if (*length == 0) return false;
  char first = 0;
  MUSTER_RETURN_IF_ERROR(source.Read(kSafetensorsLengthBytes, absl::MakeSpan(&first, 1)));
  return first == '{';
}

}  // namespace muster
