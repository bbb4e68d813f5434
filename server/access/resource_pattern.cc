#include "server/access/resource_pattern.h"

#include <array>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "storage/base/limits.h"
#include "storage/base/quote.h"

namespace muster {
namespace {

bool IsAlnum(char c) { return absl::ascii_isalnum(static_cast<unsigned char>(c)); }

bool IsNameChar(char c) { return IsAlnum(c) || c == '.' || c == '_' || c == '-'; }

bool AllNameChars(absl::string_view text) {
  for (const char c : text) {
    if (!IsNameChar(c)) return false;
  }
  return true;
}

// As storage/base/resource_name.h has it, without making strings.
bool IsNamePart(absl::string_view name, size_t max_length) {
  return !name.empty() && name.size() <= max_length && AllNameChars(name) &&
         IsAlnum(name.front()) && IsAlnum(name.back());
}

// What a name may begin with: a pattern's text before its star.
bool IsNameBeginning(absl::string_view text, size_t max_length) {
  return text.size() <= max_length && AllNameChars(text) && (text.empty() || IsAlnum(text.front()));
}

struct ResourceForm {
  ResourceKind kind;
  absl::string_view collection;
  absl::string_view example;
};

constexpr std::array<ResourceForm, 3> kForms = {{
    {ResourceKind::kModelVersion, "models/", "models/llama/versions/v1"},
    {ResourceKind::kNode, "nodes/", "nodes/n1"},
    {ResourceKind::kAssembly, "assemblies/", "assemblies/demo"},
}};

size_t MaxPart(ResourceKind kind) {
  return kind == ResourceKind::kNode ? kMaxNodeNameLength : kMaxNameLength;
}

absl::Status Bad(absl::string_view text, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(QuoteForMessage(text), " ", what));
}

constexpr char kParts[] =
    "has a part that no name can have: letters, digits, '.', '_' and '-', beginning and ending "
    "with a letter or digit";

// One segment that ends with the pattern, or with a star: of a node's, an assembly's or a version's name.
absl::StatusOr<Pattern> LastSegment(absl::string_view whole, absl::string_view segment,
                                    size_t max_length) {
  absl::string_view rest = segment;
  const bool exact = !absl::ConsumeSuffix(&rest, "*");
  const bool valid = exact ? IsNamePart(rest, max_length) : IsNameBeginning(rest, max_length);
  if (!valid) return Bad(whole, kParts);
  return Pattern{std::string(absl::StripSuffix(whole, "*")), exact};
}

// models/… without what "**" stands for at its end.
absl::StatusOr<Pattern> ModelPattern(absl::string_view whole,
                                     const std::vector<absl::string_view>& segments, bool subtree) {
  const absl::string_view model = segments.size() > 1 ? segments[1] : "";
  const bool star = absl::EndsWith(model, "*");
  if (star) {
    if (!IsNameBeginning(absl::StripSuffix(model, "*"), kMaxNameLength)) return Bad(whole, kParts);
    if (segments.size() != 2 || !subtree) {
      return Bad(
          whole,
          absl::StrCat("matches no model version; for all versions of these models write models/",
                       model, "/**"));
    }
    return Pattern{absl::StrCat("models/", absl::StripSuffix(model, "*")), false};
  }
  if (!IsNamePart(model, kMaxNameLength)) return Bad(whole, kParts);
  if (segments.size() > 2 && segments[2] != "versions") {
    return Bad(whole, "matches no model version: after the model comes /versions/");
  }
  if (segments.size() > 4) {
    return Bad(whole, "goes on below a model version, where no rights are: they are the version's");
  }
  if (segments.size() == 4 && !subtree) return LastSegment(whole, segments[3], kMaxNameLength);
  if (segments.size() == 4) {
    return Bad(whole, "goes on below a model version, where no rights are: leave out the /**");
  }
  if (!subtree) {
    return Bad(whole,
               absl::StrCat("matches no model version; for all versions of the model write models/",
                            model, "/**"));
  }
  return Pattern{std::string(absl::StripSuffix(whole, "**")), false};
}

}  // namespace

