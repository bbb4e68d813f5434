#include "client/transfer/piece_sink.h"

#include <sys/mman.h>

#include <cstring>
#include <new>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "client/transfer/posix_file.h"

namespace muster {
namespace {

// Touching fresh memory in small pages takes as long as hashing what is put there.
void AskForHugePages(char* bytes, size_t size) {
  constexpr uintptr_t kHugePage = uintptr_t{2} << 20;
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(bytes) + kHugePage - 1) & ~(kHugePage - 1);
  const uintptr_t end = (reinterpret_cast<uintptr_t>(bytes) + size) & ~(kHugePage - 1);
  // Only a hint; a kernel without huge pages refuses it.
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
}

}  // namespace

absl::StatusOr<std::unique_ptr<MemorySink>> MemorySink::Make(int64_t size_bytes) {
  std::unique_ptr<char[]> bytes(new (std::nothrow) char[static_cast<size_t>(size_bytes)]);
  if (bytes == nullptr) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no memory for a shard of ", size_bytes, " bytes; pull it to a file instead"));
  }
  AskForHugePages(bytes.get(), static_cast<size_t>(size_bytes));
  return absl::WrapUnique(new MemorySink(std::move(bytes), size_bytes));
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
