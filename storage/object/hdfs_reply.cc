#include "storage/object/hdfs_reply.h"

#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"
#include "storage/object/http_reply.h"

namespace muster {
namespace {

using Code = absl::StatusCode;

nlohmann::json Parse(absl::string_view json) {
  return nlohmann::json::parse(json.begin(), json.end(), nullptr, /*allow_exceptions=*/false);
}

// A null value where it is missing.
nlohmann::json FieldOf(const nlohmann::json& object, const char* name) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(name);
  return found == object.end() ? nlohmann::json() : *found;
}

std::string TextOf(const nlohmann::json& object, const char* name) {
  const nlohmann::json field = FieldOf(object, name);
  return field.is_string() ? field.get<std::string>() : "";
}

int64_t NumberOf(const nlohmann::json& object, const char* name) {
  const nlohmann::json field = FieldOf(object, name);
  return field.is_number_integer() ? field.get<int64_t>() : -1;
}

absl::Status Malformed(absl::string_view uri, absl::string_view what) {
  return absl::DataLossError(absl::StrCat(uri, ": the server's reply holds no ", what));
}

// Names of Java classes without their packages.
Code CodeOf(absl::string_view exception, absl::string_view message, Code otherwise) {
  static const auto& codes = *new std::map<absl::string_view, Code>{
      {"FileNotFoundException", Code::kNotFound},
      {"ParentNotDirectoryException", Code::kNotFound},
      {"AccessControlException", Code::kPermissionDenied},
      {"SecurityException", Code::kUnauthenticated},
      {"InvalidToken", Code::kUnauthenticated},
      {"FileAlreadyExistsException", Code::kAlreadyExists},
      // A data node holds the file for another request, one that broke off perhaps.
      {"AlreadyBeingCreatedException", Code::kUnavailable},
      {"RecoveryInProgressException", Code::kUnavailable},
      {"InvalidPathException", Code::kInvalidArgument},
      // Of all kinds, and often of a data node that is on its way out or in.
      {"IOException", Code::kUnavailable},
      {"IllegalArgumentException", Code::kInvalidArgument},
      {"StandbyException", Code::kUnavailable},
      {"RetriableException", Code::kUnavailable},
      {"SafeModeException", Code::kUnavailable},
      {"DSQuotaExceededException", Code::kResourceExhausted},
      {"NSQuotaExceededException", Code::kResourceExhausted},
      {"QuotaExceededException", Code::kResourceExhausted},
  };
  // A component of a path is a file.
  if (exception == "AccessControlException" && absl::StrContains(message, "is not a directory")) {
    return Code::kNotFound;
  }
  if (absl::StrContains(message, "out of the range")) return Code::kOutOfRange;
  // No data node has room, or none is there.
  if (absl::StrContains(message, "could only be written to 0 of")) return Code::kResourceExhausted;
  const auto found = codes.find(exception);
  return found == codes.end() ? otherwise : found->second;
}

absl::StatusOr<HdfsFile> FileOf(absl::string_view uri, const nlohmann::json& status) {
  HdfsFile file;
  file.name = TextOf(status, "pathSuffix");
  file.is_directory = TextOf(status, "type") == "DIRECTORY";
  file.size_bytes = NumberOf(status, "length");
  file.id = NumberOf(status, "fileId");
  file.modified_ms = NumberOf(status, "modificationTime");
  if (file.size_bytes < 0 || TextOf(status, "type").empty()) return Malformed(uri, "file status");
  return file;
}

}  // namespace

std::string HdfsFile::version() const {
  return absl::StrCat(id, "-", modified_ms, "-", size_bytes);
}

absl::Status HdfsErrorOf(absl::string_view uri, absl::string_view endpoint, const HttpReply& reply,
                         absl::string_view body) {
  if (absl::StrContains(body, "Hadoop IPC port")) {
    return absl::FailedPreconditionError(
        absl::StrCat(uri, ": ", endpoint,
                     " is the port of RPCs; name the web address (dfs.namenode.http-address, often "
                     "port 9870) in MUSTER_WEBHDFS_ADDRESS, or Hadoop's settings in "
                     "HADOOP_CONF_DIR"));
  }
  const nlohmann::json remote = FieldOf(Parse(body), "RemoteException");
  const std::string exception = TextOf(remote, "exception");
  const absl::Status by_status = HttpStatusError(uri, reply);
  if (exception.empty()) {
    // A reply that is not WebHDFS's says nothing about the object.
    if (!absl::IsNotFound(by_status)) return by_status;
    return absl::FailedPreconditionError(
        absl::StrCat(uri, ": ", endpoint, " answers with HTTP ", reply.status,
                     " and not as WebHDFS does; is that the name node's web address?"));
  }
  const std::string message = TextOf(remote, "message");
  const Code code = CodeOf(exception, message, by_status.code());
  const absl::string_view advice =
      code == Code::kUnauthenticated
          ? "; get another ticket with kinit, or another token for MUSTER_WEBHDFS_TOKEN"
          : "";
  return MakeError(code, reasons::kHdfsError,
                   absl::StrCat(uri, ": ", exception, ": ", message.substr(0, message.find('\n')),
                                advice, " [", endpoint, "]"),
                   {{"exception", exception}});
}

absl::StatusOr<HdfsFile> ParseHdfsFile(absl::string_view uri, absl::string_view json) {
  return FileOf(uri, FieldOf(Parse(json), "FileStatus"));
}

absl::StatusOr<std::vector<HdfsFile>> ParseHdfsFiles(absl::string_view uri,
                                                     absl::string_view json) {
  const nlohmann::json list = FieldOf(FieldOf(Parse(json), "FileStatuses"), "FileStatus");
  if (!list.is_array()) return Malformed(uri, "listing");
  std::vector<HdfsFile> files;
  for (const nlohmann::json& one : list) {
    absl::StatusOr<HdfsFile> file = FileOf(uri, one);
    if (!file.ok()) return file.status();
    files.push_back(*std::move(file));
  }
  return files;
}

absl::StatusOr<std::string> ParseHdfsLocation(absl::string_view uri, absl::string_view name_node,
                                              absl::string_view json) {
  std::string location = TextOf(Parse(json), "Location");
  if (absl::StartsWith(location, "https://")) return location;
  if (!absl::StartsWith(location, "http://")) return Malformed(uri, "address of a data node");
  if (!absl::StartsWith(name_node, "https://")) return location;
  return absl::FailedPreconditionError(
      absl::StrCat(uri, ": ", name_node,
                   " names a data node without TLS; dfs.http.policy is to be HTTPS_ONLY "
                   "on data nodes too"));
}

}  // namespace muster
