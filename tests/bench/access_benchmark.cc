// How long one call takes to be authorised, under a policy of 1,000 grants and 100,000 names. Prints JSON.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "muster/v1/assembly.pb.h"
#include "server/access/method_table.h"
#include "server/access/policy.h"

namespace muster::bench {
namespace {

constexpr int kGrants = 1'000;
constexpr int kNamesAGrant = 100;
constexpr int kCalls = 200'000;
constexpr int kRounds = 9;

class NoMembers final : public MembershipView {
 public:
  bool IsMember(absl::string_view, absl::string_view) const override { return false; }
  bool NeedsVersion(absl::string_view, absl::string_view) const override { return false; }
  std::string VersionOf(absl::string_view) const override { return ""; }
};

// Every grant is for the caller, half of them through its group.
std::string PolicyOfManyNames() {
  std::string grants;
  for (int i = 0; i < kGrants; ++i) {
    absl::StrAppend(&grants, i == 0 ? "" : ",", R"({"who": ")", i % 2 == 0 ? "user/a" : "group/g",
                    R"(", "role": "operator", "on": ["assemblies/**")");
    for (int j = 1; j < kNamesAGrant; ++j) {
      absl::StrAppend(&grants, R"(, "models/m)", i, "/versions/v", j, "\"");
    }
    absl::StrAppend(&grants, "]}");
  }
  return absl::StrCat(R"({"groups": {"g": ["user/a"]}, "grants": [)", grants, "]}");
}

int Main() {
  const auto policy = Policy::Parse(PolicyOfManyNames());
  const auto table = MethodTable::Make(MethodLines(), ItemLines());
  if (!policy.ok() || !table.ok()) return EXIT_FAILURE;
  const auto caller = Caller::Admit(*policy, Identity::User("a"), absl::Now());
  std::vector<muster::v1::CreateAssemblyRequest> requests(1'024);
  for (size_t i = 0; i < requests.size(); ++i) {
    requests[i].mutable_assembly()->set_name(absl::StrCat("assemblies/a", i));
    requests[i].mutable_assembly()->set_model_version(
        absl::StrCat("models/m", i * 7 % kGrants, "/versions/v", 1 + i % (kNamesAGrant - 1)));
  }
  std::vector<double> rounds;
  size_t allowed = 0;
  for (int round = 0; round < kRounds; ++round) {
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < kCalls; ++i) {
      allowed += table->Authorise(*caller, requests[i % requests.size()], NoMembers()).allowed;
    }
    const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - begin;
    rounds.push_back(took.count() / kCalls);
  }
  if (allowed != size_t{kRounds} * kCalls) return EXIT_FAILURE;
  std::sort(rounds.begin(), rounds.end());
  std::printf("{\"us\": %.4f, \"least\": %.4f, \"most\": %.4f}\n", rounds[kRounds / 2],
              rounds.front(), rounds.back());
  return EXIT_SUCCESS;
}

}  // namespace
}  // namespace muster::bench

int main() { return muster::bench::Main(); }
