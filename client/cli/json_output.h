// JSON for programs.
#ifndef MUSTER_CLIENT_CLI_JSON_OUTPUT_H_
#define MUSTER_CLIENT_CLI_JSON_OUTPUT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "google/protobuf/message.h"

namespace muster {

// proto3's JSON, with the field names of the .proto files and default values written out, but that
// 64-bit numbers are numbers; see decisions/2026-11-30-json-that-jq-compares.md.
std::string MessageToJson(const google::protobuf::Message& message);

// A JSON string; bytes that are not UTF-8 are replaced.
std::string JsonString(absl::string_view text);

// `json` as YAML, in its order, ended by a newline. What is not JSON comes back as it is.
std::string JsonToYaml(absl::string_view json);

// "[a, b]" of values that are JSON already.
std::string JsonArray(const std::vector<std::string>& values);

// Builds an object field by field, in the order of the calls.
class JsonObject {
 public:
  void Add(absl::string_view key, const std::string& value) { AddRaw(key, JsonString(value)); }
  void Add(absl::string_view key, int64_t value) { AddRaw(key, std::to_string(value)); }
  // `json` is JSON already.
  void AddRaw(absl::string_view key, absl::string_view json);

  std::string ToString() const;

 private:
  std::string fields_;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_JSON_OUTPUT_H_
