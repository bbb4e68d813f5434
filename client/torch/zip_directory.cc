// How an archive is read without trusting it. A zip file says most things twice, in its directory
// at the end and in each entry's own header; a reader that believed one copy could be shown other
// bytes than torch is, which may believe the other.
//
// 1. The end record is searched from the back, as far as the longest comment reaches. It counts
//    only if its comment ends exactly with the file; a signature inside a comment does not.
// 2. Fields at their limit mean zip64: a locator right before the end record says where the record
//    with the real numbers is.
// 3. Before memory is reserved, the directory must lie before its end record, be of bounded size,
//    and be able to hold as many entries as it claims.
// 4. An entry must be stored as it is, neither compressed nor encrypted. Sizes and offset at their
//    limit are in its zip64 field, in that order.
// 5. Then each entry's own header is read, in the order in which they lie. No entry may overlap the
//    one before or the directory, and both headers must agree on name, form, size and CRC-32. torch
//    leaves the last ones at 0 where it repeats them behind the data. Where the bytes begin is
//    known only from the own header: its extra field has a length of its own, by which torch aligns
//    them.
#include "client/torch/zip_directory.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "storage/base/error_info.h"
#include "storage/base/quote.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

constexpr absl::string_view kLocalSignature = "PK\x03\x04";
constexpr absl::string_view kCentralSignature = "PK\x01\x02";
constexpr absl::string_view kEndSignature = "PK\x05\x06";
constexpr absl::string_view kEnd64Signature = "PK\x06\x06";
constexpr absl::string_view kLocator64Signature = "PK\x06\x07";
constexpr int64_t kLocalBytes = 30;
constexpr int64_t kCentralBytes = 46;
constexpr int64_t kEndBytes = 22;
constexpr int64_t kEnd64Bytes = 56;
constexpr int64_t kLocator64Bytes = 20;
constexpr int64_t kMaxCommentBytes = 65'535;
// Says that the real value is in a zip64 record.
constexpr uint64_t kIn64 = 0xFFFFFFFF;
constexpr uint64_t kCountIn64 = 0xFFFF;
constexpr uint64_t kExtra64 = 1;
constexpr uint64_t kEncrypted = 1;
// The local header leaves sizes and CRC to a record behind the data.
constexpr uint64_t kSizesFollow = 8;

absl::Status BrokenZip(absl::string_view what) {
  return MakeError(
      absl::StatusCode::kInvalidArgument, reasons::kZipBroken,
      absl::StrCat(what, "; the file is damaged, was cut short, or is not a PyTorch file"));
}

