#include "client/encoding/frame_table.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/error_info.h"
#include "storage/base/limits.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

constexpr absl::string_view kMagic = "MUSTERFR";
constexpr int64_t kFrameEntryBytes = 32;
constexpr int64_t kRunEntryBytes = 16;
// A field for a key id; at least one zero ends it.
constexpr size_t kKeyIdFieldBytes = kMaxKeyIdBytes + 1;

absl::Status Broken(absl::string_view what) {
  return MakeError(absl::StatusCode::kDataLoss, reasons::kFrameTableBroken,
                   absl::StrCat("the stored object can't be decoded: ", what));
}

template <typename Integer>
void Append(std::string& out, uint64_t value) {
  for (size_t i = 0; i < sizeof(Integer); ++i) {
    out.push_back(static_cast<char>(static_cast<uint8_t>(value >> (8 * i))));
  }
}

template <typename Bytes>
void AppendBytes(std::string& out, const Bytes& bytes) {
  out.append(bytes.begin(), bytes.end());
}

// Takes fields off the front of bytes that are known to be long enough.
class FieldReader {
 public:
  explicit FieldReader(absl::string_view bytes) : bytes_(bytes) {}

  template <typename Integer>
  Integer Take() {
    Integer value = 0;
    for (size_t i = 0; i < sizeof(Integer); ++i) {
      value |=
          static_cast<Integer>(static_cast<Integer>(static_cast<uint8_t>(bytes_[i])) << (8 * i));
    }
    bytes_.remove_prefix(sizeof(Integer));
    return value;
  }

  template <size_t kSize>
  std::array<uint8_t, kSize> TakeArray() {
    std::array<uint8_t, kSize> value;
    std::memcpy(value.data(), bytes_.data(), kSize);
    bytes_.remove_prefix(kSize);
    return value;
  }

  absl::string_view TakeBytes(size_t size) {
    const absl::string_view value = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return value;
  }

 private:
  absl::string_view bytes_;
};

bool IsZero(absl::string_view bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](char c) { return c == '\0'; });
}

template <size_t kSize>
bool IsZero(const std::array<uint8_t, kSize>& bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](uint8_t b) { return b == 0; });
}

// Of a field with zeros behind the text.
absl::StatusOr<std::string> ParseKeyId(absl::string_view field) {
  const absl::string_view text = field.substr(0, std::min(field.find('\0'), field.size()));
  const bool printable =
      std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
  if (text.size() > kMaxKeyIdBytes || !printable || !IsZero(field.substr(text.size()))) {
    return Broken("its key id is not text");
  }
  return std::string(text);
}

// The numbers that say how large what is; the rest of the trailer has no say in it.
struct Sizes {
  uint64_t table_offset = 0;
  uint64_t table_bytes = 0;
  uint64_t plain_bytes = 0;
  uint32_t frame_count = 0;
  uint32_t frame_bytes = 0;
  uint32_t run_count = 0;
};

absl::Status SetSizes(const Sizes& sizes, int64_t object_bytes, Trailer& trailer) {
  if (sizes.frame_bytes < kMinFrameBytes || sizes.frame_bytes > kMaxFrameBytes ||
      (sizes.frame_bytes & (sizes.frame_bytes - 1)) != 0) {
    return Broken(absl::StrCat("frames of ", sizes.frame_bytes, " bytes are not possible"));
  }
  if (sizes.plain_bytes < 1 ||
      sizes.plain_bytes > kMaxFrames * static_cast<uint64_t>(sizes.frame_bytes)) {
    return Broken(absl::StrCat("a content of ", sizes.plain_bytes, " bytes is not possible"));
  }
  trailer.plain_bytes = static_cast<int64_t>(sizes.plain_bytes);
  trailer.frame_bytes = sizes.frame_bytes;
  trailer.run_count = sizes.run_count;
  if (sizes.frame_count != trailer.frame_count()) {
    return Broken(absl::StrCat(sizes.frame_count, " frames of ", sizes.frame_bytes,
                               " bytes don't make ", sizes.plain_bytes));
  }
  const bool grouped = trailer.encoding.codec == FrameCodec::kZstdGrouped;
  if (grouped ? sizes.run_count < 1 || sizes.run_count > ElementRuns::kMaxRuns
              : sizes.run_count != 0) {
    return Broken(absl::StrCat(sizes.run_count, " runs of elements are not possible"));
  }
  // Both are bounded by the counts, so that nothing below overflows.
  const auto table_bytes = static_cast<uint64_t>(trailer.table_stored_bytes());
  const auto behind = table_bytes + static_cast<uint64_t>(kTrailerBytes);
  const auto size = static_cast<uint64_t>(object_bytes);
  if (sizes.table_bytes != table_bytes || behind > size || sizes.table_offset != size - behind) {
    return Broken(absl::StrCat("a table of ", sizes.table_bytes, " bytes at ", sizes.table_offset,
                               " doesn't fit an object of ", object_bytes));
  }
  trailer.table_offset = static_cast<int64_t>(sizes.table_offset);
  return absl::OkStatus();
}

