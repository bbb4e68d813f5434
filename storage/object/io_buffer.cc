#include "storage/object/io_buffer.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace muster {
namespace {

constexpr size_t kHugePageBytes = size_t{2} << 20;

}  // namespace

void FreeIoBuffer::operator()(char* bytes) const { std::free(bytes); }

absl::StatusOr<IoBuffer> MakeIoBuffer(size_t size_bytes) {
  const bool is_large = size_bytes >= kHugePageBytes;
  const size_t alignment = is_large ? kHugePageBytes : kIoAlignment;
  void* bytes = nullptr;
  if (posix_memalign(&bytes, alignment, std::max<size_t>(size_bytes, 1)) != 0) {
    return absl::ResourceExhaustedError(absl::StrCat("no memory for ", size_bytes, " bytes"));
  }
  IoBuffer buffer(static_cast<char*>(bytes));
  // Touching fresh memory in small pages takes as long as hashing what is put there. Only a hint: a
  // kernel without huge pages refuses it. What is rounded off at the end may belong to others.
  if (is_large) {
    madvise(buffer.get(), size_bytes / kHugePageBytes * kHugePageBytes, MADV_HUGEPAGE);
  }
  return buffer;
}

}  // namespace muster
