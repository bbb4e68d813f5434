// What encodings make of bf16 weights of a normal distribution, and how fast: on one core by CPU time,
// beside memcpy and zstd's own decompression of the same bytes, and on all cores as the cache decodes,
// frames' MD5s compared. Prints one JSON object.

#include <time.h>
#include <zstd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "client/cache/checked_shard.h"
#include "client/cache/piece_sink.h"
#include "client/cache/shard_decoder.h"
#include "client/encoding/frame_decoder.h"
#include "client/encoding/frame_encoder.h"
#include "storage/base/clock.h"
#include "storage/base/md5.h"
#include "storage/base/random.h"
#include "tests/bench/program.h"

namespace muster {
namespace {

using bench::Require;

constexpr char kShardName[] = "models/bench/versions/v1/shards/0";
// What is drawn; a content is this again and again, which no frame shows.
constexpr size_t kDrawnBytes = size_t{16} << 20;

// Of this thread, so that what else the machine does matters less.
double CpuTime() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return absl::ToDoubleSeconds(absl::DurationFromTimespec(now));
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

std::string Weights(size_t size_bytes) {
  const auto random = NewSeededRandom(1);
  std::string drawn;
  while (drawn.size() < std::min(size_bytes, kDrawnBytes)) {
    const double radius = std::sqrt(-2 * std::log(1 - random->NextDouble()));
    const auto weight =
        static_cast<float>(0.02 * radius * std::cos(2 * M_PI * random->NextDouble()));
    uint32_t bits = 0;
    std::memcpy(&bits, &weight, sizeof(bits));
    drawn.push_back(static_cast<char>(bits >> 16));
    drawn.push_back(static_cast<char>(bits >> 24));
  }
  std::string content;
  while (content.size() < size_bytes) {
    content.append(drawn, 0, std::min(drawn.size(), size_bytes - content.size()));
  }
  return content;
}

class Benchmark {
 public:
  Benchmark(size_t size_bytes, int rounds)
      : rounds_(rounds), content_(Weights(size_bytes)), out_(size_bytes, '\0') {
    key_.Fill()[0] = 1;
    for (size_t i = 0; i < content_.size(); i += kFrameBytes) {
      md5s_.push_back(Md5Of(absl::string_view(content_).substr(i, kFrameBytes)));
    }
  }

  nlohmann::json Run() {
    nlohmann::json result = {
        {"bytes", content_.size()},
        {"memcpy", Speed([this] { std::memcpy(out_.data(), content_.data(), content_.size()); })},
        {"zstd_d", ZstdAlone()}};
    for (const char* name : {"zstd", "zstd-grouped", "aes-256-gcm", "zstd-grouped+aes-256-gcm"}) {
      result["encodings"][name] = Measure(name);
    }
    return result;
  }

 private:
  // GB of content per second of this thread's CPU time, the median of all rounds.
  template <typename Work>
  double Speed(const Work& work) {
    std::vector<double> speeds;
    for (int round = 0; round < rounds_; ++round) {
      const double begin = CpuTime();
      work();
      speeds.push_back(static_cast<double>(content_.size()) / (CpuTime() - begin) / 1e9);
    }
    return Median(std::move(speeds));
  }

  double ZstdAlone() {
    std::string compressed(ZSTD_compressBound(content_.size()), '\0');
    compressed.resize(ZSTD_compress(compressed.data(), compressed.size(), content_.data(),
                                    content_.size(), /*compressionLevel=*/3));
    return Speed(
        [&] { ZSTD_decompress(out_.data(), out_.size(), compressed.data(), compressed.size()); });
  }