absl::Status SetEncoding(uint8_t codec, uint8_t cipher, Trailer& trailer) {
  if (codec > static_cast<uint8_t>(FrameCodec::kZstdGrouped) || cipher > 1 ||
      (codec == 0 && cipher == 0)) {
    return Broken(absl::StrCat("it names codec ", codec, " and cipher ", cipher));
  }
  trailer.encoding = {static_cast<FrameCodec>(codec), cipher == 1};
  return absl::OkStatus();
}

}  // namespace

size_t Trailer::frame_count() const {
  return static_cast<size_t>((plain_bytes - 1) / frame_bytes + 1);
}

int64_t Trailer::FrameOffset(size_t frame) const {
  return static_cast<int64_t>(frame) * frame_bytes;
}

int64_t Trailer::FrameLength(size_t frame) const {
  return std::min(frame_bytes, plain_bytes - FrameOffset(frame));
}

int64_t Trailer::table_plain_bytes() const {
  return static_cast<int64_t>(frame_count()) * kFrameEntryBytes +
         static_cast<int64_t>(run_count) * kRunEntryBytes;
}

int64_t Trailer::table_stored_bytes() const { return table_plain_bytes() + seal_bytes(); }

std::string PackTrailer(const Trailer& trailer) {
  std::string out;
  out.reserve(static_cast<size_t>(kTrailerBytes));
  Append<uint64_t>(out, static_cast<uint64_t>(trailer.table_offset));
  Append<uint64_t>(out, static_cast<uint64_t>(trailer.table_stored_bytes()));
  Append<uint64_t>(out, static_cast<uint64_t>(trailer.plain_bytes));
  Append<uint32_t>(out, trailer.frame_count());
  Append<uint32_t>(out, static_cast<uint64_t>(trailer.frame_bytes));
  Append<uint32_t>(out, trailer.run_count);
  Append<uint8_t>(out, static_cast<uint8_t>(trailer.encoding.codec));
  Append<uint8_t>(out, trailer.encoding.encrypted ? 1 : 0);
  Append<uint16_t>(out, 0);
  AppendBytes(out, trailer.salt);
  AppendBytes(out, trailer.key_check);
  std::string key_id = trailer.key_id;
  key_id.resize(kKeyIdFieldBytes, '\0');
  out += key_id;
  Append<uint32_t>(out, kFrameFormatVersion);
  Append<uint32_t>(out, kTrailerBytes);
  out.append(kMagic.data(), kMagic.size());
  return out;
}

