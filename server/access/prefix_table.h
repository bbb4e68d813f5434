// Finds the patterns that match a name, the most specific one first.
#ifndef MUSTER_SERVER_ACCESS_PREFIX_TABLE_H_
#define MUSTER_SERVER_ACCESS_PREFIX_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/strings/string_view.h"
#include "server/access/resource_pattern.h"

namespace muster {

// A sorted list of patterns, each with a link to the next shorter one that matches whatever it matches. The pattern
// right before a name in that order is the most specific one, or its links lead there: one binary search, and no hash
// of every prefix of the name. A value; thread-safe for reading, which allocates nothing.
class PrefixTable {
 public:
  // Past the last match.
  static constexpr uint32_t kNone = UINT32_MAX;

  PrefixTable() = default;
  // Equal patterns become one.
  explicit PrefixTable(std::vector<Pattern> patterns);

  size_t size() const { return entries_.size(); }
  const Pattern& pattern(uint32_t entry) const { return entries_[entry].pattern; }
  // The entry of a pattern that the table was made with.
  uint32_t Find(const Pattern& pattern) const;

  // The most specific pattern that matches the name: the name itself, or else the longest beginning of it.
  uint32_t First(absl::string_view name) const;
  // The next one that matches what `entry` matched.
  uint32_t Next(uint32_t entry) const { return entries_[entry].shorter; }

 private:
  struct Entry {
    Pattern pattern;
    uint32_t shorter = kNone;
  };
  std::vector<Entry> entries_;
};

}  // namespace muster

#endif  // MUSTER_SERVER_ACCESS_PREFIX_TABLE_H_
