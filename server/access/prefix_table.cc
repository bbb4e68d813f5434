#include "server/access/prefix_table.h"

#include <algorithm>
#include <utility>

namespace muster {
namespace {

// By text; a name comes after the equal beginning, which it is linked to.
int Compare(absl::string_view a_text, bool a_exact, absl::string_view b_text, bool b_exact) {
  const int texts = a_text.compare(b_text);
  return texts != 0 ? texts : static_cast<int>(a_exact) - static_cast<int>(b_exact);
}

}  // namespace

PrefixTable::PrefixTable(std::vector<Pattern> patterns) {
  std::sort(patterns.begin(), patterns.end(), [](const Pattern& a, const Pattern& b) {
    return Compare(a.text, a.exact, b.text, b.exact) < 0;
  });
  patterns.erase(std::unique(patterns.begin(), patterns.end()), patterns.end());
  entries_.reserve(patterns.size());
  // The beginnings that the present pattern has, the longest one last.
  std::vector<uint32_t> open;
  for (Pattern& pattern : patterns) {
    while (!open.empty() && !entries_[open.back()].pattern.Matches(pattern.text)) open.pop_back();
    const auto entry = static_cast<uint32_t>(entries_.size());
    entries_.push_back(Entry{std::move(pattern), open.empty() ? kNone : open.back()});
    if (entries_.back().pattern.exact) {
      names_.emplace(entries_.back().pattern.text, entry);
    } else {
      beginnings_.push_back(entry);
      open.push_back(entry);
    }
  }
}

uint32_t PrefixTable::Find(const Pattern& pattern) const {
  const auto found = std::lower_bound(
      entries_.begin(), entries_.end(), pattern, [](const Entry& entry, const Pattern& wanted) {
        return Compare(entry.pattern.text, entry.pattern.exact, wanted.text, wanted.exact) < 0;
      });
  if (found == entries_.end() || found->pattern != pattern) return kNone;
  return static_cast<uint32_t>(found - entries_.begin());
}

uint32_t PrefixTable::First(absl::string_view name) const {
  const auto whole = names_.find(name);
  if (whole != names_.end()) return whole->second;
  const auto after = std::upper_bound(beginnings_.begin(), beginnings_.end(), name,
                                      [this](absl::string_view wanted, uint32_t entry) {
                                        return wanted < entries_[entry].pattern.text;
                                      });
  uint32_t entry = after == beginnings_.begin() ? kNone : *(after - 1);
  while (entry != kNone && !entries_[entry].pattern.Matches(name)) entry = entries_[entry].shorter;
  return entry;
}

}  // namespace muster