absl::StatusOr<Trailer> ParseTrailer(absl::string_view bytes, int64_t object_bytes) {
  if (static_cast<int64_t>(bytes.size()) != kTrailerBytes || object_bytes < kTrailerBytes) {
    return Broken(absl::StrCat(object_bytes, " bytes are too few"));
  }
  FieldReader end(bytes.substr(bytes.size() - kMagic.size() - 8));
  const auto version = end.Take<uint32_t>();
  const auto trailer_bytes = end.Take<uint32_t>();
  if (end.TakeBytes(kMagic.size()) != kMagic) return Broken("it has no frame table at its end");
  if (version != kFrameFormatVersion) {
    return absl::UnimplementedError(absl::StrCat("the stored object has format ", version,
                                                 ", which this program doesn't know; update it"));
  }
  if (trailer_bytes != kTrailerBytes) return Broken("its trailer has another size");
  FieldReader fields(bytes);
  Sizes sizes;
  sizes.table_offset = fields.Take<uint64_t>();
  sizes.table_bytes = fields.Take<uint64_t>();
  sizes.plain_bytes = fields.Take<uint64_t>();
  sizes.frame_count = fields.Take<uint32_t>();
  sizes.frame_bytes = fields.Take<uint32_t>();
  sizes.run_count = fields.Take<uint32_t>();
  const auto codec = fields.Take<uint8_t>();
  const auto cipher = fields.Take<uint8_t>();
  if (fields.Take<uint16_t>() != 0) return Broken("a field of its trailer is not 0");
  Trailer trailer;
  MUSTER_RETURN_IF_ERROR(SetEncoding(codec, cipher, trailer));
  MUSTER_RETURN_IF_ERROR(SetSizes(sizes, object_bytes, trailer));
  trailer.salt = fields.TakeArray<sizeof(Salt)>();
  trailer.key_check = fields.TakeArray<sizeof(KeyCheck)>();
  MUSTER_ASSIGN_OR_RETURN(trailer.key_id, ParseKeyId(fields.TakeBytes(kKeyIdFieldBytes)));
  if (!trailer.encoding.encrypted &&
      (!IsZero(trailer.salt) || !IsZero(trailer.key_check) || !trailer.key_id.empty())) {
    return Broken("it is not encrypted and names a key");
  }
  return trailer;
}

std::string PackTable(const Trailer& trailer, const FrameTable& table) {
  std::string out;
  out.reserve(static_cast<size_t>(trailer.table_plain_bytes()));
  for (size_t i = 0; i < table.frames.size(); ++i) {
    Append<uint64_t>(out, static_cast<uint64_t>(table.frames[i].offset));
    Append<uint32_t>(out, static_cast<uint64_t>(table.frames[i].stored_bytes));
    Append<uint32_t>(out, static_cast<uint64_t>(trailer.FrameLength(i)));
    AppendBytes(out, table.frames[i].plain_md5);
  }
  for (const ElementRun& run : table.runs.runs()) {
    Append<uint64_t>(out, static_cast<uint64_t>(run.size_bytes));
    Append<uint32_t>(out, run.width);
    Append<uint32_t>(out, 0);
  }
  return out;
}

absl::StatusOr<FrameTable> ParseTable(absl::string_view bytes, const Trailer& trailer) {
  if (static_cast<int64_t>(bytes.size()) != trailer.table_plain_bytes()) {
    return Broken("its frame table has another size");
  }
  FieldReader fields(bytes);
  FrameTable table;
  table.frames.reserve(trailer.frame_count());
  int64_t end = 0;
  for (size_t i = 0; i < trailer.frame_count(); ++i) {
    const auto offset = fields.Take<uint64_t>();
    const int64_t stored = fields.Take<uint32_t>();
    const int64_t plain = fields.Take<uint32_t>();
    const int64_t most = trailer.FrameLength(i) + trailer.seal_bytes();
    if (offset != static_cast<uint64_t>(end) || plain != trailer.FrameLength(i) ||
        stored <= trailer.seal_bytes() || stored > most || stored > trailer.table_offset - end ||
        (trailer.encoding.codec == FrameCodec::kNone && stored != most)) {
      return Broken(absl::StrCat("frame ", i, " has ", stored, " bytes at ", offset, " for ", plain,
                                 ", which doesn't fit the others"));
    }
    end += stored;
    table.frames.push_back({static_cast<int64_t>(offset), stored, fields.TakeArray<16>()});
  }
  if (end != trailer.table_offset) return Broken("its frames don't end where the table begins");
  if (trailer.run_count == 0) return table;
  std::vector<ElementRun> runs;
  runs.reserve(trailer.run_count);
  for (size_t i = 0; i < trailer.run_count; ++i) {
    const auto size = fields.Take<uint64_t>();
    const auto width = fields.Take<uint32_t>();
    if (fields.Take<uint32_t>() != 0 ||
        size > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      return Broken(absl::StrCat("run ", i, " of elements is not possible"));
    }
    runs.push_back({width, static_cast<int64_t>(size)});
  }
  absl::StatusOr<ElementRuns> made = ElementRuns::Make(std::move(runs));
  if (!made.ok()) return Broken(made.status().message());
  if (made->size_bytes() != trailer.plain_bytes) {
    return Broken("its runs of elements don't make its content");
  }
  table.runs = *std::move(made);
  return table;
}

}  // namespace muster
