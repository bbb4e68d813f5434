#include "storage/object/hdfs_address.h"

#include <map>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

HdfsAddress AddressFor(const std::string& scheme, const std::string& authority,
                       const std::map<std::string, std::string>& variables = {},
                       const HadoopSettings& settings = {}) {
  const EnvironmentLookup lookup = [&](const char* name) -> std::string {
    const auto found = variables.find(name);
    return found == variables.end() ? "" : found->second;
  };
  const auto address = HdfsAddressFor(scheme, authority, lookup, settings);
  MUSTER_EXPECT_OK(address);
  return address.value_or(HdfsAddress());
}

TEST(HdfsAddressTest, PortOfRpcsIsReplacedByThatOfTheWeb) {
  EXPECT_THAT(AddressFor("hdfs", "nn:8020").name_nodes, ElementsAre("http://nn:9870"));
  EXPECT_THAT(AddressFor("hdfs", "nn").name_nodes, ElementsAre("http://nn:9870"));
  EXPECT_THAT(AddressFor("swebhdfs", "nn:8020").name_nodes, ElementsAre("https://nn:9871"));
  EXPECT_THAT(AddressFor("hdfs", "[::1]:8020").name_nodes, ElementsAre("http://[::1]:9870"));
}

TEST(HdfsAddressTest, SettingsOfTheNameNodeSayItsWebAddress) {
  const HadoopSettings settings = {{"fs.defaultFS", "hdfs://nn:8020"},
                                   {"dfs.namenode.http-address", "0.0.0.0:50070"}};
  EXPECT_THAT(AddressFor("hdfs", "nn:8020", {}, settings).name_nodes,
              ElementsAre("http://nn:50070"));
  EXPECT_THAT(AddressFor("hdfs", "other:8020", {}, settings).name_nodes,
              ElementsAre("http://other:9870"));
}

TEST(HdfsAddressTest, NameServiceHasAllItsNameNodes) {
  const HadoopSettings settings = {{"dfs.nameservices", "east, west"},
                                   {"dfs.ha.namenodes.west", "a,b"},
                                   {"dfs.namenode.http-address.west.a", "one:9870"},
                                   {"dfs.namenode.http-address.west.b", "0.0.0.0:9870"},
                                   {"dfs.namenode.rpc-address.west.b", "two:8020"}};
  EXPECT_THAT(AddressFor("hdfs", "west", {}, settings).name_nodes,
              ElementsAre("http://one:9870", "http://two:9870"));
}

TEST(HdfsAddressTest, NameServiceWithoutWebAddressesHasThePortsOfHadoop) {
  const HadoopSettings pair = {{"dfs.nameservices", "west"},
                               {"dfs.ha.namenodes.west", "a,b"},
                               {"dfs.namenode.rpc-address.west.a", "one:8020"},
                               {"dfs.namenode.rpc-address.west.b", "two:8020"}};
  EXPECT_THAT(AddressFor("hdfs", "west", {}, pair).name_nodes,
              ElementsAre("http://one:9870", "http://two:9870"));
  EXPECT_THAT(AddressFor("swebhdfs", "west", {}, pair).name_nodes,
              ElementsAre("https://one:9871", "https://two:9871"));
  const HadoopSettings alone = {{"dfs.nameservices", "west"},
                                {"dfs.namenode.http-address.west", "one:50070"}};
  EXPECT_THAT(AddressFor("hdfs", "west", {}, alone).name_nodes, ElementsAre("http://one:50070"));
}

TEST(HdfsAddressTest, SettingsThatSayHttpsOnlyMeanTls) {
  const HadoopSettings settings = {{"fs.defaultFS", "hdfs://nn:8020"},
                                   {"dfs.http.policy", "HTTPS_ONLY"},
                                   {"dfs.namenode.http-address", "nn:50070"},
                                   {"dfs.namenode.https-address", "nn:50470"}};
  EXPECT_THAT(AddressFor("hdfs", "nn:8020", {}, settings).name_nodes,
              ElementsAre("https://nn:50470"));
  EXPECT_THAT(AddressFor("hdfs", "other:8020", {}, settings).name_nodes,
              ElementsAre("http://other:9870"));
}

