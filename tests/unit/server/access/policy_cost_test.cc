// A decision allocates nothing, however big the policy is.

#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <new>
#include <string>

#include "absl/strings/str_cat.h"
#include "muster/v1/assembly.pb.h"
#include "server/access/method_table.h"
#include "server/access/policy.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/server/access/fake_memberships.h"

namespace {

thread_local size_t allocations = 0;

void* Allocate(std::size_t size) {
  ++allocations;
  void* memory = std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) std::abort();
  return memory;
}

}  // namespace

void* operator new(std::size_t size) { return Allocate(size); }
void* operator new[](std::size_t size) { return Allocate(size); }
// std::stable_sort asks for its buffer by this one.
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return Allocate(size); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }

namespace muster {
namespace {

// 1,000 grants with 100 names each, of which the caller has those of 10 groups and its own.
std::shared_ptr<const Policy> BigPolicy() {
  std::string groups, grants;
  for (int i = 0; i < 100; ++i) {
    absl::StrAppend(&groups, i == 0 ? "" : ",", "\"g", i, "\": [\"user/",
                    i % 10 == 0 ? "alice" : "bob", "\"]");
  }
  for (int i = 0; i < 1'000; ++i) {
    absl::StrAppend(&grants, i == 0 ? "" : ",", "{\"who\": \"",
                    i % 100 == 0 ? std::string("user/alice") : absl::StrCat("group/g", i % 100),
                    "\", \"role\": \"operator\", \"on\": [\"models/m", i,
                    "/**\", \"assemblies/**\"");
    for (int j = 0; j < 98; ++j)
      absl::StrAppend(&grants, ", \"models/m", i, "/versions/v", j, "\"");
    absl::StrAppend(&grants, "]}");
  }
  return *Policy::Parse(absl::StrCat("{\"groups\": {", groups, "}, \"grants\": [", grants, "]}"));
}

TEST(PolicyCostTest, ADecisionAllocatesNothing) {
  const auto caller = Caller::Admit(BigPolicy(), Identity::User("alice"), absl::UnixEpoch());
  MUSTER_ASSERT_OK(caller);
  const auto table = MethodTable::Make(MethodLines(), ItemLines());
  MUSTER_ASSERT_OK(table);
  const FakeMemberships members;
  v1::CreateAssemblyRequest request;
  request.mutable_assembly()->set_name("assemblies/demo-of-a-name-that-is-long-enough");
  request.mutable_assembly()->set_model_version("models/m500/versions/v7");
  const std::string denied = "models/m501/versions/v7";
  const size_t before = allocations;

  const CallDecision call = table->Authorise(*caller, request, members);
  const bool may = caller->Allows(Verb::kRead, denied, members).allowed;
  const bool somewhere = caller->Allows(Verb::kRead, Scope::kSomewhere, "models/", members).allowed;

  EXPECT_EQ(allocations - before, 0u);
  EXPECT_TRUE(call.allowed);
  EXPECT_FALSE(may);
  EXPECT_TRUE(somewhere);
}

}  // namespace
}  // namespace muster
