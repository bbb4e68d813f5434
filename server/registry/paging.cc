#include "server/registry/paging.h"

#include <algorithm>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "storage/base/error_info.h"
#include "storage/base/limits.h"
#include "storage/base/md5.h"
#include "storage/base/reasons.h"

namespace muster {
namespace {

// A token is base64 of "checksum revision key"; the checksum binds it to its list and shows damage.
std::string Checksum(absl::string_view list, absl::string_view body) {
  return Md5ToHex(Md5Of(absl::StrCat("page\n", list, "\n", body))).substr(0, 16);
}

absl::Status BadToken(absl::string_view token) {
  return MakeError(absl::StatusCode::kInvalidArgument, reasons::kInvalidPageToken,
                   absl::StrCat("page_token '", absl::CHexEscape(token.substr(0, 100)),
                                "' is not one of this list: start without a token"),
                   {{"page_token", absl::CHexEscape(token.substr(0, 100))}});
}

}  // namespace

size_t PageSize(uint32_t asked) {
  return asked == 0 ? kDefaultPageSize : std::min<uint32_t>(asked, kMaxPageSize);
}

std::string MakePageToken(absl::string_view list, const PageStart& start) {
  const std::string body = absl::StrCat(start.first_revision.value, " ", start.after);
  return absl::WebSafeBase64Escape(absl::StrCat(Checksum(list, body), " ", body));
}

absl::StatusOr<PageStart> ParsePageToken(absl::string_view list, absl::string_view token,
                                         Revision present) {
  if (token.empty()) return PageStart{"", present};
  std::string plain;
  if (token.size() > 8192 || !absl::WebSafeBase64Unescape(token, &plain)) return BadToken(token);
  const std::vector<std::string> parts = absl::StrSplit(plain, absl::MaxSplits(' ', 2));
  PageStart start;
  if (parts.size() != 3 || parts[0] != Checksum(list, absl::StrCat(parts[1], " ", parts[2])) ||
      !absl::SimpleAtoi(parts[1], &start.first_revision.value) || start.first_revision > present) {
    return BadToken(token);
  }
  start.after = parts[2];
  return start;
}

}  // namespace muster
