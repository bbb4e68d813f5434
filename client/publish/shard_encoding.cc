#include "client/publish/shard_encoding.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "client/encoding/frame_codec.h"
#include "client/encoding/frame_decoder.h"
#include "client/encoding/frame_encoder.h"
#include "client/format/byte_source.h"
#include "client/format/dtype.h"
#include "client/hash/md5_lanes.h"
#include "client/hash/parallel.h"
#include "client/hash/sha256.h"
#include "client/publish/snapshot_digests.h"
#include "storage/base/error_info.h"
#include "storage/base/limits.h"
#include "storage/base/md5.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"
#include "storage/files/spool_file.h"
#include "storage/object/io_buffer.h"

namespace muster {
namespace {

// Frames are read, encoded and hashed so many at a time, side by side.
constexpr int64_t kContentAtOnce = int64_t{64} << 20;
constexpr int64_t kMaxFramesAtOnce = 16;
// For kAuto.
constexpr int64_t kSampledFrames = 4;
constexpr int64_t kSampleBytes = int64_t{1} << 20;
constexpr double kWorthwhile = 0.97;

absl::string_view NameOf(Compression compression) {
  switch (compression) {
    case Compression::kNone:
      return "none";
    case Compression::kAuto:
      return "auto";
    case Compression::kZstd:
      return "zstd";
    case Compression::kZstdGrouped:
      return "zstd-grouped";
  }
  return "";
}

// A spool file that is read like any source; nobody else can change it.
class SpoolSource final : public ByteSource {
 public:
  SpoolSource(SpoolFile file, int64_t size_bytes)
      : file_(std::move(file)), size_bytes_(size_bytes) {}

  const std::string& name() const override { return file_.name(); }
  int64_t size_bytes() const override { return size_bytes_; }
  absl::Status Read(int64_t offset, absl::Span<char> out) const override {
    return file_.Read(offset, out);
  }
  const std::string& fingerprint() const override { return file_.name(); }
  absl::Status CheckUnchanged() const override { return absl::OkStatus(); }

