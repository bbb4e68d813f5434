#include "storage/object/hdfs_reply.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"
#include "storage/object/http_reply.h"
#include "storage/object/json_reply.h"

namespace muster {
namespace {

using Code = absl::StatusCode;

// Names of exceptions are far shorter, first lines of messages nearly always.
constexpr size_t kExceptionBytesMax = 100;
constexpr size_t kMessageBytesMax = 500;

// Its first line, as far as a person reads it, cut between characters.
std::string Shown(absl::string_view message) {
  message = message.substr(0, message.find('\n'));
  size_t size = std::min(message.size(), kMessageBytesMax);
  while (size > 0 && size < message.size() && (message[size] & 0xC0) == 0x80) --size;
  return absl::Utf8SafeCEscape(message.substr(0, size));
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

absl::StatusOr<HdfsFile> FileOf(absl::string_view uri, const JsonValue& status) {
  const std::string type = status.Field("type").Text();
  HdfsFile file;
  file.name = status.Field("pathSuffix").Text();
  file.is_directory = type == "DIRECTORY";
  file.size_bytes = status.Field("length").Number().value_or(-1);
  file.id = status.Field("fileId").Number().value_or(-1);
  file.modified_ms = status.Field("modificationTime").Number().value_or(-1);
  if (file.size_bytes < 0 || type.empty()) return Malformed(uri, "file status");
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
  const JsonReply json(body);
  const JsonValue remote = json.root().Field("RemoteException");
  const std::string exception = remote.Field("exception").Text();
  const absl::Status by_status = HttpStatusError(uri, reply);
  if (exception.empty() || exception.size() > kExceptionBytesMax) {
    // A reply that is not WebHDFS's says nothing about the object.
    if (!absl::IsNotFound(by_status)) return by_status;
    return absl::FailedPreconditionError(
        absl::StrCat(uri, ": ", endpoint, " answers with HTTP ", reply.status,
                     " and not as WebHDFS does; is that the name node's web address?"));
  }
  const std::string message = remote.Field("message").Text();
  const Code code = CodeOf(exception, message, by_status.code());
  const absl::string_view advice =
      code == Code::kUnauthenticated
          ? "; get another ticket with kinit, or another token for MUSTER_WEBHDFS_TOKEN"
          : "";
  return MakeError(
      code, reasons::kHdfsError,
      absl::StrCat(uri, ": ", exception, ": ", Shown(message), advice, " [", endpoint, "]"),
      {{"exception", exception}});
}

absl::StatusOr<HdfsFile> ParseHdfsFile(absl::string_view uri, absl::string_view json) {
  const JsonReply reply(json);
  return FileOf(uri, reply.root().Field("FileStatus"));
}

absl::StatusOr<std::vector<HdfsFile>> ParseHdfsFiles(absl::string_view uri,
                                                     absl::string_view json) {
  const JsonReply reply(json);
  const JsonValue list = reply.root().Field("FileStatuses").Field("FileStatus");
  if (!list.is_list()) return Malformed(uri, "listing");
  std::vector<HdfsFile> files;
  for (size_t i = 0; i < list.size(); ++i) {
    absl::StatusOr<HdfsFile> file = FileOf(uri, list.Item(i));
    if (!file.ok()) return file.status();
    files.push_back(*std::move(file));
  }
  return files;
}

absl::StatusOr<std::string> ParseHdfsLocation(absl::string_view uri, absl::string_view name_node,
                                              absl::string_view json) {
  const JsonReply reply(json);
  std::string location = reply.root().Field("Location").Text();
  if (absl::StartsWith(location, "https://")) return location;
  if (!absl::StartsWith(location, "http://")) return Malformed(uri, "address of a data node");
  if (!absl::StartsWith(name_node, "https://")) return location;
  return absl::FailedPreconditionError(
      absl::StrCat(uri, ": ", name_node,
                   " names a data node without TLS; dfs.http.policy is to be HTTPS_ONLY "
                   "on data nodes too"));
}

}  // namespace muster
