#include "client/checkpoint/tied_tensors.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/torch/torch_file.h"

namespace muster {
namespace {

// Not constexpr: g++ takes no address of another file's array for constant when it sanitizes.
const absl::string_view kPrefix = kTiedPrefix;

}  // namespace

std::map<std::string, std::string> TiedNames(const std::map<std::string, std::string>& metadata) {
  std::map<std::string, std::string> names;
  for (auto it = metadata.lower_bound(kTiedPrefix);
       it != metadata.end() && absl::StartsWith(it->first, kPrefix); ++it) {
    // An empty name is none.
    if (it->first.size() > kPrefix.size())
      names.emplace(it->first.substr(kPrefix.size()), it->second);
  }
  return names;
}

bool HasTiedNames(const std::map<std::string, std::string>& metadata) {
  const auto first = metadata.lower_bound(kTiedPrefix);
  return first != metadata.end() && absl::StartsWith(first->first, kPrefix);
}

void Untie(absl::string_view name, std::map<std::string, std::string>& metadata) {
  metadata.erase(absl::StrCat(kPrefix, name));
}

std::map<std::string, std::string> WithOwnTiedNames(
    std::map<std::string, std::string> metadata,
    const absl::flat_hash_set<absl::string_view>& names) {
  std::erase_if(metadata, [&](const auto& entry) {
    return absl::StartsWith(entry.first, kPrefix) && !names.contains(entry.second);
  });
  return metadata;
}

}  // namespace muster
