// A page of what the registry keeps in name order.
#ifndef MUSTER_SERVER_RPC_LIST_PAGE_H_
#define MUSTER_SERVER_RPC_LIST_PAGE_H_

#include <cstddef>
#include <string>
#include <type_traits>

#include "absl/status/status.h"
#include "server/registry/paging.h"
#include "storage/base/limits.h"
#include "storage/base/numbers.h"
#include "storage/base/status_macros.h"

namespace muster {

// Walks `items`, a map by name, from the token on and calls `add(item)`, or `add(name, item)` for a map of values, which returns the bytes
// that it added to the response or 0 where a filter leaves the item out. Sets the token where the
// page is full. A step is bounded: it looks at no more than ten pages' worth of items that the
// filter leaves out.
template <typename Map, typename Request, typename Response, typename Add>
absl::Status FillPage(const Map& items, const std::string& list, Revision present,
                      const Request& request, Response& response, Add add) {
  MUSTER_ASSIGN_OR_RETURN(const PageStart start,
                          ParsePageToken(list, request.page_token(), present));
  const size_t page_size = PageSize(request.page_size());
  size_t taken = 0, seen = 0, bytes = 0;
  auto item = start.after.empty() ? items.begin() : items.upper_bound(start.after);
  std::string last = start.after;
  for (; item != items.end(); ++item) {
    if (taken == page_size || bytes >= kMaxPageBytes - kMaxPageBytes / 8 ||
        seen == 10 * kMaxPageSize) {
      response.set_next_page_token(MakePageToken(list, PageStart{last, start.first_revision}));
      break;
    }
    size_t added = 0;
    if constexpr (std::is_invocable_v<Add, decltype(item->first), decltype(item->second)>) {
      added = add(item->first, item->second);
    } else {
      added = add(*item->second);
    }
    ++seen;
    if (added > 0) ++taken;
    bytes += added;
    last = item->first;
  }
  return absl::OkStatus();
}

}  // namespace muster

#endif  // MUSTER_SERVER_RPC_LIST_PAGE_H_
