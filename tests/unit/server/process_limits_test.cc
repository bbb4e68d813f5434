#include "server/process_limits.h"

#include <csignal>
#include <cstdlib>
#include <system_error>
#include <thread>

#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

TEST(ProcessLimitsTest, DescriptorsAreKeptForTheStore) {
  // Hard limits of a shell, of the usual default, and of a service.
  EXPECT_EQ(DescriptorsForConnections(256, 16'384), 128u);
  EXPECT_EQ(DescriptorsForConnections(1'024, 16'384), 512u);
  EXPECT_EQ(DescriptorsForConnections(4'096, 16'384), 3'584u);
  EXPECT_EQ(DescriptorsForConnections(524'288, 16'384), 16'448u);
}

TEST(ProcessLimitsTest, FewerConnectionsMayBeAskedFor) {
  EXPECT_EQ(DescriptorsForConnections(1'024, 100), 164u);
}

TEST(ProcessLimitsTest, FileLimitIsAtLeastWhatTheProcessHas) { EXPECT_GT(RaiseFileLimit(), 16u); }

TEST(ProcessLimitsTest, ThreadsCanBeHad) {
  MUSTER_EXPECT_OK(CheckThreads(4));
  EXPECT_GE(ThreadsOfAServer(), 20u);
}

TEST(ProcessLimitsDeathTest, ThreadThatCannotBeHadEndsWithASentence) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        EndWithASentence(7);
        std::thread([] {
          throw std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again));
        }).join();
      },
      testing::ExitedWithCode(7), "no more threads.*pids.max");
}

// As gRPC's does when it can't have one of its threads.
TEST(ProcessLimitsDeathTest, LibraryThatAbortsDuringTheStartEndsWithASentence) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        EndWithASentence(7);
        std::abort();
      },
      testing::ExitedWithCode(7), "while it started.*pids.max");
  EXPECT_EXIT(
      {
        EndWithASentence(7);
        StartIsOver();
        std::abort();
      },
      testing::KilledBySignal(SIGABRT), "");
}

}  // namespace
}  // namespace muster
