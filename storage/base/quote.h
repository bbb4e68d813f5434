// Text from files: is it UTF-8, and how does it look in a message?
#ifndef MUSTER_STORAGE_BASE_QUOTE_H_
#define MUSTER_STORAGE_BASE_QUOTE_H_

#include <string>

#include "absl/strings/string_view.h"

namespace muster {

// Says how a UTF-8 sequence goes on after its first byte. `length` 0 means that no sequence begins
// so.
struct Utf8Lead {
  int length = 0;
  // Range of the second byte; later ones are 0x80 to 0xBF.
  unsigned char second_min = 0x80;
  unsigned char second_max = 0xBF;
};
Utf8Lead ClassifyUtf8Lead(unsigned char first);

// No overlong forms, no surrogates, nothing above U+10FFFF.
bool IsValidUtf8(absl::string_view text);

// True for a byte below 0x20 and for 0x7F.
bool HasControlCharacter(absl::string_view text);

// `text` in double quotes, escaped, and cut after 200 bytes, so that a hostile name can't flood a
// terminal.
std::string QuoteForMessage(absl::string_view text);

}  // namespace muster

#endif  // MUSTER_STORAGE_BASE_QUOTE_H_
