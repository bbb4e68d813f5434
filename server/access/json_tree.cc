#include "server/access/json_tree.h"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "storage/base/quote.h"

namespace muster {
namespace {

using nlohmann::json;

// Counts the lines that the parser has taken. The parser calls back as soon as it has a token whole, so that the count
// is the token's own.
class LineIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  LineIterator(const char* at, int* line) : at_(at), line_(line) {}

  reference operator*() const { return *at_; }
  LineIterator& operator++() {
    if (*at_++ == '\n') ++*line_;
    return *this;
  }
  LineIterator operator++(int) {
    LineIterator before = *this;
    ++*this;
    return before;
  }
  bool operator==(const LineIterator& other) const { return at_ == other.at_; }
  bool operator!=(const LineIterator& other) const { return at_ != other.at_; }

 private:
  const char* at_;
  int* line_;
};

// Builds the tree as the parser goes, and ends the parse at a bound, before anything is deep.
class TreeBuilder final : public nlohmann::json_sax<json> {
 public:
  TreeBuilder(const JsonBounds& bounds, const int& line) : bounds_(bounds), line_(line) {}

  bool null() override { return Add(JsonNode::Kind::kOther) != nullptr; }
  bool boolean(bool) override { return Add(JsonNode::Kind::kOther) != nullptr; }
  bool number_integer(number_integer_t) override { return Add(JsonNode::Kind::kOther) != nullptr; }
  bool number_unsigned(number_unsigned_t) override {
    return Add(JsonNode::Kind::kOther) != nullptr;
  }
  bool number_float(number_float_t, const string_t&) override {
    return Add(JsonNode::Kind::kOther) != nullptr;
  }
  bool string(string_t& value) override {
    if (!CheckText(value)) return false;
    JsonNode* node = Add(JsonNode::Kind::kText);
    if (node != nullptr) node->text = std::move(value);
    return node != nullptr;
  }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return Open(JsonNode::Kind::kObject); }
  bool key(string_t& key) override {
    if (!CheckText(key)) return false;
    JsonNode& object = *open_.back();
    if (!keys_.back().insert(key).second) {
      return Fail(absl::StrCat("has the key ", QuoteForMessage(key), " twice"));
    }
    object.keys.push_back(std::move(key));
    return true;
  }
  bool end_object() override { return Close(); }
  bool start_array(std::size_t) override { return Open(JsonNode::Kind::kList); }
  bool end_array() override { return Close(); }
  bool parse_error(std::size_t, const std::string& token, const json::exception&) override {
    return Fail(absl::StrCat("is not JSON at ", QuoteForMessage(token)));
  }

  const std::string& mistake() const { return mistake_; }
  JsonNode& root() { return root_; }

 private:
  bool Fail(std::string what) {
    mistake_ = absl::StrCat("line ", line_, ": ", what);
    return false;
  }

  bool CheckText(const std::string& text) {
    // The parser checks UTF-8 itself; an escape may still make a NUL.
    return text.find('\0') == std::string::npos || Fail("has a text with a NUL");
  }

  JsonNode* Add(JsonNode::Kind kind) {
    if (++values_ > bounds_.values) {
      Fail(absl::StrCat("has more than ", bounds_.values, " values"));
      return nullptr;
    }
    JsonNode* node = &root_;
    if (!open_.empty()) node = &open_.back()->items.emplace_back();
    node->kind = kind;
    node->line = line_;
    return node;
  }

  bool Open(JsonNode::Kind kind) {
    if (static_cast<int>(open_.size()) == bounds_.depth) {
      return Fail(absl::StrCat("has more than ", bounds_.depth, " brackets within each other"));
    }
    JsonNode* node = Add(kind);
    if (node == nullptr) return false;
    // Stays where it is: nothing is added to the list that holds it until it is closed.
    open_.push_back(node);
    keys_.emplace_back();
    return true;
  }

  bool Close() {
    open_.pop_back();
    keys_.pop_back();
    return true;
  }

  const JsonBounds& bounds_;
  const int& line_;
  JsonNode root_;
  std::vector<JsonNode*> open_;
  // Of each open object.
  std::vector<std::set<std::string>> keys_;
  size_t values_ = 0;
  std::string mistake_;
};

}  // namespace

const JsonNode* JsonNode::Field(absl::string_view key) const {
  const auto found = std::find(keys.begin(), keys.end(), key);
  return found == keys.end() ? nullptr : &items[static_cast<size_t>(found - keys.begin())];
}

absl::StatusOr<JsonNode> ParseJson(absl::string_view text, const JsonBounds& bounds) {
  if (text.size() > bounds.bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("has ", text.size(), " bytes; the limit is ", bounds.bytes));
  }
  int line = 1;
  TreeBuilder builder(bounds, line);
  const LineIterator begin(text.data(), &line);
  const LineIterator end(text.data() + text.size(), &line);
  const bool parsed =
      json::sax_parse(begin, end, &builder, json::input_format_t::json, /*strict=*/true,
                      /*ignore_comments=*/true);
  if (!parsed) return absl::InvalidArgumentError(builder.mistake());
  return std::move(builder.root());
}

}  // namespace muster
