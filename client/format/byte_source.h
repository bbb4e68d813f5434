// Bytes of one source file that may be read from any place, so that other kinds of sources can
// follow.
#ifndef MUSTER_CLIENT_FORMAT_BYTE_SOURCE_H_
#define MUSTER_CLIENT_FORMAT_BYTE_SOURCE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace muster {

// Thread-safe; calls block. Its size and fingerprint are those at the time of opening.
class ByteSource {
 public:
  virtual ~ByteSource() = default;

  // For messages: the path or URI as the user knows it.
  virtual const std::string& name() const = 0;

  virtual int64_t size_bytes() const = 0;

  // Fills all of `out` from `offset`. kOutOfRange when that goes beyond size_bytes(); kAborted when
  // the source has become shorter since it was opened.
  virtual absl::Status Read(int64_t offset, absl::Span<char> out) const = 0;

  // Opaque; differs once the content was changed or replaced.
  virtual const std::string& fingerprint() const = 0;

  // kAborted when the source is no longer what was opened.
  virtual absl::Status CheckUnchanged() const = 0;
};

// Opens a regular file (links are followed) and keeps it open. kNotFound, kPermissionDenied,
// kResourceExhausted when the process has too many files open, kInvalidArgument for a directory, a
// FIFO, a socket or a device; it never waits for a FIFO's writer.
absl::StatusOr<std::shared_ptr<const ByteSource>> OpenFileByteSource(absl::string_view path);

// Bytes in memory, for tests and for files that were read already.
std::shared_ptr<const ByteSource> NewMemoryByteSource(absl::string_view name, std::string bytes);

}  // namespace muster

#endif  // MUSTER_CLIENT_FORMAT_BYTE_SOURCE_H_
