#include "server/rpc/call_stats.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "storage/base/error_info.h"

namespace muster {
namespace {

template <typename Buckets>
double PercentileMs(const Buckets& buckets, uint64_t calls, double share) {
  uint64_t seen = 0;
  for (size_t i = 0; i < buckets.size(); ++i) {
    seen += buckets[i];
    if (static_cast<double>(seen) >= share * static_cast<double>(calls)) {
      return static_cast<double>(uint64_t{1} << i) / 1000.0;
    }
  }
  return 0;
}

}  // namespace

CallStats::Call CallStats::Begin(const char* method, std::string peer) {
  return Call{method, clock_.Monotonic(), std::move(peer)};
}

void CallStats::End(const Call& call, const absl::Status& status) {
  const int64_t us = absl::ToInt64Microseconds(clock_.Monotonic() - call.start);
  {
    MutexLock lock(mutex_);
    Method& method = methods_[call.method];
    ++method.calls;
    if (!status.ok()) ++method.errors;
    size_t bucket = 0;
    while (bucket + 1 < kBuckets && us >= int64_t{1} << bucket) ++bucket;
    ++method.buckets[bucket];
  }
  uint64_t left_out = 0;
  if (status.ok() || !MayLog(call.method, status, &left_out)) return;
  spdlog::warn("rpc={} code={} reason={} ms={:.1f} peer={} message=\"{}\"{}", call.method,
               absl::StatusCodeToString(status.code()), ReasonOf(status),
               static_cast<double>(us) / 1000.0, call.peer,
               absl::CHexEscape(status.message().substr(0, 500)),
               left_out == 0 ? "" : absl::StrCat(" left_out=", left_out));
}

bool CallStats::MayLog(const char* method, const absl::Status& status, uint64_t* left_out) {
  const absl::Duration now = clock_.Monotonic();
  const std::string key = absl::StrCat(method, " ", status.raw_code(), " ", ReasonOf(status));
  MutexLock lock(mutex_);
  Failures& failures = failures_[key];
  if (now - failures.window_start >= absl::Seconds(1)) {
    failures.window_start = now;
    failures.logged = 0;
  }
  if (failures.logged == kFailuresLogged) {
    ++failures.left_out;
    return false;
  }
  ++failures.logged;
  *left_out = std::exchange(failures.left_out, 0);
  return true;
}

void CallStats::LogSummary() {
  MutexLock lock(mutex_);
  std::map<std::string, Method> by_name;
  for (const auto& [name, method] : methods_) by_name.emplace(std::string(name), method);
  for (const auto& [name, method] : by_name) {
    spdlog::info("calls rpc={} count={} errors={} p50_ms={:.3g} p99_ms={:.3g} max_ms={:.3g}", name,
                 method.calls, method.errors, PercentileMs(method.buckets, method.calls, 0.5),
                 PercentileMs(method.buckets, method.calls, 0.99),
                 PercentileMs(method.buckets, method.calls, 1.0));
  }
  for (const auto& [key, failures] : failures_) {
    if (failures.left_out > 0)
      spdlog::info("failures of=\"{}\" left_out={}", key, failures.left_out);
  }
}

}  // namespace muster
