#include "storage/object/aws_profile.h"

#include <fstream>
#include <iterator>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace muster {
namespace {

// "" for a file that is not there.
std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

std::string PathOf(const EnvironmentLookup& environment, const char* variable, const char* name) {
  const std::string path = environment(variable);
  return path.empty() ? absl::StrCat(environment("HOME"), "/.aws/", name) : path;
}

}  // namespace

AwsSettings ParseAwsSection(absl::string_view text, absl::string_view section) {
  AwsSettings settings;
  bool inside = false;
  std::string parent;
  for (const absl::string_view raw : absl::StrSplit(text, '\n')) {
    const absl::string_view line = absl::StripAsciiWhitespace(raw);
    if (line.empty() || line[0] == '#' || line[0] == ';') continue;
    if (line[0] == '[') {
      const size_t end = line.find(']');
      inside = end != absl::string_view::npos &&
               absl::StripAsciiWhitespace(line.substr(1, end - 1)) == section;
      parent.clear();
      continue;
    }
    const size_t equals = line.find('=');
    if (!inside || equals == absl::string_view::npos) continue;
    const std::string name(absl::StripAsciiWhitespace(line.substr(0, equals)));
    const std::string value(absl::StripAsciiWhitespace(line.substr(equals + 1)));
    const bool nested = absl::ascii_isspace(static_cast<unsigned char>(raw[0])) && !parent.empty();
    if (!nested) parent = value.empty() ? name : "";
    settings[nested ? absl::StrCat(parent, ".", name) : name] = value;
  }
  return settings;
}

absl::StatusOr<AwsSettings> ReadAwsProfile(const EnvironmentLookup& environment) {
  const std::string named = environment("AWS_PROFILE");
  const std::string profile = named.empty() ? "default" : named;
  const std::string config = PathOf(environment, "AWS_CONFIG_FILE", "config");
  const std::string credentials = PathOf(environment, "AWS_SHARED_CREDENTIALS_FILE", "credentials");
  const std::string section = profile == "default" ? profile : absl::StrCat("profile ", profile);
  AwsSettings settings = ParseAwsSection(ReadFile(credentials), profile);
  settings.merge(ParseAwsSection(ReadFile(config), section));
  if (settings.empty() && !named.empty()) {
    return absl::FailedPreconditionError(absl::StrCat("AWS_PROFILE is ", named, ", and neither ",
                                                      config, " nor ", credentials,
                                                      " has that profile"));
  }
  return settings;
}

std::string SettingOf(const AwsSettings& settings, const std::string& name) {
  const auto found = settings.find(name);
  return found == settings.end() ? "" : found->second;
}

}  // namespace muster
