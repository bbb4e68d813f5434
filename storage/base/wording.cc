#include "storage/base/wording.h"

#include <cmath>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace muster {

std::string FormatSize(int64_t bytes) {
  constexpr absl::string_view kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  auto number = static_cast<double>(bytes);
  size_t unit = 0;
  // So that 1023.99 KiB is not written as 1024.0 KiB.
  while (std::abs(number) >= 1023.95 && unit + 1 < std::size(kUnits)) {
    number /= 1024;
    ++unit;
  }
  if (unit == 0) return absl::StrCat(bytes, " B");
  return absl::StrFormat("%.1f %s", number, kUnits[unit]);
}

std::string ShortText(absl::string_view text, size_t max_bytes) {
  constexpr absl::string_view kEllipsis = "…";
  if (text.size() <= max_bytes) return std::string(text);
  size_t size = max_bytes > kEllipsis.size() ? max_bytes - kEllipsis.size() : 0;
  while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xC0) == 0x80) --size;
  // The space may be the first character that is left out.
  const size_t space = text.substr(0, size + 1).rfind(' ');
  if (space != absl::string_view::npos && space >= size / 2) size = space;
  while (size > 0 && (text[size - 1] == ' ' || text[size - 1] == ',' || text[size - 1] == ';'))
    --size;
  return absl::StrCat(text.substr(0, size), kEllipsis);
}

}  // namespace muster
