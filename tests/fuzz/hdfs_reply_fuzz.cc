// What WebHDFS and metadata services answer, as any text: it is refused, or what comes out is within its
// bounds.
//
// Input: a byte that picks the HTTP status, and the reply. In it byte 1 stands for 60,000 opening brackets
// and byte 2 for as many closing ones, so that a few bytes nest as deep as a hostile server would.

#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "storage/object/hdfs_reply.h"
#include "storage/object/json_reply.h"
#include "storage/object/s3_credentials.h"

namespace muster {
namespace {

constexpr char kUri[] = "hdfs://fuzz/a";
constexpr char kNameNode[] = "https://nn:9871";
constexpr size_t kDepth = 60'000;
constexpr size_t kMessageBytesMax = 4096;

void Require(bool right) {
  if (!right) std::abort();
}

void RequireShort(const absl::Status& status) {
  Require(!status.ok() && status.message().size() < kMessageBytesMax);
}

void ReadError(int http_status, absl::string_view text) {
  HttpReply reply;
  reply.status = http_status;
  RequireShort(HdfsErrorOf(kUri, kNameNode, reply, text));
}

void ReadFiles(absl::string_view text) {
  const auto file = ParseHdfsFile(kUri, text);
  if (file.ok()) Require(file->size_bytes >= 0 && !file->version().empty());
  if (!file.ok()) RequireShort(file.status());
  const auto files = ParseHdfsFiles(kUri, text);
  if (!files.ok()) return RequireShort(files.status());
  Require(files->size() <= JsonReply::kValuesMax);
  for (const HdfsFile& one : *files) Require(one.size_bytes >= 0);
}

void Run(const uint8_t* bytes, size_t size) {
  if (size < 1) return;
  constexpr int kStatuses[] = {200, 307, 400, 403, 404, 500, 503};
  const int http_status = kStatuses[bytes[0] % std::size(kStatuses)];
  const std::string text =
      absl::StrReplaceAll(absl::string_view(reinterpret_cast<const char*>(bytes) + 1, size - 1),
                          {{"\x01", std::string(kDepth, '[')}, {"\x02", std::string(kDepth, ']')}});
  ReadError(http_status, text);
  ReadFiles(text);
  const auto location = ParseHdfsLocation(kUri, kNameNode, text);
  if (location.ok()) Require(absl::StartsWith(*location, "https://"));
  const auto credentials = ParseS3Credentials(text);
  if (credentials.ok()) {
    Require(!credentials->access_key_id.empty() && !credentials->secret_access_key.empty());
  }
}

}  // namespace
}  // namespace muster

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  muster::Run(bytes, size);
  return 0;
}
