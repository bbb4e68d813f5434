#include "server/registry/request_log.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "server/registry/limits.h"
#include "server/registry/row_keys.h"
#include "storage/base/error_info.h"
#include "storage/base/limits.h"
#include "storage/base/md5.h"
#include "storage/base/reasons.h"

namespace muster {
namespace {

// Ranges that a store deleted are looked through by every read until it has tidied up; so they are for
// many rows at once, and never begin before what is there. Within the rows that a command may have.
constexpr ptrdiff_t kMaxSingleDeletes = 8;

// Map entries in key order, so that equal messages have equal bytes.
std::string SerializeDeterministic(const google::protobuf::Message& message) {
  std::string bytes;
  google::protobuf::io::StringOutputStream stream(&bytes);
  google::protobuf::io::CodedOutputStream coded(&stream);
  coded.SetSerializationDeterministic(true);
  message.SerializeToCodedStream(&coded);
  coded.Trim();
  return bytes;
}

}  // namespace

std::string RequestLog::DigestOf(const google::protobuf::Message& request) {
  const std::unique_ptr<google::protobuf::Message> body(request.New());
  body->CopyFrom(request);
  const auto* field = body->GetDescriptor()->FindFieldByName("request_id");
  if (field != nullptr) body->GetReflection()->ClearField(body.get(), field);
  const Md5Digest digest =
      Md5Of(absl::StrCat(body->GetDescriptor()->full_name(), "\n", SerializeDeterministic(*body)));
  return std::string(digest.begin(), digest.end());
}

absl::StatusOr<bool> RequestLog::Find(absl::string_view request_id, absl::string_view digest,
                                      google::protobuf::Message& reply) const {
  const auto found = rows_.find(std::string(request_id));
  if (found == rows_.end()) {
    if (rows_.size() < kMaxRequestIds) return false;
    return WithDetail(
        absl::ResourceExhaustedError(absl::StrCat("the server remembers ", rows_.size(),
                                                  " request ids, and has no room for another")),
        ErrorDetail{reasons::kTooManyRequestIds,
                    {{"limit", absl::StrCat(kMaxRequestIds)}},
                    absl::Seconds(1)});
  }
  if (found->second.digest() != digest) {
    return MakeError(absl::StatusCode::kInvalidArgument, reasons::kRequestIdReused,
                     absl::StrCat("request_id '", request_id,
                                  "' was used with another call: use an id for one call only"),
                     {{"request_id", std::string(request_id)}});
  }
  if (!reply.ParseFromString(found->second.reply())) {
    return absl::DataLossError(absl::StrCat("the reply that is stored for request_id '", request_id,
                                            "' can't be read: restore the data directory"));
  }
  return true;
}

void RequestLog::Add(absl::string_view request_id, std::string digest,
                     const google::protobuf::Message& reply, Transaction& tx) {
  store::RequestRow row;
  row.set_request_id(std::string(request_id));
  row.set_digest(std::move(digest));
  row.set_reply(reply.SerializeAsString());
  row.set_expire_time_us(tx.now_us() + kRequestIdTtlUs);
  tx.Put(RequestKey(row.expire_time_us(), request_id), row);
  Load(std::move(row));
}

void RequestLog::Tick(Transaction& tx) {
  const auto end = expiries_.upper_bound(tx.now_us());
  if (end == expiries_.begin()) return;
  const auto first = expiries_.begin();
  if (std::distance(first, end) <= kMaxSingleDeletes) {
    for (auto it = first; it != end; ++it) tx.Delete(RequestKey(it->first, it->second));
  } else {
    // RequestKey begins with the expiry, so that all the forgotten ones are one range.
    tx.DeleteRange(RequestKey(first->first, ""), RequestKey(std::prev(end)->first + 1, ""));
  }
  for (auto it = first; it != end; ++it) rows_.erase(it->second);
  expiries_.erase(first, end);
}

void RequestLog::Load(store::RequestRow row) {
  expiries_.emplace(row.expire_time_us(), row.request_id());
  rows_[row.request_id()] = std::move(row);
}

}  // namespace muster
