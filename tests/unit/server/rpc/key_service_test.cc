// Over which connections keys are given.

#include "server/rpc/key_service.h"

#include "gtest/gtest.h"

namespace muster {
namespace {

TEST(KeyServiceTest, KeysLeaveTheMachineOnlyEncrypted) {
  for (const char* peer :
       {"ipv4:127.0.0.1:4711", "ipv4:127.9.9.9:1", "ipv6:[::1]:4711", "ipv6:%5B::1%5D:4711",
        "ipv6:%5B::ffff:127.0.0.1%5D:4711", "unix:", "unix:/run/muster"}) {
    EXPECT_TRUE(IsPrivate(peer, /*encrypted=*/false)) << peer;
  }
  for (const char* peer :
       {"", "ipv4:10.0.0.7:4711", "ipv4:1.127.0.0:4711", "ipv4:12.7.0.0:1", "ipv6:[::2]:4711",
        "ipv6:[::1:2]:4711", "ipv6:%5B::10%5D:1", "ipv6:[2001:db8::1]:4711",
        "ipv6:[::ffff:10.0.0.7]:4711", "ipv6:[fe80::1%25eth0]:1", "dns:127.0.0.1", "127.0.0.1:1"}) {
    EXPECT_FALSE(IsPrivate(peer, /*encrypted=*/false)) << peer;
    EXPECT_TRUE(IsPrivate(peer, /*encrypted=*/true)) << peer;
  }
}

}  // namespace
}  // namespace muster
