#include "storage/metadata/log_records.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "storage/metadata/crc32c.h"

namespace muster {
namespace {

constexpr size_t kBlockBytes = 32 << 10;
constexpr size_t kHeaderBytes = 7;
// With the low half of the log's number.
constexpr size_t kRecyclableHeaderBytes = 11;
constexpr uint8_t kFirstRecyclableType = 5;
constexpr uint8_t kSetCompressionType = 9;
// The checksum covers what follows the length.
constexpr size_t kTypeOffset = 6;

uint32_t LittleEndian(absl::string_view bytes) {
  uint32_t value = 0;
  for (size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<uint8_t>(bytes[i]);
  return value;
}

std::optional<LogFragment::Part> PartOf(uint8_t type) {
  using Part = LogFragment::Part;
  constexpr Part kParts[] = {Part::kFull, Part::kFirst, Part::kMiddle, Part::kLast};
  if (type == kSetCompressionType) return Part::kSetCompression;
  if (type == 0 || type > kSetCompressionType) return std::nullopt;
  return kParts[(type - 1) % 4];
}

}  // namespace

std::optional<LogFragment> FragmentAt(absl::string_view bytes, size_t begin) {
  const size_t block_end = (begin / kBlockBytes + 1) * kBlockBytes;
  const size_t end_max = std::min(block_end, bytes.size());
  if (begin + kHeaderBytes > end_max) return std::nullopt;
  const auto type = static_cast<uint8_t>(bytes[begin + kTypeOffset]);
  const std::optional<LogFragment::Part> part = PartOf(type);
  if (!part.has_value()) return std::nullopt;
  const bool recyclable = type >= kFirstRecyclableType && type < kSetCompressionType;
  const size_t payload = begin + (recyclable ? kRecyclableHeaderBytes : kHeaderBytes);
  const size_t end = payload + LittleEndian(bytes.substr(begin + 4, 2));
  if (end > end_max) return std::nullopt;
  const absl::string_view covered = bytes.substr(begin + kTypeOffset, end - begin - kTypeOffset);
  if (MaskedCrc32c(Crc32c(covered)) != LittleEndian(bytes.substr(begin, 4))) return std::nullopt;
  return LogFragment{*part, begin, end, bytes.substr(payload, end - payload)};
}

void LogRecords::SkipTrailer() {
  const size_t left = kBlockBytes - position_ % kBlockBytes;
  if (left >= kRecyclableHeaderBytes) return;
  const size_t end = std::min(position_ + left, bytes_.size());
  const absl::string_view trailer = bytes_.substr(position_, end - position_);
  if (trailer.find_first_not_of('\0') == absl::string_view::npos) position_ = end;
}

std::optional<LogRecords::Record> LogRecords::Next() {
  Record record;
  bool begun = false;
  while (true) {
    SkipTrailer();
    if (!begun) whole_bytes_ = position_;
    const std::optional<LogFragment> fragment = FragmentAt(bytes_, position_);
    if (!fragment.has_value()) return std::nullopt;
    using Part = LogFragment::Part;
    if (fragment->part == Part::kSetCompression) {
      if (begun) return std::nullopt;
      compressed_ = true;
      position_ = fragment->end;
      continue;
    }
    const bool begins = fragment->part == Part::kFull || fragment->part == Part::kFirst;
    if (begins == begun) return std::nullopt;
    if (begins) record.begin = fragment->begin;
    begun = true;
    record.size_bytes += fragment->payload.size();
    const size_t wanted = kHeadBytes - record.head.size();
    absl::StrAppend(&record.head, fragment->payload.substr(0, wanted));
    position_ = record.end = fragment->end;
    if (fragment->part == Part::kFull || fragment->part == Part::kLast) {
      whole_bytes_ = position_;
      return record;
    }
  }
}

}  // namespace muster
