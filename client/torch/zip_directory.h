// The directory of a zip archive whose entries are stored as they are: the container of torch.save.
#ifndef MUSTER_CLIENT_TORCH_ZIP_DIRECTORY_H_
#define MUSTER_CLIENT_TORCH_ZIP_DIRECTORY_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/format/byte_source.h"

namespace muster {

// As many bytes as the header of a safetensors file may have.
inline constexpr int64_t kMaxZipDirectoryBytes = 100'000'000;
inline constexpr size_t kMaxZipNameBytes = 1'024;

struct ZipEntry {
  std::string name;
  // Where its bytes lie in the archive.
  int64_t offset_bytes = 0;
  int64_t size_bytes = 0;
  uint32_t crc32 = 0;
};

// A checked directory. A value; thread-safe for reading.
class ZipDirectory {
 public:
  // `entries` have different names.
  explicit ZipDirectory(std::vector<ZipEntry> entries);

  // In order of names.
  const std::vector<ZipEntry>& entries() const { return entries_; }
  // nullptr when there is none; good as long as the directory lives.
  const ZipEntry* Find(absl::string_view name) const;

 private:
  std::vector<ZipEntry> entries_;
};

// Reads the central directory, also of zip64 archives, and the local header of every entry.
// kInvalidArgument, naming the entry: ZIP_COMPRESSED when an entry is compressed or
// encrypted, ZIP_BROKEN when the archive is cut short, entries overlap, share a name or lie outside
// of it, the two headers of an entry differ, or a limit above is exceeded. Takes memory for the
// directory, whatever the entries' sizes are.
absl::StatusOr<ZipDirectory> ReadZipDirectory(const ByteSource& source);

// All bytes of `entry`. kInvalidArgument when there are more than `max_bytes`; kDataLoss
// ZIP_CRC_DIFFERS when they don't match the entry's CRC-32.
absl::StatusOr<std::string> ReadZipEntry(const ByteSource& source, const ZipEntry& entry,
                                         int64_t max_bytes);

// The CRC-32 of zip archives.
uint32_t Crc32(absl::string_view bytes);

}  // namespace muster

#endif  // MUSTER_CLIENT_TORCH_ZIP_DIRECTORY_H_
