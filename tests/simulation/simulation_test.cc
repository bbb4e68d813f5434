#include "tests/simulation/simulation.h"

#include <cstdio>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "gtest/gtest.h"
#include "tests/simulation/description.h"

namespace muster {
namespace {

// --seed N runs one seed; --first N and --seeds N run a range.
uint64_t first_seed = 1;
uint64_t seed_count = 1'000;

TEST(SimulationTest, EverySeedKeepsEveryInvariant) {
  int failures = 0;
  for (uint64_t seed = first_seed; seed < first_seed + seed_count; ++seed) {
    if (RunSimulation(seed).empty()) continue;
    // The same again, to be read.
    DescribeReadably();
    ADD_FAILURE() << RunSimulation(seed) << "\n  again: simulation_test --seed " << seed;
    if (++failures == 3) break;
  }
}

}  // namespace

// False when an argument makes no sense.
bool ParseArguments(int argc, char** argv) {
  for (int i = 1; i < argc; i += 2) {
    const absl::string_view name = argv[i];
    uint64_t value = 0;
    if (i + 1 == argc || !absl::SimpleAtoi(argv[i + 1], &value)) return false;
    if (name == "--seed") {
      first_seed = value;
      seed_count = 1;
    } else if (name == "--first") {
      first_seed = value;
    } else if (name == "--seeds") {
      seed_count = value;
    } else {
      return false;
    }
  }
  return true;
}

}  // namespace muster

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (!muster::ParseArguments(argc, argv)) {
    std::fprintf(stderr, "usage: simulation_test [--seed N | --first N] [--seeds N]\n");
    return 2;
  }
  return RUN_ALL_TESTS();
}
