// Whether there is room, for --dry-run.
#ifndef MUSTER_CLIENT_CLI_ROOM_OUTPUT_H_
#define MUSTER_CLIENT_CLI_ROOM_OUTPUT_H_

#include <cstddef>
#include <string>

#include "client/cache/cache_contents.h"

namespace muster {

// The flag's help.
inline constexpr char kRoomDryRunHelp[] =
    "Fetch nothing: only say whether there is room, by the bytes needed, pinned, evictable and "
    "free";

struct RoomReport {
  CacheRoom room;
  // Shards that were asked about.
  size_t shards = 0;
  // What is needed is not known before the server has chosen: `room` is for all that it may be.
  bool at_most = false;
};

// "needed 64.0 MiB, pinned 0 B, evictable 0 B, free 1.2 GiB: fits", then who pins how much.
std::string RoomText(const RoomReport& report);
// An object with shards, needed_bytes, pinned_bytes, evictable_bytes, free_bytes, fits and at_most.
std::string RoomJson(const RoomReport& report);

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_ROOM_OUTPUT_H_
