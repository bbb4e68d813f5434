#include "storage/object/io_buffer.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace muster {
namespace {

constexpr size_t kHugePageBytes = size_t{2} << 20;

size_t RoundUp(size_t size, size_t to) { return (size + to - 1) / to * to; }

}  // namespace

void FreeIoBuffer::operator()(char* bytes) const { std::free(bytes); }

absl::StatusOr<IoBuffer> MakeIoBuffer(size_t size_bytes) {
  const bool is_large = size_bytes >= kHugePageBytes;
  const size_t alignment = is_large ? kHugePageBytes : kIoAlignment;
  IoBuffer buffer;
  if (size_bytes <= SIZE_MAX - kIoAlignment) {
    buffer.reset(
        static_cast<char*>(std::aligned_alloc(alignment, RoundUp(size_bytes, kIoAlignment))));
  }
  if (buffer == nullptr) {
    return absl::ResourceExhaustedError(absl::StrCat("no memory for ", size_bytes, " bytes"));
  }
  // Touching fresh memory in small pages takes as long as hashing what is put there. Only a hint: a
  // kernel without huge pages refuses it. What is rounded off at the end may belong to others.
  if (is_large) {
    madvise(buffer.get(), size_bytes / kHugePageBytes * kHugePageBytes, MADV_HUGEPAGE);
  }
  return buffer;
}

}  // namespace muster
