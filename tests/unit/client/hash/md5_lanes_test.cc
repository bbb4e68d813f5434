#include "client/hash/md5_lanes.h"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "hwy/highway.h"
#include "storage/base/random.h"

namespace muster {
namespace {

// OpenSSL is the reference. Every test runs once per SIMD target that this machine has.
class Md5LanesTest : public testing::TestWithParam<int64_t> {
 protected:
  void SetUp() override { hwy::SetSupportedTargetsForTest(GetParam()); }
  void TearDown() override { hwy::SetSupportedTargetsForTest(0); }

  std::string RandomBytes(size_t size) {
    std::string bytes(size, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random_->Below(256));
    return bytes;
  }

  // Hashes the inputs together and compares each with the reference.
  static void ExpectReference(const std::vector<std::string>& inputs) {
    const std::vector<absl::string_view> views(inputs.begin(), inputs.end());
    std::vector<Md5Digest> out(views.size());
    Md5Many(views, absl::MakeSpan(out));
    for (size_t i = 0; i < views.size(); ++i) {
      ASSERT_EQ(Md5ToHex(out[i]), Md5ToHex(Md5Of(views[i])))
          << "input " << i << " of " << views.size() << ", " << views[i].size() << " bytes, "
          << Md5LanesTarget();
    }
  }

  std::unique_ptr<Random> random_ = NewSeededRandom(7);
};

TEST_P(Md5LanesTest, EveryLengthUpTo300IsRight) {
  for (size_t length = 0; length <= 300; ++length) {
    std::vector<std::string> inputs;
    for (size_t i = 0; i < Md5LaneCount(); ++i) inputs.push_back(RandomBytes(length));
    ExpectReference(inputs);
  }
}

TEST_P(Md5LanesTest, EveryNumberOfInputsIsRight) {
  for (size_t count = 0; count <= 2 * Md5LaneCount() + 3; ++count) {
    std::vector<std::string> inputs;
    for (size_t i = 0; i < count; ++i) inputs.push_back(RandomBytes(200 + i));
    ExpectReference(inputs);
  }
}

TEST_P(Md5LanesTest, InputsOfDifferentLengthsGoTogether) {
  for (int round = 0; round < 200; ++round) {
    std::vector<std::string> inputs(random_->Below(80));
    for (std::string& input : inputs) {
      input = RandomBytes(random_->Below(random_->Below(4) == 0 ? 5'000 : 200));
    }
    ExpectReference(inputs);
  }
}

TEST_P(Md5LanesTest, InputsMayStartAtAnyAddress) {
  const std::string bytes = RandomBytes(4'096);
  std::vector<std::string> inputs;
  for (size_t offset = 0; offset < 64; ++offset) inputs.push_back(bytes.substr(offset, 1'000));
  std::vector<absl::string_view> views;
  for (size_t offset = 0; offset < 64; ++offset) {
    views.push_back(absl::string_view(bytes).substr(offset, 1'000));
  }
  std::vector<Md5Digest> out(views.size());

  Md5Many(views, absl::MakeSpan(out));

  for (size_t i = 0; i < views.size(); ++i) EXPECT_EQ(out[i], Md5Of(views[i]));
}

TEST_P(Md5LanesTest, StreamsInRandomPartsGiveTheDigestOfTheWhole) {
  for (int round = 0; round < 100; ++round) {
    const size_t count = 1 + random_->Below(20);
    std::vector<std::string> whole(count);
    std::vector<Md5LaneStream> streams(count);
    for (uint64_t step = random_->Below(6); step > 0; --step) {
      std::vector<std::string> parts(count);
      std::vector<Md5LaneStream*> some;
      std::vector<absl::string_view> views;
      for (size_t i = 0; i < count; ++i) {
        if (random_->Below(4) == 0) continue;
        parts[i] = RandomBytes(random_->Below(random_->Below(2) == 0 ? 70 : 700));
        whole[i] += parts[i];
        some.push_back(&streams[i]);
        views.push_back(parts[i]);
      }
      Md5LaneStream::UpdateMany(some, views);
    }
    for (size_t i = 0; i < count; ++i) {
      ASSERT_EQ(Md5ToHex(streams[i].Finish()), Md5ToHex(Md5Of(whole[i]))) << whole[i].size();
    }
  }
}

TEST_P(Md5LanesTest, StreamStartsAnewAfterItsDigest) {
  Md5LaneStream stream;
  stream.Update("some bytes");
  stream.Finish();

  stream.Update("abc");

  EXPECT_EQ(stream.Finish(), Md5Of("abc"));
}

std::vector<int64_t> TargetsOfThisMachine() {
  std::vector<int64_t> targets;
  const int64_t supported = hwy::SupportedTargets() & HWY_TARGETS;
  for (int64_t target = 1; target != 0 && target <= supported; target <<= 1) {
    if ((supported & target) != 0) targets.push_back(target);
  }
  return targets;
}

INSTANTIATE_TEST_SUITE_P(EveryTarget, Md5LanesTest, testing::ValuesIn(TargetsOfThisMachine()),
                         [](const testing::TestParamInfo<int64_t>& param) {
                           return std::string(hwy::TargetName(param.param));
                         });

}  // namespace
}  // namespace muster
