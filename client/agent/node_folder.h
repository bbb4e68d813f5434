// What an agent keeps of its node beside the cache, over its lives: the folder CACHE/.nodes/NAME.
#ifndef MUSTER_CLIENT_AGENT_NODE_FOLDER_H_
#define MUSTER_CLIENT_AGENT_NODE_FOLDER_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/base/random.h"

namespace muster {

// A value; thread-safe. Agents of one cache directory have a folder each, by the names of their nodes.
class NodeFolder {
 public:
  // `cache` is the directory of a cache that is open; `node` is a full name. Touches nothing.
  NodeFolder(absl::string_view cache, absl::string_view node);

  const std::string& path() const { return path_; }
  // For copies of the small files of what is noted.
  std::string CompanionsPath() const;

  // The folder, for its owner alone; made where it is missing. Durable.
  absl::Status Make() const;

  // RegisterNodeRequest.identity, the same over all lives: read, or drawn and stored first. One that is
  // damaged is replaced. An error says why it can't be kept.
  absl::StatusOr<std::string> Identity(Random& random) const;

 private:
  std::string path_;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_AGENT_NODE_FOLDER_H_
