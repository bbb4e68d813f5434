#include "storage/base/resource_name.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "storage/base/error_info.h"
#include "storage/base/limits.h"
#include "storage/base/quote.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

absl::Status BadName(absl::string_view name, absl::string_view expected) {
  const absl::string_view head = name.substr(0, 200);
  const std::string escaped =
      IsValidUtf8(head) ? absl::Utf8SafeCEscape(head) : absl::CHexEscape(head);
  return MakeError(absl::StatusCode::kInvalidArgument, reasons::kInvalidName,
                   absl::StrCat(QuoteForMessage(name), " is not a valid name: expected ", expected),
                   {{"name", escaped}, {"expected", std::string(expected)}});
}

bool IsName(absl::string_view name, size_t max_length) {
  if (name.empty() || name.size() > max_length) return false;
  for (const char c : name) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '.' && c != '_' && c != '-') {
      return false;
    }
  }
  return absl::ascii_isalnum(static_cast<unsigned char>(name.front())) &&
         absl::ascii_isalnum(static_cast<unsigned char>(name.back()));
}

constexpr char kVersionForm[] =
    "models/{model}/versions/{version}, each part 1 to 63 letters, digits, '.', '_' or '-', "
    "beginning and ending with a letter or digit";
constexpr char kShardForm[] =
    "models/{model}/versions/{version}/shards/{index} with an index from 0 to 99999";
constexpr char kNodeForm[] =
    "nodes/{node}, the part 1 to 253 letters, digits, '.', '_' or '-', beginning and ending with a "
    "letter or digit";
constexpr char kAssemblyForm[] =
    "assemblies/{assembly}, the part 1 to 63 letters, digits, '.', '_' or '-', beginning and "
    "ending "
    "with a letter or digit";

absl::StatusOr<std::string> ParseOnePart(absl::string_view name, absl::string_view collection,
                                         size_t max_length, absl::string_view form) {
  absl::string_view part = name;
  if (!absl::ConsumePrefix(&part, collection) || !IsName(part, max_length)) {
    return BadName(name, form);
  }
  return std::string(part);
}

}  // namespace

std::string ModelVersionName::ToString() const {
  return absl::StrCat("models/", model, "/versions/", version);
}

std::string ShardName::ToString() const {
  return absl::StrCat(version.ToString(), "/shards/", index.value);
}

absl::StatusOr<ModelVersionName> ParseModelVersionName(absl::string_view name) {
  const std::vector<absl::string_view> parts = absl::StrSplit(name.substr(0, 4096), '/');
  if (parts.size() != 4 || parts[0] != "models" || parts[2] != "versions" ||
      !IsName(parts[1], kMaxNameLength) || !IsName(parts[3], kMaxNameLength)) {
    return BadName(name, kVersionForm);
  }
  return ModelVersionName{std::string(parts[1]), std::string(parts[3])};
}

absl::StatusOr<ShardName> ParseShardName(absl::string_view name) {
  const size_t split = name.rfind("/shards/");
  if (split == absl::string_view::npos) return BadName(name, kShardForm);
  const absl::string_view digits = name.substr(split + 8);
  uint32_t index = 0;
  if (!absl::SimpleAtoi(digits, &index) || index >= kMaxShardsPerVersion ||
      digits != absl::StrCat(index)) {
    return BadName(name, kShardForm);
  }
  auto version = ParseModelVersionName(name.substr(0, split));
  if (!version.ok()) return BadName(name, kShardForm);
  return ShardName{*std::move(version), ShardIndex(index)};
}

absl::StatusOr<std::string> ParseNodeName(absl::string_view name) {
  return ParseOnePart(name, "nodes/", kMaxNodeNameLength, kNodeForm);
}

absl::StatusOr<std::string> ParseAssemblyName(absl::string_view name) {
  return ParseOnePart(name, "assemblies/", kMaxNameLength, kAssemblyForm);
}

std::string NodeName(absl::string_view node) { return absl::StrCat("nodes/", node); }

std::string AssemblyName(absl::string_view assembly) {
  return absl::StrCat("assemblies/", assembly);
}

absl::StatusOr<std::string> FullModelVersionName(absl::string_view text) {
  const size_t at = text.find('@');
  const std::string full =
      at == absl::string_view::npos
          ? std::string(text)
          : absl::StrCat("models/", text.substr(0, at), "/versions/", text.substr(at + 1));
  if (ParseModelVersionName(full).ok()) return full;
  // Names of model hubs have an owner; here the whole name has no slash.
  const std::string without_slash = absl::StrReplaceAll(text, {{"/", "."}});
  const bool is_hub_name =
      at != absl::string_view::npos && std::count(text.begin(), text.end(), '/') == 1;
  if (is_hub_name && FullModelVersionName(without_slash).ok()) {
    return BadName(text, absl::StrCat("a name without \"/\", such as ", without_slash));
  }
  return BadName(text, absl::StrCat("MODEL@VERSION or ", kVersionForm));
}

absl::StatusOr<std::string> FullNodeName(absl::string_view text) {
  const std::string full = absl::StartsWith(text, "nodes/") ? std::string(text) : NodeName(text);
  MUSTER_RETURN_IF_ERROR(ParseNodeName(full).status());
  return full;
}

absl::StatusOr<std::string> FullAssemblyName(absl::string_view text) {
  const std::string full =
      absl::StartsWith(text, "assemblies/") ? std::string(text) : AssemblyName(text);
  MUSTER_RETURN_IF_ERROR(ParseAssemblyName(full).status());
  return full;
}

std::string ShortModelVersionName(absl::string_view name) {
  const auto parsed = ParseModelVersionName(name);
  if (!parsed.ok()) return std::string(name);
  return absl::StrCat(parsed->model, "@", parsed->version);
}

}  // namespace muster
