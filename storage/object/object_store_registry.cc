#include "storage/object/object_store_registry.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "storage/base/status_macros.h"

namespace muster {

absl::Status ObjectStoreRegistry::Register(absl::string_view scheme, Opener opener) {
  if (scheme.empty() || opener == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("scheme \"", scheme, "\" needs a name and an opener"));
  }
  if (!openers_.try_emplace(std::string(scheme), std::move(opener)).second) {
    return absl::AlreadyExistsError(absl::StrCat("scheme \"", scheme, "\" is registered"));
  }
  return absl::OkStatus();
}

absl::StatusOr<ObjectRef> ObjectStoreRegistry::Open(absl::string_view uri) const {
  MUSTER_ASSIGN_OR_RETURN(const Uri parsed, ParseUri(uri));
  const auto opener = openers_.find(parsed.scheme);
  if (opener == openers_.end()) {
    return absl::UnimplementedError(absl::StrCat(
        "\"", parsed.ToString(), "\": scheme \"", parsed.scheme,
        "\" is not known to this program; it opens: ", absl::StrJoin(Schemes(), ", ")));
  }
  MUSTER_RETURN_IF_ERROR(rules_.Check(parsed));
  return opener->second(parsed);
}

std::vector<std::string> ObjectStoreRegistry::Schemes() const {
  std::vector<std::string> schemes;
  for (const auto& [scheme, opener] : openers_) schemes.push_back(scheme);
  return schemes;
}

}  // namespace muster
