#include "storage/object/aws_profile.h"

#include <fstream>
#include <map>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace muster {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using testing::UnorderedElementsAre;

constexpr char kFile[] =
    "# comment\n[default]\nregion = eu-west-1\n\n[profile lab]\nregion=us-west-2\r\n"
    "s3 =\n  addressing_style = path\n  max_queue = 9\noutput = json\n; more\n[other]\nx = y\n";

EnvironmentLookup Lookup(std::map<std::string, std::string> variables) {
  return [variables = std::move(variables)](const char* name) {
    const auto found = variables.find(name);
    return found == variables.end() ? std::string() : found->second;
  };
}

TEST(AwsProfileTest, SectionHasItsOwnSettingsOnly) {
  EXPECT_THAT(ParseAwsSection(kFile, "default"), UnorderedElementsAre(Pair("region", "eu-west-1")));
  EXPECT_THAT(ParseAwsSection(kFile, "absent"), IsEmpty());
  EXPECT_THAT(ParseAwsSection("", "default"), IsEmpty());
  EXPECT_THAT(ParseAwsSection("[default\nregion = x", "default"), IsEmpty());
}

TEST(AwsProfileTest, IndentedSettingsBelongToTheOneAbove) {
  EXPECT_THAT(ParseAwsSection(kFile, "profile lab"),
              UnorderedElementsAre(Pair("region", "us-west-2"), Pair("s3", ""),
                                   Pair("s3.addressing_style", "path"), Pair("s3.max_queue", "9"),
                                   Pair("output", "json")));
}

TEST(AwsProfileTest, CredentialsFileWinsOverConfigFile) {
  const TemporaryDirectory directory;
  std::ofstream(directory.Join("config")) << "[profile p]\nregion = r\naws_access_key_id = old\n";
  std::ofstream(directory.Join("credentials")) << "[p]\naws_access_key_id = new\n";

  const auto settings =
      ReadAwsProfile(Lookup({{"AWS_PROFILE", "p"},
                             {"AWS_CONFIG_FILE", directory.Join("config")},
                             {"AWS_SHARED_CREDENTIALS_FILE", directory.Join("credentials")}}));

  MUSTER_ASSERT_OK(settings);
  EXPECT_EQ(SettingOf(*settings, "aws_access_key_id"), "new");
  EXPECT_EQ(SettingOf(*settings, "region"), "r");
  EXPECT_EQ(SettingOf(*settings, "absent"), "");
}

TEST(AwsProfileTest, NamedProfileThatIsNowhereIsAnError) {
  const TemporaryDirectory directory;

  EXPECT_THAT(ReadAwsProfile(Lookup({{"AWS_PROFILE", "nix"}, {"HOME", directory.path()}})),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("nix"), HasSubstr("/.aws/config"))));
  MUSTER_EXPECT_OK(ReadAwsProfile(Lookup({{"HOME", directory.path()}})));
}

}  // namespace
}  // namespace muster
