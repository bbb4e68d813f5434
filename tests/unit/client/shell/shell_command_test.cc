#include "client/shell/shell_command.h"

#include <signal.h>

#include <array>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
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

TEST(ReadFromShellTest, WhatItPrintsAndItsExitCodeAreTold) {
  std::array<char, 16> output{};

  const auto done =
      ReadFromShell({"printf \"a $WORD\"; exit 3", {{"WORD", "b"}}}, absl::MakeSpan(output));

  MUSTER_ASSERT_OK(done);
  EXPECT_EQ(absl::string_view(output.data(), done->size), "a b");
  EXPECT_EQ(done->exit_code, 3);
}

TEST(ReadFromShellTest, WhoPrintsForEverIsCutOff) {
  std::array<char, 4> output{};

  const auto done = ReadFromShell({"yes"}, absl::MakeSpan(output));

  MUSTER_ASSERT_OK(done);
  EXPECT_EQ(absl::string_view(output.data(), done->size), "y\ny\n");
  EXPECT_NE(done->exit_code, 0);
}

}  // namespace
}  // namespace muster
