// MD5 in GB/s of one core, on every SIMD target of this machine and for several numbers of inputs, with
// OpenSSL's on the same data in turns with each. Prints one JSON object.
//
// AMD EPYC (Zen 3), pieces of 8 MiB, OpenSSL 0.62 GB/s; 16 lanes reach 3.3 to 4.8 depending on what the
// machine does besides:
//     inputs      1     2     3     4     8    16
//     AVX2     0.62  0.62  0.99  1.31  2.60  4.75
//     SSE4     0.62  0.62  1.15  1.55  2.53  2.51

#include <time.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "client/hash/md5_lanes.h"
#include "hwy/highway.h"

namespace muster {
namespace {

constexpr size_t kPieces = 32;

// Of this thread, so that what else the machine does matters less.
absl::Duration CpuTime() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return absl::DurationFromTimespec(now);
}

template <typename Work>
double GigabytesPerSecond(size_t bytes, const Work& work) {
  const absl::Duration begin = CpuTime();
  work();
  return static_cast<double>(bytes) / absl::ToDoubleSeconds(CpuTime() - begin) / 1e9;
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

class Benchmark {
 public:
  Benchmark(size_t piece_bytes, int rounds) : rounds_(rounds), bytes_(piece_bytes * kPieces, '\0') {
    uint64_t state = 1;
    for (size_t i = 0; i + 8 <= bytes_.size(); i += 8) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      bytes_.replace(i, 8, reinterpret_cast<const char*>(&state), 8);
    }
    for (size_t i = 0; i < kPieces; ++i) {
      pieces_.push_back(absl::string_view(bytes_).substr(i * piece_bytes, piece_bytes));
    }
  }

  nlohmann::json Run() {
    nlohmann::json result = {{"best", Md5LanesTarget()}};
    const int64_t supported = hwy::SupportedTargets() & HWY_TARGETS;
    for (int64_t target = 1; target != 0 && target <= supported; target <<= 1) {
      if ((supported & target) == 0) continue;
      hwy::SetSupportedTargetsForTest(target);
      for (const size_t count : {1, 2, 3, 4, 8, 16, 32}) {
        result["targets"][hwy::TargetName(target)].push_back(Measure(count));
      }
    }
    hwy::SetSupportedTargetsForTest(0);
    return result;
  }

 private:
  nlohmann::json Measure(size_t count) {
    const auto pieces = absl::MakeConstSpan(pieces_).first(count);
    std::vector<Md5Digest> digests(count);
    std::vector<double> lanes, openssl, ratios;
    for (int round = 0; round < rounds_; ++round) {
      lanes.push_back(GigabytesPerSecond(count * pieces_[0].size(),
                                         [&] { Md5Many(pieces, absl::MakeSpan(digests)); }));
      // One piece is enough: the speed doesn't depend on their number.
      openssl.push_back(
          GigabytesPerSecond(pieces_[0].size(), [&] { digests[0] = Md5Of(pieces_[0]); }));
      ratios.push_back(lanes.back() / openssl.back());
    }
    return {{"inputs", count},
            {"gigabytes_per_second", Median(lanes)},
            {"openssl_gigabytes_per_second", Median(openssl)},
            {"ratio", Median(ratios)}};
  }

  const int rounds_;
  std::string bytes_;
  std::vector<absl::string_view> pieces_;
};

}  // namespace
}  // namespace muster

int main(int argc, char** argv) {
  CLI::App app("MD5 in SIMD lanes against OpenSSL");
  size_t piece_bytes = 8u << 20;
  int rounds = 5;
  app.add_option("--piece-bytes", piece_bytes, "Bytes of an input")->check(CLI::Range(8, 64 << 20));
  app.add_option("--rounds", rounds, "How often each is measured")->check(CLI::Range(1, 1000));
  CLI11_PARSE(app, argc, argv);
  std::puts(muster::Benchmark(piece_bytes, rounds).Run().dump().c_str());
}
