#include "storage/metadata/witness.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "storage/base/status_macros.h"
#include "storage/files/file_error.h"
#include "storage/files/posix_file.h"
#include "storage/files/staged_file.h"
#include "storage/metadata/crc32c.h"
#include "storage/metadata/store_files.h"

namespace muster {
namespace {

// Disks write sectors of so many bytes at once, or more.
constexpr size_t kSlotBytes = 512;
constexpr size_t kSlots = 2;
constexpr absl::string_view kPrefix = "muster witness 1 sequence=";

std::string WitnessPath(const std::string& directory) {
  return absl::StrCat(directory, "/", kWitnessFile);
}

// Text, for people who look at it: one line, filled up with spaces.
std::string SlotOf(const Witnessed& state) {
  std::string line =
      absl::StrCat(kPrefix, state.sequence, " revision=", state.revision,
                   " manifest=", state.manifest, " manifest_bytes=", state.manifest_bytes);
  const uint32_t crc = Crc32c(line);
  absl::StrAppend(&line, " crc=", absl::Hex(crc, absl::kZeroPad8));
  line.resize(kSlotBytes - 1, ' ');
  line.push_back('\n');
  return line;
}

std::optional<Witnessed> ParseSlot(absl::string_view slot) {
  if (!absl::ConsumeSuffix(&slot, "\n")) return std::nullopt;
  const size_t end = slot.find_last_not_of(' ');
  if (end == absl::string_view::npos) return std::nullopt;
  slot = slot.substr(0, end + 1);
  const size_t crc_at = slot.rfind(" crc=");
  if (crc_at == absl::string_view::npos) return std::nullopt;
  uint32_t crc = 0;
  const absl::string_view line = slot.substr(0, crc_at);
  if (!absl::SimpleHexAtoi(slot.substr(crc_at + 5), &crc) || crc != Crc32c(line)) {
    return std::nullopt;
  }
  const std::vector<absl::string_view> words = absl::StrSplit(line, ' ');
  constexpr absl::string_view kNames[] = {"sequence=", "revision=", "manifest=", "manifest_bytes="};
  constexpr size_t kTitleWords = 3;
  if (words.size() != kTitleWords + std::size(kNames)) return std::nullopt;
  uint64_t numbers[std::size(kNames)];
  for (size_t i = 0; i < std::size(kNames); ++i) {
    absl::string_view word = words[kTitleWords + i];
    if (!absl::ConsumePrefix(&word, kNames[i]) || !absl::SimpleAtoi(word, &numbers[i])) {
      return std::nullopt;
    }
  }
  return Witnessed{numbers[0], numbers[1], numbers[2], numbers[3]};
}

}  // namespace

absl::StatusOr<std::optional<Witnessed>> Witness::Read(const std::string& directory) {
  const std::string path = WitnessPath(directory);
  const absl::StatusOr<std::string> bytes = ReadStoreFile(path);
  if (absl::IsNotFound(bytes.status())) return std::optional<Witnessed>();
  if (!bytes.ok()) return bytes.status();
  std::optional<Witnessed> newest;
  for (size_t slot = 0; slot < kSlots && bytes->size() == kSlots * kSlotBytes; ++slot) {
    const std::optional<Witnessed> found =
        ParseSlot(absl::string_view(*bytes).substr(slot * kSlotBytes, kSlotBytes));
    if (!found.has_value()) continue;
    if (!newest.has_value()) newest = found;
    newest->sequence = std::max(newest->sequence, found->sequence);
    newest->revision = std::max(newest->revision, found->revision);
    if (std::pair(found->manifest, found->manifest_bytes) >
        std::pair(newest->manifest, newest->manifest_bytes)) {
      newest->manifest = found->manifest;
      newest->manifest_bytes = found->manifest_bytes;
    }
  }
  if (!newest.has_value()) return absl::DataLossError(path + " is damaged");
  return newest;
}

absl::StatusOr<std::unique_ptr<Witness>> Witness::Make(const std::string& directory,
                                                       const Witnessed& state) {
  const std::string path = WitnessPath(directory);
  const std::string slot = SlotOf(state);
  MUSTER_RETURN_IF_ERROR(WriteWholeFile(path, slot + slot));
  UniqueFd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd.valid()) return PathError(errno, "open it", path);
  return std::unique_ptr<Witness>(new Witness(std::move(fd), path, state));
}

absl::Status Witness::NoteBatch(uint64_t sequence, uint64_t revision) {
  MutexLock lock(mutex_);
  state_.sequence = sequence;
  if (revision != 0) state_.revision = revision;
  return Write();
}

absl::Status Witness::NoteManifest(uint64_t number, uint64_t bytes) {
  MutexLock lock(mutex_);
  if (std::pair(number, bytes) <= std::pair(state_.manifest, state_.manifest_bytes)) {
    return absl::OkStatus();
  }
  state_.manifest = number;
  state_.manifest_bytes = bytes;
  return Write();
}

absl::Status Witness::Write() {
  slot_ = 1 - slot_;
  return WriteAt(fd_.get(), path_, slot_ * static_cast<int64_t>(kSlotBytes), SlotOf(state_));
}

}  // namespace muster
