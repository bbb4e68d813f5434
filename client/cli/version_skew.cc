#include "client/cli/version_skew.h"

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"

namespace muster {
namespace {

std::optional<std::array<uint32_t, 3>> ParseNumbers(absl::string_view version) {
  const std::vector<absl::string_view> parts = absl::StrSplit(version, '.');
  std::array<uint32_t, 3> numbers{};
  if (parts.size() != numbers.size()) return std::nullopt;
  for (size_t i = 0; i < numbers.size(); ++i) {
    if (!absl::SimpleAtoi(parts[i], &numbers[i])) return std::nullopt;
  }
  return numbers;
}

}  // namespace

Skew CompareBuilds(const Build& client, const Build& server) {
  const auto own = ParseNumbers(client.version);
  const auto other = ParseNumbers(server.version);
  if (!own.has_value() || !other.has_value()) return Skew::kUnknown;
  if (*other < *own) return Skew::kServerOlder;
  if (*own < *other) return Skew::kServerNewer;
  if (client.commit.empty() || server.commit.empty()) return Skew::kUnknown;
  return client.commit == server.commit ? Skew::kSame : Skew::kOtherCommit;
}

std::string SkewName(Skew skew) {
  switch (skew) {
    case Skew::kSame:
      return "same";
    case Skew::kServerOlder:
      return "server_older";
    case Skew::kServerNewer:
      return "server_newer";
    case Skew::kOtherCommit:
      return "other_commit";
    case Skew::kUnknown:
      break;
  }
  return "unknown";
}

std::string SkewSentence(Skew skew) {
  switch (skew) {
    case Skew::kSame:
      return "the server is of the same build";
    case Skew::kServerOlder:
      return "the server is older: it refuses what it does not know yet; update musterd first, "
             "then "
             "what calls it";
    case Skew::kServerNewer:
      return "the server is newer: it can more than this command knows; update muster here, too";
    case Skew::kOtherCommit:
      return "the server has the same version, built from another commit: one of the two may know "
             "what the other does not";
    case Skew::kUnknown:
      break;
  }
  return "which of the two is newer can't be told";
}

}  // namespace muster
