#include "storage/base/md5.h"

#include <string>

#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

TEST(Md5Test, KnownVectorsOfRfc1321) {
  EXPECT_EQ(Md5ToHex(Md5Of("")), "d41d8cd98f00b204e9800998ecf8427e");
  EXPECT_EQ(Md5ToHex(Md5Of("message digest")), "f96b697d7cb7938d525a2f31aaf161d0");
}

TEST(Md5Test, StreamEqualsWholeAndStartsAnew) {
  Md5Stream stream;
  stream.Update("message ");
  stream.Update("digest");
  EXPECT_EQ(stream.Finish(), Md5Of("message digest"));
  EXPECT_EQ(stream.Finish(), Md5Of(""));
}

TEST(Md5Test, RootIsMd5OfConcatenatedDigests) {
  const Md5Digest a = Md5Of("a"), b = Md5Of("b");
  std::string both(a.begin(), a.end());
  both.append(b.begin(), b.end());
  EXPECT_EQ(Md5Root({a, b}), Md5Of(both));
}

TEST(Md5Test, HexRoundTripAndRefusals) {
  EXPECT_THAT(Md5FromHex("f96b697d7cb7938d525a2f31aaf161d0"),
              IsOkAndHolds(Md5Of("message digest")));
  for (const char* bad :
       {"", "f9", "F96B697D7CB7938D525A2F31AAF161D0", "g96b697d7cb7938d525a2f31aaf161d0"}) {
    EXPECT_THAT(Md5FromHex(bad), StatusIs(absl::StatusCode::kInvalidArgument)) << bad;
  }
}

}  // namespace
}  // namespace muster
