#include "storage/base/quote.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace muster {

Utf8Lead ClassifyUtf8Lead(unsigned char first) {
  if (first < 0x80) return {1};
  if (first < 0xC2) return {0};
  if (first < 0xE0) return {2};
  if (first == 0xE0) return {3, 0xA0, 0xBF};
  if (first == 0xED) return {3, 0x80, 0x9F};
  if (first < 0xF0) return {3};
  if (first == 0xF0) return {4, 0x90, 0xBF};
  if (first < 0xF4) return {4};
  if (first == 0xF4) return {4, 0x80, 0x8F};
  return {0};
}

bool IsValidUtf8(absl::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    const Utf8Lead lead = ClassifyUtf8Lead(static_cast<unsigned char>(text[i]));
    if (lead.length == 0 || text.size() - i < static_cast<size_t>(lead.length)) return false;
    for (int k = 1; k < lead.length; ++k) {
      const auto byte = static_cast<unsigned char>(text[i + static_cast<size_t>(k)]);
      const unsigned char low = k == 1 ? lead.second_min : 0x80;
      const unsigned char high = k == 1 ? lead.second_max : 0xBF;
      if (byte < low || byte > high) return false;
    }
    i += static_cast<size_t>(lead.length);
  }
  return true;
}

bool HasControlCharacter(absl::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x20 || byte == 0x7F;
  });
}

std::string QuoteForMessage(absl::string_view text) {
  constexpr size_t kShownBytes = 200;
  if (text.size() <= kShownBytes) {
    return absl::StrCat(
        "\"", IsValidUtf8(text) ? absl::Utf8SafeCEscape(text) : absl::CHexEscape(text), "\"");
  }
  // Cut where a character begins, or the escaped text would end in a broken one.
  size_t shown = kShownBytes;
  while (shown > 0 && (static_cast<unsigned char>(text[shown]) & 0xC0) == 0x80) --shown;
  const absl::string_view head = text.substr(0, shown);
  return absl::StrCat("\"",
                      IsValidUtf8(head) ? absl::Utf8SafeCEscape(head) : absl::CHexEscape(head),
                      "…\" (", text.size(), " bytes)");
}

}  // namespace muster
