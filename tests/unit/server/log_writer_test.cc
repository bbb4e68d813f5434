// A pipe stands for stderr: whoever reads it may stop, or go.
#include "server/log_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/files/unique_fd.h"
#include "tests/support/await.h"

namespace muster {
namespace {

using ::testing::StartsWith;

class LogWriterTest : public testing::Test {
 protected:
  void SetUp() override {
    std::array<int, 2> ends{};
    ASSERT_EQ(pipe2(ends.data(), O_CLOEXEC), 0);
    read_ = UniqueFd(ends[0]);
    write_ = UniqueFd(ends[1]);
    ASSERT_EQ(fcntl(read_.get(), F_SETFL, O_NONBLOCK), 0);
  }

  // What is in the pipe.
  std::string Read() {
    std::string text(size_t{1} << 20, '\0');
    const ssize_t size = read(read_.get(), text.data(), text.size());
    text.resize(size > 0 ? static_cast<size_t>(size) : 0);
    return text;
  }

  // As the lines about it say.
  static size_t DroppedBy(const std::string& text) {
    const std::string line = "log=dropped lines=";
    size_t dropped = 0;
    for (size_t at = text.find(line); at != std::string::npos; at = text.find(line, at + 1)) {
      dropped += std::strtoull(text.c_str() + at + line.size(), nullptr, 10);
    }
    return dropped;
  }

  UniqueFd read_;
  UniqueFd write_;
};

TEST_F(LogWriterTest, LinesComeInOrder) {
  LogWriter writer(SystemClock(), write_.get(), 1 << 20);
  std::string want;
  for (int i = 0; i < 100; ++i) {
    const std::string line = absl::StrCat("line ", i, "\n");
    writer.Add(line);
    want += line;
  }
  writer.Flush();
  EXPECT_EQ(Read(), want);
}

TEST_F(LogWriterTest, EndWritesWhatWaits) {
  { LogWriter(SystemClock(), write_.get(), 1 << 20).Add("the last line\n"); }
  EXPECT_EQ(Read(), "the last line\n");
}

// A pipe holds 64 KiB and the writer as much as it may; everything beyond that is counted, and nobody waits.
TEST_F(LogWriterTest, ReaderThatHasStoppedHoldsUpNobody) {
  constexpr size_t kLines = 10'000;
  LogWriter writer(SystemClock(), write_.get(), 100'000);
  const std::string line = std::string(99, 'x') + "\n";
  for (size_t i = 0; i < kLines; ++i) writer.Add(line);

  std::string text;
  size_t written = 0, dropped = 0;
  AwaitOrFail("each line to be written or counted", [&] {
    text += Read();
    written = static_cast<size_t>(std::count(text.begin(), text.end(), 'x')) / 99;
    dropped = DroppedBy(text);
    return written + dropped == kLines;
  });
  EXPECT_GT(written, 500u);
  EXPECT_GT(dropped, 5'000u);
}

TEST_F(LogWriterTest, EndDoesNotWaitForAReaderThatHasStopped) {
  const absl::Duration begin = SystemClock().Monotonic();
  {
    LogWriter writer(SystemClock(), write_.get(), 1 << 20);
    writer.Add(std::string(200'000, 'x') + "\n");
  }
  EXPECT_LT(SystemClock().Monotonic() - begin, kPatience);
  EXPECT_THAT(Read(), StartsWith("xxx"));
}

TEST_F(LogWriterTest, ReaderThatHasGoneIsNoReasonToEnd) {
  std::signal(SIGPIPE, SIG_IGN);
  LogWriter writer(SystemClock(), write_.get(), 1 << 20);
  read_.Reset();
  writer.Add("to nobody\n");
  writer.Flush();
  writer.Add("nor this\n");
  writer.Flush();
}

}  // namespace
}  // namespace muster
