// What a node last knew of its assemblies, on disk beside the cache: see proto/muster/node/notes.proto.
#ifndef MUSTER_CLIENT_AGENT_ASSEMBLY_NOTES_H_
#define MUSTER_CLIENT_AGENT_ASSEMBLY_NOTES_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/agent/node_folder.h"
#include "client/sdk/client.h"
#include "muster/node/notes.pb.h"

namespace muster {

// The notes of one node, a file for each assembly. A value; thread-safe for different assemblies.
class AssemblyNotes {
 public:
  explicit AssemblyNotes(const NodeFolder& folder);

  // Those of all nodes whose agents use the cache in this directory.
  static std::vector<AssemblyNotes> OfCache(const std::string& cache);

  const NodeFolder& folder() const { return folder_; }

  // Replaces what is noted of its assembly. Durable, and whole or not there.
  absl::Status Write(const node::AssemblyNote& note) const;
  // `assembly` is a full name. kNotFound: nothing is noted. kDataLoss: the file is damaged.
  absl::StatusOr<node::AssemblyNote> Read(const std::string& assembly) const;
  // OK where there is none.
  absl::Status Remove(const std::string& assembly) const;
  // Full names, in order.
  std::vector<std::string> Assemblies() const;

 private:
  std::string PathOf(const std::string& assembly) const;

  NodeFolder folder_;
  std::string path_;
};

// Asks the server for all that a later life without one needs: the shards that the node `held` with
// their digests, and with `whole` what a view of the model is made of. Empty where `known` says the
// same of that version already.
absl::StatusOr<std::optional<node::AssemblyNote>> MakeNote(
    Client& client, const v1::Assembly& assembly, const std::vector<v1::Shard>& held, bool whole,
    const absl::StatusOr<node::AssemblyNote>& known, const CallOptions& call);

}  // namespace muster

#endif  // MUSTER_CLIENT_AGENT_ASSEMBLY_NOTES_H_
