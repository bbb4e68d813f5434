// Reading a header takes at most 3 times its bytes, while it is parsed and afterwards. Counted by
// what operator new gives out, because resident memory depends on the allocator's mood.
#include <functional>
#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "client/checkpoint/sample_checkpoint.h"
#include "client/format/safetensors_header.h"
#include "client/format/safetensors_writer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/client/checkpoint/checkpoint_fixtures.h"
#include "tests/unit/client/format/allocation_counter.h"

namespace muster {
namespace {

// Read buffers and the like, which don't grow with the header.
constexpr int64_t kConstantBytes = int64_t{1} << 20;

struct Usage {
  int64_t header_bytes = 0;
  int64_t peak_bytes = 0;
  int64_t kept_bytes = 0;
  size_t tensor_count = 0;
};

Usage Measure(std::string json) {
  Usage usage;
  usage.header_bytes = static_cast<int64_t>(json.size());
  const auto source = NewMemoryByteSource("m", SafetensorsBytes(json, ""));
  json.clear();
  json.shrink_to_fit();
  const int64_t before = AllocatedBytes();
  ResetPeak();
  const auto header = ReadSafetensorsHeader(*source);
  MUSTER_EXPECT_OK(header);
  usage.peak_bytes = PeakAllocatedBytes() - before;
  usage.kept_bytes = AllocatedBytes() - before;
  if (header.ok()) usage.tensor_count = header->tensor_count();
  return usage;
}

// `element(i)` gives the i-th member; members are added until the text has `size_bytes`, then
// spaces.
std::string Fill(absl::string_view open, absl::string_view close, size_t size_bytes,
                 const std::function<std::string(int)>& element) {
  std::string json(open);
  json.reserve(size_bytes);
  for (int i = 0;; ++i) {
    const std::string next = absl::StrCat(i == 0 ? "" : ",", element(i));
    if (json.size() + next.size() + close.size() > size_bytes) break;
    json.append(next);
  }
  absl::StrAppend(&json, close);
  json.resize(size_bytes, ' ');
  return json;
}

void ExpectWithinLimit(const Usage& usage) {
  EXPECT_LE(usage.peak_bytes, 3 * usage.header_bytes + kConstantBytes);
  EXPECT_LE(usage.kept_bytes, 3 * usage.header_bytes + kConstantBytes);
  testing::Test::RecordProperty("peak_percent_of_header",
                                static_cast<int>(100 * usage.peak_bytes / usage.header_bytes));
  testing::Test::RecordProperty("kept_percent_of_header",
                                static_cast<int>(100 * usage.kept_bytes / usage.header_bytes));
}

TEST(HeaderMemoryTest, TwoHundredThousandTensorsStayWithinThreeTimesTheHeader) {
  std::string json = "{";
  for (int i = 0; i < 200'000; ++i) {
    absl::StrAppend(&json, i == 0 ? "" : ",", "\"model.layers.", i / 9, ".mlp.experts.", i,
                    ".w.weight\":{\"dtype\":\"BF16\",\"shape\":[0,128],\"data_offsets\":[0,0]}");
  }
  const Usage usage = Measure(json + "}");

  EXPECT_EQ(usage.tensor_count, 200'000u);
  ExpectWithinLimit(usage);
}

TEST(HeaderMemoryTest, HeaderAtTheCapStaysWithinThreeTimesItsSize) {
  const std::string filler(400, 'n');
  ExpectWithinLimit(Measure(Fill("{", "}", kMaxSafetensorsHeaderBytes, [&](int i) {
    return absl::StrCat("\"", absl::Hex(i, absl::kZeroPad6), filler,
                        "\":{\"dtype\":\"BF16\",\"shape\":[0,4],\"data_offsets\":[0,0]}");
  })));
}

// The kinds of header that need the most memory for their size; the ratio does not depend on it.
constexpr size_t kSmallHeaderBytes = 4'000'000;

TEST(HeaderMemoryTest, SmallestTensorsStayWithinThreeTimesTheHeader) {
  ExpectWithinLimit(Measure(Fill("{", "}", kSmallHeaderBytes, [](int i) {
    return absl::StrCat("\"", absl::Hex(i),
                        "\":{\"dtype\":\"X\",\"shape\":[],\"data_offsets\":[0,0]}");
  })));
}

TEST(HeaderMemoryTest, ManyDimensionsStayWithinThreeTimesTheHeader) {
  ExpectWithinLimit(Measure(Fill("{", "}", kSmallHeaderBytes, [](int i) {
    return absl::StrCat("\"", i,
                        "\":{\"dtype\":\"X\",\"shape\":[9,9,9,9,9,9,9,9,9,9,9,9,9,9,9,9,9],",
                        "\"data_offsets\":[0,0]}");
  })));
}

TEST(HeaderMemoryTest, SmallestMetadataStaysWithinThreeTimesTheHeader) {
  ExpectWithinLimit(Measure(Fill("{\"__metadata__\":{", "}}", kSmallHeaderBytes, [](int i) {
    return absl::StrCat("\"", absl::Hex(i), "\":\"\"");
  })));
}

TEST(HeaderMemoryTest, OneHugeMetadataValueStaysWithinThreeTimesTheHeader) {
  const std::string open = "{\"__metadata__\":{\"k\":\"";
  const std::string close = "\"}}";
  const size_t room = kMaxSafetensorsHeaderBytes - open.size() - close.size();
  ExpectWithinLimit(Measure(absl::StrCat(open, std::string(room, 'v'), close)));
}

TEST(HeaderMemoryTest, HugeUnknownFieldIsNotKept) {
  const std::string open = "{\"t\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0],\"x\":\"";
  const std::string close = "\"}}";
  const size_t room = kMaxSafetensorsHeaderBytes - open.size() - close.size();
  ExpectWithinLimit(Measure(absl::StrCat(open, std::string(room, 'v'), close)));
}

TEST(SampleMemoryTest, SampleIsWrittenWithinFewMebibytes) {
  TestDirectory directory;
  SampleOptions options;
  options.size_bytes = int64_t{64} << 20;
  const int64_t before = AllocatedBytes();
  ResetPeak();

  MUSTER_ASSERT_OK(WriteSampleCheckpoint(directory.Path("m"), options));

  EXPECT_LE(PeakAllocatedBytes() - before, int64_t{4} << 20);
}

TEST(SafetensorsWriterTest, HeaderBeyondTheCapIsRefused) {
  const std::map<std::string, std::string> metadata = {
      {"big", std::string(kMaxSafetensorsHeaderBytes, 'x')}};
  SafetensorsHeaderBuilder builder(metadata);

  EXPECT_THAT(std::move(builder).Finish(),
              StatusIs(absl::StatusCode::kResourceExhausted, testing::HasSubstr("more shards")));
}

}  // namespace
}  // namespace muster
