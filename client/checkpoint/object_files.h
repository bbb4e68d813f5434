// Checkpoints whose files are objects: below a prefix of a bucket, a name service or a web server.
#ifndef MUSTER_CLIENT_CHECKPOINT_OBJECT_FILES_H_
#define MUSTER_CLIENT_CHECKPOINT_OBJECT_FILES_H_

#include <memory>

#include "absl/strings/string_view.h"
#include "client/checkpoint/source_files.h"
#include "storage/object/object_store_registry.h"

namespace muster {

// Of the URIs that `stores`, which outlives it, can open. SRC is a folder when it ends with "/", or
// when there is no object of that name. Objects are read in the version that they had when they
// were opened; CheckUnchanged asks for it again.
//
// A backend that can't list (the web) is asked for the files that model directories usually have:
// an index or a single file, what the index names, and the well-known companions.
std::shared_ptr<const SourceFiles> NewObjectFiles(const ObjectStoreRegistry& stores);

// Those for SRC: of `stores` where it is a URI, or else LocalFiles.
std::shared_ptr<const SourceFiles> FilesOf(absl::string_view src,
                                           const ObjectStoreRegistry& stores);

}  // namespace muster

#endif  // MUSTER_CLIENT_CHECKPOINT_OBJECT_FILES_H_
