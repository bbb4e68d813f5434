// JSON that a person wrote: parsed within bounds, with the line of each value.
//
// storage/object/json_reply.h reads what servers sent and forgives; this one is for files where each mistake must be
// found, and named with its place.
#ifndef MUSTER_SERVER_ACCESS_JSON_TREE_H_
#define MUSTER_SERVER_ACCESS_JSON_TREE_H_

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace muster {

struct JsonNode {
  enum class Kind { kOther, kText, kList, kObject };

  Kind kind = Kind::kOther;
  // Where it begins, from 1.
  int line = 0;
  // Of a text.
  std::string text;
  // Of a list; and the values of an object, with `keys` beside them in the file's order.
  std::vector<JsonNode> items;
  std::vector<std::string> keys;

  // Of an object; null where it has no such key.
  const JsonNode* Field(absl::string_view key) const;
};

struct JsonBounds {
  size_t bytes;
  // Of objects and lists within each other.
  int depth;
  size_t values;
};

// Comments of // and /* */ are allowed. kInvalidArgument with the line, for what is not JSON, an object with a key twice, text that is not UTF-8 or holds a
// NUL, and what goes beyond a bound.
absl::StatusOr<JsonNode> ParseJson(absl::string_view text, const JsonBounds& bounds);

}  // namespace muster

#endif  // MUSTER_SERVER_ACCESS_JSON_TREE_H_
