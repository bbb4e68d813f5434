// Memory for keys.
#ifndef MUSTER_STORAGE_BASE_SECRET_MEMORY_H_
#define MUSTER_STORAGE_BASE_SECRET_MEMORY_H_

#include <cstddef>

#include "absl/types/span.h"

namespace muster {

// Room for a key or its text, zeroed at first and wiped when it goes. Its pages are in no core, empty in a
// child, and not swapped out as far as the system lets them be locked. A value: copies have memory of their
// own. Thread-safe for reading.
class SecretMemory {
 public:
  static constexpr size_t kBytes = 128;

  SecretMemory();
  SecretMemory(const SecretMemory& other);
  SecretMemory& operator=(const SecretMemory& other);
  ~SecretMemory();

  absl::Span<char> bytes() { return {bytes_, kBytes}; }
  absl::Span<const char> bytes() const { return {bytes_, kBytes}; }

 private:
  char* const bytes_;
};

}  // namespace muster

#endif  // MUSTER_STORAGE_BASE_SECRET_MEMORY_H_
