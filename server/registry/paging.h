// Pages of lists: sizes, and tokens that stay valid over restarts.
#ifndef MUSTER_SERVER_REGISTRY_PAGING_H_
#define MUSTER_SERVER_REGISTRY_PAGING_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/base/numbers.h"

namespace muster {

// Where a list continues.
struct PageStart {
  // The key of the last item that was returned; "" before the first.
  std::string after;
  // Of the first page.
  Revision first_revision;
};

// 1 to kMaxPageSize; 0 asks for kDefaultPageSize.
size_t PageSize(uint32_t asked);

// Makes the token that continues a list after the item `after`. `list` names the call and its
// filter. Thread-safe.
std::string MakePageToken(absl::string_view list, const PageStart& start);

// Takes a token apart; an empty one is the first page at `present`. INVALID_ARGUMENT
// INVALID_PAGE_TOKEN when it is damaged, of another list, or of a revision that this store has not
// reached.
absl::StatusOr<PageStart> ParsePageToken(absl::string_view list, absl::string_view token,
                                         Revision present);

}  // namespace muster

#endif  // MUSTER_SERVER_REGISTRY_PAGING_H_