// `width` bytes at `at`, which are there, little end first.
uint64_t Number(absl::string_view bytes, size_t at, size_t width) {
  uint64_t value = 0;
  for (size_t i = width; i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
  return value;
}

absl::StatusOr<std::string> ReadBytes(const ByteSource& source, int64_t offset, int64_t size) {
  std::string bytes(static_cast<size_t>(size), '\0');
  MUSTER_RETURN_IF_ERROR(source.Read(offset, absl::MakeSpan(bytes)));
  return bytes;
}

// The zip64 record among the extra fields; "" where there is none.
absl::string_view Extra64(absl::string_view extra) {
  while (extra.size() >= 4) {
    const uint64_t id = Number(extra, 0, 2);
    const uint64_t size = Number(extra, 2, 2);
    extra.remove_prefix(4);
    if (size > extra.size()) break;
    if (id == kExtra64) return extra.substr(0, size);
    extra.remove_prefix(size);
  }
  return "";
}

// Replaces a value that says so by the next one of the zip64 record.
bool Resolve64(uint64_t& value, absl::string_view& record) {
  if (value != kIn64) return true;
  if (record.size() < 8) return false;
  value = Number(record, 0, 8);
  record.remove_prefix(8);
  return true;
}

// Where the central directory is.
struct Place {
  uint64_t count = 0;
  uint64_t offset = 0;
  uint64_t size = 0;
};

// What the central directory says of an entry, checked against its local header later.
struct Found {
  ZipEntry entry;
  uint64_t flags = 0;
  int64_t header_offset = 0;
};

class Reader {
 public:
  explicit Reader(const ByteSource& source) : source_(source) {}

  absl::StatusOr<ZipDirectory> Read() {
    MUSTER_ASSIGN_OR_RETURN(const Place place, FindDirectory());
    MUSTER_RETURN_IF_ERROR(ReadCentral(place));
    MUSTER_RETURN_IF_ERROR(CheckPlaces(static_cast<int64_t>(place.offset)));
    std::vector<ZipEntry> entries;
    entries.reserve(found_.size());
    for (Found& found : found_) entries.push_back(std::move(found.entry));
    ZipDirectory directory(std::move(entries));
    const auto twice =
        std::adjacent_find(directory.entries().begin(), directory.entries().end(),
                           [](const ZipEntry& a, const ZipEntry& b) { return a.name == b.name; });
    if (twice == directory.entries().end()) return directory;
    return BrokenZip(absl::StrCat("entry ", QuoteForMessage(twice->name), " appears twice"));
  }

 private:
  // The record at the end of the archive, before a comment of at most 65,535 bytes.
  absl::StatusOr<Place> FindDirectory() {
    const int64_t size = source_.size_bytes();
    const int64_t tail_size = std::min(size, kEndBytes + kMaxCommentBytes);
    MUSTER_ASSIGN_OR_RETURN(const std::string bytes,
                            ReadBytes(source_, size - tail_size, tail_size));
    const absl::string_view tail = bytes;
    constexpr size_t kNowhere = absl::string_view::npos;
    for (size_t at = tail.rfind(kEndSignature); at != kNowhere;
         at = at == 0 ? kNowhere : tail.rfind(kEndSignature, at - 1)) {
      const size_t rest = tail.size() - at;
      if (rest < static_cast<size_t>(kEndBytes) ||
          rest != static_cast<size_t>(kEndBytes) + Number(tail, at + 20, 2)) {
        continue;
      }
      if (Number(tail, at + 4, 4) != 0) return BrokenZip("the archive is one of several volumes");
      Place place{Number(tail, at + 10, 2), Number(tail, at + 16, 4), Number(tail, at + 12, 4)};
      int64_t end = size - static_cast<int64_t>(rest);
      if (place.count == kCountIn64 || place.offset == kIn64 || place.size == kIn64) {
        MUSTER_RETURN_IF_ERROR(Read64(end, place));
      }
      return CheckPlace(place, end);
    }
    return BrokenZip("the zip archive has no directory at its end");
  }

  // Replaces `place` by what the zip64 record says; moves `end` to where that begins.
  absl::Status Read64(int64_t& end, Place& place) {
    if (end < kLocator64Bytes) return BrokenZip("the archive's zip64 locator is missing");
    MUSTER_ASSIGN_OR_RETURN(const std::string locator,
                            ReadBytes(source_, end - kLocator64Bytes, kLocator64Bytes));
    if (locator.compare(0, 4, kLocator64Signature.data(), 4) != 0) {
      return BrokenZip("the archive's zip64 locator is missing");
    }
    const uint64_t at = Number(locator, 8, 8);
    const auto limit = static_cast<uint64_t>(end - kLocator64Bytes);
    if (at > limit || limit - at < static_cast<uint64_t>(kEnd64Bytes)) {
      return BrokenZip(absl::StrCat("the archive's zip64 record at ", at, " is outside of it"));
    }
    end = static_cast<int64_t>(at);
    MUSTER_ASSIGN_OR_RETURN(const std::string record, ReadBytes(source_, end, kEnd64Bytes));
    if (record.compare(0, 4, kEnd64Signature.data(), 4) != 0) {
      return BrokenZip(absl::StrCat("there is no zip64 record at ", at));
    }
    place = {Number(record, 32, 8), Number(record, 48, 8), Number(record, 40, 8)};
    return absl::OkStatus();
  }

  static absl::StatusOr<Place> CheckPlace(const Place& place, int64_t end) {
    const auto limit = static_cast<uint64_t>(end);
    if (place.offset > limit || place.size > limit - place.offset) {
      return BrokenZip(absl::StrCat("the archive's directory of ", place.size, " bytes at ",
                                    place.offset, " is outside of its ", limit, " bytes"));
    }
    if (place.size > static_cast<uint64_t>(kMaxZipDirectoryBytes)) {
      return BrokenZip(absl::StrCat("the archive's directory has ", place.size, " bytes, at most ",
                                    kMaxZipDirectoryBytes, " are read"));
    }
    if (place.count > place.size / static_cast<uint64_t>(kCentralBytes)) {
      return BrokenZip(absl::StrCat("the archive's directory of ", place.size,
                                    " bytes can't have the ", place.count, " entries it names"));
    }
    return place;
  }

  absl::Status ReadCentral(const Place& place) {
    MUSTER_ASSIGN_OR_RETURN(
        const std::string bytes,
        ReadBytes(source_, static_cast<int64_t>(place.offset), static_cast<int64_t>(place.size)));
    absl::string_view rest = bytes;
    found_.reserve(place.count);
    for (uint64_t i = 0; i < place.count; ++i) MUSTER_RETURN_IF_ERROR(ReadEntry(rest));
    if (rest.empty()) return absl::OkStatus();
    return BrokenZip(absl::StrCat(rest.size(), " bytes follow the archive's last entry"));
  }

  absl::Status ReadEntry(absl::string_view& rest) {
    constexpr auto kFixed = static_cast<size_t>(kCentralBytes);
    if (rest.size() < kFixed || rest.substr(0, 4) != kCentralSignature) {
      return BrokenZip(
          absl::StrCat("entry ", found_.size(), " of the archive's directory is broken"));
    }
    const uint64_t name_size = Number(rest, 28, 2);
    const uint64_t extra_size = Number(rest, 30, 2);
    const uint64_t length = kFixed + name_size + extra_size + Number(rest, 32, 2);
    if (length > rest.size() || name_size == 0 || name_size > kMaxZipNameBytes) {
      return BrokenZip(absl::StrCat("entry ", found_.size(),
                                    " of the archive's directory has a name of ", name_size,
                                    " bytes and ", length, " bytes in all"));
    }
    Found found;
    found.entry.name = std::string(rest.substr(kFixed, name_size));
    found.entry.crc32 = static_cast<uint32_t>(Number(rest, 16, 4));
    found.flags = Number(rest, 8, 2);
    MUSTER_RETURN_IF_ERROR(CheckStored(found, Number(rest, 10, 2)));
    uint64_t packed = Number(rest, 20, 4);
    uint64_t size = Number(rest, 24, 4);
    uint64_t offset = Number(rest, 42, 4);
    absl::string_view record = Extra64(rest.substr(kFixed + name_size, extra_size));
    const auto limit = static_cast<uint64_t>(source_.size_bytes());
    if (!Resolve64(size, record) || !Resolve64(packed, record) || !Resolve64(offset, record) ||
        packed != size || size > limit || offset > limit) {
      return BrokenZip(absl::StrCat("entry ", QuoteForMessage(found.entry.name), " has ", size,
                                    " bytes, ", packed, " stored, at ", offset, " of ", limit));
    }
    found.entry.size_bytes = static_cast<int64_t>(size);
    found.header_offset = static_cast<int64_t>(offset);
    found_.push_back(std::move(found));
    rest.remove_prefix(length);
    return absl::OkStatus();
  }

  static absl::Status CheckStored(const Found& found, uint64_t method) {
    if (method == 0 && (found.flags & kEncrypted) == 0) return absl::OkStatus();
    return MakeError(
        absl::StatusCode::kInvalidArgument, reasons::kZipCompressed,
        absl::StrCat("entry ", QuoteForMessage(found.entry.name), " is ",
                     method == 0 ? "encrypted" : absl::StrCat("compressed (method ", method, ")"),
                     ", but torch.save stores entries as they are; save it again with torch, of a "
                     "TorchScript program the state_dict()"),
        {{"entry", found.entry.name}});
  }

  // Every entry ends before the next one, and the last one before the directory.
  absl::Status CheckPlaces(int64_t directory_offset) {
    std::sort(found_.begin(), found_.end(),
              [](const Found& a, const Found& b) { return a.header_offset < b.header_offset; });
    int64_t end = 0;
    const std::string* before = nullptr;
    for (Found& found : found_) {
      const std::string& name = found.entry.name;
      if (found.header_offset < end) {
        return BrokenZip(absl::StrCat("entry ", QuoteForMessage(name), " at ", found.header_offset,
                                      " overlaps ", QuoteForMessage(*before), ", which ends at ",
                                      end));
      }
      MUSTER_RETURN_IF_ERROR(ReadLocal(found, directory_offset));
      end = found.entry.offset_bytes + found.entry.size_bytes;
      before = &name;
    }
    return absl::OkStatus();
  }

  absl::Status ReadLocal(Found& found, int64_t directory_offset) {
    const std::string quoted = QuoteForMessage(found.entry.name);
    const auto name_size = static_cast<int64_t>(found.entry.name.size());
    if (directory_offset - found.header_offset < kLocalBytes + name_size) {
      return BrokenZip(absl::StrCat("entry ", quoted, " at ", found.header_offset,
                                    " does not end before the archive's directory"));
    }
    MUSTER_ASSIGN_OR_RETURN(const std::string header,
                            ReadBytes(source_, found.header_offset, kLocalBytes + name_size));
    if (header.compare(0, 4, kLocalSignature.data(), 4) != 0 ||
        Number(header, 26, 2) != found.entry.name.size() ||
        header.compare(static_cast<size_t>(kLocalBytes), std::string::npos, found.entry.name) !=
            0 ||
        Number(header, 8, 2) != 0 || Number(header, 6, 2) != found.flags) {
      return BrokenZip(
          absl::StrCat("entry ", quoted, " has another name or form in its own header"));
    }
    const auto extra_size = static_cast<int64_t>(Number(header, 28, 2));
    found.entry.offset_bytes = found.header_offset + kLocalBytes + name_size + extra_size;
    if (found.entry.offset_bytes > directory_offset ||
        found.entry.size_bytes > directory_offset - found.entry.offset_bytes) {
      return BrokenZip(absl::StrCat("entry ", quoted, " of ", found.entry.size_bytes, " bytes at ",
                                    found.entry.offset_bytes,
                                    " does not end before the archive's directory"));
    }
    return CheckSizes(found, header, extra_size);
  }

  absl::Status CheckSizes(const Found& found, absl::string_view header, int64_t extra_size) {
    const uint64_t crc = Number(header, 14, 4);
    uint64_t packed = Number(header, 18, 4);
    uint64_t size = Number(header, 22, 4);
    // torch leaves the three at 0 and repeats the directory's behind the data.
    if ((found.flags & kSizesFollow) != 0 && crc == 0 && (packed == 0 || packed == kIn64) &&
        (size == 0 || size == kIn64)) {
      return absl::OkStatus();
    }
    if (packed == kIn64 || size == kIn64) {
      MUSTER_ASSIGN_OR_RETURN(
          const std::string extra,
          ReadBytes(source_, found.entry.offset_bytes - extra_size, extra_size));
      absl::string_view record = Extra64(extra);
      // Where it is missing the sizes stay as they are, and differ.
      if (Resolve64(size, record)) Resolve64(packed, record);
    }
    const auto expected = static_cast<uint64_t>(found.entry.size_bytes);
    if (crc == found.entry.crc32 && packed == expected && size == expected) return absl::OkStatus();
    return BrokenZip(absl::StrCat("entry ", QuoteForMessage(found.entry.name), " has ", size,
                                  " bytes in its own header and ", expected,
                                  " in the archive's directory, or another CRC-32"));
  }

  const ByteSource& source_;
  std::vector<Found> found_;
};

constexpr std::array<uint32_t, 256> MakeCrcTable() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < table.size(); ++i) {
    uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) != 0 ? 0xEDB88320u : 0u);
    table[i] = value;
  }
  return table;
}
constexpr std::array<uint32_t, 256> kCrcTable = MakeCrcTable();

}  // namespace

