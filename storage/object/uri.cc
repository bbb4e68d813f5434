#include "storage/object/uri.h"

#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/object/percent_encode.h"

namespace muster {
namespace {

constexpr size_t kShownBytesMax = 256;
constexpr absl::string_view kSchemeEnd = "://";

// '+' is encoded because form decoders turn it into a space; everything else here is plain in any
// path.
constexpr absl::string_view kPlainInPath = "-._~/:=,@!$&'()*;";
constexpr absl::string_view kPlainInAuthority = "-._~:[]";

// A URI with a password or a signature must not end up in a log through its own error message.
std::string Shown(absl::string_view text) {
  std::string shown(text.substr(0, kShownBytesMax));
  const size_t query = shown.find_first_of("?#");
  if (query != std::string::npos) shown = absl::StrCat(shown.substr(0, query + 1), "...");
  const size_t host = shown.find(kSchemeEnd.data());
  const size_t begin = host == std::string::npos ? 0 : host + kSchemeEnd.size();
  const size_t at = shown.substr(0, shown.find('/', begin)).rfind('@');
  if (at != std::string::npos && at >= begin) shown.replace(begin, at - begin, "...");
  return absl::StrCat("URI \"", absl::CHexEscape(shown), text.size() > kShownBytesMax ? "..." : "",
                      "\"");
}

absl::Status RefuseUri(absl::string_view text, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat(Shown(text), " ", why));
}

bool IsScheme(absl::string_view scheme) {
  if (scheme.empty() || !absl::ascii_isalpha(static_cast<unsigned char>(scheme[0]))) return false;
  for (const char c : scheme) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '+' && c != '.' && c != '-') {
      return false;
    }
  }
  return true;
}

bool IsAuthority(absl::string_view authority) {
  for (const char c : authority) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) &&
        !absl::StrContains(kPlainInAuthority, c)) {
      return false;
    }
  }
  return true;
}

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// False when a '%' is not followed by two hex digits.
bool Decode(absl::string_view encoded, std::string& decoded) {
  for (size_t i = 0; i < encoded.size(); ++i) {
    if (encoded[i] != '%') {
      decoded.push_back(encoded[i]);
      continue;
    }
    if (encoded.size() - i < 3) return false;
    const int high = HexValue(encoded[i + 1]);
    const int low = HexValue(encoded[i + 2]);
    if (high < 0 || low < 0) return false;
    decoded.push_back(static_cast<char>(high * 16 + low));
    i += 2;
  }
  return true;
}

// Says what is wrong with a decoded path; "" if nothing is.
absl::string_view PathFault(absl::string_view path) {
  for (const char c : path) {
    if (absl::ascii_iscntrl(static_cast<unsigned char>(c))) {
      return "has a control character in its path; rename the object";
    }
  }
  if (path.empty()) return "";
  if (absl::EndsWith(path, "/")) path.remove_suffix(1);
  for (const absl::string_view segment : absl::StrSplit(path, '/')) {
    if (segment.empty()) return "has an empty path segment; write single slashes";
    if (segment == "." || segment == "..") {
      return "has a \".\" or \"..\" path segment; write the path without it";
    }
  }
  return "";
}

}  // namespace

std::string Uri::ToString() const {
  return absl::StrCat(scheme, kSchemeEnd, authority, "/", PercentEncode(path, kPlainInPath));
}

absl::StatusOr<Uri> ParseUri(absl::string_view text) {
  if (text.size() > kMaxUriBytes) {
    return RefuseUri(
        text, absl::StrCat("has ", text.size(), " bytes, at most ", kMaxUriBytes, " are allowed"));
  }
  const size_t scheme_end = text.find(kSchemeEnd);
  if (scheme_end == absl::string_view::npos || !IsScheme(text.substr(0, scheme_end))) {
    return RefuseUri(text, "is not of the form scheme://authority/path, such as file:///data/x");
  }
  if (text.find_first_of("?#") != absl::string_view::npos) {
    return RefuseUri(text, "has a query or a fragment; write '?' as %3F and '#' as %23 in a path");
  }
  const absl::string_view rest = text.substr(scheme_end + kSchemeEnd.size());
  const size_t slash = std::min(rest.find('/'), rest.size());
  const absl::string_view authority = rest.substr(0, slash);
  if (absl::StrContains(authority, '@')) {
    return RefuseUri(text, "has a user or a password; credentials don't belong in a URI");
  }
  if (!IsAuthority(authority)) {
    return RefuseUri(text,
                     "has a character between \"://\" and the path that is not allowed there");
  }
  Uri uri;
  uri.scheme = absl::AsciiStrToLower(text.substr(0, scheme_end));
  uri.authority = std::string(authority);
  if (slash < rest.size() && !Decode(rest.substr(slash + 1), uri.path)) {
    return RefuseUri(text,
                     "has a '%' without two hex digits after it; write %25 for a percent sign");
  }
  const absl::string_view fault = PathFault(uri.path);
  if (!fault.empty()) return RefuseUri(text, fault);
  // So that what ToString writes can be read back.
  if (uri.ToString().size() > kMaxUriBytes) {
    return RefuseUri(text, absl::StrCat("has more than ", kMaxUriBytes, " bytes once encoded"));
  }
  return uri;
}

std::string FileUri(absl::string_view absolute_path) {
  const std::vector<absl::string_view> segments = absl::StrSplit(absolute_path, '/');
  Uri uri{.scheme = "file", .authority = "", .path = ""};
  for (size_t i = 0; i < segments.size(); ++i) {
    if (segments[i].empty() || segments[i] == ".") continue;
    absl::StrAppend(&uri.path, uri.path.empty() ? "" : "/", segments[i]);
  }
  if (!uri.path.empty() && segments.back().empty()) uri.path.push_back('/');
  return uri.ToString();
}

absl::StatusOr<std::string> JoinUri(absl::string_view uri, absl::string_view relative) {
  MUSTER_ASSIGN_OR_RETURN(Uri joined, ParseUri(uri));
  const bool needs_slash = !joined.path.empty() && joined.path.back() != '/';
  absl::StrAppend(&joined.path, needs_slash ? "/" : "", relative);
  if (relative.empty() || relative[0] == '/') {
    return RefuseUri(joined.ToString(), "has an empty path segment; join a relative path");
  }
  std::string text = joined.ToString();
  MUSTER_RETURN_IF_ERROR(ParseUri(text).status());
  return text;
}

}  // namespace muster
