#include "client/transfer/step_race.h"

#include <algorithm>
#include <utility>

namespace muster {
namespace {

constexpr size_t kPeersMax = 64;

}  // namespace

void HedgeBudget::Add(int64_t bytes) {
  MutexLock lock(mutex_);
  pulled_bytes_ += bytes;
}

bool HedgeBudget::Take(int64_t bytes) {
  MutexLock lock(mutex_);
  if (static_cast<double>(extra_taken_ + bytes) >
      extra_bytes_ * static_cast<double>(pulled_bytes_)) {
    return false;
  }
  extra_taken_ += bytes;
  return true;
}

std::stop_token StepRace::Begin(size_t step, const std::stop_token& stop) {
  MutexLock lock(mutex_);
  return steps_.try_emplace(step, stop).first->second.first.source.get_token();
}

void StepRace::ReadFrom(size_t step, size_t location, int64_t bytes) {
  MutexLock lock(mutex_);
  Step& at = steps_.at(step);
  at.since = clock_.Monotonic();
  at.location = location;
  at.bytes = bytes;
}

void StepRace::ReadDone(size_t step) {
  MutexLock lock(mutex_);
  Step& at = steps_.at(step);
  const double seconds = absl::ToDoubleSeconds(clock_.Monotonic() - at.since);
  const double per_byte = seconds / static_cast<double>(std::max<int64_t>(at.bytes, 1));
  at.bytes = 0;
  if (peers_.size() < kPeersMax) {
    peers_.push_back(per_byte);
  } else {
    peers_[next_peer_++ % kPeersMax] = per_byte;
  }
}

bool StepRace::LostAfterFailure(size_t step) {
  MutexLock lock(mutex_);
  Step& at = steps_.at(step);
  at.bytes = 0;
  while (at.second_runs) second_ended_.Wait(mutex_);
  return at.won;
}

void StepRace::End(size_t step) {
  MutexLock lock(mutex_);
  Step& at = steps_.at(step);
  at.ended = true;
  // A second reader that is still under way has lost; it takes the entry along.
  if (!at.second_runs) steps_.erase(step);
}

absl::Duration StepRace::SlowAfter(int64_t bytes) const {
  if (peers_.size() < kPeersMin) return options_.slow_without_peers;
  std::vector<double> sorted = peers_;
  const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2);
  std::nth_element(sorted.begin(), middle, sorted.end());
  return std::max(options_.slow_min,
                  absl::Seconds(options_.slow_factor * *middle * static_cast<double>(bytes)));
}

std::vector<StepRace::Slow> StepRace::FindSlow() {
  MutexLock lock(mutex_);
  const absl::Duration now = clock_.Monotonic();
  std::vector<std::pair<absl::Duration, Slow>> found;
  for (const auto& [step, at] : steps_) {
    if (at.bytes == 0 || at.had_second || at.won) continue;
    if (now - at.since < SlowAfter(at.bytes)) continue;
    found.push_back({at.since, {step, at.location, at.bytes}});
  }
  std::stable_sort(found.begin(), found.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<Slow> slow;
  for (const auto& [since, one] : found) slow.push_back(one);
  return slow;
}

std::optional<std::stop_token> StepRace::BeginSecond(size_t step, const std::stop_token& stop) {
  MutexLock lock(mutex_);
  const auto at = steps_.find(step);
  if (at == steps_.end() || at->second.had_second || at->second.won) return std::nullopt;
  at->second.had_second = true;
  at->second.second_runs = true;
  return at->second.second.emplace(stop).source.get_token();
}

void StepRace::EndSecond(size_t step) {
  MutexLock lock(mutex_);
  Step& at = steps_.at(step);
  at.second_runs = false;
  second_ended_.NotifyAll();
  if (at.ended) steps_.erase(step);
}

bool StepRace::Win(size_t step, bool second) {
  MutexLock lock(mutex_);
  Step& at = steps_.at(step);
  if (std::exchange(at.won, true)) return false;
  if (second) {
    at.first.source.request_stop();
    return true;
  }
  if (at.second.has_value()) at.second->source.request_stop();
  return true;
}

}  // namespace muster
