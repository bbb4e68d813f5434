// Any text as a policy, as a certificate's names and as an authorization header: each is refused in a message that can be
// shown, or means what it must.
//
// Input: a certificate's URI up to a line break, the header up to another one, and the policy.

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "server/access/policy.h"
#include "server/access/resource_pattern.h"
#include "storage/base/quote.h"

namespace muster {
namespace {

// 20 mistakes of the policy, each with some 500 bytes of quotes and words.
constexpr size_t kMessageBytesMax = 20'000;
constexpr absl::Time kNow = absl::UnixEpoch();
constexpr std::array<absl::string_view, 4> kNames = {"models/llama/versions/v1", "nodes/n1",
                                                     "assemblies/demo", "models/llama/versions/.."};

void Require(bool right) {
  if (!right) std::abort();
}

void RequireShown(const absl::Status& status) {
  Require(!status.ok() && status.message().size() < kMessageBytesMax);
  Require(IsValidUtf8(status.message()) && !HasControlCharacter(status.message()));
}

class Nothing final : public MembershipView {
  bool IsMember(absl::string_view, absl::string_view) const override { return false; }
  bool NeedsVersion(absl::string_view, absl::string_view) const override { return false; }
  std::string VersionOf(absl::string_view) const override { return ""; }
};

// Whoever it is, a node is itself and what is no name is nobody's.
void Ask(const std::shared_ptr<const Policy>& policy, const absl::StatusOr<Identity>& identity) {
  if (!identity.ok()) return RequireShown(identity.status());
  const bool node = identity->kind == Identity::Kind::kNode;
  Require(node ? IsNodeNamePart(identity->name)
               : identity->kind == Identity::Kind::kUser && IsUserName(identity->name));
  const auto caller = Caller::Admit(policy, *identity, kNow);
  if (!caller.ok()) return RequireShown(caller.status());
  for (int bit = 0; bit < kVerbCount; ++bit) {
    const Verb verb = static_cast<Verb>(bit);
    for (const absl::string_view name : kNames) {
      const Decision decision = caller->Allows(verb, name, Nothing());
      if (!decision.allowed) RequireShown(caller->Denial(decision, verb, name));
      Require(!decision.allowed || KindOfResource(name).has_value());
      Require(!decision.allowed || !node || verb != Verb::kReport ||
              name == "nodes/" + identity->name);
      caller->RuleText(decision);
      if (decision.allowed && decision.rule == Decision::Rule::kGrant) {
        Require(caller->Allows(verb, Scope::kSomewhere, "", Nothing()).allowed);
      }
    }
  }
}

absl::string_view TakeLine(absl::string_view& rest) {
  const absl::string_view line = rest.substr(0, rest.find('\n'));
  rest.remove_prefix(std::min(rest.size(), line.size() + 1));
  return line;
}

void Run(const uint8_t* bytes, size_t size) {
  absl::string_view rest(reinterpret_cast<const char*>(bytes), size);
  const CertificateNames names{{std::string(TakeLine(rest))}, {}, "", "01"};
  const absl::string_view header = TakeLine(rest);
  const auto parsed = Policy::Parse(rest);
  if (!parsed.ok()) RequireShown(parsed.status());
  const std::shared_ptr<const Policy> policy = parsed.ok() ? *parsed : Policy::Empty();
  Ask(policy, policy->IdentityOfCertificate(names, "c"));
  Ask(policy, policy->IdentityOfToken({header}, kNow));
}

}  // namespace
}  // namespace muster

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  muster::Run(bytes, size);
  return 0;
}
