// What a Commit of the server's store costs, and what range deletes cost those who read.
//
//   metadata_store_benchmark commit --dir DIR      a batch of a report: with the witness and without, in turn
//   metadata_store_benchmark expire --dir DIR      rows that expire one a tick: three ways to delete them
//
// On /dev/shm a sync is free, so that what is left is the code; on a disk it is what an operator sees.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "rocksdb/db.h"
#include "storage/metadata/rocksdb_metadata_store.h"
#include "storage/metadata/rocksdb_options.h"
#include "storage/metadata/rocksdb_rows.h"
#include "storage/metadata/witness.h"
#include "storage/metadata/write_ahead_logs.h"

namespace muster {
namespace {

using Json = nlohmann::json;
using Timer = std::chrono::steady_clock;

double MicrosSince(Timer::time_point begin) {
  return std::chrono::duration<double, std::micro>(Timer::now() - begin).count();
}

Json Spread(std::vector<double> micros) {
  std::sort(micros.begin(), micros.end());
  const auto at = [&micros](double part) {
    return micros[static_cast<size_t>(part * (micros.size() - 1))];
  };
  return {{"p50_us", at(0.5)}, {"p90_us", at(0.9)}, {"p99_us", at(0.99)}};
}

void Check(const absl::Status& status) {
  if (status.ok()) return;
  std::cerr << status << "\n";
  std::exit(1);
}

// Of one ReportShards: a readiness row, an event row, the revision.
MetadataBatch ReportBatch(uint64_t number) {
  MetadataBatch batch;
  batch.operations.push_back(
      MetadataBatch::Put{absl::StrCat("b", number % 1'000), std::string(60, 'r')});
  batch.operations.push_back(MetadataBatch::Put{absl::StrCat("e", number), std::string(150, 'e')});
  batch.operations.push_back(MetadataBatch::Put{"!revision", std::string(12, 'n')});
  batch.revision = number;
  return batch;
}

struct Store {
  Store(const std::string& directory, bool with_witness) {
    std::filesystem::remove_all(directory);
    rocksdb::DB* db = nullptr;
    if (!rocksdb::DB::Open(StoreOptions(), directory, &db).ok()) std::exit(1);
    std::shared_ptr<Witness> witness;
    if (with_witness) witness = *Witness::Make(directory, {});
    rows = RocksdbRows(directory, std::unique_ptr<rocksdb::DB>(db), witness);
  }
  std::unique_ptr<MetadataStore> rows;
};

// In turn, so that what else the machine does hits both alike.
int RunCommit(const std::string& directory, int rounds, int commits) {
  std::vector<double> with, without, note;
  std::filesystem::create_directories(directory);
  Store on(directory + "/on", true);
  Store off(directory + "/off", false);
  std::filesystem::create_directories(directory + "/witness");
  const auto witness = *Witness::Make(directory + "/witness", {});
  uint64_t number = 0;
  for (int round = 0; round < rounds; ++round) {
    for (auto [store, times] : {std::pair(&on, &with), std::pair(&off, &without)}) {
      for (int i = 0; i < commits; ++i) {
        const MetadataBatch batch = ReportBatch(++number);
        const auto begin = Timer::now();
        Check(store->rows->Commit(batch));
        times->push_back(MicrosSince(begin));
      }
    }
    for (int i = 0; i < commits; ++i) {
      const auto begin = Timer::now();
      Check(witness->NoteBatch(number + static_cast<uint64_t>(i), 1));
      note.push_back(MicrosSince(begin));
    }
  }
  std::cout << Json{{"with_witness", Spread(with)},
                    {"without", Spread(without)},
                    {"witness_alone", Spread(note)}}
                   .dump(2)
            << "\n";
  return 0;
}

std::string Key(uint64_t number) { return absl::StrCat("q", 1'000'000'000 + number); }

double ResidentMiB() {
  long pages = 0, resident = 0;
  FILE* file = std::fopen("/proc/self/statm", "r");
  if (std::fscanf(file, "%ld %ld", &pages, &resident) != 2) resident = 0;
  std::fclose(file);
  return static_cast<double>(resident) * 4096 / (1 << 20);
}

// One row comes and one goes each tick, as request ids do.
int RunExpire(const std::string& directory, const std::string& how, int ticks) {
  std::filesystem::remove_all(directory);
  std::unique_ptr<MetadataStore> store = *NewRocksdbMetadataStore(directory);
  const double resident_before = ResidentMiB();
  std::vector<double> gets, scans;
  const auto begin = Timer::now();
  for (int tick = 0; tick < ticks; ++tick) {
    MetadataBatch batch;
    batch.operations.push_back(
        MetadataBatch::Put{Key(static_cast<uint64_t>(tick) + 50), std::string(100, 'v')});
    const auto now = static_cast<uint64_t>(tick);
    if (how == "from-start")
      batch.operations.push_back(MetadataBatch::DeleteRange{Key(0), Key(now + 1)});
    if (how == "from-last")
      batch.operations.push_back(MetadataBatch::DeleteRange{Key(now), Key(now + 1)});
    if (how == "points") batch.operations.push_back(MetadataBatch::Delete{Key(now)});
    Check(store->Commit(batch));
    if (tick % 100 != 99) continue;
    const auto get = Timer::now();
    Check(store->Get(Key(now + 10)).status());
    gets.push_back(MicrosSince(get));
    const auto scan = Timer::now();
    Check(store->Scan("q", "r", 10).status());
    scans.push_back(MicrosSince(scan));
  }
  const double seconds = MicrosSince(begin) / 1e6;
  const double resident = ResidentMiB() - resident_before;
  store.reset();
  const auto open = Timer::now();
  store = *NewRocksdbMetadataStore(directory);
  const double reopen_ms = MicrosSince(open) / 1e3;
  std::cout << Json{{"how", how},
                    {"ticks", ticks},
                    {"seconds", seconds},
                    {"get", Spread(gets)},
                    {"last_get_us", gets.back()},
                    {"scan", Spread(scans)},
                    {"resident_growth_mib", resident},
                    {"reopen_ms", reopen_ms},
                    {"resident_after_reopen_mib", ResidentMiB() - resident_before}}
                   .dump(2)
            << "\n";
  return 0;
}

int Main(int argc, char** argv) {
  CLI::App app{"Costs of the server's store", "metadata_store_benchmark"};
  app.require_subcommand(1);
  std::string directory;
  std::string how = "from-last";
  int rounds = 20, commits = 200, ticks = 20'000;
  CLI::App* commit = app.add_subcommand("commit", "a Commit with the witness and without");
  commit->add_option("--dir", directory, "made anew")->required();
  commit->add_option("--rounds", rounds)->capture_default_str();
  commit->add_option("--commits", commits, "of each kind a round")->capture_default_str();
  CLI::App* expire = app.add_subcommand("expire", "rows that expire one a tick");
  expire->add_option("--dir", directory, "made anew")->required();
  expire->add_option("--how", how, "from-start, from-last or points")->capture_default_str();
  expire->add_option("--ticks", ticks)->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  return commit->parsed() ? RunCommit(directory, rounds, commits)
                          : RunExpire(directory, how, ticks);
}

}  // namespace
}  // namespace muster

int main(int argc, char** argv) { return muster::Main(argc, argv); }
