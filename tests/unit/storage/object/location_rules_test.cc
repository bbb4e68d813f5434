#include "storage/object/location_rules.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/error_info.h"
#include "storage/base/status_macros.h"
#include "storage/object/file_object_store.h"
#include "storage/object/object_store_registry.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace muster {
namespace {

using testing::AllOf;
using testing::HasSubstr;

namespace fs = std::filesystem;

LocationRules Only(const std::vector<std::string>& prefixes) {
  const absl::StatusOr<LocationRules> rules = LocationRules::Only(prefixes);
  MUSTER_EXPECT_OK(rules);
  return rules.value_or(LocationRules());
}

bool Allows(const LocationRules& rules, const std::string& uri) {
  const absl::StatusOr<Uri> parsed = ParseUri(uri);
  MUSTER_EXPECT_OK(parsed);
  const absl::Status status = rules.Check(parsed.value_or(Uri()));
  if (!status.ok()) {
    EXPECT_THAT(status, ErrorIs(absl::StatusCode::kPermissionDenied, "LOCATION_NOT_ALLOWED"));
    EXPECT_THAT(std::string(status.message()), HasSubstr("--allow-location "));
  }
  return status.ok();
}

TEST(LocationRulesTest, WithoutRulesEverythingIsAllowed) {
  for (const char* uri : {"file:///etc/key", "http://127.0.0.1:1/x", "memory://b/x"}) {
    EXPECT_TRUE(Allows(LocationRules(), uri)) << uri;
  }
  EXPECT_TRUE(LocationRules().MayBeLocal("http://any/"));
}

TEST(LocationRulesTest, WithoutPrefixesFilesAndLocalHostsAreRefused) {
  const LocationRules rules = Only({});

  for (const char* uri :
       {"https://models.example/x", "http://10.1.2.3/x", "s3://127.0.0.1/x", "hdfs://nn:8020/x",
        "http://localhost.example/x", "http://[2001:db8::1]/"}) {
    EXPECT_TRUE(Allows(rules, uri)) << uri;
  }
  for (const char* uri :
       {"file:///etc/key", "http://127.0.0.1:8080/x", "http://LocalHost/x", "http://a.localhost/x",
        "https://169.254.169.254/latest", "http://[::1]:80/", "http://[fe80::1]/x", "http://0/x",
        "http://2130706433/x", "http://0x7f.1/x", "http://[::ffff:169.254.169.254]/x",
        "http://[64:ff9b::7f00:1]/x", "http://[fd00:ec2::254]/x", "hdfs://localhost:8020/x",
        "swebhdfs://127.1/x", "http://localhost./x"}) {
    EXPECT_FALSE(Allows(rules, uri)) << uri;
  }
  EXPECT_FALSE(rules.MayBeLocal("http://any/"));
}

TEST(LocationRulesTest, OnlyWhatIsBelowAPrefixIsAllowed) {
  const LocationRules rules = Only({"file:///srv/models", "file:///one/file", "s3://bucket/llama/",
                                    "http://127.0.0.1:8080", "https://", "http://localhost/a"});

  for (const char* uri : {"file:///srv/models/x", "file://localhost/srv/models/a/b",
                          "file:///one/file", "s3://bucket/llama/x", "http://127.0.0.1:8080/x",
                          "https://any.example/x", "http://LOCALHOST:99/a/b"}) {
    EXPECT_TRUE(Allows(rules, uri)) << uri;
  }
  for (const char* uri :
       {"file:///srv/modelsx/x", "file:///srv", "file:///one/file2", "s3://bucket/other",
        "s3://bucket2/llama/x", "http://127.0.0.1:8081/x", "http://any.example/x",
        "https://127.0.0.1/x", "http://localhost/b", "hdfs://nn/x"}) {
    EXPECT_FALSE(Allows(rules, uri)) << uri;
  }
}

TEST(LocationRulesTest, LocalAddressesAreReachedByTheLocationsThatAreNamed) {
  const LocationRules rules = Only({"http://inside:8080/models", "http://"});

  EXPECT_TRUE(rules.MayBeLocal("http://inside:8080/models/x?signature=1"));
  for (const char* url : {"http://inside:8080/other", "http://outside/models/x", "",
                          "http://user@inside:8080/models/x", "http://inside:8080/models/../x"}) {
    EXPECT_FALSE(rules.MayBeLocal(url)) << url;
  }
}

TEST(LocationRulesTest, AddressesOfThisMachineAndItsLinkAreLocal) {
  const auto local = [](const char* text) {
    sockaddr_in6 v6 = {};
    v6.sin6_family = AF_INET6;
    sockaddr_in v4 = {};
    v4.sin_family = AF_INET;
    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1) {
      return IsLocalAddress(reinterpret_cast<const sockaddr&>(v4));
    }
    EXPECT_EQ(inet_pton(AF_INET6, text, &v6.sin6_addr), 1) << text;
    return IsLocalAddress(reinterpret_cast<const sockaddr&>(v6));
  };

