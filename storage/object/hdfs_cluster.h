// Requests to the web interface of one HDFS cluster.
#ifndef MUSTER_STORAGE_OBJECT_HDFS_CLUSTER_H_
#define MUSTER_STORAGE_OBJECT_HDFS_CLUSTER_H_

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "storage/base/random.h"
#include "storage/object/hdfs_address.h"
#include "storage/object/hdfs_reply.h"
#include "storage/object/http_client.h"
#include "storage/object/object_store.h"
#include "storage/object/uri.h"

namespace muster {

struct HdfsCall {
  // "GET", "PUT", "POST" or "DELETE".
  std::string method = "GET";
  // "OPEN", "CREATE" …
  std::string operation = {};
  // Below the cluster's root.
  std::string key = {};
  std::map<std::string, std::string> query = {};
  // Set where a data node takes bytes, which outlive the call.
  std::optional<absl::string_view> body = {};
  // The object that errors name, where `key` is another file that stands for it; "" is `key`.
  std::string object = {};
};

// Thread-safe; calls block. A name node that is on standby or away is left for the next one, and all of them
// are asked again for as long as the client tries. Errors are those of ObjectStore, with HDFS's own words
// as HdfsErrorOf says; they name URIs as the user wrote them.
class HdfsCluster {
 public:
  // `root`: the folder that all keys are below, its path without slashes at the ends; "" is the cluster's
  // root. `random` outlives it.
  HdfsCluster(Uri root, HdfsAddress address, std::shared_ptr<HttpClient> client, Random& random)
      : root_(std::move(root)),
        address_(std::move(address)),
        client_(std::move(client)),
        random_(random) {}

  std::string UriOf(absl::string_view key) const;
  // As a path of HDFS.
  std::string PathOf(absl::string_view key) const;
  Random& random() const { return random_; }

  // The body of the reply; "" where a data node took bytes. Carrying the call out twice does no harm: its
  // reply may be lost.
  absl::StatusOr<std::string> Do(const HdfsCall& call, const std::stop_token& stop);

  // Adds `bytes` to the file of a call of APPEND without a body, which nobody else writes to and which has
  // `size_bytes` now. After an attempt that failed the file's size shows how much of it arrived,
  // and the rest is sent. kDataLoss if the file has a size that this doesn't lead to.
  absl::Status Append(HdfsCall call, int64_t size_bytes, absl::string_view bytes,
                      const std::stop_token& stop);

  // kNotFound for folders too. `object`: as in HdfsCall.
  absl::StatusOr<HdfsFile> Stat(const std::string& key, const std::stop_token& stop,
                                const std::string& object = {});

  // Fills `out`, or as much of it as the file has, and returns how much that is. An attempt that
  // breaks off is resumed where options.if_version is set, and started over otherwise: what was
  // read is of that version if the file has it afterwards.
  absl::StatusOr<size_t> Read(const std::string& key, int64_t offset, absl::Span<char> out,
                              const ObjectStore::ReadOptions& options);

 private:
  // Which name node was asked, by what address, and how much it may answer.
  struct Request {
    size_t name_node = 0;
    HttpRequest http;
    size_t reply_bytes_max = 0;
  };
  Request RequestOf(const HdfsCall& call) const;
  std::string ObjectOf(const HdfsCall& call) const {
    return UriOf(call.object.empty() ? call.key : call.object);
  }
  // One attempt to carry out a call; `body` gets that of the reply.
  HttpAttempt Try(const HdfsCall& call, HttpConnection& connection, const std::stop_token& stop,
                  std::string& body);
  // The same for what of Append's bytes has not arrived.
  HttpAttempt TryToGoOn(const HdfsCall& call, int64_t size_bytes, absl::string_view bytes,
                        HttpConnection& connection, const std::stop_token& stop);
  // One request and its reply, or what went wrong with it.
  absl::StatusOr<std::string> Ask(const std::string& uri, const Request& request,
                                  HttpConnection& connection, const std::stop_token& stop,
                                  absl::Duration& retry_after);
  // The next one is asked from now on, if `status` says that this one can't answer.
  void LeaveIfDown(size_t name_node, const absl::Status& status);

  const Uri root_;
  const HdfsAddress address_;
  const std::shared_ptr<HttpClient> client_;
  Random& random_;
  // Of address_.name_nodes, the one that answered last.
  std::atomic<size_t> name_node_ = 0;
};

}  // namespace muster

#endif  // MUSTER_STORAGE_OBJECT_HDFS_CLUSTER_H_
