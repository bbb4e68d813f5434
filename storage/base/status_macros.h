// The only two macros for control flow that the project defines.
#ifndef MUSTER_STORAGE_BASE_STATUS_MACROS_H_
#define MUSTER_STORAGE_BASE_STATUS_MACROS_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// Returns from the enclosing function when `expression`, an absl::Status, is not OK.
#define MUSTER_RETURN_IF_ERROR(expression)         \
  do {                                             \
    absl::Status muster_status = (expression);     \
    if (!muster_status.ok()) return muster_status; \
  } while (false)

#define MUSTER_STATUS_CONCAT_INNER(a, b) a##b
#define MUSTER_STATUS_CONCAT(a, b) MUSTER_STATUS_CONCAT_INNER(a, b)

// Assigns the value of `expression`, an absl::StatusOr, to `target`, or returns its status.
#define MUSTER_ASSIGN_OR_RETURN(target, expression)                                        \
  MUSTER_ASSIGN_OR_RETURN_INNER(MUSTER_STATUS_CONCAT(muster_status_or_, __LINE__), target, \
                                expression)
#define MUSTER_ASSIGN_OR_RETURN_INNER(variable, target, expression) \
  auto variable = (expression);                                     \
  if (!variable.ok()) return std::move(variable).status();          \
  target = *std::move(variable)

#endif  // MUSTER_STORAGE_BASE_STATUS_MACROS_H_
