// How a range is read:
//  1. Whole or not at all: a reply counts only if it is 206 with exactly the range that was asked
//     for, of the version that was asked for; whatever else comes is not written to the caller's
//     buffer, and never more than fits.
//  2. A transfer that breaks off goes on behind the last byte that came, if the object has a
//     version to be pinned to; without one it starts from the first byte.
//  3. What may go away by itself (no connection, broken, stalled, 408, 429, 5xx) is tried again
//     with growing, jittered waits, or after the server's Retry-After, until nothing has come for
//     the given time; a stall takes of that time too. Anything else ends the read at once.
#include "storage/object/http_object_store.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "storage/base/error_info.h"
#include "storage/base/mutex.h"
#include "storage/base/status_macros.h"
#include "storage/object/http_pool.h"
#include "storage/object/http_reply.h"
#include "storage/object/object_rules.h"
#include "storage/object/rate_limit.h"

namespace muster {
namespace {

// A server may break off after every byte; this bounds how often it is asked for one range.
constexpr int kAttemptsMax = 20;
// What is read of an error page, so that the connection can be used again.
constexpr size_t kErrorPageBytesMax = 64 << 10;

bool MayRetry(absl::StatusCode code) {
  return code == absl::StatusCode::kUnavailable || code == absl::StatusCode::kDeadlineExceeded;
}

// How one request ended.
struct Attempt {
  absl::Status status = {};
  absl::Duration retry_after = {};
  // Whether bytes came that need not be asked for again.
  bool progress = false;
};

// Puts the body of a reply into the caller's buffer, as far as it is what was asked for.
class RangeReceiver {
 public:
  RangeReceiver(absl::string_view uri, int64_t offset, absl::Span<char> out,
                const ObjectStore::ReadOptions& options)
      : uri_(uri), offset_(offset), out_(out), options_(options), version_(options.if_version) {}

  // The request for what has not come yet.
  HttpRequest NextRequest(const std::string& url) {
    if (version_.empty()) done_ = 0;
    begun_ = done_;
    error_page_bytes_ = 0;
    fault_.reset();
    return {.url = url, .range = Rest().ToString(), .headers = ConditionsFor(version_)};
  }

  bool Take(const HttpReply& reply, absl::string_view bytes) {
    Check(reply);
    if (!fault_->ok()) {
      error_page_bytes_ += bytes.size();
      return reply.status >= 400 && error_page_bytes_ <= kErrorPageBytesMax;
    }
    if (bytes.size() > out_.size() - done_) {
      fault_ = absl::DataLossError(absl::StrCat(uri_, ": the server sends more than the ",
                                                Rest().bytes, " bytes that were asked for"));
      return false;
    }
    std::memcpy(out_.data() + done_, bytes.data(), bytes.size());
    done_ += bytes.size();
    if (options_.limit == nullptr ||
        options_.limit->Take(static_cast<int64_t>(bytes.size()), options_.stop)) {
      return true;
    }
    fault_ = absl::CancelledError(absl::StrCat(uri_, ": the read was cancelled"));
    return false;
  }

  // What became of the request.
  Attempt Finish(const absl::StatusOr<HttpReply>& reply) {
    Attempt attempt;
    if (reply.ok()) {
      Check(*reply);
      attempt.retry_after = reply->retry_after;
      attempt.status = *fault_;
    } else {
      attempt.status =
          fault_.has_value() && !fault_->ok() ? *fault_ : Annotate(reply.status(), uri_);
    }
    if (attempt.status.ok() && done_ < out_.size()) {
      attempt.status = absl::UnavailableError(
          absl::StrCat(uri_, ": the server sent ", done_, " of ", out_.size(), " bytes"));
    }
    attempt.progress = done_ > begun_ && !version_.empty();
    return attempt;
  }

 private:
  HttpRange Rest() const {
    return {offset_ + static_cast<int64_t>(done_), static_cast<int64_t>(out_.size() - done_)};
  }

  // Judges the head of a reply, once.
  void Check(const HttpReply& reply) {
    if (fault_.has_value()) return;
    fault_ = CheckRangeReply(uri_, reply, Rest(), version_);
    if (!fault_->ok() || !version_.empty()) return;
    const auto range = ParseContentRange(reply.content_range);
    version_ = VersionOf(reply, range.has_value() ? range->size : std::nullopt);
  }

