#include "client/cache/piece_sink.h"

#include <cstring>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "storage/base/error_info.h"
#include "storage/files/disk_room.h"
#include "storage/files/posix_file.h"

namespace muster {
absl::StatusOr<std::unique_ptr<MemorySink>> MemorySink::Make(int64_t size_bytes) {
  absl::StatusOr<IoBuffer> bytes = MakeIoBuffer(static_cast<size_t>(size_bytes));
  if (!bytes.ok()) return Annotate(bytes.status(), "pull the shard to a file instead");
  return absl::WrapUnique(new MemorySink(*std::move(bytes), size_bytes));
}

absl::Span<char> MemorySink::MemoryOf(int64_t offset, int64_t length) {
  return absl::MakeSpan(bytes_.get() + offset, static_cast<size_t>(length));
}

absl::Status MemorySink::Write(int64_t offset, absl::string_view bytes) {
  if (bytes_ == nullptr || offset < 0 || offset > size_bytes_ ||
      static_cast<int64_t>(bytes.size()) > size_bytes_ - offset) {
    return absl::InternalError(absl::StrCat("a range of ", bytes.size(), " bytes at ", offset,
                                            " is outside ", size_bytes_, " bytes of memory"));
  }
  if (!bytes.empty()) std::memcpy(bytes_.get() + offset, bytes.data(), bytes.size());
  return absl::OkStatus();
}

absl::Status FileRangeSink::Write(int64_t offset, absl::string_view bytes) {
  absl::Status status = WriteAt(range_.fd, range_.path, range_.base_offset + offset, bytes);
  if (status.code() == absl::StatusCode::kResourceExhausted) {
    return NoSpaceError(range_.path, range_.fd, static_cast<int64_t>(bytes.size()));
  }
  return status;
}

}  // namespace muster
