#include "storage/base/reasons.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

namespace muster {
namespace {

// Name and value of every constant. From the text, as C++ can't list a namespace and a second list would be one that
// somebody forgets.
std::vector<std::pair<std::string, std::string>> Reasons() {
  std::ifstream header(MUSTER_REASONS_HEADER);
  std::vector<std::pair<std::string, std::string>> found;
  for (std::string line; std::getline(header, line);) {
    absl::string_view rest = line;
    if (!absl::ConsumePrefix(&rest, "inline constexpr char ") || !absl::ConsumeSuffix(&rest, "\";"))
      continue;
    const std::pair<std::string, std::string> parts =
        absl::StrSplit(rest, absl::MaxSplits("[] = \"", 1));
    found.push_back(parts);
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
  for (const auto& [name, reason] : Reasons()) {
    for (const absl::string_view word : absl::StrSplit(reason, '_')) {
      EXPECT_FALSE(word.empty()) << reason;
      for (const char c : word)
        EXPECT_TRUE(absl::ascii_isupper(c) || absl::ascii_isdigit(c)) << reason;
    }
    EXPECT_TRUE(absl::ascii_isupper(reason.front())) << reason;
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
