#include "storage/object/percent_encode.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"

namespace muster {

std::string PercentEncode(absl::string_view plain, absl::string_view also_plain) {
  constexpr absl::string_view kDigits = "0123456789ABCDEF";
  std::string encoded;
  for (const char c : plain) {
    const auto byte = static_cast<unsigned char>(c);
    if (absl::ascii_isalnum(byte) || absl::StrContains(also_plain, c)) {
      encoded.push_back(c);
    } else {
      encoded.append({'%', kDigits[byte >> 4], kDigits[byte & 15]});
    }
  }
  return encoded;
}

}  // namespace muster
