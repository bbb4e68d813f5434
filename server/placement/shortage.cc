#include "server/placement/shortage.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/placement/plan_state.h"

namespace muster {
namespace {

// In bytes where the rounded numbers look alike.
std::pair<std::string, std::string> FormatBoth(uint64_t needed_bytes, uint64_t room_bytes) {
  std::pair<std::string, std::string> both(FormatBytes(needed_bytes), FormatBytes(room_bytes));
  if (both.first != both.second) return both;
  return {absl::StrCat(needed_bytes, " bytes"), absl::StrCat(room_bytes, " bytes")};
}

}  // namespace

std::string FormatShortage(const PlanShortage& shortage) {
  const auto [needed, free] = FormatBoth(shortage.needed_bytes, shortage.free_bytes);
  return absl::StrCat("needs ", needed, " for its shards, has ", free, " left");
}

std::string FormatTooSmall(uint64_t needed_bytes, uint64_t capacity_bytes) {
  const auto [needed, capacity] = FormatBoth(needed_bytes, capacity_bytes);
  return absl::StrCat("needs ", needed, " for its shards, and its capacity is ", capacity);
}

}  // namespace muster
