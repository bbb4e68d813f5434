// Calls per second of each workload at several numbers in flight, taken in turns, so that what else
// the machine does falls on all alike. Prints JSON: workload -> in flight -> rounds.

#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/bench/api_client.h"
#include "tests/bench/closed_loop.h"
#include "tests/bench/process_usage.h"
#include "tests/bench/workloads.h"

namespace muster::bench {
namespace {

struct Options {
  // Addresses and process ids of the servers: "127.0.0.1:1234/99"; an empty one is left out.
  std::string empty, muster, secured, etcd;
  // Of the secured one, as `musterd --secure` makes it.
  std::string tls_folder;
  std::vector<size_t> in_flight = {1, 64, 256};
  size_t batches_in_flight = 16;
  // 0: one for each call in flight, as agents have.
  size_t channels = 0;
  int rounds = 5;
  int slice_ms = 1'000;
  std::vector<std::string> only;
};

struct Subject {
  std::string name;
  int pid = 0;
  // Units of work that one call does.
  uint32_t items = 1;
  std::unique_ptr<Workload> workload;
  std::vector<size_t> in_flight;
};

double OwnCpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) { return t.tv_sec + t.tv_usec * 1e-6; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// A connection is a file, and a shell allows 1,024 of them.
void AllowManyFiles() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

nlohmann::json RunOnce(const Subject& subject, size_t in_flight, int slice_ms) {
  const double server = CpuSeconds(subject.pid), own = OwnCpuSeconds();
  const double committer = ThreadCpuSeconds(subject.pid, "committer");
  const int warm_up_ms = slice_ms / 5;
  const LoopResult result =
      RunClosedLoop(*subject.workload, in_flight, std::chrono::milliseconds(warm_up_ms),
                    std::chrono::milliseconds(slice_ms));
  if (!result.error.empty()) {
    std::fprintf(stderr, "%s: %s\n", subject.name.c_str(), result.error.c_str());
    std::exit(1);
  }
  // The times hold the warm-up, too, whose calls are taken to be as many per second.
  const double calls = static_cast<double>(result.calls) * (1 + warm_up_ms * 1e-3 / result.seconds);
  const double us_per_item = 1e6 / std::max(1.0, calls) / subject.items;
  return {{"per_second", static_cast<double>(result.calls) * subject.items / result.seconds},
          {"server_us", (CpuSeconds(subject.pid) - server) * us_per_item},
          {"committer_us", (ThreadCpuSeconds(subject.pid, "committer") - committer) * us_per_item},
          {"client_us", (OwnCpuSeconds() - own) * us_per_item}};
}

class Servers {
 public:
  explicit Servers(const Options& options) : options_(options) {}

  template <typename Make>
  void Add(const std::string& name, const std::string& server, uint32_t items,
           const std::vector<size_t>& in_flight, Make make) {
    const size_t slash = server.find('/');
    const auto& only = options_.only;
    if (slash == std::string::npos ||
        (!only.empty() && std::find(only.begin(), only.end(), name) == only.end())) {
      return;
    }
    const size_t slots = *std::max_element(in_flight.begin(), in_flight.end());
    Channels& channels = channels_[server];
    if (channels.empty()) {
      const bool secured = server == options_.secured;
      channels = Connect(server.substr(0, slash), options_.channels > 0 ? options_.channels : slots,
                         secured ? options_.tls_folder : "");
    }
    subjects.push_back(Subject{name, std::stoi(server.substr(slash + 1)), items,
                               make(channels, slots), in_flight});
  }

  std::vector<Subject> subjects;

 private:
  const Options& options_;
  std::map<std::string, Channels> channels_;
};

int Main(int argc, char** argv) {
  Options options;
  CLI::App app{"Measures unary calls.", "unary_benchmark"};
  app.add_option("--empty", options.empty, "address/pid of the empty server");
  app.add_option("--muster", options.muster, "address/pid of musterd");
  app.add_option("--secured", options.secured, "address/pid of a musterd under TLS");
  app.add_option("--tls-folder", options.tls_folder,
                 "Its tls/authority, for its admin's certificate");
  app.add_option("--etcd", options.etcd, "address/pid of etcd");
  app.add_option("--in-flight", options.in_flight, "Calls under way at once")->delimiter(',');
  app.add_option("--batches-in-flight", options.batches_in_flight, "The same for batches");
  app.add_option("--channels", options.channels,
                 "Connections to each server; 0: one for each call in flight");
  app.add_option("--rounds", options.rounds, "Slices of each workload");
  app.add_option("--slice-ms", options.slice_ms, "Length of a slice");
  app.add_option("--only", options.only, "Names of workloads")->delimiter(',');
  CLI11_PARSE(app, argc, argv);
  AllowManyFiles();
  Servers servers(options);
  servers.Add("empty", options.empty, 1, options.in_flight, NewEmptyCalls);
  servers.Add("report", options.muster, 1, options.in_flight, NewReportCalls);
  servers.Add("get_node", options.muster, 1, options.in_flight, NewGetNodeCalls);
  servers.Add("get_node_secured", options.secured, 1, options.in_flight, NewGetNodeCalls);
  servers.Add("report_secured", options.secured, 1, options.in_flight, NewReportCalls);
  servers.Add("add_shard", options.muster, 1, options.in_flight, NewAddShardCalls);
  servers.Add("etcd_put", options.etcd, 1, options.in_flight, NewEtcdPuts);
  const std::vector<size_t> batches = {options.batches_in_flight};
  servers.Add("add_batch", options.muster, kShardsPerBatch, batches, NewAddShardBatches);
  servers.Add("etcd_txn", options.etcd, kPutsPerTxn, batches, NewEtcdTxns);
  std::vector<size_t> numbers = options.in_flight;
  numbers.push_back(options.batches_in_flight);
  nlohmann::json out;
  for (const size_t in_flight : numbers) {
    for (int round = 0; round < options.rounds; ++round) {
      for (const Subject& subject : servers.subjects) {
        const auto& own = subject.in_flight;
        if (std::find(own.begin(), own.end(), in_flight) == own.end()) continue;
        out[subject.name][std::to_string(in_flight)].push_back(
            RunOnce(subject, in_flight, options.slice_ms));
      }
    }
  }
  std::printf("%s\n", out.dump().c_str());
  return 0;
}

}  // namespace
}  // namespace muster::bench

int main(int argc, char** argv) { return muster::bench::Main(argc, argv); }
