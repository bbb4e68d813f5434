#include "storage/metadata/witness.h"

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "storage/metadata/store_files.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace muster {
namespace {

class WitnessTest : public testing::Test {
 protected:
  std::string Bytes() { return *ReadStoreFile(path_); }
  void Write(const std::string& bytes) {
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << bytes;
  }
  Witnessed Read() {
    const absl::StatusOr<std::optional<Witnessed>> read = Witness::Read(directory_.path());
    EXPECT_THAT(read, IsOk());
    return read.ok() && read->has_value() ? **read : Witnessed{};
  }

  TemporaryDirectory directory_;
  const std::string path_ = directory_.Join(kWitnessFile);
};

TEST_F(WitnessTest, NoFileIsNoWitness) {
  const auto read = Witness::Read(directory_.path());
  MUSTER_ASSERT_OK(read);
  EXPECT_FALSE(read->has_value());
}

TEST_F(WitnessTest, SaysWhatWasNotedLast) {
  const auto witness = Witness::Make(directory_.path(), {.sequence = 7, .revision = 3});
  MUSTER_ASSERT_OK(witness);
  EXPECT_EQ(Read().sequence, 7u);
  EXPECT_EQ(Read().revision, 3u);

  for (uint64_t sequence = 8; sequence < 20; ++sequence) {
    MUSTER_ASSERT_OK((*witness)->NoteBatch(sequence, sequence * 10));
    EXPECT_EQ(Read().sequence, sequence);
    EXPECT_EQ(Read().revision, sequence * 10);
  }
  MUSTER_ASSERT_OK((*witness)->NoteBatch(20, 0));
  EXPECT_EQ(Read().revision, 190u) << "a batch without a revision leaves the last one";
  MUSTER_ASSERT_OK((*witness)->NoteManifest(5, 100));
  MUSTER_ASSERT_OK((*witness)->NoteManifest(5, 90));
  EXPECT_EQ(Read().manifest, 5u);
  EXPECT_EQ(Read().manifest_bytes, 100u);
}

TEST_F(WitnessTest, MakingItAgainForgetsWhatWasNewer) {
  MUSTER_ASSERT_OK(Witness::Make(directory_.path(), {.sequence = 900}));
  MUSTER_ASSERT_OK(Witness::Make(directory_.path(), {.sequence = 5}));

  EXPECT_EQ(Read().sequence, 5u);
}

// Whatever happens to one byte, or to the sector that is being written, at most the last batch is forgotten.
TEST_F(WitnessTest, DamageOfOneSlotLeavesTheOther) {
  const auto witness = Witness::Make(directory_.path(), {.sequence = 1});
  MUSTER_ASSERT_OK((*witness)->NoteBatch(2, 0));
  MUSTER_ASSERT_OK((*witness)->NoteBatch(3, 0));
  const std::string good = Bytes();

  for (size_t at = 0; at < good.size(); at += at % 512 < 120 ? 1 : 37) {
    std::string damaged = good;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x04);
    Write(damaged);
    EXPECT_GE(Read().sequence, 2u) << at;
    EXPECT_LE(Read().sequence, 3u) << at;
  }
  Write(std::string(512, '\0') + good.substr(512));
  EXPECT_GE(Read().sequence, 2u);
}

TEST_F(WitnessTest, DamageOfTheFileIsDataLoss) {
  MUSTER_ASSERT_OK(Witness::Make(directory_.path(), {.sequence = 1}));
  const std::string good = Bytes();

  for (const std::string& bytes : {std::string(), good.substr(0, 1), good.substr(0, 1023),
                                   good + "\n", std::string(1024, '\0'), std::string(1024, ' ')}) {
    Write(bytes);
    EXPECT_THAT(Witness::Read(directory_.path()), StatusIs(absl::StatusCode::kDataLoss))
        << bytes.size();
  }
}

}  // namespace
}  // namespace muster
