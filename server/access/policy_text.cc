#include "server/access/policy_text.h"

#include <algorithm>
#include <initializer_list>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "server/access/json_tree.h"
#include "storage/base/error_info.h"
#include "storage/base/quote.h"
#include "storage/base/reasons.h"

namespace muster {
namespace {

// Each value is at least 2 bytes of text, but takes about 150 in memory.
constexpr JsonBounds kPolicyBounds{kMaxPolicyBytes, /*depth=*/4, /*values=*/1'000'000};

constexpr size_t kMaxMistakes = 20;

// Reads a policy to its end, whatever is wrong with it, so that one look shows all mistakes.
class PolicyReader {
 public:
  absl::StatusOr<PolicyText> Read(const JsonNode& root) {
    CheckKeys(root, "", {"tokens", "groups", "grants", "match", "revoked"});
    // Groups come first: grants name them.
    const JsonNode* groups = root.Field("groups");
    if (groups != nullptr) ReadGroups(*groups);
    ReadList(root, "tokens", kMaxPolicyTokens, &PolicyReader::ReadToken);
    ReadList(root, "grants", kMaxPolicyGrants, &PolicyReader::ReadGrant);
    ReadList(root, "match", kMaxPolicyMatches, &PolicyReader::ReadMatch);
    ReadList(root, "revoked", kMaxPolicyRevoked, &PolicyReader::ReadRevoked);
    if (mistake_count_ == 0) return std::move(policy_);
    if (mistake_count_ > mistakes_.size()) {
      mistakes_.push_back(absl::StrCat("and ", mistake_count_ - mistakes_.size(), " more"));
    }
    return absl::InvalidArgumentError(absl::StrJoin(mistakes_, "; "));
  }

 private:
  using ReadItem = void (PolicyReader::*)(const JsonNode&, const std::string&);

  void Mistake(const JsonNode& node, absl::string_view where, absl::string_view what) {
    ++mistake_count_;
    if (mistakes_.size() == kMaxMistakes) return;
    mistakes_.push_back(
        absl::StrCat("line ", node.line, ": ", where.empty() ? "the policy" : where, " ", what));
  }

  bool CheckKind(const JsonNode& node, const std::string& where, JsonNode::Kind kind) {
    if (node.kind == kind) return true;
    const absl::string_view wanted = kind == JsonNode::Kind::kText   ? "a text in quotes"
                                     : kind == JsonNode::Kind::kList ? "a list, in [ ]"
                                                                     : "an object, in { }";
    Mistake(node, where, absl::StrCat("has to be ", wanted));
    return false;
  }

  bool CheckKeys(const JsonNode& object, const std::string& where,
                 std::initializer_list<absl::string_view> allowed) {
    if (!CheckKind(object, where, JsonNode::Kind::kObject)) return false;
    for (size_t i = 0; i < object.keys.size(); ++i) {
      bool known = false;
      for (const absl::string_view key : allowed) known = known || key == object.keys[i];
      if (known) continue;
      Mistake(object.items[i], where,
              absl::StrCat("has the unknown key ", QuoteForMessage(object.keys[i]), "; known are ",
                           absl::StrJoin(allowed, ", ")));
    }
    return true;
  }

  void ReadList(const JsonNode& root, absl::string_view key, size_t limit, ReadItem read) {
    const JsonNode* list = root.Field(key);
    if (list == nullptr || !CheckKind(*list, std::string(key), JsonNode::Kind::kList)) return;
    if (list->items.size() > limit) {
      return Mistake(*list, key,
                     absl::StrCat("has ", list->items.size(), " items; the limit is ", limit));
    }
    for (size_t i = 0; i < list->items.size(); ++i) {
      (this->*read)(list->items[i], absl::StrCat(key, "[", i, "]"));
    }
  }

  // The text at a key; null, with a mistake where it is `required` or no text.
  const JsonNode* Text(const JsonNode& object, const std::string& where, absl::string_view key,
                       bool required) {
    const JsonNode* node = object.Field(key);
    if (node == nullptr) {
      if (required) Mistake(object, where, absl::StrCat("lacks ", QuoteForMessage(key)));
      return nullptr;
    }
    return CheckKind(*node, Under(where, key), JsonNode::Kind::kText) ? node : nullptr;
  }

  static std::string Under(absl::string_view where, absl::string_view key) {
    return absl::StrCat(where, ".", key);
  }

