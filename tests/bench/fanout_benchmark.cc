// One event to many watchers, each a stream of its own: time from the mutation's call to the last
// watcher's message, and what a watcher costs the server in memory. Prints JSON: server -> figures.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "etcd.grpc.pb.h"
#include "storage/base/mutex.h"
#include "tests/bench/api_client.h"
#include "tests/bench/process_usage.h"
#include "tests/bench/workloads.h"

namespace muster::bench {
namespace {

namespace v1 = muster::v1;
namespace etcd = etcdserverpb;
using SteadyClock = std::chrono::steady_clock;

// Counts what all watchers do.
class Tally {
 public:
  void Expect(size_t count) {
    MutexLock lock(mutex_);
    left_ = count;
  }
  void Count() {
    MutexLock lock(mutex_);
    if (left_ > 0 && --left_ == 0) done_.NotifyAll();
  }
  // Ends the program when it takes more than a minute.
  void Await(const char* what) {
    const auto limit = SteadyClock::now() + std::chrono::minutes(1);
    MutexLock lock(mutex_);
    while (left_ > 0) {
      done_.WaitFor(mutex_, absl::Milliseconds(100));
      if (SteadyClock::now() < limit) continue;
      std::fprintf(stderr, "%zu watchers did not get %s\n", left_, what);
      std::exit(1);
    }
  }

