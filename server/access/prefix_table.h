// Finds the patterns that match a name, the most specific one first.
#ifndef MUSTER_SERVER_ACCESS_PREFIX_TABLE_H_
#define MUSTER_SERVER_ACCESS_PREFIX_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "server/access/resource_pattern.h"

namespace muster {

// Whole names are found by their hash. Beginnings lie in a sorted list, each with a link to the next shorter one that
// matches whatever it matches: the one right before a name in that order is the longest beginning of it, or its links
// lead there. One binary search, and no hash of every beginning of the name. A value; thread-safe for reading, which
// allocates nothing.
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
  // By text, a name after the equal beginning.
  std::vector<Entry> entries_;
  absl::flat_hash_map<std::string, uint32_t> names_;
  // The other entries, in their order.
  std::vector<uint32_t> beginnings_;
};

}  // namespace muster

#endif  // MUSTER_SERVER_ACCESS_PREFIX_TABLE_H_
