// What the replies of WebHDFS mean. Pure functions; text from the server is hostile.
#ifndef MUSTER_STORAGE_OBJECT_HDFS_REPLY_H_
#define MUSTER_STORAGE_OBJECT_HDFS_REPLY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/object/http_connection.h"

namespace muster {

struct HdfsFile {
  // The last segment of its path; "" in the reply about one file.
  std::string name;
  bool is_directory = false;
  int64_t size_bytes = 0;
  // Never given to another file.
  int64_t id = 0;
  int64_t modified_ms = 0;

  // As ObjectInfo::version.
  std::string version() const;
};

// What a reply with an error status says; `endpoint` is the server that was asked. Kept by the exception's
// name as ErrorDetail metadata `exception` of reason HDFS_ERROR.
absl::Status HdfsErrorOf(absl::string_view uri, absl::string_view endpoint, const HttpReply& reply,
                         absl::string_view body);

// These are kDataLoss for text that is something else.
absl::StatusOr<HdfsFile> ParseHdfsFile(absl::string_view uri, absl::string_view json);
absl::StatusOr<std::vector<HdfsFile>> ParseHdfsFiles(absl::string_view uri, absl::string_view json);
// Where the data node is that takes the bytes: an http or https address. kFailedPrecondition for one without
// TLS where `name_node`, the address that the reply came from, has it.
absl::StatusOr<std::string> ParseHdfsLocation(absl::string_view uri, absl::string_view name_node,
                                              absl::string_view json);

}  // namespace muster

#endif  // MUSTER_STORAGE_OBJECT_HDFS_REPLY_H_
