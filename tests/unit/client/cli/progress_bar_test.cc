#include "client/cli/progress_bar.h"

#include <string>

#include "client/cli/live_screen.h"
#include "client/cli/rate_meter.h"
#include "client/cli/table.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/fake_clock.h"

namespace muster {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr int64_t kGiB = int64_t{1} << 30;

// What is written to a stream, whose terminal is as wide as the test says.
class FakeTerminal {
 public:
  explicit FakeTerminal(bool can_redraw) {
    terminal_.stream = open_memstream(&text_, &size_);
    terminal_.can_redraw = can_redraw;
    terminal_.size = [this] { return TerminalSize{columns, 5}; };
  }
  ~FakeTerminal() {
    std::fclose(terminal_.stream);
    std::free(text_);
  }

  const Terminal& terminal() const { return terminal_; }
  std::string Written() const {
    std::fflush(terminal_.stream);
    return std::string(text_, size_);
  }

  size_t columns = 100;

 private:
  char* text_ = nullptr;
  size_t size_ = 0;
  Terminal terminal_;
};

ProgressState Pulling() { return {"pulling", kGiB, 4 * kGiB, 102.4 * (1 << 20), ""}; }

TEST(ProgressLineTest, ShowsRateAndTimeLeft) {
  EXPECT_EQ(ProgressLine(Pulling(), 100),
            "pulling  25%  [======>                 ]  1.0 GiB of 4.0 GiB  102.4 MiB/s  30 s left");
}

TEST(ProgressLineTest, FitsEveryWidthAndKeepsWhatMattersMost) {
  ProgressState state = Pulling();
  state.note = "slowest n7 12%";
  for (size_t columns = 1; columns < 130; ++columns) {
    EXPECT_LE(DisplayWidth(ProgressLine(state, columns)), columns);
  }
  EXPECT_EQ(ProgressLine(state, 39), "pulling  25%  102.4 MiB/s  30 s left");
  EXPECT_EQ(ProgressLine(state, 24), "pulling  25%  30 s left");
  EXPECT_EQ(ProgressLine(state, 120),
            "pulling  25%  [======>                 ]  1.0 GiB of 4.0 GiB  102.4 MiB/s  30 s left  "
            "slowest n7 12%");
}

TEST(ProgressLineTest, UnknownTotalsAndRatesAreLeftOut) {
  EXPECT_EQ(ProgressLine({"reading", kGiB, 0, 0, ""}, 100), "reading  1.0 GiB");
  EXPECT_THAT(ProgressLine({"x", 5, 4, 0, ""}, 100), HasSubstr("100%"));
}

TEST(RateMeterTest, CountsTheLastSecondsOnly) {
  RateMeter meter;
  meter.Add(absl::Seconds(0), 0);
  EXPECT_EQ(meter.PerSecond(), 0);
  meter.Add(absl::Seconds(1), 1'000);
  EXPECT_EQ(meter.PerSecond(), 1'000);
  for (int second = 2; second <= 60; ++second) {
    meter.Add(absl::Seconds(second), 1'000 + second * 10);
  }
  EXPECT_NEAR(meter.PerSecond(), 10, 1);
  for (int second = 61; second <= 90; ++second) meter.Add(absl::Seconds(second), 1'600);
  EXPECT_EQ(meter.PerSecond(), 0);
}

TEST(ProgressBarTest, NothingIsDrawnWithoutATerminal) {
  FakeClock clock;
  FakeTerminal terminal(/*can_redraw=*/false);
  LiveScreen screen(terminal.terminal());
  {
    ProgressBar bar(clock, screen, "x");
    bar.SetTotal(10);
    clock.Advance(absl::Seconds(5));
    bar.Add(5);
    bar.Say("a warning");
  }

  EXPECT_EQ(terminal.Written(), "a warning\n");
}

TEST(ProgressBarTest, EndsAtAHundredAndIsWiped) {
  FakeClock clock;
  FakeTerminal terminal(/*can_redraw=*/true);
  LiveScreen screen(terminal.terminal());
  {
    ProgressBar bar(clock, screen, "x");
    bar.SetTotal(10);
    bar.Add(1);
    clock.Advance(absl::Seconds(5));
    bar.Add(5);
    EXPECT_THAT(terminal.Written(), HasSubstr("60%"));
    bar.Add(2);
    EXPECT_THAT(terminal.Written(), Not(HasSubstr("80%")));
    bar.Add(2);
    EXPECT_THAT(terminal.Written(), HasSubstr("100%"));
  }

  EXPECT_THAT(terminal.Written(), EndsWith("\r\033[J"));
}

TEST(ProgressBarTest, AsksForTheWidthAtEachDrawing) {
  FakeClock clock;
  FakeTerminal terminal(/*can_redraw=*/true);
  LiveScreen screen(terminal.terminal());
  ProgressBar bar(clock, screen, "pulling");
  bar.SetTotal(kGiB);
  clock.Advance(absl::Seconds(5));
  bar.Add(kGiB / 2);
  EXPECT_THAT(terminal.Written(), HasSubstr("512.0 MiB of 1.0 GiB"));
  const size_t before = terminal.Written().size();

  terminal.columns = 40;
  clock.Advance(absl::Seconds(5));
  bar.Add(kGiB / 4);

  EXPECT_LE(terminal.Written().size() - before, 39 + std::string("\r\033[J").size());
}

TEST(LiveScreenTest, LinesAreDrawnOverAndNeverScroll) {
  FakeTerminal terminal(/*can_redraw=*/true);
  LiveScreen screen(terminal.terminal());

  screen.Show({"a", "b"});
  screen.Show({"1", "2", "3", "4", "5", "6"});
  screen.PrintAbove("said\n");
  screen.Wipe();

  EXPECT_EQ(terminal.Written(), "a\nb\r\033[1A\033[J1\n2\n3\n4\n5\r\033[4A\033[Jsaid\n");
}

TEST(LiveScreenTest, CutKeepsColoursAndWholeCharacters) {
  EXPECT_EQ(CutToColumns("größe", 3), "grö");
  EXPECT_EQ(CutToColumns("\033[32mREADY\033[0m x", 3), "\033[32mREA\033[0m");
  EXPECT_EQ(CutToColumns("\033[", 3), "\033[");
}

}  // namespace
}  // namespace muster
