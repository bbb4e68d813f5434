#include "tests/support/watch_validators.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"

namespace muster {
namespace {

using Told = std::map<uint64_t, std::set<std::string>>;

Told ToldBy(const WatchHistory& history) {
  Told told;
  for (const WatchRecord& message : history.messages) {
    told[message.revision].insert(message.items.begin(), message.items.end());
  }
  return told;
}

// What of the truth with after < revision <= upto was not sent.
std::string Missing(const Told& told, const TrueItems& truth, uint64_t after, uint64_t upto) {
  for (auto at = truth.upper_bound(after); at != truth.end() && at->first <= upto; ++at) {
    const auto found = told.find(at->first);
    for (const TrueItem& item : at->second) {
      if (item.optional || (found != told.end() && found->second.contains(item.text))) continue;
      return absl::StrCat("'", item.text, "' of revision ", at->first, " was not sent");
    }
  }
  return "";
}

}  // namespace

uint64_t SafeRevision(const WatchHistory& history) {
  uint64_t safe = history.start;
  for (const WatchRecord& message : history.messages) {
    if (message.complete || message.progress) safe = std::max(safe, message.revision);
  }
  return safe;
}

std::string CheckOrdered(const WatchHistory& history) {
  uint64_t last = history.start;
  bool complete = true;
  for (const WatchRecord& message : history.messages) {
    if (message.revision < last || (message.revision == last && complete && !message.progress)) {
      return absl::StrCat("ordered: revision ", message.revision, " after ", last);
    }
    last = message.revision;
    complete = message.complete || message.progress;
  }
  return "";
}

std::string CheckUnique(const WatchHistory& history) {
  std::set<std::pair<uint64_t, std::string>> seen;
  for (const WatchRecord& message : history.messages) {
    for (const std::string& item : message.items) {
      if (message.revision <= history.start || !seen.emplace(message.revision, item).second) {
        return absl::StrCat("unique: '", item, "' of revision ", message.revision,
                            " was sent before");
      }
    }
  }
  return "";
}

std::string CheckReliable(const WatchHistory& history, const TrueItems& truth) {
  const Told told = ToldBy(history);
  const std::string missing = Missing(told, truth, history.start, SafeRevision(history));
  if (!missing.empty()) return absl::StrCat("reliable: ", missing);
  for (const auto& [revision, items] : told) {
    const auto there = truth.find(revision);
    for (const std::string& item : items) {
      const auto is_it = [&](const TrueItem& one) { return one.text == item; };
      if (there != truth.end() && std::any_of(there->second.begin(), there->second.end(), is_it)) {
        continue;
      }
      return absl::StrCat("reliable: '", item, "' of revision ", revision, " never happened");
    }
  }
  return "";
}

std::string CheckAtomic(const WatchHistory& history, const TrueItems& truth) {
  Told told;
  uint64_t open = 0;
  for (const WatchRecord& message : history.messages) {
    if (message.progress) continue;
    if (open != 0 && message.revision != open) {
      const std::string missing = Missing(told, truth, open - 1, open);
      if (!missing.empty()) return absl::StrCat("atomic: ", missing, " before the next revision");
    }
    told[message.revision].insert(message.items.begin(), message.items.end());
    open = message.complete ? 0 : message.revision;
    if (!message.complete) continue;
    const std::string missing = Missing(told, truth, message.revision - 1, message.revision);
    if (!missing.empty()) return absl::StrCat("atomic: ", missing, " when it was complete");
  }
  return "";
}

std::string CheckResumable(const std::vector<WatchHistory>& histories, const TrueItems& truth) {
  if (histories.empty()) return "";
  WatchHistory joined;
  joined.start = histories.front().start;
  for (size_t i = 0; i < histories.size(); ++i) {
    const WatchHistory& history = histories[i];
    if (i > 0 && history.start != SafeRevision(histories[i - 1])) {
      return absl::StrCat("resumable: resumed after ", history.start, ", not after ",
                          SafeRevision(histories[i - 1]));
    }
    // What came behind the last safe place comes again.
    const uint64_t safe = SafeRevision(history);
    for (const WatchRecord& message : history.messages) {
      if (message.revision <= safe || i + 1 == histories.size()) {
        joined.messages.push_back(message);
      }
    }
  }
  std::string wrong = CheckUnique(joined);
  if (wrong.empty()) wrong = CheckReliable(joined, truth);
  return wrong.empty() ? "" : absl::StrCat("resumable: ", wrong);
}

std::string CheckBookmarkable(const WatchHistory& history, const TrueItems& truth) {
  Told told;
  uint64_t bookmark = history.start;
  for (const WatchRecord& message : history.messages) {
    if (message.revision < bookmark ||
        (message.revision == bookmark && !message.items.empty() && bookmark != history.start)) {
      return absl::StrCat("bookmarkable: revision ", message.revision, " after the bookmark ",
                          bookmark);
    }
    told[message.revision].insert(message.items.begin(), message.items.end());
    if (!message.progress) continue;
    bookmark = message.revision;
    const std::string missing = Missing(told, truth, history.start, bookmark);
    if (!missing.empty()) return absl::StrCat("bookmarkable: ", missing, " before ", bookmark);
  }
  return "";
}

std::string CheckWatches(const std::vector<WatchHistory>& histories, const TrueItems& truth) {
  for (const WatchHistory& history : histories) {
    for (std::string wrong :
         {CheckOrdered(history), CheckUnique(history), CheckReliable(history, truth),
          CheckAtomic(history, truth), CheckBookmarkable(history, truth)}) {
      if (!wrong.empty()) return wrong;
    }
  }
  return CheckResumable(histories, truth);
}

}  // namespace muster
