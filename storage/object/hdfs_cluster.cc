// A call that moves bytes is two requests: the name node says which data node takes them ("noredirect"),
// and that one gets them. Reads leave the second one to libcurl, which follows the redirect.
#include "storage/object/hdfs_cluster.h"

#include <cstring>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "storage/base/error_info.h"
#include "storage/base/status_macros.h"
#include "storage/object/http_reply.h"
#include "storage/object/percent_encode.h"
#include "storage/object/rate_limit.h"

namespace muster {
namespace {

// A listing of some 100,000 files; everything else is about one.
constexpr size_t kListingBytesMax = 64 << 20;
constexpr size_t kReplyBytesMax = 1 << 20;

// In a failover a data node that takes bytes is silent until it has found the name node that is active now.
constexpr absl::Duration kFailoverSilence = absl::Seconds(90);

bool IsError(const HttpReply& reply) { return reply.status < 200 || reply.status >= 300; }

// Puts the bytes of one OPEN where they belong, as far as they fit.
struct OpenReceiver {
  absl::string_view uri;
  absl::Span<char> out;
  const ObjectStore::ReadOptions& options;
  size_t done = 0;
  std::string error_page = {};
  absl::Status fault = {};

  bool Take(const HttpReply& reply, absl::string_view bytes) {
    if (reply.status != 200) {
      const bool fits = error_page.size() + bytes.size() <= kHttpErrorPageBytesMax;
      if (fits) absl::StrAppend(&error_page, bytes);
      return fits;
    }
    if (bytes.size() > out.size() - done) {
      fault = absl::DataLossError(
          absl::StrCat(uri, ": the server sends more than the bytes that were asked for"));
      return false;
    }
    std::memcpy(out.data() + done, bytes.data(), bytes.size());
    done += bytes.size();
    if (options.limit == nullptr ||
        options.limit->Take(static_cast<int64_t>(bytes.size()), options.stop)) {
      return true;
    }
    fault = absl::CancelledError(absl::StrCat(uri, ": the read was cancelled"));
    return false;
  }
};

}  // namespace

std::string HdfsCluster::PathOf(absl::string_view key) const {
  return absl::StrCat("/", root_.path, root_.path.empty() ? "" : "/", key);
}

std::string HdfsCluster::UriOf(absl::string_view key) const {
  return Uri{.scheme = root_.scheme, .authority = root_.authority, .path = PathOf(key).substr(1)}
      .ToString();
}

HdfsCluster::Request HdfsCluster::RequestOf(const HdfsCall& call) const {
  Request request;
  request.name_node = name_node_.load() % address_.name_nodes.size();
  request.reply_bytes_max = call.operation == "LISTSTATUS" ? kListingBytesMax : kReplyBytesMax;
  std::string& url = request.http.url;
  url = absl::StrCat(address_.name_nodes[request.name_node], "/webhdfs/v1",
                     PercentEncode(PathOf(call.key), "-._~/"), "?op=", call.operation);
  if (call.body.has_value()) absl::StrAppend(&url, "&noredirect=true");
  if (!address_.delegation_token.empty()) {
    absl::StrAppend(&url, "&delegation=", PercentEncode(address_.delegation_token, "-._~"));
  } else if (!address_.user.empty()) {
    absl::StrAppend(&url, "&user.name=", PercentEncode(address_.user, "-._~"));
  }
  for (const auto& [name, value] : call.query) {
    absl::StrAppend(&url, "&", name, "=", PercentEncode(value, "-._~"));
  }
  request.http.method = call.method == "GET" ? "" : call.method;
  request.http.negotiate = address_.kerberos;
  if (call.method == "PUT" || call.method == "POST") request.http.body = "";
  return request;
}

absl::StatusOr<std::string> HdfsCluster::Ask(const std::string& uri, const Request& request,
                                             HttpConnection& connection,
                                             const std::stop_token& stop,
                                             absl::Duration& retry_after) {
  absl::StatusOr<HttpAnswer> answer =
      PerformWhole(connection, request.http, uri, request.reply_bytes_max, stop);
  if (absl::IsFailedPrecondition(answer.status()) && absl::StartsWith(request.http.url, "http:")) {
    return absl::FailedPreconditionError(absl::StrCat(
        answer.status().message(), "; name nodes that take TLS only are named by swebhdfs://"));
  }
  MUSTER_RETURN_IF_ERROR(answer.status());
  retry_after = answer->reply.retry_after;
  if (!IsError(answer->reply)) return std::move(answer->body);
  return HdfsErrorOf(uri, address_.name_nodes[request.name_node], answer->reply, answer->body);
}

void HdfsCluster::LeaveIfDown(size_t name_node, const absl::Status& status) {
  if (!absl::IsUnavailable(status) && !absl::IsDeadlineExceeded(status)) return;
  size_t expected = name_node;
  name_node_.compare_exchange_strong(expected, (name_node + 1) % address_.name_nodes.size());
}

HttpAttempt HdfsCluster::Try(const HdfsCall& call, HttpConnection& connection,
                             const std::stop_token& stop, std::string& body) {
  const std::string uri = ObjectOf(call);
  HttpAttempt attempt;
  const Request request = RequestOf(call);
  absl::StatusOr<std::string> answer = Ask(uri, request, connection, stop, attempt.retry_after);
  LeaveIfDown(request.name_node, answer.status());
  if (answer.ok() && call.body.has_value()) {
    absl::StatusOr<std::string> location =
        ParseHdfsLocation(uri, address_.name_nodes[request.name_node], *answer);
    if (!location.ok()) return HttpAttempt{.status = location.status()};
    Request send = request;
    send.http.url = *std::move(location);
    send.http.body = call.body;
    send.http.negotiate = false;
    if (address_.name_nodes.size() > 1) send.http.stall_timeout = kFailoverSilence;
    // Everything else may be carried out twice.
    send.http.fresh = call.operation == "APPEND";
    send.http.headers.push_back("content-type: application/octet-stream");
    answer = Ask(uri, send, connection, stop, attempt.retry_after);
  }
  attempt.status = answer.status();
  if (answer.ok()) body = *std::move(answer);
  return attempt;
}

absl::StatusOr<std::string> HdfsCluster::Do(const HdfsCall& call, const std::stop_token& stop) {
  std::string body;
  MUSTER_RETURN_IF_ERROR(client_->Retry(ObjectOf(call), stop, [&](HttpConnection& connection) {
    return Try(call, connection, stop, body);
  }));
  return body;
}

absl::Status HdfsCluster::Append(HdfsCall call, int64_t size_bytes, absl::string_view bytes,
                                 const std::stop_token& stop) {
  bool failed = false;
  return client_->Retry(ObjectOf(call), stop, [&](HttpConnection& connection) {
    if (failed) return TryToGoOn(call, size_bytes, bytes, connection, stop);
    call.body = bytes;
    std::string ignored;
    HttpAttempt attempt = Try(call, connection, stop, ignored);
    failed = !attempt.status.ok();
    return attempt;
  });
}

// A data node may still write what it got of the attempt before. HDFS lets one request at a time append, so
// that an empty append which is let in says that this is over, and that the size will stay.
HttpAttempt HdfsCluster::TryToGoOn(const HdfsCall& call, int64_t size_bytes,
                                   absl::string_view bytes, HttpConnection& connection,
                                   const std::stop_token& stop) {
  HdfsCall next = call;
  next.body = "";
  std::string json;
  const HttpAttempt fence = Try(next, connection, stop, json);
  if (!fence.status.ok()) return fence;
  const HdfsCall look{.operation = "GETFILESTATUS", .key = call.key, .object = call.object};
  const HttpAttempt looked = Try(look, connection, stop, json);
  if (!looked.status.ok()) return looked;
  const absl::StatusOr<HdfsFile> file = ParseHdfsFile(ObjectOf(call), json);
  if (!file.ok()) return HttpAttempt{.status = file.status()};
  const int64_t arrived = file->size_bytes - size_bytes;
  const auto length = static_cast<int64_t>(bytes.size());
  if (arrived < 0 || arrived > length) {
    return HttpAttempt{.status = absl::DataLossError(
                           absl::StrCat(ObjectOf(call), ": has ", file->size_bytes, " bytes where ",
                                        size_bytes, " were written and ", length, " sent"))};
  }
  if (arrived == length) return HttpAttempt{};
  next.body = bytes.substr(static_cast<size_t>(arrived));
  return Try(next, connection, stop, json);
}

absl::StatusOr<HdfsFile> HdfsCluster::Stat(const std::string& key, const std::stop_token& stop,
                                           const std::string& object) {
  const HdfsCall call{.operation = "GETFILESTATUS", .key = key, .object = object};
  MUSTER_ASSIGN_OR_RETURN(const std::string json, Do(call, stop));
  MUSTER_ASSIGN_OR_RETURN(HdfsFile file, ParseHdfsFile(ObjectOf(call), json));
  if (!file.is_directory) return file;
  return absl::NotFoundError(absl::StrCat(ObjectOf(call), ": is a folder"));
}

absl::StatusOr<size_t> HdfsCluster::Read(const std::string& key, int64_t offset,
                                         absl::Span<char> out,
                                         const ObjectStore::ReadOptions& options) {
  const std::string uri = UriOf(key);
  size_t done = 0;
  MUSTER_RETURN_IF_ERROR(client_->Retry(uri, options.stop, [&](HttpConnection& connection) {
    if (options.if_version.empty()) done = 0;
    Request request =
        RequestOf({.operation = "OPEN",
                   .key = key,
                   .query = {{"offset", absl::StrCat(offset + static_cast<int64_t>(done))},
                             {"length", absl::StrCat(out.size() - done)}}});
    request.http.pace = options.pace;
    OpenReceiver receiver{.uri = uri, .out = out.subspan(done), .options = options};
    const auto take = [&](const HttpReply& reply, absl::string_view bytes) {
      return receiver.Take(reply, bytes);
    };
    const absl::StatusOr<HttpReply> reply = connection.Perform(request.http, take, options.stop);
    done += receiver.done;
    HttpAttempt attempt{.status = receiver.fault,
                        .progress = receiver.done > 0 && !options.if_version.empty()};
    if (!attempt.status.ok()) return attempt;
    if (!reply.ok()) {
      attempt.status = Annotate(reply.status(), uri);
    } else if (IsError(*reply)) {
      attempt.retry_after = reply->retry_after;
      attempt.status =
          HdfsErrorOf(uri, address_.name_nodes[request.name_node], *reply, receiver.error_page);
    }
    // Where bytes came, it was the data node that went away.
    if (receiver.done == 0) LeaveIfDown(request.name_node, attempt.status);
    return attempt;
  }));
  return done;
}

}  // namespace muster
