#include "client/agent/model_warmer.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <sstream>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "client/cache/checked_shard.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// After how many bytes the system is asked again.
constexpr int64_t kLookAgainBytes = int64_t{64} << 20;

// Says how far warming may go.
class MemoryBound {
 public:
  // Others may have taken memory, but what was warmed stays available by the system's count.
  static absl::StatusOr<MemoryBound> Make(const WarmOptions& options) {
    MUSTER_ASSIGN_OR_RETURN(const int64_t available, options.available());
    return MemoryBound(options, std::max<int64_t>(0, available - options.reserve_bytes));
  }

  bool Take(int64_t bytes) {
    if (bytes > left_) return false;
    if (since_look_ >= kLookAgainBytes) {
      since_look_ = 0;
      const absl::StatusOr<int64_t> available = options_.available();
      if (available.ok() && *available < options_.reserve_bytes) left_ = 0;
    }
    if (bytes > left_) return false;
    left_ -= bytes;
    since_look_ += bytes;
    return true;
  }

 private:
  MemoryBound(const WarmOptions& options, int64_t left) : options_(options), left_(left) {}

  const WarmOptions& options_;
  int64_t left_;
  int64_t since_look_ = 0;
};

}  // namespace

absl::StatusOr<int64_t> AvailableMemory() {
  std::ifstream file("/proc/meminfo");
  std::ostringstream text;
  text << file.rdbuf();
  return ParseAvailableMemory(text.str());
}

absl::StatusOr<int64_t> ParseAvailableMemory(absl::string_view meminfo) {
  for (absl::string_view line : absl::StrSplit(meminfo, '\n')) {
    int64_t kib = 0;
    if (!absl::ConsumePrefix(&line, "MemAvailable:") || !absl::ConsumeSuffix(&line, "kB")) continue;
    if (!absl::SimpleAtoi(line, &kib) || kib < 0 ||
        kib > std::numeric_limits<int64_t>::max() / 1024) {
      break;
    }
    return kib * 1024;
  }
  return absl::InternalError("/proc/meminfo does not say how much memory is available");
}

WarmReport WarmShards(ShardCache& cache, const std::vector<v1::Shard>& shards,
                      const WarmOptions& options, const std::stop_token& stop) {
  WarmReport report;
  report.in_memory = cache.InMemory();
  if (report.in_memory) return report;
  absl::StatusOr<MemoryBound> bound = MemoryBound::Make(options);
  if (!bound.ok()) {
    report.status = bound.status();
    return report;
  }
  bool full = false;
  const auto may_read = [&](int64_t bytes) {
    full = full || !bound->Take(bytes);
    return !full;
  };
  for (const v1::Shard& shard : shards) {
    const absl::StatusOr<int64_t> read = cache.Warm(ContentKeyOf(shard), may_read, stop);
    if (absl::IsNotFound(read.status())) continue;
    if (!read.ok()) {
      report.status = read.status();
      return report;
    }
    report.warm_bytes += *read;
    report.left_bytes += ContentBytesOf(shard) - *read;
  }
  return report;
}

ModelWarmer::ModelWarmer(ShardCache& cache, WarmOptions options, ShardsOf shards_of,
                         OnWarmed on_warmed)
    : cache_(cache),
      options_(std::move(options)),
      shards_of_(std::move(shards_of)),
      on_warmed_(std::move(on_warmed)),
      thread_([this](const std::stop_token& stop) { Run(stop); }) {}

ModelWarmer::~ModelWarmer() {
  thread_.request_stop();
  MutexLock lock(mutex_);
  ending_ = true;
  changed_.NotifyAll();
}

void ModelWarmer::Warm(const std::string& assembly) {
  MutexLock lock(mutex_);
  waiting_.insert(assembly);
  changed_.NotifyAll();
}

void ModelWarmer::Run(const std::stop_token& stop) {
  while (true) {
    std::string assembly;
    {
      MutexLock lock(mutex_);
      while (!ending_ && waiting_.empty()) changed_.Wait(mutex_);
      if (ending_) return;
      assembly = std::move(waiting_.extract(waiting_.begin()).value());
    }
    const WarmReport report = WarmShards(cache_, shards_of_(assembly), options_, stop);
    if (!absl::IsCancelled(report.status)) on_warmed_(assembly, report);
  }
}

}  // namespace muster
