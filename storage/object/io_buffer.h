// Memory that bytes are read into at full speed.
#ifndef MUSTER_STORAGE_OBJECT_IO_BUFFER_H_
#define MUSTER_STORAGE_OBJECT_IO_BUFFER_H_

#include <cstddef>
#include <memory>

#include "absl/status/statusor.h"

namespace muster {

// malloc aligns large blocks to 16 bytes past a page, and some processors (AMD's Zen 3 and 4 among
// them) then take five times as long for the kernel's copy into them.
inline constexpr size_t kIoAlignment = 4096;

struct FreeIoBuffer {
  void operator()(char* bytes) const;
};
using IoBuffer = std::unique_ptr<char[], FreeIoBuffer>;

// At least `size_bytes` of memory, not initialised, at a multiple of kIoAlignment; in huge pages
// where it is large and the system has them. kResourceExhausted when there is not that much.
absl::StatusOr<IoBuffer> MakeIoBuffer(size_t size_bytes);

}  // namespace muster

#endif  // MUSTER_STORAGE_OBJECT_IO_BUFFER_H_