ZipDirectory::ZipDirectory(std::vector<ZipEntry> entries) : entries_(std::move(entries)) {
  std::sort(entries_.begin(), entries_.end(),
            [](const ZipEntry& a, const ZipEntry& b) { return a.name < b.name; });
}

const ZipEntry* ZipDirectory::Find(absl::string_view name) const {
  const auto found = std::lower_bound(
      entries_.begin(), entries_.end(), name,
      [](const ZipEntry& entry, absl::string_view wanted) { return entry.name < wanted; });
  return found == entries_.end() || found->name != name ? nullptr : &*found;
}

absl::StatusOr<ZipDirectory> ReadZipDirectory(const ByteSource& source) {
  return Reader(source).Read();
}

absl::StatusOr<std::string> ReadZipEntry(const ByteSource& source, const ZipEntry& entry,
                                         int64_t max_bytes) {
  const std::string what = absl::StrCat("entry ", QuoteForMessage(entry.name));
  if (entry.size_bytes > max_bytes) {
    return BrokenZip(
        absl::StrCat(what, " has ", entry.size_bytes, " bytes, at most ", max_bytes, " are read"));
  }
  MUSTER_ASSIGN_OR_RETURN(std::string bytes,
                          ReadBytes(source, entry.offset_bytes, entry.size_bytes));
  if (Crc32(bytes) == entry.crc32) return bytes;
  return MakeError(absl::StatusCode::kDataLoss, reasons::kZipCrcDiffers,
                   absl::StrCat(what, " does not match its CRC-32; the file is damaged"),
                   {{"file", source.name()}, {"entry", entry.name}});
}

uint32_t Crc32(absl::string_view bytes) {
  uint32_t crc = 0xFFFFFFFF;
  for (const char byte : bytes) {
    crc = kCrcTable[(crc ^ static_cast<unsigned char>(byte)) & 0xFF] ^ (crc >> 8);
  }
  return ~crc;
}

}  // namespace muster