  nlohmann::json Measure(const std::string& name) {
    const auto size = static_cast<int64_t>(content_.size());
    EncodeRequest request;
    request.encoding = *ParseEncoding(name);
    request.shard_name = kShardName;
    request.plain_bytes = size;
    request.runs = *ElementRuns::Make({{2, size}});
    if (request.encoding.encrypted) request.key = key_;
    std::string object;
    const double encode = Speed([&] { object = EncodeAll(request); });
    const auto keys = NewFixedKey(key_);
    const auto read = [&object](int64_t offset, absl::Span<char> out) {
      object.copy(out.data(), out.size(), static_cast<size_t>(offset));
      return absl::OkStatus();
    };
    const auto decoder = FrameDecoder::Open(
        {kShardName, name, static_cast<int64_t>(object.size()), size}, read, keys.get());
    Require(decoder.status());
    const double decode = Speed([&] { DecodeAll(*decoder, object); });
    if (out_ != content_) Require(absl::DataLossError("decoded to something else"));
    return {{"ratio", static_cast<double>(object.size()) / static_cast<double>(size)},
            {"encode", encode},
            {"decode", decode},
            {"decode_all_cores", DecodeOnAllCores(name, object, keys.get())}};
  }

  std::string EncodeAll(const EncodeRequest& request) {
    const auto encoder = FrameEncoder::Make(request);
    Require(encoder.status());
    std::string object;
    object.reserve(content_.size() + (size_t{1} << 20));
    std::vector<EncodedFrame> frames;
    for (size_t i = 0; i < encoder->frame_count(); ++i) {
      const auto stored =
          encoder->Encode(i, FrameOf(encoder->FrameOffset(i), encoder->FrameLength(i)));
      Require(stored.status());
      frames.push_back({static_cast<int64_t>(stored->size()), md5s_[i]});
      object += *stored;
    }
    return object + encoder->Finish(frames);
  }

  absl::string_view FrameOf(int64_t offset, int64_t length) const {
    return absl::string_view(content_).substr(static_cast<size_t>(offset),
                                              static_cast<size_t>(length));
  }

  void DecodeAll(const FrameDecoder& decoder, const std::string& object) {
    for (size_t i = 0; i < decoder.frame_count(); ++i) {
      std::string stored = object.substr(static_cast<size_t>(decoder.frame(i).offset),
                                         static_cast<size_t>(decoder.frame(i).stored_bytes));
      Require(decoder.Decode(
          i, absl::MakeSpan(stored),
          absl::MakeSpan(out_).subspan(static_cast<size_t>(decoder.FrameOffset(i)),
                                       static_cast<size_t>(decoder.FrameLength(i)))));
    }
  }

  // As the cache does it, but from memory to memory; by the clock.
  double DecodeOnAllCores(const std::string& name, const std::string& object, KeySource* keys) {
    PullShard described;
    described.shard.set_name(kShardName);
    described.shard.set_size_bytes(object.size());
    described.shard.set_md5(std::string(32, '0'));
    described.shard.set_encoding(name);
    described.shard.set_content_size_bytes(content_.size());
    const auto shard = CheckedShard::Make(described);
    Require(shard.status());
    const auto decoder = ShardDecoder::Open(
        *shard,
        [&object](int64_t offset, absl::Span<char> out) {
          object.copy(out.data(), out.size(), static_cast<size_t>(offset));
          return absl::OkStatus();
        },
        keys);
    Require(decoder.status());
    std::vector<double> speeds;
    for (int round = 0; round < rounds_; ++round) {
      auto sink = MemorySink::Make(static_cast<int64_t>(content_.size()));
      Require(sink.status());
      const absl::Duration begin = SystemClock().Monotonic();
      Require(decoder->Decode(**sink, {}, nullptr));
      const double seconds = absl::ToDoubleSeconds(SystemClock().Monotonic() - begin);
      speeds.push_back(static_cast<double>(content_.size()) / seconds / 1e9);
    }
    return Median(std::move(speeds));
  }

  const int rounds_;
  const std::string content_;
  // Of the frames; hashing is not a part of what is measured on one core.
  std::vector<Md5Digest> md5s_;
  std::string out_;
  SecretKey key_;
};

}  // namespace
}  // namespace muster

int main(int argc, char** argv) {
  size_t size_mib = 256;
  int rounds = 5;
  CLI::App app("Encodings of bf16 weights");
  app.add_option("--size-mib", size_mib, "Content")->check(CLI::Range(16, 4096));
  app.add_option("--rounds", rounds, "The median of so many")->check(CLI::Range(1, 99));
  CLI11_PARSE(app, argc, argv);
  std::puts(muster::Benchmark(size_mib << 20, rounds).Run().dump().c_str());
}
