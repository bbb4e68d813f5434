// The six promises of a watch, each checked on what a watcher was sent and what truly happened.
//
// Thread-safe: pure functions. Each returns what is wrong, or "".
#ifndef MUSTER_TESTS_SUPPORT_WATCH_VALIDATORS_H_
#define MUSTER_TESTS_SUPPORT_WATCH_VALIDATORS_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace muster {

// One message, without the parts of a snapshot.
struct WatchRecord {
  uint64_t revision = 0;
  // No further message of this revision follows.
  bool complete = false;
  bool progress = false;
  // Its content, one text for each item.
  std::vector<std::string> items;
};

// One watch, from its opening to its end.
struct WatchHistory {
  // It was resumed after this revision, or its snapshot was of it.
  uint64_t start = 0;
  std::vector<WatchRecord> messages;
};

// What happened to the key that is watched, by revision.
struct TrueItem {
  std::string text;
  // May be left out, as what it is about is gone.
  bool optional = false;
};
using TrueItems = std::map<uint64_t, std::vector<TrueItem>>;

// The last revision from which the watch can be resumed: `start` before the first.
uint64_t SafeRevision(const WatchHistory& history);

// Revisions never go back, and none goes on after its end.
std::string CheckOrdered(const WatchHistory& history);
// Nothing comes twice, and nothing that was before the start.
std::string CheckUnique(const WatchHistory& history);
// Nothing is missing up to the last safe revision, and nothing is made up.
std::string CheckReliable(const WatchHistory& history, const TrueItems& truth);
// A revision that is declared complete is.
std::string CheckAtomic(const WatchHistory& history, const TrueItems& truth);
// Watches that were resumed one after the other send what one watch would.
std::string CheckResumable(const std::vector<WatchHistory>& histories, const TrueItems& truth);
// At a progress message everything up to its revision was sent, and what follows is newer.
std::string CheckBookmarkable(const WatchHistory& history, const TrueItems& truth);

// All of them, over watches of which each resumes the one before.
std::string CheckWatches(const std::vector<WatchHistory>& histories, const TrueItems& truth);

}  // namespace muster

#endif  // MUSTER_TESTS_SUPPORT_WATCH_VALIDATORS_H_
