#include "client/cli/hangup.h"

#include "gtest/gtest.h"

namespace muster {
namespace {

TEST(HangupTest, IsNobodysUntilItIsHandledAndAfterwards) {
  Hangup hangup;
  int calls = 0;
  EXPECT_FALSE(hangup.Raise());
  hangup.Handle([&] { ++calls; });
  EXPECT_TRUE(hangup.Raise());
  EXPECT_TRUE(hangup.Raise());
  hangup.Handle({});
  EXPECT_FALSE(hangup.Raise());
  EXPECT_EQ(calls, 2);
}

}  // namespace
}  // namespace muster
