// The reader of encoded objects on any bytes: it refuses, or what it returns keeps the format's rules.
//
// Input: a byte that says whether the end of the trailer, which every object has, is put behind the
// rest, and the rest. Tables are read as if they were not encrypted, since no input gets beyond a tag.

#include <cstdint>
#include <cstdlib>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/types/span.h"
#include "client/encoding/frame_decoder.h"
#include "client/encoding/frame_table.h"

namespace muster {
namespace {

// Of the content, so that an input is not slow by its size alone.
constexpr int64_t kMaxContentBytes = int64_t{1} << 20;

void Require(bool right) {
  if (!right) std::abort();
}

void CheckRules(const Trailer& trailer, const FrameTable& table) {
  int64_t end = 0;
  int64_t content = 0;
  Require(table.frames.size() == trailer.frame_count());
  for (size_t i = 0; i < table.frames.size(); ++i) {
    Require(table.frames[i].offset == end && table.frames[i].stored_bytes > 0);
    end += table.frames[i].stored_bytes;
    content += trailer.FrameLength(i);
    Require(table.frames[i].stored_bytes <= trailer.FrameLength(i) + trailer.seal_bytes());
  }
  Require(end == trailer.table_offset && content == trailer.plain_bytes);
  Require(table.runs.size_bytes() == (trailer.run_count > 0 ? content : 0));
}

void ReadTable(const std::string& object) {
  const auto size = static_cast<int64_t>(object.size());
  if (size < kTrailerBytes) return;
  const auto trailer =
      ParseTrailer(absl::string_view(object).substr(object.size() - kTrailerBytes), size);
  if (!trailer.ok()) return;
  // Equal fields make equal bytes.
  Require(absl::EndsWith(object, PackTrailer(*trailer)));
  const auto bytes =
      absl::string_view(object).substr(static_cast<size_t>(trailer->table_offset),
                                       static_cast<size_t>(trailer->table_plain_bytes()));
  const auto table = ParseTable(bytes, *trailer);
  if (!table.ok()) return;
  CheckRules(*trailer, *table);
  Require(PackTable(*trailer, *table) == bytes);
}

void Decode(const std::string& object) {
  const auto size = static_cast<int64_t>(object.size());
  if (size < kTrailerBytes) return;
  const auto trailer =
      ParseTrailer(absl::string_view(object).substr(object.size() - kTrailerBytes), size);
  if (!trailer.ok() || trailer->plain_bytes > kMaxContentBytes) return;
  const DecodeRequest request{"fuzz", EncodingName(trailer->encoding), size, trailer->plain_bytes};
  const auto decoder = FrameDecoder::Open(
      request,
      [&](int64_t offset, absl::Span<char> out) {
        Require(offset >= 0 && offset + static_cast<int64_t>(out.size()) <= size);
        object.copy(out.data(), out.size(), static_cast<size_t>(offset));
        return absl::OkStatus();
      },
      nullptr);
  if (!decoder.ok()) return;
  for (size_t i = 0; i < decoder->frame_count(); ++i) {
    // Of just the size, so that the sanitizer sees a byte beyond it.
    std::string plain(static_cast<size_t>(decoder->FrameLength(i)), '\0');
    plain.shrink_to_fit();
    std::string stored = object.substr(static_cast<size_t>(decoder->frame(i).offset),
                                       static_cast<size_t>(decoder->frame(i).stored_bytes));
    decoder->Decode(i, absl::MakeSpan(stored), absl::MakeSpan(plain)).IgnoreError();
  }
}

void Run(const uint8_t* bytes, size_t size) {
  if (size < 1) return;
  std::string object(reinterpret_cast<const char*>(bytes) + 1, size - 1);
  if ((bytes[0] & 1) != 0) {
    const std::string end = PackTrailer(Trailer{.plain_bytes = 1});
    object += end.substr(end.size() - 16);
  }
  ReadTable(object);
  Decode(object);
}

}  // namespace
}  // namespace muster

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  muster::Run(bytes, size);
  return 0;
}