 private:
  const SpoolFile file_;
  const int64_t size_bytes_;
};

// Some frames of a content, in order.
struct FrameBatch {
  size_t first = 0;
  std::vector<absl::string_view> contents;
  std::vector<Md5Digest> md5s;
};

// Reads all of `stream`, frame by frame, and hashes it, several frames side by side. `on_frame` may be
// called from several threads at once, `on_batch` follows in order.
absl::Status ForEachFrame(
    const ShardStream& stream, int64_t frame_bytes, const ShardReading& reading,
    absl::FunctionRef<absl::Status(size_t frame, absl::string_view content)> on_frame,
    absl::FunctionRef<absl::Status(const FrameBatch& batch)> on_batch) {
  const int64_t size = stream.size_bytes();
  const auto at_once = std::clamp<int64_t>(kContentAtOnce / frame_bytes, 1, kMaxFramesAtOnce);
  MUSTER_ASSIGN_OR_RETURN(const IoBuffer memory,
                          MakeIoBuffer(static_cast<size_t>(std::min(size, at_once * frame_bytes))));
  std::optional<Sha256Stream> sha256;
  if (!reading.sha256.empty()) sha256.emplace();
  for (int64_t begin = 0; begin < size; begin += at_once * frame_bytes) {
    const int64_t end = std::min(size, begin + at_once * frame_bytes);
    FrameBatch batch;
    batch.first = static_cast<size_t>(begin / frame_bytes);
    for (int64_t offset = begin; offset < end; offset += frame_bytes) {
      batch.contents.emplace_back(memory.get() + (offset - begin),
                                  static_cast<size_t>(std::min(frame_bytes, end - offset)));
    }
    const absl::Status done = RunInParallel(
        batch.contents.size(), ThreadsForCores(), reading.stop,
        [&](size_t i, const std::stop_token&) -> absl::Status {
          const auto offset = static_cast<int64_t>(i) * frame_bytes;
          MUSTER_RETURN_IF_ERROR(stream.Read(
              begin + offset, absl::MakeSpan(memory.get() + offset, batch.contents[i].size())));
          return on_frame(batch.first + i, batch.contents[i]);
        });
    MUSTER_RETURN_IF_ERROR(done);
    batch.md5s.resize(batch.contents.size());
    Md5Many(batch.contents, absl::MakeSpan(batch.md5s));
    if (sha256.has_value()) {
      sha256->Update(absl::string_view(memory.get(), static_cast<size_t>(end - begin)));
    }
    MUSTER_RETURN_IF_ERROR(on_batch(batch));
    if (reading.progress) reading.progress(end - begin);
  }
  if (!sha256.has_value()) return absl::OkStatus();
  return CompareSha256("the source file", reading.sha256, sha256->FinishHex());
}

// Bytes of some samples, as `codec` stores them.
absl::StatusOr<int64_t> SampledSize(const ShardStream& stream, const ElementRuns& runs,
                                    FrameCodec codec) {
  const int64_t size = stream.size_bytes();
  std::string sample;
  int64_t total = 0;
  for (int64_t i = 0; i < kSampledFrames; ++i) {
    // From the middle of each part; a part that is no longer than a sample is one.
    const int64_t begin = size * i / kSampledFrames;
    const int64_t end = size * (i + 1) / kSampledFrames;
    const int64_t length = std::min(end - begin, kSampleBytes);
    const int64_t offset = begin + (end - begin - length) / 2;
    sample.resize(static_cast<size_t>(length));
    MUSTER_RETURN_IF_ERROR(stream.Read(offset, absl::MakeSpan(sample)));
    MUSTER_ASSIGN_OR_RETURN(const std::string stored, CompressFrame(codec, runs, offset, sample));
    total += static_cast<int64_t>(stored.size());
  }
  return total;
}

absl::StatusOr<FrameCodec> ChooseCodec(const ShardStream& stream, const ElementRuns& runs) {
  MUSTER_ASSIGN_OR_RETURN(const int64_t plain, SampledSize(stream, runs, FrameCodec::kNone));
  MUSTER_ASSIGN_OR_RETURN(const int64_t zstd, SampledSize(stream, runs, FrameCodec::kZstd));
  MUSTER_ASSIGN_OR_RETURN(const int64_t grouped,
                          SampledSize(stream, runs, FrameCodec::kZstdGrouped));
  const int64_t least = std::min(zstd, grouped);
  if (static_cast<double>(least) > kWorthwhile * static_cast<double>(plain)) {
    return FrameCodec::kNone;
  }
  return grouped < zstd ? FrameCodec::kZstdGrouped : FrameCodec::kZstd;
}

}  // namespace

absl::StatusOr<Compression> ParseCompression(absl::string_view text) {
  for (const Compression compression :
       {Compression::kNone, Compression::kAuto, Compression::kZstd, Compression::kZstdGrouped}) {
    if (NameOf(compression) == text) return compression;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("\"", text, "\" is none of none, auto, zstd and zstd-grouped"));
}

std::string EncodeOptions::Fingerprint() const {
  return absl::StrCat(NameOf(compression), encrypts() ? "+aes-256-gcm " : "",
                      server_key ? kContentKeyIdPrefix : key_id);
}

ElementRuns ElementRunsOf(const ShardCut& cut, absl::Span<const SourceTensor> tensors) {
  std::vector<ElementRun> runs;
  const auto add = [&runs](uint32_t width, int64_t size_bytes) {
    if (size_bytes == 0) return;
    if (!runs.empty() && runs.back().width == width) {
      runs.back().size_bytes += size_bytes;
    } else {
      runs.push_back({width, size_bytes});
    }
  };
  if (!cut.tensors.empty()) {
    add(1, cut.header_size_bytes);
    for (const uint32_t i : cut.tensors) {
      const int64_t bits = DtypeBits(tensors[i].dtype).value_or(8);
      const bool grouped = bits == 16 || bits == 32 || bits == 64;
      add(grouped ? static_cast<uint32_t>(bits / 8) : 1, tensors[i].size_bytes);
    }
  }
  absl::StatusOr<ElementRuns> made = ElementRuns::Make(std::move(runs));
  if (made.ok() && made->size_bytes() == cut.size_bytes) return *std::move(made);
  return *ElementRuns::Make({{1, cut.size_bytes}});
}

absl::StatusOr<Encoding> ChooseEncoding(const ShardStream& stream, const ElementRuns& runs,
                                        const EncodeOptions& options) {
  Encoding encoding;
  encoding.encrypted = options.keys != nullptr;
  if (options.compression == Compression::kZstd) encoding.codec = FrameCodec::kZstd;
  if (options.compression == Compression::kZstdGrouped) encoding.codec = FrameCodec::kZstdGrouped;
  if (options.compression == Compression::kAuto) {
    MUSTER_ASSIGN_OR_RETURN(encoding.codec, ChooseCodec(stream, runs));
  }
  return encoding;
}

absl::StatusOr<ShardStream> EncodeShard(const ContentToEncode& content,
                                        const EncodeOptions& options, const ShardReading& reading) {
  EncodeRequest request;
  request.encoding = content.encoding;
  request.shard_name = content.shard_name;
  request.plain_bytes = content.stream.size_bytes();
  request.runs = content.runs;
  if (content.encoding.encrypted) {
    MUSTER_ASSIGN_OR_RETURN(request.key, options.keys->KeyFor(options.key_id, reading.stop));
    request.key_id = options.key_id;
  }
  MUSTER_ASSIGN_OR_RETURN(const FrameEncoder encoder, FrameEncoder::Make(std::move(request)));
  // No frame is longer than its content and a tag.
  MUSTER_ASSIGN_OR_RETURN(
      SpoolFile spool,
      SpoolFile::Create(options.spool,
                        content.stream.size_bytes() +
                            static_cast<int64_t>(encoder.frame_count()) * kSealTagBytes));
  std::vector<EncodedFrame> frames(encoder.frame_count());
  std::vector<std::string> stored(static_cast<size_t>(kMaxFramesAtOnce));
  int64_t end = 0;
  const absl::Status encoded = ForEachFrame(
      content.stream, kFrameBytes, reading,
      [&](size_t frame, absl::string_view plain) -> absl::Status {
        MUSTER_ASSIGN_OR_RETURN(stored[frame % stored.size()], encoder.Encode(frame, plain));
        return absl::OkStatus();
      },
      [&](const FrameBatch& batch) {
        for (size_t i = 0; i < batch.md5s.size(); ++i) {
          std::string& bytes = stored[(batch.first + i) % stored.size()];
          MUSTER_RETURN_IF_ERROR(spool.Write(end, bytes));
          frames[batch.first + i] = {static_cast<int64_t>(bytes.size()), batch.md5s[i]};
          end += static_cast<int64_t>(bytes.size());
          bytes = std::string();
        }
        return absl::OkStatus();
      });
  MUSTER_RETURN_IF_ERROR(encoded);
  const std::string tail = encoder.Finish(frames);
  MUSTER_RETURN_IF_ERROR(spool.Write(end, tail));
  return ShardStream::Of(std::make_shared<const SpoolSource>(
      std::move(spool), end + static_cast<int64_t>(tail.size())));
}

absl::Status CheckEncodedObject(const ObjectStoreRegistry& stores, const std::string& uri,
                                const v1::Shard& registered, const ShardStream& stream,
                                const EncodeOptions& options, const ShardReading& reading) {
  MUSTER_ASSIGN_OR_RETURN(const ObjectRef object, stores.Open(uri));
  const absl::Status differs = MakeError(
      absl::StatusCode::kAborted, reasons::kShardDiffers,
      "the draft has it with another content: the source was changed since", {{"uri", uri}});
  if (registered.content_size_bytes() != static_cast<uint64_t>(stream.size_bytes())) {
    return differs;
  }
  const DecodeRequest request{.shard_name = registered.name(),
                              .encoding = registered.encoding(),
                              .stored_bytes = static_cast<int64_t>(registered.size_bytes()),
                              .plain_bytes = stream.size_bytes(),
                              .stop = reading.stop};
  const auto read = [&](int64_t offset, absl::Span<char> out) {
    return object.store->Read(object.key, offset, out, {.stop = reading.stop});
  };
  MUSTER_ASSIGN_OR_RETURN(const FrameDecoder decoder,
                          FrameDecoder::Open(request, read, options.keys.get()));
  return ForEachFrame(
      stream, decoder.frame_bytes(), reading,
      [](size_t, absl::string_view) { return absl::OkStatus(); },
      [&](const FrameBatch& batch) {
        for (size_t i = 0; i < batch.md5s.size(); ++i) {
          if (batch.md5s[i] != decoder.frame(batch.first + i).plain_md5) return differs;
        }
        return absl::OkStatus();
      });
}

}  // namespace muster