  // Of the keys, the one that the object has; null, with a mistake, where it has none or several.
  const JsonNode* OneOf(const JsonNode& object, const std::string& where,
                        std::initializer_list<absl::string_view> keys, absl::string_view& found) {
    const JsonNode* node = nullptr;
    int count = 0;
    for (const absl::string_view key : keys) {
      const JsonNode* field = object.Field(key);
      if (field == nullptr) continue;
      node = field;
      found = key;
      ++count;
    }
    if (count == 1) return node;
    Mistake(object, where,
            absl::StrCat(count == 0 ? "lacks one of " : "has more than one of ",
                         absl::StrJoin(keys, ", ")));
    return nullptr;
  }

  void ReadToken(const JsonNode& node, const std::string& where) {
    if (!CheckKeys(node, where, {"id", "sha256", "user", "node", "expires"})) return;
    Token token;
    const JsonNode* id = Text(node, where, "id", true);
    if (id != nullptr && !IsTokenId(id->text)) {
      Mistake(*id, Under(where, "id"),
              absl::StrCat(QuoteForMessage(id->text),
                           " is not 1 to 63 lowercase letters, digits and '-'"));
    }
    if (id != nullptr) token.id = id->text;
    const JsonNode* sha256 = Text(node, where, "sha256", true);
    // Never quoted: somebody may have put the token itself there.
    if (sha256 != nullptr && !ReadSha256(sha256->text, token.sha256)) {
      Mistake(*sha256, Under(where, "sha256"),
              "is not 64 lowercase hex digits, the SHA-256 of the whole token");
    }
    absl::string_view kind;
    const JsonNode* name = OneOf(node, where, {"user", "node"}, kind);
    if (name != nullptr && CheckKind(*name, Under(where, kind), JsonNode::Kind::kText)) {
      token.kind = kind == "user" ? Identity::Kind::kUser : Identity::Kind::kNode;
      token.name = name->text;
      if (!(kind == "user" ? IsUserName(token.name) : IsNodeNamePart(token.name))) {
        Mistake(
            *name, Under(where, kind),
            absl::StrCat(QuoteForMessage(token.name), " is not a name that a ", kind, " can have"));
      }
    }
    const JsonNode* expires = Text(node, where, "expires", false);
    if (expires != nullptr && !ReadTime(expires->text, token.expires)) {
      Mistake(*expires, Under(where, "expires"),
              absl::StrCat(
                  QuoteForMessage(expires->text),
                  " is neither a day such as 2027-01-31 nor a time such as 2027-01-31T12:00:00Z"));
    }
    if (!token.id.empty() && !ids_.insert(token.id).second) {
      Mistake(*id, Under(where, "id"),
              absl::StrCat(QuoteForMessage(token.id), " is another token's"));
    }
    policy_.tokens.push_back(std::move(token));
  }

  static bool ReadSha256(absl::string_view hex, Sha256Digest& digest) {
    if (hex.size() != 2 * digest.size()) return false;
    for (const char c : hex) {
      const auto byte = static_cast<unsigned char>(c);
      if (!absl::ascii_isdigit(byte) && !(c >= 'a' && c <= 'f')) return false;
    }
    const std::string bytes = absl::HexStringToBytes(hex);
    std::copy(bytes.begin(), bytes.end(), digest.begin());
    return true;
  }

  static bool ReadTime(const std::string& text, absl::Time& time) {
    std::string error;
    return absl::ParseTime("%Y-%m-%d", text, &time, &error) ||
           absl::ParseTime(absl::RFC3339_full, text, &time, &error);
  }

  void ReadGroups(const JsonNode& groups) {
    if (!CheckKind(groups, "groups", JsonNode::Kind::kObject)) return;
    if (groups.keys.size() > kMaxPolicyGroups) {
      return Mistake(
          groups, "groups",
          absl::StrCat("has ", groups.keys.size(), " groups; the limit is ", kMaxPolicyGroups));
    }
    size_t member_count = 0;
    for (size_t i = 0; i < groups.keys.size(); ++i) {
      const std::string where = Under("groups", groups.keys[i]);
      if (!IsUserName(groups.keys[i])) {
        Mistake(groups.items[i], "groups",
                absl::StrCat("has the group ", QuoteForMessage(groups.keys[i]),
                             ", which is not a name"));
        continue;
      }
      PolicyText::Group group{groups.keys[i], {}};
      if (!CheckKind(groups.items[i], where, JsonNode::Kind::kList)) continue;
      member_count += groups.items[i].items.size();
      for (size_t j = 0; j < groups.items[i].items.size(); ++j) {
        ReadMember(groups.items[i].items[j], absl::StrCat(where, "[", j, "]"), group);
      }
      group_places_.emplace(group.name, policy_.groups.size());
      policy_.groups.push_back(std::move(group));
    }
    if (member_count > kMaxPolicyMembers) {
      Mistake(groups, "groups",
              absl::StrCat("has ", member_count, " members; the limit is ", kMaxPolicyMembers));
    }
  }

