// Tensors with several names. A shard holds such a tensor under one of them, and its "__metadata__"
// says of each other name NAME whose tensor it is: "muster.tied.NAME" is the name that it is held
// under. See decisions/2026-11-26-tied-names-are-metadata.md.
//
// Pure functions; thread-safe.
#ifndef MUSTER_CLIENT_CHECKPOINT_TIED_TENSORS_H_
#define MUSTER_CLIENT_CHECKPOINT_TIED_TENSORS_H_

#include <map>
#include <string>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/string_view.h"

namespace muster {

// By name: the one that its tensor is held under.
std::map<std::string, std::string> TiedNames(const std::map<std::string, std::string>& metadata);

bool HasTiedNames(const std::map<std::string, std::string>& metadata);

// Forgets that `name` is another tensor's, if it was.
void Untie(absl::string_view name, std::map<std::string, std::string>& metadata);

// `metadata` of a component as one of its files has it: without the names whose tensors are
// elsewhere. `names` are the file's tensors.
std::map<std::string, std::string> WithOwnTiedNames(
    std::map<std::string, std::string> metadata,
    const absl::flat_hash_set<absl::string_view>& names);

}  // namespace muster

#endif  // MUSTER_CLIENT_CHECKPOINT_TIED_TENSORS_H_