 private:
  Mutex mutex_;
  CondVar done_;
  size_t left_ MUSTER_GUARDED_BY(mutex_) = 0;
};

struct Watcher {
  virtual ~Watcher() = default;
  grpc::ClientContext context;
};

class MusterWatcher final : public Watcher,
                            public grpc::ClientReadReactor<v1::WatchAssemblyResponse> {
 public:
  MusterWatcher(v1::AssemblyService::Stub& stub, const std::string& assembly, Tally& messages,
                Tally& ends)
      : messages_(messages), ends_(ends) {
    request_.set_name(assembly);
    stub.async()->WatchAssembly(&context, &request_, this);
    StartRead(&message_);
    StartCall();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    if (!message_.progress()) messages_.Count();
    StartRead(&message_);
  }
  void OnDone(const grpc::Status&) override { ends_.Count(); }

 private:
  Tally& messages_;
  Tally& ends_;
  v1::WatchAssemblyRequest request_;
  v1::WatchAssemblyResponse message_;
};

class EtcdWatcher final : public Watcher,
                          public grpc::ClientBidiReactor<etcd::WatchRequest, etcd::WatchResponse> {
 public:
  EtcdWatcher(etcd::Watch::Stub& stub, const std::string& key, Tally& messages, Tally& ends)
      : messages_(messages), ends_(ends) {
    request_.mutable_create_request()->set_key(key);
    stub.async()->Watch(&context, this);
    StartWrite(&request_);
    StartRead(&message_);
    StartCall();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    if (message_.created() || message_.events_size() > 0) messages_.Count();
    StartRead(&message_);
  }
  void OnDone(const grpc::Status&) override { ends_.Count(); }

 private:
  Tally& messages_;
  Tally& ends_;
  etcd::WatchRequest request_;
  etcd::WatchResponse message_;
};

struct Plan {
  size_t watchers = 10'000;
  size_t channels = 8;
  int rounds = 7;
};

// `open(channel, messages, ends)` opens a watch that first gets one message; `change` makes one
// event.
nlohmann::json Measure(
    const Plan& plan, const Channels& channels, int pid,
    const std::function<std::unique_ptr<Watcher>(size_t channel, Tally&, Tally&)>& open,
    const std::function<void(int round)>& change) {
  Tally messages, ends;
  const uint64_t before = ResidentBytes(pid);
  messages.Expect(plan.watchers);
  ends.Expect(plan.watchers);
  std::vector<std::unique_ptr<Watcher>> watchers;
  const auto begin = SteadyClock::now();
  for (size_t i = 0; i < plan.watchers; ++i) {
    watchers.push_back(open(i % channels.size(), messages, ends));
  }
  messages.Await("the first message");
  const std::chrono::duration<double, std::milli> opened = SteadyClock::now() - begin;
  const double bytes = static_cast<double>(ResidentBytes(pid)) - static_cast<double>(before);
  std::vector<double> ms, cpu_ms;
  for (int round = 0; round < plan.rounds; ++round) {
    messages.Expect(plan.watchers);
    const double cpu = CpuSeconds(pid);
    const auto start = SteadyClock::now();
    change(round);
    messages.Await("an event");
    ms.push_back(std::chrono::duration<double, std::milli>(SteadyClock::now() - start).count());
    cpu_ms.push_back((CpuSeconds(pid) - cpu) * 1e3);
  }
  for (const auto& watcher : watchers) watcher->context.TryCancel();
  ends.Await("their end");
  return {{"ms", ms},
          {"server_cpu_ms", cpu_ms},
          {"open_ms", opened.count()},
          {"bytes_per_watcher", bytes / static_cast<double>(plan.watchers)}};
}

nlohmann::json MeasureMuster(const Plan& plan, const std::string& address, int pid) {
  const Channels channels = Connect(address, plan.channels);
  ApiClient api(Connect(address, 1).front());
  const Seat seat = MakePlannedAssembly(api, "fanout", 4, 1).front();
  const v1::AssignedShard assigned = api.Assignments(seat).front();
  v1::ReportShardsRequest request = ReadyReport(seat, assigned);
  v1::ShardReport& report = *request.mutable_reports(0);
  std::vector<std::unique_ptr<v1::AssemblyService::Stub>> stubs;
  for (const auto& channel : channels) stubs.push_back(v1::AssemblyService::NewStub(channel));
  return Measure(
      plan, channels, pid,
      [&](size_t channel, Tally& messages, Tally& ends) {
        return std::make_unique<MusterWatcher>(*stubs[channel], assigned.assembly(), messages,
                                               ends);
      },
      [&](int round) {
        report.set_state(round % 2 == 0 ? v1::ShardReport::READY : v1::ShardReport::FETCHING);
        api.Report(request);
      });
}

nlohmann::json MeasureEtcd(const Plan& plan, const std::string& address, int pid) {
  const Channels channels = Connect(address, plan.channels);
  const auto kv = etcd::KV::NewStub(Connect(address, 1).front());
  std::vector<std::unique_ptr<etcd::Watch::Stub>> stubs;
  for (const auto& channel : channels) stubs.push_back(etcd::Watch::NewStub(channel));
  return Measure(
      plan, channels, pid,
      [&](size_t channel, Tally& messages, Tally& ends) {
        return std::make_unique<EtcdWatcher>(*stubs[channel], "fanout", messages, ends);
      },
      [&](int round) {
        grpc::ClientContext context;
        etcd::PutRequest request;
        etcd::PutResponse response;
        request.set_key("fanout");
        // About what a message of WatchAssembly has.
        request.set_value(std::string(250, static_cast<char>('a' + round % 26)));
        Check(kv->Put(&context, request, &response), "Put");
      });
}

int Main(int argc, char** argv) {
  Plan plan;
  std::string muster, etcd_server;
  CLI::App app{"Measures one event to many watchers.", "fanout_benchmark"};
  app.add_option("--muster", muster, "address/pid of musterd");
  app.add_option("--etcd", etcd_server, "address/pid of etcd");
  app.add_option("--watchers", plan.watchers, "Streams");
  app.add_option("--channels", plan.channels, "Connections that they share");
  app.add_option("--rounds", plan.rounds, "Events");
  CLI11_PARSE(app, argc, argv);
  nlohmann::json out;
  const auto split = [](const std::string& server) {
    const size_t slash = server.find('/');
    return std::make_pair(server.substr(0, slash), std::stoi(server.substr(slash + 1)));
  };
  if (!muster.empty()) {
    const auto [address, pid] = split(muster);
    out["muster"] = MeasureMuster(plan, address, pid);
  }
  if (!etcd_server.empty()) {
    const auto [address, pid] = split(etcd_server);
    out["etcd"] = MeasureEtcd(plan, address, pid);
  }
  std::printf("%s\n", out.dump().c_str());
  return 0;
}

}  // namespace
}  // namespace muster::bench

int main(int argc, char** argv) { return muster::bench::Main(argc, argv); }
