// Resource names: how models, nodes and assemblies are written on the wire.
//
// Thread-safe: pure functions. Parsing returns kInvalidArgument with reason INVALID_NAME, quoting
// the name and the rule that it breaks.
#ifndef MUSTER_STORAGE_BASE_RESOURCE_NAME_H_
#define MUSTER_STORAGE_BASE_RESOURCE_NAME_H_

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/base/numbers.h"

namespace muster {

// Names are [A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?, node names up to 253 characters.

struct ModelVersionName {
  std::string model;
  std::string version;

  // "models/{model}/versions/{version}"
  std::string ToString() const;
};

struct ShardName {
  ModelVersionName version;
  ShardIndex index;

  // "models/{model}/versions/{version}/shards/{index}"
  std::string ToString() const;
};

// Accepts "models/{model}/versions/{version}".
absl::StatusOr<ModelVersionName> ParseModelVersionName(absl::string_view name);
// Accepts "models/{model}/versions/{version}/shards/{index}"; the index has no leading zeros.
absl::StatusOr<ShardName> ParseShardName(absl::string_view name);
// Accepts "nodes/{node}" and returns {node}.
absl::StatusOr<std::string> ParseNodeName(absl::string_view name);
// Accepts "assemblies/{assembly}" and returns {assembly}.
absl::StatusOr<std::string> ParseAssemblyName(absl::string_view name);

std::string NodeName(absl::string_view node);
std::string AssemblyName(absl::string_view assembly);

// For the command line: accepts the short forms "llama@v1", "n1", "demo" and the full names, and
// returns the full name, checked.
absl::StatusOr<std::string> FullModelVersionName(absl::string_view text);
absl::StatusOr<std::string> FullNodeName(absl::string_view text);
absl::StatusOr<std::string> FullAssemblyName(absl::string_view text);

// "llama@v1" for "models/llama/versions/v1"; anything else comes back as it is.
std::string ShortModelVersionName(absl::string_view name);

}  // namespace muster

#endif  // MUSTER_STORAGE_BASE_RESOURCE_NAME_H_
