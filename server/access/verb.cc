#include "server/access/verb.h"

#include <array>

#include "absl/strings/str_cat.h"

namespace muster {
namespace {

constexpr std::array<absl::string_view, kVerbCount> kVerbNames = {
    "read", "publish", "delete", "assemble", "join", "operate", "report", "sign", "admin"};

struct Role {
  absl::string_view name;
  VerbSet verbs;
};

// Deleting and signing are in none but the last: what can't be undone, and what others rely on, is
// given by name. A node's role has no reading, so that one on "**" does not open all models to all
// nodes: they read what their assemblies need.
constexpr std::array<Role, 5> kRoles = {{
    {"reader", {Verb::kRead}},
    {"publisher", {Verb::kRead, Verb::kPublish}},
    {"operator", {Verb::kRead, Verb::kAssemble, Verb::kOperate}},
    {"node", {Verb::kJoin, Verb::kReport}},
    {"admin", VerbSet::All()},
}};

}  // namespace

absl::string_view VerbName(Verb verb) { return kVerbNames[static_cast<size_t>(verb)]; }

std::optional<Verb> VerbOf(absl::string_view name) {
  for (size_t i = 0; i < kVerbNames.size(); ++i) {
    if (kVerbNames[i] == name) return static_cast<Verb>(i);
  }
  return std::nullopt;
}

std::string VerbNames(VerbSet verbs) {
  std::string names;
  for (size_t i = 0; i < kVerbNames.size(); ++i) {
    if (!verbs.Has(static_cast<Verb>(i))) continue;
    absl::StrAppend(&names, names.empty() ? "" : ", ", kVerbNames[i]);
  }
  return names;
}

std::optional<VerbSet> RoleVerbs(absl::string_view role) {
  for (const Role& known : kRoles) {
    if (known.name == role) return known.verbs;
  }
  return std::nullopt;
}

std::string RoleNames() {
  std::string names;
  for (const Role& role : kRoles) absl::StrAppend(&names, names.empty() ? "" : ", ", role.name);
  return names;
}

}  // namespace muster
