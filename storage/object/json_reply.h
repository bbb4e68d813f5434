// JSON that a server sent: parsed within bounds, and read where it lies.
#ifndef MUSTER_STORAGE_OBJECT_JSON_REPLY_H_
#define MUSTER_STORAGE_OBJECT_JSON_REPLY_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace muster {

// A value in a JsonReply, which outlives it. One that is not there has no fields, no items, no text and
// no number; so a path into a reply of another shape ends there, and needs no checks on the way.
class JsonValue {
 public:
  JsonValue() = default;

  bool is_list() const;
  // Of an object.
  JsonValue Field(const char* name) const;
  // Of a list; `item` is below size().
  JsonValue Item(size_t item) const;
  // Items of a list, 0 for anything else.
  size_t size() const;
  // "" for anything but a string.
  std::string Text() const;
  // Nothing for what is not an integer, or doesn't fit.
  std::optional<int64_t> Number() const;

 private:
  friend class JsonReply;
  explicit JsonValue(const void* value) : value_(value) {}

  // One of the parser's values, which are this file's business alone.
  const void* value_ = nullptr;
};

// The only way in which JSON of a server is read. Parsers of trees copy and free by recursion, and take
// many times the text in memory: 120 KB of brackets end a process. So whatever is deeper or has more
// values than the bounds is refused before a tree is made. A value; thread-safe for reading.
class JsonReply {
 public:
  // Deeper than any reply that is read here; objects and lists count.
  static constexpr int kDepthMax = 16;
  // Those of a listing of 100,000 files in HDFS, with room.
  static constexpr size_t kValuesMax = 2'000'000;

  explicit JsonReply(absl::string_view text);
  ~JsonReply();
  JsonReply(JsonReply&&) noexcept;
  JsonReply& operator=(JsonReply&&) noexcept;

  // Not there for text that is no JSON, or goes beyond a bound.
  JsonValue root() const;

 private:
  struct Tree;
  std::unique_ptr<const Tree> tree_;
};

}  // namespace muster

#endif  // MUSTER_STORAGE_OBJECT_JSON_REPLY_H_
