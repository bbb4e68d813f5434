#include "storage/files/disk_room.h"

#include <algorithm>
#include <filesystem>
#include <limits>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "storage/base/error_info.h"
#include "storage/base/quote.h"
#include "storage/base/reasons.h"

namespace muster {

namespace fs = std::filesystem;

int64_t FreeBytesAt(const std::string& path) {
  constexpr int64_t kUnknown = std::numeric_limits<int64_t>::max();
  std::error_code error;
  fs::path there = fs::absolute(path, error);
  if (error) return kUnknown;
  while (!fs::exists(there, error) && there.has_relative_path()) there = there.parent_path();
  const fs::space_info space = fs::space(there, error);
  if (error) return kUnknown;
  return static_cast<int64_t>(std::min<uintmax_t>(space.available, kUnknown));
}

absl::Status CheckDiskRoom(const DiskRoom& room, const std::string& path) {
  if (room.needed_bytes <= room.free_bytes) return absl::OkStatus();
  return MakeError(
      absl::StatusCode::kResourceExhausted, reasons::kNoSpace,
      absl::StrCat("no space: ", room.needed_bytes, " bytes are needed and the file system of ",
                   QuoteForMessage(path), " has ", room.free_bytes,
                   " free; free some space or choose another place"),
      {{"needed_bytes", absl::StrCat(room.needed_bytes)},
       {"free_bytes", absl::StrCat(room.free_bytes)}});
}

}  // namespace muster
