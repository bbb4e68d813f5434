#include "storage/metadata/write_ahead_logs.h"

#include <cerrno>
#include <cstdio>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "storage/base/status_macros.h"
#include "storage/files/directories.h"
#include "storage/files/file_error.h"
#include "storage/metadata/log_records.h"
#include "storage/metadata/store_files.h"

namespace muster {
namespace {

// A batch begins with its sequence number and the count of its operations.
constexpr size_t kSequenceBytes = 8;
constexpr size_t kBatchHeaderBytes = 12;
static_assert(kBatchHeaderBytes == LogRecords::kHeadBytes);
// RocksDB's greatest.
constexpr uint64_t kSequenceMax = (uint64_t{1} << 56) - 1;

uint64_t FromLittleEndian(absl::string_view bytes) {
  uint64_t value = 0;
  for (size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<uint8_t>(bytes[i]);
  return value;
}

bool BeginsRecord(const LogFragment& fragment) {
  return fragment.part == LogFragment::Part::kFull || fragment.part == LogFragment::Part::kFirst;
}

// Where behind `break_at` a whole batch of `next_sequence` or later begins. The break may have taken
// the lengths by which one fragment leads to the next, so every byte may be a beginning.
std::optional<size_t> BatchBehind(absl::string_view bytes, size_t break_at,
                                  uint64_t next_sequence) {
  constexpr size_t kToType = 6;
  constexpr size_t kToPayload = 7;
  constexpr size_t kToRecyclablePayload = 11;
  for (size_t at = break_at + 1; at + kToRecyclablePayload + kSequenceBytes <= bytes.size(); ++at) {
    const char type = bytes[at + kToType];
    if (type != 1 && type != 2 && type != 5 && type != 6) continue;
    // Looked at before the checksum, which costs more.
    const size_t payload = at + (type >= 5 ? kToRecyclablePayload : kToPayload);
    const uint64_t sequence = FromLittleEndian(bytes.substr(payload, kSequenceBytes));
    if (sequence < next_sequence || sequence > kSequenceMax) continue;
    const std::optional<LogFragment> fragment = FragmentAt(bytes, at);
    if (fragment.has_value() && BeginsRecord(*fragment) &&
        fragment->payload.size() >= kSequenceBytes) {
      return at;
    }
  }
  return std::nullopt;
}

std::string JumpAt(size_t begin, uint64_t expected, uint64_t found) {
  return absl::StrCat("the batch at byte ", begin, " has number ", found, " where ", expected,
                      found > expected ? " should follow: what is between them is missing"
                                       : " should follow: it was written before");
}

}  // namespace

LogWalk WalkLog(absl::string_view bytes, uint64_t expected) {
  LogWalk walk;
  walk.next_sequence = expected;
  LogRecords records(bytes);
  while (const std::optional<LogRecords::Record> record = records.Next()) {
    if (record->size_bytes < kBatchHeaderBytes) {
      walk.damage = absl::StrCat("the record at byte ", record->begin, " is too short");
      return walk;
    }
    const absl::string_view head(record->head);
    const uint64_t sequence = FromLittleEndian(head.substr(0, kSequenceBytes));
    const uint64_t count = FromLittleEndian(head.substr(kSequenceBytes));
    if (walk.next_sequence != 0 && sequence != walk.next_sequence) {
      walk.damage = JumpAt(record->begin, walk.next_sequence, sequence);
      walk.gap = walk.first_sequence == 0;
      return walk;
    }
    if (walk.first_sequence == 0) walk.first_sequence = sequence;
    walk.next_sequence = sequence + count;
    walk.whole_bytes = record->end;
  }
  if (records.is_compressed()) {
    walk.damage = "it is compressed, which this program never does";
    return walk;
  }
  walk.whole_bytes = records.whole_bytes();
  if (records.is_clean()) return walk;
  const std::optional<size_t> behind = BatchBehind(bytes, walk.whole_bytes, walk.next_sequence);
  if (behind.has_value()) {
    walk.damage = absl::StrCat("it breaks off at byte ", walk.whole_bytes,
                               ", but a whole batch follows at byte ", *behind,
                               ", so this is not where a crash tore it");
  }
  return walk;
}

absl::StatusOr<LogsFound> WalkLogs(const std::string& directory) {
  MUSTER_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListStoreFiles(directory));
  std::map<uint64_t, std::string> logs;
  for (const std::string& name : names) {
    const std::optional<uint64_t> number = WriteAheadLogNumber(name);
    if (number.has_value()) logs.emplace(*number, name);
  }
  LogsFound found;
  uint64_t next = 0;
  for (const auto& [number, name] : logs) {
    MUSTER_ASSIGN_OR_RETURN(const std::string bytes,
                            ReadStoreFile(absl::StrCat(directory, "/", name)));
    found.bytes += bytes.size();
    const LogWalk walk = WalkLog(bytes, next);
    next = walk.next_sequence;
    if (walk.damage.empty()) continue;
    found.damage = absl::StrCat("write-ahead log ", name, ": ", walk.damage);
    // What follows a log that broke off is not in order with it either.
    found.gap_before = walk.gap ? number : number + 1;
    break;
  }
  if (next > 0) found.last_sequence = next - 1;
  return found;
}

absl::Status CheckManifest(absl::string_view bytes, uint64_t durable_bytes,
                           absl::string_view name) {
  LogRecords records(bytes);
  while (records.Next().has_value()) {
  }
  if (records.whole_bytes() < durable_bytes) {
    return absl::DataLossError(absl::StrCat(name, " is whole up to byte ", records.whole_bytes(),
                                            " only, and was written up to byte ", durable_bytes));
  }
  if (records.is_clean()) return absl::OkStatus();
  for (size_t at = records.whole_bytes() + 1; at < bytes.size(); ++at) {
    const std::optional<LogFragment> fragment = FragmentAt(bytes, at);
    if (!fragment.has_value() || !BeginsRecord(*fragment) || fragment->payload.empty()) continue;
    return absl::DataLossError(absl::StrCat(name, " is damaged at byte ", records.whole_bytes(),
                                            ": a whole record follows"));
  }
  return absl::OkStatus();
}

std::optional<uint64_t> WriteAheadLogNumber(absl::string_view name) {
  constexpr absl::string_view kSuffix = ".log";
  if (!absl::EndsWith(name, kSuffix)) return std::nullopt;
  const absl::string_view digits = name.substr(0, name.size() - kSuffix.size());
  uint64_t number = 0;
  if (digits.find_first_not_of("0123456789") != absl::string_view::npos ||
      !absl::SimpleAtoi(digits, &number)) {
    return std::nullopt;
  }
  return number;
}

absl::Status SetLogsAside(const std::string& directory, uint64_t from) {
  MUSTER_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListStoreFiles(directory));
  for (const std::string& name : names) {
    const std::optional<uint64_t> number = WriteAheadLogNumber(name);
    if (!number.has_value() || *number < from) continue;
    const std::string path = absl::StrCat(directory, "/", name);
    if (std::rename(path.c_str(), (path + ".lost").c_str()) != 0) {
      return PathError(errno, "set it aside", path);
    }
  }
  return SyncDirectory(directory);
}

}  // namespace muster
