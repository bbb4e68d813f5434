#include "server/registry/request_log.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "google/protobuf/unknown_field_set.h"
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

// Of a longer one the rest is cut: it is only counted by.
constexpr size_t kMaxCallerBytes = 128;

// "ipv4:10.0.0.7" of "ipv4:10.0.0.7:4711"; of what has no port, all of it.
absl::string_view HostOf(absl::string_view caller) {
  return caller.substr(0, absl::StartsWith(caller, "ip") ? caller.rfind(':') : caller.npos);
}

size_t CountOf(const absl::flat_hash_map<std::string, size_t>& counts, absl::string_view key) {
  const auto found = counts.find(key);
  return found == counts.end() ? 0 : found->second;
}

void AddTo(absl::flat_hash_map<std::string, size_t>& counts, absl::string_view key, int sign) {
  const auto entry = counts.try_emplace(std::string(key), 0).first;
  entry->second += sign;
  if (entry->second == 0) counts.erase(entry);
}

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

// Fields in the order of their numbers. A field that this build doesn't know comes behind the others, and in its place
// in one that does; so a retry over an upgrade would look like another call.
std::string SortFields(const std::string& bytes, const google::protobuf::Descriptor* type) {
  google::protobuf::UnknownFieldSet fields;
  if (!fields.ParseFromString(bytes)) return bytes;
  std::vector<const google::protobuf::UnknownField*> order;
  for (int i = 0; i < fields.field_count(); ++i) order.push_back(&fields.field(i));
  std::stable_sort(order.begin(), order.end(),
                   [](const auto* a, const auto* b) { return a->number() < b->number(); });
  google::protobuf::UnknownFieldSet sorted;
  for (const google::protobuf::UnknownField* field : order) {
    const auto* known = type->FindFieldByNumber(field->number());
    const bool nested = known != nullptr && known->message_type() != nullptr &&
                        field->type() == google::protobuf::UnknownField::TYPE_LENGTH_DELIMITED;
    if (nested) {
      sorted.AddLengthDelimited(field->number(),
                                SortFields(field->length_delimited(), known->message_type()));
    } else {
      sorted.AddField(*field);
    }
  }
  std::string out;
  sorted.SerializeToString(&out);
  return out;
}

}  // namespace

std::string RequestLog::DigestOf(const google::protobuf::Message& request) {
  const std::unique_ptr<google::protobuf::Message> body(request.New());
  body->CopyFrom(request);
  const auto* field = body->GetDescriptor()->FindFieldByName("request_id");
  if (field != nullptr) body->GetReflection()->ClearField(body.get(), field);
  const Md5Digest digest =
      Md5Of(absl::StrCat(body->GetDescriptor()->full_name(), "\n",
                         SortFields(SerializeDeterministic(*body), body->GetDescriptor())));
  return std::string(digest.begin(), digest.end());
}

absl::StatusOr<bool> RequestLog::Find(absl::string_view request_id, absl::string_view digest,
                                      google::protobuf::Message& reply) const {
  const auto found = rows_.find(std::string(request_id));
  if (found == rows_.end()) return false;
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

absl::Status RequestLog::CheckRoom(absl::string_view caller) const {
  caller = caller.substr(0, kMaxCallerBytes);
  const size_t taken = rows_.size() - registrations_.size();
  const size_t free = kMaxRequestIds - std::min(taken, kMaxRequestIds);
  const size_t of_host = CountOf(of_host_, HostOf(caller));
  const size_t of_connection = CountOf(of_connection_, caller);
  if (of_host < free && of_connection < free - of_host) return absl::OkStatus();
  return WithDetail(
      absl::ResourceExhaustedError(absl::StrCat(
          "the server remembers ", taken, " of at most ", kMaxRequestIds, " request ids, ", of_host,
          " of them of this host and ", of_connection,
          " of this connection, and leaves the rest to others: wait until some are 10 minutes old, "
          "or send fewer calls")),
      ErrorDetail{reasons::kTooManyRequestIds,
                  {{"limit", absl::StrCat(kMaxRequestIds)},
                   {"remembered", absl::StrCat(taken)},
                   {"of_host", absl::StrCat(of_host)},
                   {"of_connection", absl::StrCat(of_connection)}},
                  absl::Seconds(1)});
}

void RequestLog::Add(absl::string_view request_id, std::string digest,
                     const google::protobuf::Message& reply, absl::string_view caller, Kind kind,
                     Transaction& tx) {
  if (kind == Kind::kRegistration && registrations_.size() >= kMaxRequestIds) {
    const std::pair<int64_t, std::string> oldest = std::move(registrations_.front());
    registrations_.pop_front();
    auto entry = expiries_.lower_bound(oldest.first);
    while (entry->second != oldest.second) ++entry;
    expiries_.erase(entry);
    Forget(oldest.second);
    tx.Delete(RequestKey(oldest.first, oldest.second));
  }
  store::RequestRow row;
  row.set_request_id(std::string(request_id));
  row.set_digest(std::move(digest));
  row.set_reply(reply.SerializeAsString());
  row.set_expire_time_us(tx.now_us() + kRequestIdTtlUs);
  row.set_registration(kind == Kind::kRegistration);
  if (kind == Kind::kCall) row.set_caller(std::string(caller.substr(0, kMaxCallerBytes)));
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
  for (auto it = first; it != end; ++it) Forget(it->second);
  expiries_.erase(first, end);
  while (!registrations_.empty() && registrations_.front().first <= tx.now_us()) {
    registrations_.pop_front();
  }
}

void RequestLog::Load(store::RequestRow row) {
  expiries_.emplace(row.expire_time_us(), row.request_id());
  if (row.registration()) {
    registrations_.emplace_back(row.expire_time_us(), row.request_id());
  } else {
    Count(row.caller(), 1);
  }
  rows_[row.request_id()] = std::move(row);
}

void RequestLog::Forget(const std::string& request_id) {
  const auto found = rows_.find(request_id);
  if (!found->second.registration()) Count(found->second.caller(), -1);
  rows_.erase(found);
}

void RequestLog::Count(absl::string_view caller, int sign) {
  // Of rows of 0.1.0 nobody knows whose they are.
  if (caller.empty()) return;
  AddTo(of_host_, HostOf(caller), sign);
  AddTo(of_connection_, caller, sign);
}

}  // namespace muster
