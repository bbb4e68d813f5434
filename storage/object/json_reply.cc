#include "storage/object/json_reply.h"

#include <limits>
#include <nlohmann/json.hpp>

namespace muster {
namespace {

using nlohmann::json;

// Counts, and ends the parse at a bound. It keeps nothing, and nlohmann calls it from a loop.
class BoundsCheck final : public nlohmann::json_sax<json> {
 public:
  bool null() override { return Count(); }
  bool boolean(bool) override { return Count(); }
  bool number_integer(number_integer_t) override { return Count(); }
  bool number_unsigned(number_unsigned_t) override { return Count(); }
  bool number_float(number_float_t, const string_t&) override { return Count(); }
  bool string(string_t&) override { return Count(); }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return Open(); }
  bool key(string_t&) override { return true; }
  bool end_object() override { return Close(); }
  bool start_array(std::size_t) override { return Open(); }
  bool end_array() override { return Close(); }
  bool parse_error(std::size_t, const std::string&, const json::exception&) override {
    return false;
  }

 private:
  bool Count() { return ++values_ <= JsonReply::kValuesMax; }
  bool Open() { return ++depth_ <= JsonReply::kDepthMax && Count(); }
  bool Close() {
    --depth_;
    return true;
  }

  int depth_ = 0;
  size_t values_ = 0;
};

const json& At(const void* value) { return *static_cast<const json*>(value); }

}  // namespace

struct JsonReply::Tree {
  json root;
};

bool JsonValue::is_list() const { return value_ != nullptr && At(value_).is_array(); }

JsonValue JsonValue::Field(const char* name) const {
  if (value_ == nullptr || !At(value_).is_object()) return JsonValue();
  const auto found = At(value_).find(name);
  return found == At(value_).end() ? JsonValue() : JsonValue(&*found);
}

JsonValue JsonValue::Item(size_t item) const {
  return item < size() ? JsonValue(&At(value_)[item]) : JsonValue();
}

size_t JsonValue::size() const { return is_list() ? At(value_).size() : 0; }

std::string JsonValue::Text() const {
  if (value_ == nullptr || !At(value_).is_string()) return "";
  return At(value_).get_ref<const std::string&>();
}

std::optional<int64_t> JsonValue::Number() const {
  if (value_ == nullptr || !At(value_).is_number_integer()) return std::nullopt;
  constexpr auto kMax = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  if (At(value_).is_number_unsigned() && At(value_).get<uint64_t>() > kMax) return std::nullopt;
  return At(value_).get<int64_t>();
}

JsonReply::JsonReply(absl::string_view text) {
  BoundsCheck check;
  if (!json::sax_parse(text.begin(), text.end(), &check)) return;
  json root = json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (root.is_discarded()) return;
  tree_ = std::make_unique<const Tree>(Tree{std::move(root)});
}

JsonReply::~JsonReply() = default;
JsonReply::JsonReply(JsonReply&&) noexcept = default;
JsonReply& JsonReply::operator=(JsonReply&&) noexcept = default;

JsonValue JsonReply::root() const {
  return tree_ == nullptr ? JsonValue() : JsonValue(&tree_->root);
}

}  // namespace muster
