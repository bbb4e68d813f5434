#include "storage/files/file_error.h"

#include <errno.h>

#include <string>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"

namespace muster {

bool IsNoSpace(int error) { return error == ENOSPC || error == EDQUOT || error == EFBIG; }

absl::StatusCode CodeOfErrno(int error, ErrnoCodes exceptions) {
  for (const ErrnoCode& exception : exceptions) {
    if (exception.error == error) return exception.code;
  }
  if (IsNoSpace(error)) return absl::StatusCode::kResourceExhausted;
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return absl::StatusCode::kNotFound;
    case EEXIST:
    case ENOTEMPTY:
      return absl::StatusCode::kAlreadyExists;
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::StatusCode::kPermissionDenied;
    case EMFILE:
    case ENFILE:
      return absl::StatusCode::kResourceExhausted;
    case ENAMETOOLONG:
      return absl::StatusCode::kInvalidArgument;
    case EISDIR:
    case ELOOP:
    case ENXIO:
      return absl::StatusCode::kFailedPrecondition;
    case EAGAIN:
    case EBUSY:
    case EIO:
    case ENOMEM:
    case ESTALE:
    case ETIMEDOUT:
      return absl::StatusCode::kUnavailable;
    default:
      return absl::StatusCode::kInternal;
  }
}

absl::Status PathError(int error, absl::string_view action, absl::string_view path,
                       ErrnoCodes exceptions) {
  const absl::StatusCode code = CodeOfErrno(error, exceptions);
  const std::string message =
      absl::StrCat(path, ": can't ", action, ": ", std::generic_category().message(error));
  if (error == EMFILE || error == ENFILE) {
    return MakeError(code, reasons::kTooManyOpenFiles,
                     absl::StrCat(message, "; raise the limit of open files (ulimit -n)"));
  }
  if (!IsNoSpace(error)) return absl::Status(code, message);
  return absl::Status(code, absl::StrCat(message, "; free some space or choose another place"));
}

}  // namespace muster
