// MD5 in lanes against OpenSSL: any number of inputs of any lengths, and streams in any parts.

#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "client/hash/md5_lanes.h"
#include "hwy/highway.h"
#include "storage/base/md5.h"

namespace muster {
namespace {

// A copy that ends where its allocation ends, so that reading on is found.
class Exact {
 public:
  explicit Exact(const std::vector<uint8_t>& bytes)
      : bytes_(std::make_unique<char[]>(bytes.size())), size_(bytes.size()) {
    std::copy(bytes.begin(), bytes.end(), bytes_.get());
  }
  absl::string_view view() const { return absl::string_view(bytes_.get(), size_); }

 private:
  std::unique_ptr<char[]> bytes_;
  size_t size_;
};

void Require(bool right) {
  if (!right) std::abort();
}

void ChooseTarget(FuzzedDataProvider& data) {
  const int64_t supported = hwy::SupportedTargets() & HWY_TARGETS;
  std::vector<int64_t> targets;
  for (int64_t target = 1; target != 0 && target <= supported; target <<= 1) {
    if ((supported & target) != 0) targets.push_back(target);
  }
  hwy::SetSupportedTargetsForTest(
      targets[data.ConsumeIntegralInRange<size_t>(0, targets.size() - 1)]);
}

// Lengths around the block size are where the padding changes.
std::vector<uint8_t> Bytes(FuzzedDataProvider& data) {
  const size_t longest = data.ConsumeBool() ? 140 : 3'000;
  std::vector<uint8_t> bytes(data.ConsumeIntegralInRange<size_t>(0, longest));
  const std::vector<uint8_t> pattern =
      data.ConsumeBytes<uint8_t>(data.ConsumeIntegralInRange<size_t>(1, 8));
  for (size_t i = 0; i < bytes.size() && !pattern.empty(); ++i) {
    bytes[i] = static_cast<uint8_t>(pattern[i % pattern.size()] + i / pattern.size());
  }
  return bytes;
}

void CheckMany(FuzzedDataProvider& data) {
  std::vector<Exact> inputs;
  for (size_t count = data.ConsumeIntegralInRange<size_t>(0, 40); count > 0; --count) {
    inputs.emplace_back(Bytes(data));
  }
  std::vector<absl::string_view> views;
  for (const Exact& input : inputs) views.push_back(input.view());
  std::vector<Md5Digest> found(views.size());
  Md5Many(views, absl::MakeSpan(found));
  for (size_t i = 0; i < views.size(); ++i) Require(found[i] == Md5Of(views[i]));
}

void CheckStreams(FuzzedDataProvider& data) {
  const size_t count = data.ConsumeIntegralInRange<size_t>(1, 20);
  std::vector<Md5LaneStream> streams(count);
  std::vector<std::string> whole(count);
  for (size_t step = data.ConsumeIntegralInRange<size_t>(0, 12); step > 0; --step) {
    std::vector<Exact> parts;
    std::vector<Md5LaneStream*> advanced;
    std::vector<absl::string_view> views;
    for (size_t i = 0; i < count; ++i) {
      if (data.ConsumeBool()) continue;
      parts.emplace_back(Bytes(data));
      whole[i].append(parts.back().view().data(), parts.back().view().size());
      advanced.push_back(&streams[i]);
    }
    for (const Exact& part : parts) views.push_back(part.view());
    Md5LaneStream::UpdateMany(advanced, views);
  }
  for (size_t i = 0; i < count; ++i) Require(streams[i].Finish() == Md5Of(whole[i]));
}

}  // namespace
}  // namespace muster

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  FuzzedDataProvider data(bytes, size);
  muster::ChooseTarget(data);
  if (data.ConsumeBool()) {
    muster::CheckMany(data);
  } else {
    muster::CheckStreams(data);
  }
  return 0;
}