TEST(HdfsAddressTest, EnvironmentComesFirst) {
  const HdfsAddress address =
      AddressFor("hdfs", "nn:8020", {{"MUSTER_WEBHDFS_ADDRESS", "a:1, b:2"}, {"USER", "me"}});
  EXPECT_THAT(address.name_nodes, ElementsAre("http://a:1", "http://b:2"));
  EXPECT_EQ(address.user, "me");
  EXPECT_EQ(AddressFor("hdfs", "nn", {{"HADOOP_USER_NAME", "x"}, {"USER", "me"}}).user, "x");
}

TEST(HdfsAddressTest, TokenAndKerberosSayWhoAsks) {
  const HadoopSettings secure = {{"hadoop.security.authentication", "kerberos"},
                                 {"fs.defaultFS", "hdfs://nn"}};
  const HdfsAddress by_ticket = AddressFor("hdfs", "nn", {{"USER", "me"}}, secure);
  EXPECT_TRUE(by_ticket.kerberos);
  EXPECT_EQ(by_ticket.user, "");
  const HdfsAddress by_token =
      AddressFor("hdfs", "nn", {{"USER", "me"}, {"MUSTER_WEBHDFS_TOKEN", "t"}}, secure);
  EXPECT_FALSE(by_token.kerberos);
  EXPECT_EQ(by_token.user, "");
  EXPECT_EQ(by_token.delegation_token, "t");
}

TEST(HdfsAddressTest, CredentialsGoToConfiguredNameNodesOnly) {
  const HadoopSettings secure = {{"hadoop.security.authentication", "kerberos"},
                                 {"fs.defaultFS", "hdfs://nn"}};
  const HdfsAddress other = AddressFor("hdfs", "evil", {{"USER", "me"}}, secure);
  EXPECT_FALSE(other.configured);
  EXPECT_FALSE(other.kerberos);
  const EnvironmentLookup with_token = [](const char* name) {
    return std::string(name == std::string("MUSTER_WEBHDFS_TOKEN") ? "secret" : "");
  };
  EXPECT_THAT(HdfsAddressFor("hdfs", "evil:8020", with_token, secure),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("evil"), HasSubstr("MUSTER_WEBHDFS_ADDRESS"),
                             Not(HasSubstr("secret")))));
  EXPECT_EQ(
      AddressFor("hdfs", "evil", {{"MUSTER_WEBHDFS_TOKEN", "t"}, {"MUSTER_WEBHDFS_ADDRESS", "a:1"}})
          .name_nodes,
      std::vector<std::string>{"http://a:1"});
}

TEST(HdfsAddressTest, WhatNamesNobodyIsInvalid) {
  const EnvironmentLookup odd = [](const char* name) {
    return std::string(name == std::string("MUSTER_WEBHDFS_ADDRESS") ? "nn" : "");
  };
  const EnvironmentLookup none = [](const char*) { return std::string(); };
  EXPECT_THAT(HdfsAddressFor("hdfs", "nn", odd, {}), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(HdfsAddressFor("hdfs", "", none, {}), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(HdfsAddressTest, SettingsAreThePropertiesOfTheFile) {
  const HadoopSettings settings = ParseHadoopSettings(
      "<?xml version=\"1.0\"?><configuration><property><name> a </name><value> 1 </value>"
      "</property><property><name>b</name></property></configuration>");
  EXPECT_EQ(settings, (HadoopSettings{{"a", "1"}, {"b", ""}}));
  for (const char* text : {"", "no XML", "<configuration><property>", "<other/>"}) {
    EXPECT_THAT(ParseHadoopSettings(text), IsEmpty()) << text;
  }
}

}  // namespace
}  // namespace muster
