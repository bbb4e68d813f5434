#include "server/audit/audit_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/error_info.h"
#include "storage/files/unique_fd.h"
#include "tests/support/await.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace muster {
namespace {

using ::testing::HasSubstr;

std::string ContentOf(const std::string& path) {
  std::ifstream file(path);
  return std::string((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
}

class AuditLogTest : public testing::Test {
 protected:
  std::unique_ptr<AuditLog> Open(AuditLog::Options options) {
    options.interval = absl::Milliseconds(5);
    auto log = AuditLog::Open(options, SystemClock(), [this](const absl::Status& status) {
      ++(status.ok() ? worked_ : failed_);
    });
    MUSTER_EXPECT_OK(log);
    return *std::move(log);
  }

  // Waits until the line is written, or given up.
  void Write(AuditLog& log, const std::string& line) {
    std::atomic<bool> written = false;
    log.Write(line + "\n", [&] { written = true; });
    ASSERT_TRUE(AwaitOrFail("the line", [&] { return written.load(); }));
  }

  const TemporaryDirectory directory_;
  const std::string path_ = directory_.path() + "/audit.jsonl";
  std::atomic<int> worked_ = 0;
  std::atomic<int> failed_ = 0;
};

TEST_F(AuditLogTest, ALineIsThereBeforeItsAnswer) {
  const auto log = Open({.path = path_});
  std::atomic<int> without = 0, done = 0;
  for (int i = 0; i < 1'000; ++i) {
    const std::string line = absl::StrCat("{\"n\":", i, "}\n");
    log->Write(line, [&, line] {
      if (ContentOf(path_).find(line) == std::string::npos) ++without;
      ++done;
    });
  }

  ASSERT_TRUE(AwaitOrFail("the lines", [&] { return done == 1'000; }));
  EXPECT_EQ(without, 0);
  struct stat info = {};
  ASSERT_EQ(stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  EXPECT_EQ(static_cast<size_t>(info.st_size), ContentOf(path_).size());
}

TEST_F(AuditLogTest, AFileIsContinuedAndNotMadeAnew) {
  { Write(*Open({.path = path_}), "first"); }
  Write(*Open({.path = path_}), "second");

  EXPECT_EQ(ContentOf(path_), "first\nsecond\n");
}

TEST_F(AuditLogTest, WhatIsMovedAwayIsFollowedByAFileOfItsOwn) {
  const auto log = Open({.path = path_});
  Write(*log, "first");
  ASSERT_EQ(rename(path_.c_str(), (path_ + ".1").c_str()), 0);
  ASSERT_TRUE(AwaitOrFail("the next file", [&] { return access(path_.c_str(), F_OK) == 0; }));
  Write(*log, "second");

  EXPECT_EQ(ContentOf(path_ + ".1"), "first\n");
  EXPECT_EQ(ContentOf(path_), "second\n");
}

TEST_F(AuditLogTest, WhereNothingCanBeWrittenCallsAreRefusedUntilItCan) {
  ASSERT_EQ(symlink("/dev/full", path_.c_str()), 0);
  const auto log = Open({.path = path_});
  MUSTER_EXPECT_OK(log->Ready());
  Write(*log, "kept for later");

  ASSERT_TRUE(AwaitOrFail("the failure", [&] { return failed_ == 1; }));
  EXPECT_THAT(log->Ready(), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("No space left")));
  EXPECT_EQ(ReasonOf(log->Ready()), "AUDIT_FAILED");
  // Told once, however often it is tried.
  Write(*log, "this, too");
  EXPECT_EQ(failed_, 1);

  ASSERT_EQ(unlink(path_.c_str()), 0);
  ASSERT_TRUE(AwaitOrFail("the log to work again", [&] { return log->Ready().ok(); }));
  Write(*log, "now");
  EXPECT_EQ(ContentOf(path_), "kept for later\nthis, too\nnow\n");
  EXPECT_EQ(worked_, 1);
}

TEST_F(AuditLogTest, WhoMayGoOnUntoldDoes) {
  ASSERT_EQ(symlink("/dev/full", path_.c_str()), 0);
  const auto log = Open({.path = path_, .fail_open = true});
  Write(*log, "lost");

  ASSERT_TRUE(AwaitOrFail("the failure", [&] { return failed_ == 1; }));
  MUSTER_EXPECT_OK(log->Ready());
}

TEST_F(AuditLogTest, WhatIsTooMuchIsCounted) {
  ASSERT_EQ(symlink("/dev/full", path_.c_str()), 0);
  const auto log = Open({.path = path_, .waiting_bytes_max = 100});
  for (int i = 0; i < 10; ++i) Write(*log, std::string(30, 'x'));

  ASSERT_EQ(unlink(path_.c_str()), 0);
  ASSERT_TRUE(AwaitOrFail("the log to work again", [&] { return log->Ready().ok(); }));
  Write(*log, "end");
  ASSERT_TRUE(AwaitOrFail("the count",
                          [&] { return ContentOf(path_).find("left_out") != std::string::npos; }));
  EXPECT_THAT(ContentOf(path_), HasSubstr("{\"left_out\":7}\n"));
}

TEST_F(AuditLogTest, WhatCannotBeOpenedIsNamed) {
  const auto log = AuditLog::Open({.path = directory_.path() + "/none/audit"}, SystemClock(),
                                  [](const absl::Status&) {});

  EXPECT_THAT(log, StatusIs(absl::StatusCode::kNotFound, HasSubstr("/none/audit")));
}

// A pipe that nobody reads: the answers leave all the same, and calls are refused.
TEST_F(AuditLogTest, APipeThatNobodyReadsHoldsNobodyUp) {
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  // Opened for both, or the log's opening would wait for a reader.
  const UniqueFd reader(open(path_.c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_GE(reader.get(), 0);
  const auto log = Open({.path = path_});
  for (int i = 0; i < 40; ++i) Write(*log, std::string(4'000, 'x'));

  ASSERT_TRUE(AwaitOrFail("the failure", [&] { return failed_ > 0; }));
  EXPECT_THAT(log->Ready(), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("nobody reads")));
}

}  // namespace
}  // namespace muster