  void ReadMember(const JsonNode& node, const std::string& where, PolicyText::Group& group) {
    if (!CheckKind(node, where, JsonNode::Kind::kText)) return;
    if (absl::StartsWith(node.text, "group/")) {
      return Mistake(node, where,
                     absl::StrCat(QuoteForMessage(node.text),
                                  " is a group; a group has users and nodes only"));
    }
    absl::StatusOr<Pattern> member = ParseWhoPattern(node.text);
    if (!member.ok()) return Mistake(node, where, member.status().message());
    group.members.push_back(*std::move(member));
  }

  void ReadGrant(const JsonNode& node, const std::string& where) {
    if (!CheckKeys(node, where, {"who", "role", "verbs", "on", "effect"})) return;
    PolicyText::Grant grant;
    const JsonNode* who = Text(node, where, "who", true);
    if (who != nullptr) ReadWho(*who, Under(where, "who"), grant);
    ReadVerbs(node, where, grant);
    const JsonNode* effect = Text(node, where, "effect", false);
    if (effect != nullptr) {
      grant.deny = effect->text == "deny";
      if (!grant.deny && effect->text != "allow") {
        Mistake(*effect, Under(where, "effect"),
                absl::StrCat(QuoteForMessage(effect->text), " is neither allow nor deny"));
      }
    }
    ReadOn(node, where, grant);
    policy_.grants.push_back(std::move(grant));
  }

  void ReadWho(const JsonNode& node, const std::string& where, PolicyText::Grant& grant) {
    grant.who = node.text;
    absl::string_view group = node.text;
    if (absl::ConsumePrefix(&group, "group/")) {
      const auto found = group_places_.find(group);
      if (found == group_places_.end()) {
        return Mistake(node, where,
                       absl::StrCat(QuoteForMessage(node.text), " is none of the policy's groups"));
      }
      grant.group = found->second;
      return;
    }
    absl::StatusOr<Pattern> pattern = ParseWhoPattern(node.text);
    if (!pattern.ok()) return Mistake(node, where, pattern.status().message());
    grant.who_pattern = *std::move(pattern);
  }

  void ReadVerbs(const JsonNode& node, const std::string& where, PolicyText::Grant& grant) {
    absl::string_view key;
    const JsonNode* verbs = OneOf(node, where, {"role", "verbs"}, key);
    if (verbs == nullptr) return;
    const std::string below = Under(where, key);
    if (key == "role") {
      if (!CheckKind(*verbs, below, JsonNode::Kind::kText)) return;
      const std::optional<VerbSet> role = RoleVerbs(verbs->text);
      if (!role.has_value()) {
        return Mistake(
            *verbs, below,
            absl::StrCat(QuoteForMessage(verbs->text), " is none of the roles ", RoleNames()));
      }
      grant.verbs = *role;
      grant.what = verbs->text;
      return;
    }
    if (!CheckKind(*verbs, below, JsonNode::Kind::kList)) return;
    for (size_t i = 0; i < verbs->items.size(); ++i) {
      const JsonNode& item = verbs->items[i];
      const std::string at = absl::StrCat(below, "[", i, "]");
      if (!CheckKind(item, at, JsonNode::Kind::kText)) continue;
      const std::optional<Verb> verb = VerbOf(item.text);
      if (!verb.has_value()) {
        Mistake(item, at,
                absl::StrCat(QuoteForMessage(item.text), " is none of the verbs ",
                             VerbNames(VerbSet::All())));
        continue;
      }
      grant.verbs.Add(*verb);
    }
    if (verbs->items.empty()) Mistake(*verbs, below, "is empty");
    grant.what = VerbNames(grant.verbs);
  }

