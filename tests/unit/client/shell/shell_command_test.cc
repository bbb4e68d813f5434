#include "client/shell/shell_command.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <thread>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/await.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace muster {
namespace {

using ::testing::HasSubstr;

TEST(RunShellTest, ExitCodesAndSignalsAreTold) {
  EXPECT_EQ(*RunShell({"exit 3", {}}, {}), 3);
  EXPECT_EQ(*RunShell({"kill -9 $$", {}}, {}), 128 + 9);
  EXPECT_EQ(*RunShell({"no-such-command-at-all 2>/dev/null", {}}, {}), 127);
}

TEST(RunShellTest, SignalsThatThisProcessBlocksReachTheCommand) {
  sigset_t term;
  sigset_t before;
  sigemptyset(&term);
  sigaddset(&term, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &term, &before);

  const auto code = RunShell({"kill -TERM $$; exit 0", {}}, {});

  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  EXPECT_EQ(*code, 128 + SIGTERM);
}

TEST(RunShellTest, VariablesReplaceThoseOfTheProcess) {
  EXPECT_EQ(*RunShell({"test \"$PATH\" = 'a b' && test -n \"$HOME$PWD\"", {{"PATH", "a b"}}}, {}),
            0);
}

TEST(RunShellTest, CommandRunsOnWhenNobodyWaitsAnyMore) {
  const TemporaryDirectory directory;
  std::stop_source stop;
  stop.request_stop();

  // It ends by itself once its input, which the test holds, is there.
  const auto code = RunShell({absl::StrCat("mkfifo ", directory.Join("fifo")), {}}, {});
  ASSERT_EQ(*code, 0);
  EXPECT_THAT(RunShell({absl::StrCat("read line < ", directory.Join("fifo"), "; echo done > ",
                                     directory.Join("fifo")),
                        {}},
                       stop.get_token()),
              StatusIs(absl::StatusCode::kCancelled, HasSubstr("runs on")));
  std::ofstream(directory.Join("fifo")) << "go\n";
  std::string line;
  std::ifstream answer(directory.Join("fifo"));
  std::getline(answer, line);
  EXPECT_EQ(line, "done");
}

TEST(RunShellTest, VariablesThatAreWithheldAreNotThere) {
  ASSERT_EQ(setenv("MUSTER_TEST_SECRET", "s3cret", 1), 0);
  ASSERT_EQ(setenv("MUSTER_TEST_SECRET_2", "s3cret", 1), 0);

  const auto code = RunShell({.text = "test -z \"${MUSTER_TEST_SECRET+x}\" && test -n \"$PATH\" && "
                                      "test \"$MUSTER_TEST_SECRET_2\" = s3cret",
                              .without = {"MUSTER_TEST_SECRET"}},
                             {});

  unsetenv("MUSTER_TEST_SECRET");
  unsetenv("MUSTER_TEST_SECRET_2");
  EXPECT_EQ(*code, 0);
}

// Whether there is no such process, or only what its parent has not asked for yet.
bool HasGone(pid_t pid) {
  std::ifstream status(absl::StrCat("/proc/", pid, "/stat"));
  std::string text;
  std::getline(status, text);
  return text.empty() || absl::StrContains(text, ") Z ");
}

absl::StatusOr<ShellOutput> Read(const std::string& text,
                                 const std::vector<std::pair<std::string, std::string>>& variables,
                                 absl::Span<char> output, absl::Duration limit = absl::Minutes(10),
                                 const std::stop_token& stop = {}) {
  return ReadFromShell({.text = text, .variables = variables}, output,
                       {SystemClock(), limit, stop});
}

TEST(ReadFromShellTest, WhatItPrintsAndItsExitCodeAreTold) {
  std::array<char, 16> output{};

  const auto done = Read("printf \"a $WORD\"; exit 3", {{"WORD", "b"}}, absl::MakeSpan(output));

  MUSTER_ASSERT_OK(done);
  EXPECT_EQ(absl::string_view(output.data(), done->size), "a b");
  EXPECT_EQ(done->exit_code, 3);
}

TEST(ReadFromShellTest, WhoPrintsForEverIsCutOff) {
  std::array<char, 4> output{};

  const auto done = Read("yes", {}, absl::MakeSpan(output));

  MUSTER_ASSERT_OK(done);
  EXPECT_EQ(absl::string_view(output.data(), done->size), "y\ny\n");
  EXPECT_NE(done->exit_code, 0);
}

TEST(ReadFromShellTest, WhoDoesNotEndIsKilled) {
  std::array<char, 16> output{};

  EXPECT_THAT(Read("exec sleep 600", {}, absl::MakeSpan(output), absl::Milliseconds(50)),
              StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("50ms")));
}

// Nobody is there to end it later, where there is no terminal.
TEST(ReadFromShellTest, StopKillsAllThatItStarted) {
  const int terminal = open("/dev/tty", O_RDWR | O_CLOEXEC);
  if (terminal >= 0) {
    close(terminal);
    GTEST_SKIP() << "there is a terminal, so that commands stay in its group";
  }
  const TemporaryDirectory directory;
  const std::string file = directory.Join("pid");
  std::array<char, 16> output{};
  std::stop_source stop;
  std::thread reader([&] {
    EXPECT_THAT(Read(absl::StrCat("sleep 600 & echo $! > ", file, "; wait"), {},
                     absl::MakeSpan(output), absl::Minutes(10), stop.get_token()),
                StatusIs(absl::StatusCode::kCancelled));
  });
  pid_t started = 0;
  AwaitOrFail("what the command starts", [&] {
    std::string line;
    std::ifstream stream(file);
    std::getline(stream, line);
    return absl::SimpleAtoi(line, &started);
  });

  stop.request_stop();
  reader.join();

  AwaitOrFail("its end", [&] { return HasGone(started); });
}

TEST(ReadFromShellTest, WhatItLeavesRunningIsNotWaitedFor) {
  std::array<char, 16> output{};

  const auto done = Read("sleep 600 & echo $!", {}, absl::MakeSpan(output));

  MUSTER_ASSERT_OK(done);
  pid_t left = 0;
  ASSERT_TRUE(absl::SimpleAtoi(
      absl::StripAsciiWhitespace(absl::string_view(output.data(), done->size)), &left));
  EXPECT_EQ(kill(left, SIGKILL), 0);
}

TEST(ReadFromShellTest, WhoClosesTheOutputIsStillWaitedFor) {
  std::array<char, 16> output{};

  const auto done = Read("printf key; exec >&-; exit 4", {}, absl::MakeSpan(output));
  MUSTER_ASSERT_OK(done);
  EXPECT_EQ(done->exit_code, 4);
  EXPECT_EQ(done->size, 3u);
  EXPECT_THAT(Read("exec >&-; exec sleep 600", {}, absl::MakeSpan(output), absl::Milliseconds(50)),
              StatusIs(absl::StatusCode::kDeadlineExceeded));
}

}  // namespace
}  // namespace muster
