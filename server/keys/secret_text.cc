#include "server/keys/secret_text.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "storage/base/secret_key.h"

namespace muster {
namespace {

constexpr size_t kPageBytes = 4096;

char* MapSecret(size_t bytes) {
  void* const range =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  // As when malloc has none for a few pages.
  if (range == MAP_FAILED) std::abort();
  madvise(range, bytes, MADV_DONTDUMP);
  madvise(range, bytes, MADV_WIPEONFORK);
  // Refused where RLIMIT_MEMLOCK is 0; then the swap should be encrypted.
  mlock(range, bytes);
  return static_cast<char*>(range);
}

}  // namespace

SecretText::SecretText(size_t capacity)
    : capacity_(capacity),
      mapped_((std::max<size_t>(capacity, 1) + kPageBytes - 1) / kPageBytes * kPageBytes),
      bytes_(MapSecret(mapped_)) {}

SecretText::~SecretText() {
  Wipe({bytes_, mapped_});
  munmap(bytes_, mapped_);
}

absl::Span<char> SecretText::Extend(size_t count) {
  if (count > capacity_ - size_) std::abort();
  const absl::Span<char> added(bytes_ + size_, count);
  size_ += count;
  return added;
}

void SecretText::Append(absl::string_view text) {
  const absl::Span<char> added = Extend(text.size());
  if (!text.empty()) std::memcpy(added.data(), text.data(), text.size());
}

}  // namespace muster
