#include "client/cli/room_output.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "client/cli/json_output.h"
#include "client/cli/values.h"

namespace muster {

std::string RoomText(const RoomReport& report) {
  const CacheRoom& room = report.room;
  const char* verdict = ": does not fit";
  if (report.at_most) verdict = ": may not fit; the server chooses once the node has joined";
  if (room.Fits()) verdict = ": fits";
  std::string text = absl::StrCat(
      "needed ", report.at_most ? "at most " : "", FormatSize(room.needed_bytes), ", pinned ",
      FormatSize(room.pinned_bytes), ", evictable ", FormatSize(room.evictable_bytes), ", free ",
      FormatSize(std::max<int64_t>(room.free_bytes, 0)), verdict, "\n");
  for (const auto& [owner, bytes] : room.owners) {
    absl::StrAppend(&text, "  ", FormatSize(bytes), " for ", Printable(owner), "\n");
  }
  return text;
}

std::string RoomJson(const RoomReport& report) {
  const CacheRoom& room = report.room;
  JsonObject json;
  json.Add("shards", static_cast<int64_t>(report.shards));
  json.Add("needed_bytes", room.needed_bytes);
  json.Add("pinned_bytes", room.pinned_bytes);
  json.Add("evictable_bytes", room.evictable_bytes);
  json.Add("free_bytes", room.free_bytes);
  json.AddRaw("fits", room.Fits() ? "true" : "false");
  json.AddRaw("at_most", report.at_most ? "true" : "false");
  return json.ToString() + "\n";
}

}  // namespace muster