  void ReadOn(const JsonNode& node, const std::string& where, PolicyText::Grant& grant) {
    const JsonNode* on = node.Field("on");
    if (on == nullptr) return Mistake(node, where, "lacks \"on\"");
    const std::string below = Under(where, "on");
    if (!CheckKind(*on, below, JsonNode::Kind::kList)) return;
    if (on->items.empty()) return Mistake(*on, below, "is empty");
    pattern_count_ += on->items.size();
    if (pattern_count_ > kMaxPolicyPatterns) {
      return Mistake(
          *on, below,
          absl::StrCat("makes more than ", kMaxPolicyPatterns, " patterns of the policy"));
    }
    for (size_t i = 0; i < on->items.size(); ++i) {
      const std::string at = absl::StrCat(below, "[", i, "]");
      if (!CheckKind(on->items[i], at, JsonNode::Kind::kText)) continue;
      absl::StatusOr<Pattern> pattern = ParseResourcePattern(on->items[i].text);
      if (!pattern.ok()) {
        Mistake(on->items[i], at, pattern.status().message());
        continue;
      }
      grant.on.push_back(on->items[i].text);
      grant.on_patterns.push_back(*std::move(pattern));
    }
  }

  void ReadMatch(const JsonNode& node, const std::string& where) {
    if (!CheckKeys(node, where, {"uri", "dns", "cn", "as"})) return;
    absl::string_view key;
    const JsonNode* pattern = OneOf(node, where, {"uri", "dns", "cn"}, key);
    const JsonNode* as = Text(node, where, "as", true);
    if (pattern == nullptr || as == nullptr ||
        !CheckKind(*pattern, Under(where, key), JsonNode::Kind::kText))
      return;
    CertificateMatch match{key == "uri"   ? CertificateMatch::Field::kUri
                           : key == "dns" ? CertificateMatch::Field::kDns
                                          : CertificateMatch::Field::kCommonName,
                           pattern->text, as->text};
    const absl::Status checked = CheckMatch(match);
    if (!checked.ok()) return Mistake(node, where, checked.message());
    policy_.matches.push_back(std::move(match));
  }

  void ReadRevoked(const JsonNode& node, const std::string& where) {
    if (!CheckKind(node, where, JsonNode::Kind::kText)) return;
    absl::string_view rest = node.text;
    if (absl::ConsumePrefix(&rest, "serial:")) {
      const std::string serial = NormalSerial(rest);
      if (serial.empty())
        return Mistake(node, where,
                       absl::StrCat(QuoteForMessage(node.text), " is not a serial number in hex"));
      policy_.revoked.insert(absl::StrCat("serial:", serial));
      return;
    }
    if (absl::ConsumePrefix(&rest, "token:")) {
      if (!IsTokenId(rest))
        return Mistake(node, where,
                       absl::StrCat(QuoteForMessage(node.text), " is not a token's id"));
      policy_.revoked.insert(node.text);
      return;
    }
    const absl::StatusOr<Pattern> who = ParseWhoPattern(node.text);
    if (!who.ok() || !who->exact) {
      return Mistake(node, where,
                     absl::StrCat(QuoteForMessage(node.text),
                                  " is not user/NAME, node/NAME, serial:HEX or token:ID"));
    }
    policy_.revoked.insert(node.text);
  }

  PolicyText policy_;
  absl::flat_hash_map<std::string, size_t> group_places_;
  // Of tokens.
  absl::flat_hash_set<std::string> ids_;
  size_t pattern_count_ = 0;
  size_t mistake_count_ = 0;
  std::vector<std::string> mistakes_;
};

absl::Status Invalid(absl::string_view mistakes) {
  return MakeError(absl::StatusCode::kInvalidArgument, reasons::kPolicyInvalid,
                   absl::StrCat("the policy is refused whole: ", mistakes),
                   {{"mistakes", std::string(mistakes)}});
}

}  // namespace

absl::StatusOr<PolicyText> ParsePolicyText(absl::string_view text) {
  const absl::StatusOr<JsonNode> root = ParseJson(text, kPolicyBounds);
  if (!root.ok()) return Invalid(root.status().message());
  absl::StatusOr<PolicyText> policy = PolicyReader().Read(*root);
  if (!policy.ok()) return Invalid(policy.status().message());
  return policy;
}

}  // namespace muster
