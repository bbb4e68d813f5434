// A page of what the registry keeps in name order.
#ifndef MUSTER_SERVER_RPC_LIST_PAGE_H_
#define MUSTER_SERVER_RPC_LIST_PAGE_H_

#include <google/protobuf/repeated_ptr_field.h>

#include <cstddef>
#include <string>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/registry/paging.h"
#include "server/rpc/calls.h"
#include "server/rpc/members.h"
#include "storage/base/limits.h"
#include "storage/base/numbers.h"
#include "storage/base/status_macros.h"

namespace muster {

// The tokens of one list for one caller. `list` names the call and its filter.
class PageTokens {
 public:
  PageTokens(absl::string_view list, const UnaryCall& call)
      : list_(call.admitted()->is_local()
                  ? std::string(list)
                  : absl::StrCat(call.admitted()->caller.who(), "\n", list)),
        seal_(call.admitted()->is_local() ? nullptr : &call.page_seal()) {}

  std::string Make(const PageStart& start) const {
    const std::string token = MakePageToken(list_, start);
    return seal_ == nullptr ? token : seal_->Seal(list_, token);
  }

  // As ParsePageToken. A sealed token ends with the process: INVALID_PAGE_TOKEN.
  absl::StatusOr<PageStart> Parse(const std::string& token, Revision present) const {
    if (seal_ == nullptr || token.empty()) return ParsePageToken(list_, token, present);
    // What can't be opened is no token of any list.
    return ParsePageToken(list_, seal_->Open(list_, token).value_or("?"), present);
  }

 private:
  const std::string list_;
  const PageSeal* const seal_;
};

// Adds the item to the answer if the caller may see it; returns its bytes, or 0.
template <typename Item>
size_t AddShown(const UnaryCall& call, const Registry& registry, Item item,
                google::protobuf::RepeatedPtrField<Item>* out) {
  if (!call.MayShow(item, RegistryMembers(registry))) return 0;
  const size_t bytes = item.ByteSizeLong();
  *out->Add() = std::move(item);
  return bytes;
}

// Walks `items`, a map by name, from the token on and calls `add(item)`, or `add(name, item)` for a map of values, which
// returns the bytes that it added to the response or 0 where it left the item out. Sets the token where the page is full.
// A step is bounded: it looks at no more than ten pages' worth of items that are left out.
template <typename Map, typename Request, typename Response, typename Add>
absl::Status FillPage(const Map& items, const PageTokens& tokens, Revision present,
                      const Request& request, Response& response, Add add) {
  MUSTER_ASSIGN_OR_RETURN(const PageStart start, tokens.Parse(request.page_token(), present));
  const size_t page_size = PageSize(request.page_size());
  size_t taken = 0, seen = 0, bytes = 0;
  auto item = start.after.empty() ? items.begin() : items.upper_bound(start.after);
  std::string last = start.after;
  for (; item != items.end(); ++item) {
    if (taken == page_size || bytes >= kMaxPageBytes - kMaxPageBytes / 8 ||
        seen == 10 * kMaxPageSize) {
      response.set_next_page_token(tokens.Make(PageStart{last, start.first_revision}));
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
