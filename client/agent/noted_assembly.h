// An assembly as the node last knew it, in the place of a server that does not answer.
#ifndef MUSTER_CLIENT_AGENT_NOTED_ASSEMBLY_H_
#define MUSTER_CLIENT_AGENT_NOTED_ASSEMBLY_H_

#include <cstdint>
#include <memory>
#include <stop_token>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cache/shard_cache.h"
#include "client/sdk/client.h"
#include "muster/node/notes.pb.h"

namespace muster {

// Thread-safe: constant.
class NotedAssembly {
 public:
  // kDataLoss: the note contradicts itself. `random` outlives it.
  static absl::StatusOr<std::unique_ptr<NotedAssembly>> Make(node::AssemblyNote note,
                                                             Random& random);

  const v1::Assembly& assembly() const { return note_->assembly(); }
  const v1::ModelVersion& model_version() const { return note_->model_version(); }
  // The shards that the node held, ascending.
  const std::vector<uint32_t>& held() const { return held_; }

  // Answers, as the server did, what a view is made of (GetModelVersion, ListShards, ListPieces,
  // ListTensors, ListCompanions); all else is kUnavailable SERVER_UNREACHABLE. Callers check what it
  // says as they check a server.
  Client& client() const { return *client_; }

  // Whether the cache holds every shard that the node held, verified: as its record vouches, or by its
  // hash. kFailedPrecondition VIEW_INCOMPLETE: it lacks some. kCancelled, or the cache's errors.
  absl::Status Verify(ShardCache& cache, const std::stop_token& stop) const;

 private:
  NotedAssembly(std::shared_ptr<const node::AssemblyNote> note, Random& random);

  std::shared_ptr<const node::AssemblyNote> note_;
  std::vector<uint32_t> held_;
  std::unique_ptr<Client> client_;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_AGENT_NOTED_ASSEMBLY_H_
