#include "storage/object/transfer_pace.h"

#include "absl/strings/str_cat.h"

namespace muster {
namespace {

// So many times as much as the others' mean is far behind; connections that share a link differ by less
// over some ten seconds.
constexpr double kFarBehind = 4;

// "scheme://host:port".
std::string HostOfUrl(absl::string_view url) {
  const size_t scheme = url.find("://");
  const size_t begin = scheme == absl::string_view::npos ? 0 : scheme + 3;
  return std::string(url.substr(0, url.find('/', begin)));
}

}  // namespace

TransferPace::Host& TransferPace::CountTime(const std::string& name, absl::Duration now) {
  Host& host = hosts_[name];
  host.busy += (now - host.counted) * host.transfers;
  host.counted = now;
  return host;
}

TransferPace::Transfer::Transfer(TransferPace& pace, absl::string_view url)
    : pace_(pace), host_(HostOfUrl(url)), start_(pace.clock_.Monotonic()) {
  MutexLock lock(pace_.mutex_);
  Host& host = pace_.CountTime(host_, start_);
  ++host.transfers;
  host_bytes_ = host.bytes;
  host_busy_ = host.busy;
}

TransferPace::Transfer::~Transfer() {
  MutexLock lock(pace_.mutex_);
  Host& host = pace_.CountTime(host_, pace_.clock_.Monotonic());
  if (--host.transfers == 0) pace_.hosts_.erase(host_);
}

void TransferPace::Transfer::Moved(int64_t bytes) {
  bytes_ += bytes;
  MutexLock lock(pace_.mutex_);
  pace_.hosts_[host_].bytes += bytes;
}

std::optional<std::string> TransferPace::Transfer::TooSlow() {
  const PaceOptions& options = pace_.options_;
  const absl::Duration now = pace_.clock_.Monotonic();
  const absl::Duration length = now - start_;
  if (options.min_bytes_per_second == 0 || length < options.window) return std::nullopt;
  const double seconds = absl::ToDoubleSeconds(length);
  const double least = static_cast<double>(options.min_bytes_per_second) * seconds;
  int64_t together = 0;
  absl::Duration busy;
  {
    MutexLock lock(pace_.mutex_);
    const Host& host = pace_.CountTime(host_, now);
    together = host.bytes - host_bytes_;
    busy = host.busy - host_busy_;
    host_bytes_ = host.bytes;
    host_busy_ = host.busy;
  }
  const int64_t moved = bytes_;
  start_ = now;
  bytes_ = 0;
  if (static_cast<double>(moved) >= least) return std::nullopt;
  // Bytes that another transfer of its average moved in this time.
  const double others_seconds = absl::ToDoubleSeconds(busy - length);
  const double other = others_seconds < seconds / 2
                           ? 0
                           : static_cast<double>(together - moved) / others_seconds * seconds;
  const bool alone = static_cast<double>(together) < least;
  if (!alone && static_cast<double>(moved) * kFarBehind >= other) return std::nullopt;
  return absl::StrCat(
      "too slow: ", moved, " bytes in ",
      absl::FormatDuration(absl::Trunc(length, absl::Milliseconds(1))),
      alone ? absl::StrCat(", and ", together, " over all connections to the host") : "",
      ", where at least ", options.min_bytes_per_second,
      " bytes a second are expected (--min-rate)");
}

}  // namespace muster
