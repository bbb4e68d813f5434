#include "client/cli/wait_progress.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cli/display.h"
#include "client/cli/progress_bar.h"
#include "client/cli/values.h"
#include "client/sdk/wait.h"

namespace muster {
namespace {

// Of what changes all the time, such as the number of shards.
constexpr absl::Duration kSayAgain = absl::Seconds(10);

struct BytesOfMembers {
  int64_t there = 0;
  int64_t all = 0;
  // What some member fetches now.
  bool is_fetching = false;
};

int64_t BytesThereOf(const v1::AssemblyMember& member) {
  return static_cast<int64_t>(
      std::min(member.ready_bytes() + member.fetching_bytes(), member.assigned_bytes()));
}

BytesOfMembers SumOf(const v1::GetAssemblyResponse& response, const std::string& node) {
  BytesOfMembers sum;
  for (const v1::AssemblyMember& member : response.members()) {
    if (!node.empty() && member.node() != node) continue;
    sum.there += BytesThereOf(member);
    sum.all += static_cast<int64_t>(member.assigned_bytes());
    sum.is_fetching |= member.fetching_bytes() > 0;
  }
  return sum;
}

int PercentThere(const v1::AssemblyMember& member) {
  const double all = static_cast<double>(member.assigned_bytes());
  return static_cast<int>(static_cast<double>(BytesThereOf(member)) / all * 100);
}

// Of several members that are to hold something, the one that the others wait for; "" without one.
std::string SlowestOf(const v1::GetAssemblyResponse& response) {
  const v1::AssemblyMember* slowest = nullptr;
  size_t count = 0;
  for (const v1::AssemblyMember& member : response.members()) {
    if (member.assigned_bytes() == 0) continue;
    ++count;
    if (member.ready() || !member.live()) continue;
    if (slowest == nullptr || PercentThere(member) < PercentThere(*slowest)) slowest = &member;
  }
  if (slowest == nullptr || count < 2) return "";
  return absl::StrCat("slowest: ", Printable(ShortName(slowest->node())), " ",
                      PercentThere(*slowest), "%");
}

}  // namespace

int64_t BytesThere(const v1::GetAssemblyResponse& response, const std::string& node) {
  return SumOf(response, node).there;
}

std::string WaitLine(const v1::GetAssemblyResponse& response, const std::string& node,
                     double bytes_per_second, size_t columns) {
  const v1::Assembly& assembly = response.assembly();
  const BytesOfMembers sum = SumOf(response, node);
  const std::string name = ShortName(assembly.name());
  if (sum.all == 0 || sum.there == sum.all || (!sum.is_fetching && bytes_per_second <= 0)) {
    return CutToColumns(Printable(absl::StrCat(name, " ", DescribeState(assembly))), columns);
  }
  ProgressState progress;
  progress.label = Printable(absl::StrCat(node.empty() ? name : ShortName(node), " ",
                                          v1::Assembly::State_Name(assembly.state())));
  progress.done_bytes = sum.there;
  progress.total_bytes = sum.all;
  progress.bytes_per_second = bytes_per_second;
  if (node.empty()) progress.note = SlowestOf(response);
  return ProgressLine(progress, columns);
}

WaitProgress::WaitProgress(Clock& clock, LiveScreen& screen, std::string assembly, std::string node,
                           std::function<void(const std::string&)> print)
    : clock_(clock),
      screen_(screen),
      assembly_(std::move(assembly)),
      node_(std::move(node)),
      print_(std::move(print)) {}

void WaitProgress::OnState(const v1::Assembly& assembly) {
  MutexLock lock(mutex_);
  *response_.mutable_assembly() = assembly;
  const bool is_new = assembly.state() != state_ || !trouble_.empty();
  state_ = assembly.state();
  trouble_.clear();
  Say(absl::StrCat(ShortName(assembly_), " ", DescribeState(assembly)), is_new);
}

void WaitProgress::OnDisconnect(const absl::Status& status) {
  MutexLock lock(mutex_);
  const bool is_new = trouble_.empty();
  trouble_ = absl::StrCat("waiting for the server: ", status.message());
  Say(trouble_, is_new);
}

void WaitProgress::OnMembers(const v1::GetAssemblyResponse& response) {
  MutexLock lock(mutex_);
  response_ = response;
  rate_.Add(clock_.Monotonic(), BytesThere(response, node_));
  Draw();
}

void WaitProgress::OnTime() {
  MutexLock lock(mutex_);
  if (!held_back_.empty()) Say(std::exchange(held_back_, ""), false);
}

void WaitProgress::Say(const std::string& line, bool now) {
  if (screen_.can_redraw()) return Draw();
  held_back_.clear();
  if (line == said_) return;
  const absl::Duration time = clock_.Monotonic();
  if (!now && time < said_at_ + kSayAgain) {
    held_back_ = line;
    return;
  }
  said_ = line;
  said_at_ = time;
  print_(line);
}

void WaitProgress::Draw() {
  const size_t columns = screen_.size().columns - 1;
  screen_.Show({trouble_.empty() ? WaitLine(response_, node_, rate_.PerSecond(), columns)
                                 : Printable(trouble_)});
}

}  // namespace muster
