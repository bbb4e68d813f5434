#include "client/cli/json_output.h"

#include <google/protobuf/util/json_util.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace muster {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using OrderedJson = nlohmann::ordered_json;

void UseNumbers(const Descriptor& descriptor, OrderedJson& object);

template <typename Number>
void UseNumber(OrderedJson& value) {
  Number number = 0;
  if (value.is_string() && absl::SimpleAtoi(value.get<std::string>(), &number)) value = number;
}

void UseNumbersOfOne(const FieldDescriptor& field, OrderedJson& value) {
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT64:
      return UseNumber<int64_t>(value);
    case FieldDescriptor::CPPTYPE_UINT64:
      return UseNumber<uint64_t>(value);
    case FieldDescriptor::CPPTYPE_MESSAGE:
      // Times and durations are texts.
      if (value.is_object()) UseNumbers(*field.message_type(), value);
      return;
    default:
      return;
  }
}

// proto3's JSON has 64-bit numbers as strings.
void UseNumbers(const Descriptor& descriptor, OrderedJson& object) {
  for (int i = 0; i < descriptor.field_count(); ++i) {
    const FieldDescriptor& field = *descriptor.field(i);
    const auto found = object.find(field.name());
    if (found == object.end()) continue;
    if (field.is_map() || field.is_repeated()) {
      const FieldDescriptor& each = field.is_map() ? *field.message_type()->map_value() : field;
      for (OrderedJson& value : *found) UseNumbersOfOne(each, value);
    } else {
      UseNumbersOfOne(field, *found);
    }
  }
}

// Whether YAML reads `text` as this text without quotes.
bool IsPlainYaml(const std::string& text) {
  const auto is_plain = [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || absl::StrContains("_-./@", c);
  };
  if (text.empty() || !absl::ascii_isalpha(static_cast<unsigned char>(text[0]))) return false;
  for (const char* const word : {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}) {
    if (absl::EqualsIgnoreCase(text, word)) return false;
  }
  return std::all_of(text.begin(), text.end(), is_plain);
}

void Emit(const OrderedJson& value, YAML::Emitter& out) {
  if (value.is_object()) {
    out << (value.empty() ? YAML::Flow : YAML::Block) << YAML::BeginMap;
    for (const auto& field : value.items()) {
      out << YAML::Key;
      Emit(OrderedJson(field.key()), out);
      out << YAML::Value;
      Emit(field.value(), out);
    }
    out << YAML::EndMap;
  } else if (value.is_array()) {
    out << (value.empty() ? YAML::Flow : YAML::Block) << YAML::BeginSeq;
    for (const OrderedJson& one : value) Emit(one, out);
    out << YAML::EndSeq;
  } else if (value.is_string()) {
    const auto text = value.get<std::string>();
    if (!IsPlainYaml(text)) out << YAML::DoubleQuoted;
    out << text;
  } else if (value.is_null()) {
    out << YAML::Null;
  } else {
    out << value.dump();
  }
}

}  // namespace

std::string JsonToYaml(absl::string_view json) {
  const OrderedJson value =
      OrderedJson::parse(json.begin(), json.end(), nullptr, /*allow_exceptions=*/false);
  if (value.is_discarded()) return std::string(json);
  YAML::Emitter out;
  Emit(value, out);
  return absl::StrCat(out.c_str(), "\n");
}

std::string MessageToJson(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  std::string json;
  const auto status = google::protobuf::util::MessageToJsonString(message, &json, options);
  // Fails for messages with Any or bad UTF-8 only, of which a checked protobuf has none.
  if (!status.ok()) return "{}";
  OrderedJson value = OrderedJson::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!value.is_object()) return "{}";
  UseNumbers(*message.GetDescriptor(), value);
  return value.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
}

std::string JsonString(absl::string_view text) {
  const nlohmann::json value = std::string(text);
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string JsonArray(const std::vector<std::string>& values) {
  return absl::StrCat("[", absl::StrJoin(values, ","), "]");
}

void JsonObject::AddRaw(absl::string_view key, absl::string_view json) {
  absl::StrAppend(&fields_, fields_.empty() ? "" : ",", JsonString(key), ":", json);
}

std::string JsonObject::ToString() const { return absl::StrCat("{", fields_, "}"); }

}  // namespace muster