  const absl::string_view uri_;
  const int64_t offset_;
  const absl::Span<char> out_;
  const ObjectStore::ReadOptions& options_;
  // The one asked for, or else that of the first reply.
  std::string version_;
  size_t done_ = 0;
  // `done_` when the request began.
  size_t begun_ = 0;
  size_t error_page_bytes_ = 0;
  // Unset until the head of the reply came.
  std::optional<absl::Status> fault_;
};

class HttpObjectStore final : public ObjectStore {
 public:
  HttpObjectStore(const Uri& base, Clock& clock, Random& random, const HttpStoreOptions& options)
      : base_(base),
        clock_(clock),
        random_(random),
        options_(options),
        pool_(clock, options.connection,
              std::clamp<size_t>(options.connections_per_host, 1, kHttpConnectionsMax)) {}

  absl::StatusOr<ObjectInfo> Stat(absl::string_view key, const std::stop_token& stop) override {
    const std::string uri = UriOf(key);
    MUSTER_RETURN_IF_ERROR(CheckObjectKey(uri, key));
    ObjectInfo info;
    bool by_range = false;
    MUSTER_RETURN_IF_ERROR(Retry(uri, stop, [&](HttpConnection& connection) {
      return by_range ? AskForRange(uri, connection, stop, info)
                      : AskForHead(uri, connection, stop, info, by_range);
    }));
    return info;
  }

  absl::Status Read(absl::string_view key, int64_t offset, absl::Span<char> out,
                    const ReadOptions& options) override {
    const std::string uri = UriOf(key);
    MUSTER_RETURN_IF_ERROR(CheckObjectKey(uri, key));
    constexpr int64_t kEnd = std::numeric_limits<int64_t>::max();
    if (offset < 0) return CheckReadRange(uri, kEnd, offset, out.size());
    if (out.empty() || static_cast<uint64_t>(kEnd - offset) < out.size()) {
      MUSTER_ASSIGN_OR_RETURN(const ObjectInfo info, Stat(key, options.stop));
      MUSTER_RETURN_IF_ERROR(CheckVersion(uri, options.if_version, info.version));
      return CheckReadRange(uri, info.size_bytes, offset, out.size());
    }
    RangeReceiver receiver(uri, offset, out, options);
    return Retry(uri, options.stop, [&](HttpConnection& connection) {
      const auto take = [&](const HttpReply& reply, absl::string_view bytes) {
        return receiver.Take(reply, bytes);
      };
      return receiver.Finish(connection.Perform(receiver.NextRequest(uri), take, options.stop));
    });
  }

  absl::StatusOr<std::unique_ptr<ObjectWriter>> Create(absl::string_view key,
                                                       const WriteOptions&) override {
    return ReadOnly(key);
  }
  absl::StatusOr<ObjectInfo> Put(absl::string_view key, absl::string_view,
                                 const WriteOptions&) override {
    return ReadOnly(key);
  }
  absl::StatusOr<std::vector<ListedObject>> List(absl::string_view prefix,
                                                 const ListOptions&) override {
    return ReadOnly(prefix);
  }
  absl::Status Delete(absl::string_view key) override { return ReadOnly(key); }

 private:
  std::string UriOf(absl::string_view key) const {
    Uri uri = base_;
    const bool needs_slash = !uri.path.empty() && uri.path.back() != '/';
    absl::StrAppend(&uri.path, needs_slash ? "/" : "", key);
    return uri.ToString();
  }

  absl::Status ReadOnly(absl::string_view key) const {
    return absl::UnimplementedError(
        absl::StrCat(UriOf(key),
                     ": web servers are only read from; write to where the server has its files "
                     "from, and register the address"));
  }

  // Runs `attempt` on a connection until it needs no other try; see 3. above.
  template <typename Function>
  absl::Status Retry(absl::string_view uri, const std::stop_token& stop, Function attempt) {
    Backoff backoff(random_, options_.backoff);
    absl::Duration give_up = clock_.Monotonic() + options_.retry_for;
    for (int tries = 1;; ++tries) {
      Attempt result;
      {
        absl::StatusOr<HttpPool::Lease> connection = pool_.Take(stop);
        if (!connection.ok()) return Annotate(connection.status(), uri);
        result = attempt(**connection);
      }
      if (!MayRetry(result.status.code())) return result.status;
      const absl::Duration now = clock_.Monotonic();
      // A server that stalls again and again is no better for the bytes in between.
      if (result.progress && absl::IsUnavailable(result.status)) {
        give_up = now + options_.retry_for;
        backoff.Reset();
      }
      const absl::Duration wait = std::max(backoff.Next(), result.retry_after);
      if (tries >= kAttemptsMax || now + wait > give_up) return GiveUp(result, tries);
      if (!SleepUnlessStopped(clock_, wait, stop)) {
        return absl::CancelledError(absl::StrCat(uri, ": the request was cancelled"));
      }
    }
  }

