#include "client/format/safetensors_writer.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/format/safetensors_header.h"

namespace muster {

void AppendJsonString(absl::string_view text, std::string& out) {
  constexpr absl::string_view kBytes = "\"\\\b\f\n\r\t";
  constexpr absl::string_view kNames = "\"\\bfnrt";
  constexpr absl::string_view kHex = "0123456789abcdef";
  out.push_back('"');
  size_t copied = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte >= 0x20 && byte != '"' && byte != '\\') continue;
    out.append(text.data() + copied, i - copied);
    copied = i + 1;
    out.push_back('\\');
    if (const size_t k = kBytes.find(text[i]); k != absl::string_view::npos) {
      out.push_back(kNames[k]);
    } else {
      out.append("u00");
      out.push_back(kHex[byte >> 4]);
      out.push_back(kHex[byte & 0xF]);
    }
  }
  out.append(text.data() + copied, text.size() - copied);
  out.push_back('"');
}

SafetensorsHeaderBuilder::SafetensorsHeaderBuilder(
    const std::map<std::string, std::string>& metadata) {
  out_.assign(kSafetensorsLengthBytes, '\0');
  out_.push_back('{');
  if (metadata.empty()) return;
  empty_ = false;
  out_.append("\"__metadata__\":{");
  bool first = true;
  for (const auto& [key, value] : metadata) {
    if (!first) out_.push_back(',');
    first = false;
    AppendJsonString(key, out_);
    out_.push_back(':');
    AppendJsonString(value, out_);
  }
  out_.push_back('}');
}

void SafetensorsHeaderBuilder::Add(absl::string_view name, absl::string_view dtype,
                                   absl::Span<const int64_t> shape, int64_t size_bytes) {
  if (!empty_) out_.push_back(',');
  empty_ = false;
  AppendJsonString(name, out_);
  out_.append(":{\"dtype\":");
  AppendJsonString(dtype, out_);
  absl::StrAppend(&out_, ",\"shape\":[", absl::StrJoin(shape, ","), "],\"data_offsets\":[",
                  offset_bytes_, ",", offset_bytes_ + size_bytes, "]}");
  offset_bytes_ += size_bytes;
}

absl::StatusOr<std::string> SafetensorsHeaderBuilder::Finish() && {
  out_.push_back('}');
  const auto alignment = static_cast<size_t>(kSafetensorsAlignmentBytes);
  out_.append((alignment - out_.size() % alignment) % alignment, ' ');
  const auto length = static_cast<int64_t>(out_.size()) - kSafetensorsLengthBytes;
  if (length > kMaxSafetensorsHeaderBytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("a safetensors header of ", length, " bytes is needed, the format allows ",
                     kMaxSafetensorsHeaderBytes, "; cut the model into more shards"));
  }
  for (int i = 0; i < kSafetensorsLengthBytes; ++i) {
    out_[static_cast<size_t>(i)] =
        static_cast<char>((static_cast<uint64_t>(length) >> (8 * i)) & 0xFF);
  }
  return std::move(out_);
}

}  // namespace muster
