#include "client/cli/secret_text.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/cli/values.h"
#include "storage/base/status_macros.h"
#include "storage/files/posix_file.h"

namespace muster {

absl::StatusOr<std::string> ReadSecretText(absl::string_view flag, const std::string& value) {
  constexpr int64_t kMaxBytes = 256;
  if (!absl::StartsWith(value, "@")) return value;
  const std::string path = value.substr(1);
  const absl::StatusOr<OpenedFile> file = OpenRegularFile(path, path);
  if (!file.ok()) return UsageError(absl::StrCat(flag, ": ", file.status().message()));
  if (file->info.st_size > kMaxBytes) {
    return UsageError(absl::StrCat(flag, ": ", path, " holds more than a token"));
  }
  std::string text(static_cast<size_t>(file->info.st_size), '\0');
  MUSTER_RETURN_IF_ERROR(ReadAt(file->fd.get(), path, 0, absl::MakeSpan(text)));
  absl::StripAsciiWhitespace(&text);
  if (text.empty()) return UsageError(absl::StrCat(flag, ": ", path, " is empty"));
  return text;
}

}  // namespace muster
