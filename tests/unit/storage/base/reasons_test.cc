#include "storage/base/reasons.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <regex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_split.h"

namespace muster {
namespace {

// Name and value of every constant. From the text, as C++ can't list a namespace and a second list would be one that
// somebody forgets.
std::vector<std::pair<std::string, std::string>> Reasons() {
  std::ifstream header(MUSTER_REASONS_HEADER);
  const std::regex constant("inline constexpr char (k[A-Za-z0-9]+)\\[\\] = \"(.*)\";");
  std::vector<std::pair<std::string, std::string>> found;
  for (std::string line; std::getline(header, line);) {
    std::smatch match;
    if (std::regex_match(line, match, constant)) found.emplace_back(match[1], match[2]);
  }
  return found;
}

// VERSION_IN_USE is kVersionInUse.
std::string NameOf(const std::string& reason) {
  std::string name = "k";
  for (const std::string& word : std::vector<std::string>(absl::StrSplit(reason, '_'))) {
    name += word.substr(0, 1) + absl::AsciiStrToLower(word.substr(1));
  }
  return name;
}

TEST(ReasonsTest, EveryLineOfTheHeaderIsUnderstood) {
  std::ifstream header(MUSTER_REASONS_HEADER);
  size_t constants = 0;
  for (std::string line; std::getline(header, line);) {
    if (line.find("constexpr") != std::string::npos) ++constants;
  }

  EXPECT_GT(constants, 100u);
  EXPECT_EQ(Reasons().size(), constants);
}

TEST(ReasonsTest, ReasonsAreUpperSnakeCaseAndNamedByTheirConstants) {
  const std::regex upper_snake("[A-Z][A-Z0-9]*(_[A-Z0-9]+)*");
  for (const auto& [name, reason] : Reasons()) {
    EXPECT_TRUE(std::regex_match(reason, upper_snake)) << reason;
    EXPECT_LE(reason.size(), 63u) << reason;
    EXPECT_EQ(name, NameOf(reason));
  }
}

TEST(ReasonsTest, NoReasonIsThereTwice) {
  std::set<std::string> seen;
  for (const auto& [name, reason] : Reasons()) EXPECT_TRUE(seen.insert(reason).second) << reason;
}

}  // namespace
}  // namespace muster
