#include "client/sdk/bearer_token.h"

#include <sys/stat.h>

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"
#include "storage/files/posix_file.h"

namespace muster {
namespace {

constexpr size_t kMaxTokenBytes = 256;
// With an end of line.
constexpr int64_t kMaxTokenFileBytes = kMaxTokenBytes + 2;

absl::Status NoToken(absl::string_view where, absl::string_view what) {
  return MakeError(absl::StatusCode::kInvalidArgument, reasons::kCredentialRefused,
                   absl::StrCat(where, ": ", what));
}

absl::Status CheckToken(absl::string_view where, absl::string_view token) {
  bool good = !token.empty() && token.size() <= kMaxTokenBytes;
  for (const char c : token) good = good && absl::ascii_isgraph(static_cast<unsigned char>(c));
  return good ? absl::OkStatus()
              : NoToken(where, absl::StrCat("holds no token: 1 to ", kMaxTokenBytes,
                                            " printable characters without spaces, in one line"));
}

}  // namespace

BearerToken::BearerToken(absl::string_view text, absl::string_view file)
    : text_(text), file_(text.empty() ? file : "") {}

absl::StatusOr<std::string> BearerToken::Get() {
  if (!text_.empty()) {
    MUSTER_RETURN_IF_ERROR(CheckToken("MUSTER_TOKEN", text_));
    return text_;
  }
  if (file_.empty()) return std::string();
  const std::string shown = absl::StrCat("\"", file_, "\"");
  MUSTER_ASSIGN_OR_RETURN(const OpenedFile file,
                          OpenRegularFile(file_, shown, absl::StatusCode::kInvalidArgument));
  const struct stat& info = file.info;
  const std::string state = absl::StrCat(
      info.st_dev, ":", info.st_ino, ":", info.st_size, ":", info.st_mode, ":", info.st_mtim.tv_sec,
      ".", info.st_mtim.tv_nsec, ":", info.st_ctim.tv_sec, ".", info.st_ctim.tv_nsec);
  MutexLock lock(mutex_);
  if (state == state_) return read_;
  if ((info.st_mode & (S_IROTH | S_IWOTH | S_IWGRP)) != 0) {
    return NoToken(shown, "others than its owner can open this token; `chmod 600` it");
  }
  if (info.st_size > kMaxTokenFileBytes) return CheckToken(shown, "");
  std::string text(static_cast<size_t>(info.st_size), '\0');
  MUSTER_RETURN_IF_ERROR(ReadAt(file.fd.get(), shown, 0, absl::MakeSpan(text)));
  absl::StripTrailingAsciiWhitespace(&text);
  MUSTER_RETURN_IF_ERROR(CheckToken(shown, text));
  read_ = std::move(text);
  state_ = state;
  return read_;
}

}  // namespace muster