  for (const char* text : {"127.0.0.1", "127.255.0.1", "169.254.1.2", "0.0.0.0", "::", "::1",
                           "fe80::1", "febf::1", "::ffff:127.0.0.1", "::127.0.0.1"}) {
    EXPECT_TRUE(local(text)) << text;
  }
  for (const char* text : {"10.0.0.1", "128.0.0.1", "169.253.0.1", "fec0::1", "2001:db8::1",
                           "::ffff:10.0.0.1", "64:ff9b::a00:1"}) {
    EXPECT_FALSE(local(text)) << text;
  }
}

TEST(LocationRulesTest, WhatIsNoUriIsRefused) {
  EXPECT_THAT(LocationRules::Only({"/srv/models"}), StatusIs(absl::StatusCode::kInvalidArgument));
}

// Files below a folder, and links beside them.
class AllowedFolderTest : public testing::Test {
 protected:
  AllowedFolderTest() {
    fs::create_directories(directory_.Join("models/deep"));
    std::ofstream(directory_.Join("models/deep/x")) << "inside";
    std::ofstream(directory_.Join("secret")) << "outside";
    fs::create_symlink("deep/x", directory_.Join("models/within"));
    fs::create_symlink("../secret", directory_.Join("models/out"));
    fs::create_symlink(directory_.Join("secret"), directory_.Join("models/absolute"));
    fs::create_symlink("..", directory_.Join("models/up"));
    fs::create_symlink(directory_.Join("models"), directory_.Join("link"));
  }

  absl::StatusOr<std::string> Read(const ObjectStoreRegistry& registry, const std::string& name) {
    MUSTER_ASSIGN_OR_RETURN(const ObjectRef ref, registry.Open(FileUri(directory_.Join(name))));
    MUSTER_ASSIGN_OR_RETURN(const ObjectInfo info, ref.store->Stat(ref.key, {}));
    std::string bytes(static_cast<size_t>(info.size_bytes), '?');
    MUSTER_RETURN_IF_ERROR(
        ref.store->Read(ref.key, 0, absl::MakeSpan(bytes), {.if_version = info.version}));
    return bytes;
  }

  const TemporaryDirectory directory_;
};

TEST_F(AllowedFolderTest, LinksDoNotLeadOutOfIt) {
  ObjectStoreRegistry registry(Only({FileUri(directory_.Join("models"))}));
  MUSTER_ASSERT_OK(RegisterFileObjectStore(registry));

  EXPECT_THAT(Read(registry, "models/deep/x"), IsOkAndHolds("inside"));
  EXPECT_THAT(Read(registry, "models/within"), IsOkAndHolds("inside"));
  for (const char* name : {"models/out", "models/absolute", "models/up/secret", "secret"}) {
    EXPECT_THAT(Read(registry, name).status(),
                ErrorIs(absl::StatusCode::kPermissionDenied, "LOCATION_NOT_ALLOWED"))
        << name;
  }
  EXPECT_THAT(Read(registry, "models/none"), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(Read(registry, "models/deep"), StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST_F(AllowedFolderTest, MayItselfBeALinkOrAFile) {
  ObjectStoreRegistry registry(
      Only({FileUri(directory_.Join("link")), FileUri(directory_.Join("secret"))}));
  MUSTER_ASSERT_OK(RegisterFileObjectStore(registry));

  EXPECT_THAT(Read(registry, "link/within"), IsOkAndHolds("inside"));
  EXPECT_THAT(Read(registry, "secret"), IsOkAndHolds("outside"));
}

TEST_F(AllowedFolderTest, IsOnlyReadFrom) {
  ObjectStoreRegistry registry(Only({FileUri(directory_.path())}));
  MUSTER_ASSERT_OK(RegisterFileObjectStore(registry));
  const auto ref = registry.Open(FileUri(directory_.Join("new")));
  MUSTER_ASSERT_OK(ref);

  EXPECT_THAT(ref->store->Put(ref->key, "x", {}), StatusIs(absl::StatusCode::kPermissionDenied));
  EXPECT_THAT(ref->store->Delete(ref->key), StatusIs(absl::StatusCode::kPermissionDenied));
  EXPECT_THAT(ref->store->List("", {}), StatusIs(absl::StatusCode::kPermissionDenied));
}

}  // namespace
}  // namespace muster