std::optional<ResourceKind> KindOfResource(absl::string_view name) {
  if (name.size() > kMaxResourceNameBytes) return std::nullopt;
  for (const ResourceForm& form : kForms) {
    absl::string_view rest = name;
    if (!absl::ConsumePrefix(&rest, form.collection)) continue;
    bool valid = false;
    if (form.kind == ResourceKind::kModelVersion) {
      const size_t slash = rest.find('/');
      absl::string_view version = slash == absl::string_view::npos ? "" : rest.substr(slash);
      valid = absl::ConsumePrefix(&version, "/versions/") &&
              IsNamePart(rest.substr(0, slash), kMaxNameLength) &&
              IsNamePart(version, kMaxNameLength);
    } else {
      valid = IsNamePart(rest, MaxPart(form.kind));
    }
    return valid ? std::optional<ResourceKind>(form.kind) : std::nullopt;
  }
  return std::nullopt;
}

absl::StatusOr<Pattern> ParseResourcePattern(absl::string_view text) {
  if (text == "**") return Pattern{"", false};
  if (text.size() > kMaxResourceNameBytes) return Bad(text, "is longer than any name");
  absl::string_view stem = text;
  const bool subtree = absl::ConsumeSuffix(&stem, "/**");
  if (absl::StrContains(stem, "**")) {
    return Bad(text, "has ** elsewhere than as its last segment");
  }
  const size_t star = stem.find('*');
  if (star != absl::string_view::npos && star + 1 != stem.size()) {
    return Bad(text, "has a * elsewhere than at its end, or before a last /**");
  }
  const std::vector<absl::string_view> segments = absl::StrSplit(stem, '/');
  for (const ResourceForm& form : kForms) {
    if (segments[0] != absl::StripSuffix(form.collection, "/")) continue;
    if (segments.size() == 1 && subtree) return Pattern{std::string(form.collection), false};
    if (segments.size() == 1) {
      return Bad(text,
                 absl::StrCat("matches no name; all that there are match ", form.collection, "**"));
    }
    if (form.kind == ResourceKind::kModelVersion) return ModelPattern(text, segments, subtree);
    if (segments.size() != 2 || subtree) {
      return Bad(text, absl::StrCat("matches no name: those have the form ", form.example));
    }
    return LastSegment(text, segments[1], MaxPart(form.kind));
  }
  return Bad(text, "begins with none of models/, nodes/ and assemblies/, and is not **");
}

absl::StatusOr<Pattern> ParseWhoPattern(absl::string_view text) {
  if (text == "anonymous") return Pattern{"anonymous", true};
  absl::string_view name = text.substr(0, kMaxResourceNameBytes);
  const bool user = absl::ConsumePrefix(&name, "user/");
  if (!user && !absl::ConsumePrefix(&name, "node/")) {
    return Bad(text, "is not user/NAME, node/NAME, group/NAME or anonymous");
  }
  const bool exact = !absl::ConsumeSuffix(&name, "*");
  // A beginning may end with any character of a name.
  const std::string whole = exact ? std::string(name) : absl::StrCat(name, "0");
  if (!(user ? IsUserName(whole) : IsNodeNamePart(whole))) {
    return Bad(text, absl::StrCat("has a name that no ", user ? "user" : "node", " can have"));
  }
  return Pattern{std::string(exact ? text : absl::StripSuffix(text, "*")), exact};
}

bool IsNodeNamePart(absl::string_view name) { return IsNamePart(name, kMaxNodeNameLength); }

bool IsUserName(absl::string_view name) {
  if (name.empty() || name.size() > kMaxNodeNameLength) return false;
  for (const char c : name) {
    if (!IsNameChar(c) && c != '@') return false;
  }
  return IsAlnum(name.front()) && IsAlnum(name.back());
}

}  // namespace muster
