// What an errno value means. This is the only table of them:
//
//     ENOENT ENOTDIR                            kNotFound
//     EEXIST ENOTEMPTY                          kAlreadyExists
//     EACCES EPERM EROFS                        kPermissionDenied
//     ENOSPC EDQUOT EFBIG                       kResourceExhausted
//     EMFILE ENFILE                             kResourceExhausted, reason TOO_MANY_OPEN_FILES
//     ENAMETOOLONG                              kInvalidArgument
//     EISDIR ELOOP ENXIO                        kFailedPrecondition: another kind of file
//     EAGAIN EBUSY EIO ENOMEM ESTALE ETIMEDOUT  kUnavailable: a retry may succeed
//     all others                                kInternal
//
// TOO_MANY_OPEN_FILES distinguishes a limit that people can raise from a disk that is full.
//
// EIO says that a device, or the server of a network file system, did not do what it was asked; it
// says nothing about the bytes, and another attempt or another copy may give them. Only code that
// decides whether stored bytes may still be served takes it as kDataLoss, by an exception:
// client/cache/cache_check.cc.
#ifndef MUSTER_STORAGE_FILES_FILE_ERROR_H_
#define MUSTER_STORAGE_FILES_FILE_ERROR_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace muster {

// An exception from the table, for one call.
struct ErrnoCode {
  int error = 0;
  absl::StatusCode code = absl::StatusCode::kInternal;
};
using ErrnoCodes = absl::Span<const ErrnoCode>;

// Of what a full disk, quota or limit on file sizes says: ENOSPC, EDQUOT, EFBIG.
bool IsNoSpace(int error);

absl::StatusCode CodeOfErrno(int error, ErrnoCodes exceptions = {});

// "`path`: can't `action`: " and what the system says of errno value `error`; also what to do where
// space or descriptors ran out. `path` is shown as it is: quote one that may be hostile.
absl::Status PathError(int error, absl::string_view action, absl::string_view path,
                       ErrnoCodes exceptions = {});

}  // namespace muster

#endif  // MUSTER_STORAGE_FILES_FILE_ERROR_H_
