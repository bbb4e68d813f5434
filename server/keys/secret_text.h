// Memory for text with keys in it.
#ifndef MUSTER_SERVER_KEYS_SECRET_TEXT_H_
#define MUSTER_SERVER_KEYS_SECRET_TEXT_H_

#include <cstddef>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace muster {

// Text of a bounded size. Its pages are in no core, empty in a child, not swapped out as far as the system lets them be
// locked, and wiped when it goes. Not thread-safe.
class SecretText {
 public:
  explicit SecretText(size_t capacity);
  ~SecretText();
  SecretText(const SecretText&) = delete;
  SecretText& operator=(const SecretText&) = delete;

  absl::string_view text() const { return {bytes_, size_}; }
  size_t capacity() const { return capacity_; }

  // The next `count` bytes, which belong to the text from now on. There must be room.
  absl::Span<char> Extend(size_t count);
  void Append(absl::string_view text);

 private:
  const size_t capacity_;
  const size_t mapped_;
  char* const bytes_;
  size_t size_ = 0;
};

}  // namespace muster

#endif  // MUSTER_SERVER_KEYS_SECRET_TEXT_H_
