#include "storage/files/disk_room.h"

#include <errno.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "storage/base/error_info.h"
#include "storage/base/quote.h"
#include "storage/base/reasons.h"
#include "storage/files/file_error.h"

namespace muster {
namespace {

// `result` is that of the call that filled in `info`.
absl::StatusOr<int64_t> FreeBytesIn(int result, const struct statvfs& info,
                                    absl::string_view path) {
  if (result != 0) return PathError(errno, "ask for its free space", path);
  const uint64_t block = std::max<uint64_t>(info.f_frsize, 1);
  return static_cast<int64_t>(
      std::min<uint64_t>(info.f_bavail, static_cast<uint64_t>(kUnknownRoom) / block) * block);
}

}  // namespace

absl::StatusOr<int64_t> FreeBytesOf(int fd, absl::string_view path) {
  struct statvfs info = {};
  const int result = fstatvfs(fd, &info);
  return FreeBytesIn(result, info, path);
}

absl::StatusOr<int64_t> FreeBytesOf(const std::string& path) {
  struct statvfs info = {};
  const int result = statvfs(path.c_str(), &info);
  return FreeBytesIn(result, info, path);
}

int64_t FreeBytesAt(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  fs::path there = fs::absolute(path, error);
  if (error) return kUnknownRoom;
  absl::StatusOr<int64_t> free = FreeBytesOf(there.string());
  while (!free.ok() && there.has_relative_path()) {
    there = there.parent_path();
    free = FreeBytesOf(there.string());
  }
  return free.value_or(kUnknownRoom);
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

absl::Status NoSpaceError(absl::string_view path, int fd, int64_t needed_bytes) {
  const absl::StatusOr<int64_t> free = FreeBytesOf(fd, path);
  return absl::ResourceExhaustedError(absl::StrCat(
      path, ": no space for ", needed_bytes, " bytes, ",
      free.ok() ? absl::StrCat(*free) : "an unknown number of",
      " bytes are free; free some, raise the file size or quota limit, or use another disk"));
}

}  // namespace muster
