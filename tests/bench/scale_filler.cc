// Fills a server to scale through its API: model versions of 1,000 shards each, an assembly of 10
// nodes for each, one location and one READY assignment a shard. Prints JSON with the times.

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/bench/api_client.h"

namespace muster::bench {
namespace {

namespace v1 = muster::v1;

constexpr uint32_t kShards = 1'000;
constexpr uint32_t kMembers = 10;
constexpr int kZones = 5;
constexpr uint32_t kThreads = 4;

std::string Number(uint32_t number) { return absl::StrCat(absl::Dec(number, absl::kZeroPad5)); }
std::string AssemblyName(uint32_t i) { return absl::StrCat("assemblies/a", Number(i)); }
std::string VersionName(uint32_t i) { return absl::StrCat("models/m", Number(i), "/versions/v1"); }

void Register(ApiClient& api, uint32_t i) {
  v1::AddShardsRequest request;
  request.set_name(VersionName(i));
  for (uint32_t shard = 0; shard < kShards; ++shard) {
    *request.add_shards() = PublishedShard(VersionName(i), shard);
  }
  api.CreateVersion(request.name(), kShards);
  api.AddShards(request);
  api.CommitVersion(request.name());
}

std::vector<Seat> Assemble(ApiClient& api, uint32_t i) {
  api.CreateAssembly(AssemblyName(i), VersionName(i), kMembers);
  std::vector<Seat> seats;
  for (uint32_t member = 0; member < kMembers; ++member) {
    const std::string node = absl::StrCat("nodes/n", Number(i * kMembers + member));
    seats.push_back(api.RegisterNode(node, absl::StrCat("zone-", member % kZones)));
    api.Join(AssemblyName(i), seats.back());
  }
  return seats;
}

// Each member reports every shard READY: what it does not hold is refused, so that nobody has to be
// asked who holds what.
void Report(ApiClient& api, uint32_t i, const std::vector<Seat>& seats) {
  const uint64_t generation = api.AwaitPlan(AssemblyName(i)).generation();
  v1::ReportShardsRequest request;
  request.set_assembly(AssemblyName(i));
  for (uint32_t shard = 0; shard < kShards; ++shard) {
    v1::ShardReport& report = *request.add_reports();
    report.set_shard(shard);
    report.set_generation(generation);
    report.set_state(v1::ShardReport::READY);
  }
  for (const Seat& seat : seats) {
    request.set_node(seat.node);
    request.set_epoch(seat.epoch);
    api.Report(request);
  }
  if (api.GetAssembly(AssemblyName(i)).state() != v1::Assembly::READY) {
    std::fprintf(stderr, "%s is not READY\n", AssemblyName(i).c_str());
    std::exit(1);
  }
}

// Runs `step` for 0 to count - 1 on a few threads; returns the seconds.
double InParallel(const std::string& address, uint32_t count,
                  const std::function<void(ApiClient&, uint32_t)>& step) {
  const auto begin = std::chrono::steady_clock::now();
  std::vector<std::thread> threads;
  for (uint32_t thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      ApiClient api(Connect(address, 1).front());
      for (uint32_t i = thread; i < count; i += kThreads) step(api, i);
    });
  }
  for (std::thread& thread : threads) thread.join();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

int Main(int argc, char** argv) {
  std::string address;
  uint32_t versions = 1'000;
  CLI::App app{"Fills a server.", "scale_filler"};
  app.add_option("--muster", address, "host:port of musterd")->required();
  app.add_option("--versions", versions, "Model versions of 1,000 shards");
  CLI11_PARSE(app, argc, argv);
  std::vector<std::vector<Seat>> seats(versions);
  nlohmann::json out;
  out["shards"] = versions * kShards;
  out["register_s"] = InParallel(address, versions, Register);
  out["assemble_s"] = InParallel(address, versions,
                                 [&](ApiClient& api, uint32_t i) { seats[i] = Assemble(api, i); });
  out["report_s"] =
      InParallel(address, versions, [&](ApiClient& api, uint32_t i) { Report(api, i, seats[i]); });
  std::printf("%s\n", out.dump().c_str());
  return 0;
}

}  // namespace
}  // namespace muster::bench

int main(int argc, char** argv) { return muster::bench::Main(argc, argv); }
