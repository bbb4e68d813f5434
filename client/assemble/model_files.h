// What a model's directory holds besides its shards, and how it becomes durable.
#ifndef MUSTER_CLIENT_ASSEMBLE_MODEL_FILES_H_
#define MUSTER_CLIENT_ASSEMBLE_MODEL_FILES_H_

#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "client/assemble/kept_companions.h"
#include "client/assemble/shard_copier.h"
#include "muster/v1/model.pb.h"

namespace muster {

// Makes the folders above the file `path`, with the errors of MakeDirectories.
absl::Status MakeFolderOf(const std::string& path);

// Fetches the companions into `directory`, each verified and synced, from the first folder that keeps it, or else from its
// location. Their paths were checked by CheckCompanionPaths. kCancelled.
absl::Status CopyCompanions(ShardCopier& copier, const std::vector<v1::Companion>& companions,
                            const std::vector<KeptCompanions>& kept, const std::string& directory,
                            const std::stop_token& stop);

// Makes the names of all files below `root`, which are synced themselves, durable.
absl::Status SyncTree(const std::string& root);

}  // namespace muster

#endif  // MUSTER_CLIENT_ASSEMBLE_MODEL_FILES_H_