  static absl::Status GiveUp(const Attempt& attempt, int tries) {
    const absl::Status& status = attempt.status;
    const std::string after = tries > 1 ? absl::StrCat("; tried ", tries, " times") : "";
    const absl::Status told(status.code(), absl::StrCat(status.message(), after));
    if (attempt.retry_after <= absl::ZeroDuration()) return told;
    ErrorDetail detail;
    detail.retry_delay = attempt.retry_after;
    return WithDetail(told, detail);
  }

  Attempt AskForHead(const std::string& uri, HttpConnection& connection,
                     const std::stop_token& stop, ObjectInfo& info, bool& by_range) {
    const auto no_body = [](const HttpReply&, absl::string_view) { return false; };
    const absl::StatusOr<HttpReply> reply =
        connection.Perform({.url = uri, .head_only = true}, no_body, stop);
    if (!reply.ok()) return {.status = Annotate(reply.status(), uri)};
    // Servers that know no HEAD, or don't say the size in it, are asked for the first byte.
    by_range = reply->status == 405 || reply->status == 501 ||
               (reply->status == 200 && !reply->content_length.has_value());
    if (by_range) return AskForRange(uri, connection, stop, info);
    if (reply->status != 200) {
      return {.status = HttpStatusError(uri, *reply), .retry_after = reply->retry_after};
    }
    info = {*reply->content_length, VersionOf(*reply, reply->content_length)};
    return {};
  }

  Attempt AskForRange(const std::string& uri, HttpConnection& connection,
                      const std::stop_token& stop, ObjectInfo& info) {
    const auto one_byte = [](const HttpReply& reply, absl::string_view bytes) {
      return reply.status != 200 && bytes.size() <= kErrorPageBytesMax;
    };
    const absl::StatusOr<HttpReply> reply =
        connection.Perform({.url = uri, .range = HttpRange{0, 1}.ToString()}, one_byte, stop);
    if (!reply.ok()) return {.status = Annotate(reply.status(), uri)};
    const auto range = ParseContentRange(reply->content_range);
    const bool sized = range.has_value() && range->size.has_value();
    if (sized && (reply->status == 206 || (reply->status == 416 && *range->size == 0))) {
      info = {*range->size, VersionOf(*reply, range->size)};
      return {};
    }
    absl::Status status = CheckRangeReply(uri, *reply, {0, 1}, "");
    if (status.ok()) {
      status = absl::UnimplementedError(
          absl::StrCat(uri, ": the server does not say how long the object is"));
    }
    return {.status = status, .retry_after = reply->retry_after};
  }

  const Uri base_;
  Clock& clock_;
  Random& random_;
  const HttpStoreOptions options_;
  HttpPool pool_;
};

// The hosts of one registration.
struct Hosts {
  Mutex mutex;
  std::map<std::string, std::shared_ptr<ObjectStore>> stores MUSTER_GUARDED_BY(mutex);
};

}  // namespace

std::unique_ptr<ObjectStore> NewHttpObjectStore(const Uri& base, Clock& clock, Random& random,
                                                const HttpStoreOptions& options) {
  return std::make_unique<HttpObjectStore>(base, clock, random, options);
}

absl::Status RegisterHttpObjectStore(ObjectStoreRegistry& registry, Clock& clock, Random& random,
                                     const HttpStoreOptions& options) {
  auto open = [hosts = std::make_shared<Hosts>(), &clock, &random,
               options](const Uri& uri) -> absl::StatusOr<ObjectRef> {
    if (uri.authority.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat(uri.ToString(), ": needs a host: ", uri.scheme, "://HOST/PATH"));
    }
    const Uri base{uri.scheme, uri.authority, ""};
    MutexLock lock(hosts->mutex);
    std::shared_ptr<ObjectStore>& store = hosts->stores[base.ToString()];
    if (store == nullptr) store = NewHttpObjectStore(base, clock, random, options);
    return ObjectRef{store, uri.path};
  };
  MUSTER_RETURN_IF_ERROR(registry.Register("http", open));
  return registry.Register("https", open);
}

}  // namespace muster
