// Writes objects to HDFS.
#ifndef MUSTER_STORAGE_OBJECT_HDFS_OBJECT_WRITER_H_
#define MUSTER_STORAGE_OBJECT_HDFS_OBJECT_WRITER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "storage/object/hdfs_cluster.h"
#include "storage/object/object_store.h"

namespace muster {

// `options` and `key` are valid.
std::unique_ptr<ObjectWriter> NewHdfsObjectWriter(std::shared_ptr<HdfsCluster> cluster,
                                                  const std::string& key,
                                                  const ObjectStore::WriteOptions& options);

}  // namespace muster

#endif  // MUSTER_STORAGE_OBJECT_HDFS_OBJECT_WRITER_H_
