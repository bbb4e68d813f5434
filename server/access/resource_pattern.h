// Patterns of a policy: which resources a grant is on, and whom it is for.
//
// Thread-safe: pure functions. Errors are kInvalidArgument and say what is wrong with the pattern, and what would be
// right; where it stands is the caller's to add.
#ifndef MUSTER_SERVER_ACCESS_RESOURCE_PATTERN_H_
#define MUSTER_SERVER_ACCESS_RESOURCE_PATTERN_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace muster {

// What is authorised: rights end at the model version, so a shard is its version's.
enum class ResourceKind : uint8_t { kModelVersion, kNode, kAssembly };

// Longer than any name that is valid: "nodes/" and 253 characters.
inline constexpr size_t kMaxResourceNameBytes = 320;

// The kind of "models/{model}/versions/{version}", "nodes/{node}" or "assemblies/{assembly}"; nothing for what is not the
// whole valid name of one. Allocates nothing.
std::optional<ResourceKind> KindOfResource(absl::string_view name);

// A name, or all names that begin with `text`. Because names have three fixed forms, this is all that patterns by whole
// segments can mean: models/llama/** is what begins with "models/llama/", and not models/llama2.
struct Pattern {
  std::string text;
  bool exact = false;

  bool Matches(absl::string_view name) const {
    return exact ? name == text : name.substr(0, text.size()) == text;
  }
  friend bool operator==(const Pattern&, const Pattern&) = default;
};

// Accepts a resource's full name, with one "*" that ends its last segment; and "**" for whole segments at the end:
//   models/llama/versions/v1   models/llama/versions/v1-*   models/llama/**   models/team-a-*/**   models/**
//   nodes/n1   nodes/gpu-*   nodes/**   assemblies/demo   assemblies/prod-*   assemblies/**   **
// A pattern that no name can match is an error.
absl::StatusOr<Pattern> ParseResourcePattern(absl::string_view text);

// Accepts "user/NAME", "node/NAME", each with one "*" at its end, and "anonymous".
absl::StatusOr<Pattern> ParseWhoPattern(absl::string_view text);

// 1 to 253 letters, digits, '.', '_' and '-', and '@' for users; it begins and ends with a letter or a digit.
bool IsNodeNamePart(absl::string_view name);
bool IsUserName(absl::string_view name);

}  // namespace muster

#endif  // MUSTER_SERVER_ACCESS_RESOURCE_PATTERN_H_
