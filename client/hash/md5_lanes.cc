// How inputs are spread over lanes:
//
// 1. Every input is a job of up to two runs of whole blocks: the part that lies in the caller's
//    memory, and the end with its padding in a buffer of the job.
// 2. Jobs are taken longest first, so that few are left over at the end.
// 3. The lanes run for as many blocks as the shortest run among them has; a lane whose run is over
//    goes on with its job's next run, or with the next job.
// 4. Buffers of pieces begin at page boundaries, so blocks that are read side by side would all fall
//    into one set of the cache and push one another out. A long run therefore goes ahead alone by a
//    few blocks, different ones in each lane.
// 5. When fewer jobs are left than pay for lanes, each is finished on its own.
#include "client/hash/md5_lanes.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/hash/md5_kernel.h"

namespace muster {
namespace {

constexpr size_t kBlock = kMd5BlockBytes;

struct Run {
  const uint8_t* data = nullptr;
  size_t blocks = 0;
};

struct Job {
  Md5State* state = nullptr;
  std::array<Run, 2> runs;

  size_t blocks() const { return runs[0].blocks + runs[1].blocks; }
  // Drops runs that are over; false when none is left.
  bool HasBlocks() {
    if (runs[0].blocks == 0) std::swap(runs[0], runs[1]);
    return runs[0].blocks > 0;
  }
};

// Runs `jobs` (at most the function's lanes) for `blocks` blocks. Idle lanes repeat the first job.
void RunTogether(Md5LaneFunction function, size_t lanes, absl::Span<Job* const> jobs,
                 size_t blocks) {
  alignas(64) uint32_t rows[4 * kMaxMd5Lanes];
  const uint8_t* data[kMaxMd5Lanes];
  for (size_t lane = 0; lane < lanes; ++lane) {
    const Job& job = *jobs[lane < jobs.size() ? lane : 0];
    data[lane] = job.runs[0].data;
    for (size_t row = 0; row < 4; ++row) rows[row * lanes + lane] = (*job.state)[row];
  }
  function(rows, data, blocks);
  for (size_t lane = 0; lane < jobs.size(); ++lane) {
    for (size_t row = 0; row < 4; ++row) (*jobs[lane]->state)[row] = rows[row * lanes + lane];
    jobs[lane]->runs[0].data += blocks * kBlock;
    jobs[lane]->runs[0].blocks -= blocks;
  }
}

void RunAlone(Job& job) {
  for (const Run& run : job.runs) Md5Blocks(*job.state, run.data, run.blocks);
}

// See 4. The first-level cache has 64 sets of one block each.
void Stagger(Job& job, size_t lane, size_t lanes) {
  constexpr size_t kSets = 64;
  Run& run = job.runs[0];
  if (run.blocks < 16 * kSets) return;
  const size_t set = reinterpret_cast<uintptr_t>(run.data) / kBlock % kSets;
  const size_t ahead = (lane * kSets / lanes + kSets - set) % kSets;
  Md5Blocks(*job.state, run.data, ahead);
  run.data += ahead * kBlock;
  run.blocks -= ahead;
}

void RunAll(std::vector<Job>& jobs) {
  const Md5Kernel kernel = Md5BestKernel();
  std::vector<Job*> waiting;
  for (Job& job : jobs) {
    if (job.HasBlocks()) waiting.push_back(&job);
  }
  // The longest is at the end.
  std::stable_sort(waiting.begin(), waiting.end(),
                   [](const Job* a, const Job* b) { return a->blocks() < b->blocks(); });
  std::vector<Job*> active;
  while (true) {
    while (active.size() < kernel.wide_lanes && !waiting.empty()) {
      Stagger(*waiting.back(), active.size(), kernel.wide_lanes);
      active.push_back(waiting.back());
      waiting.pop_back();
    }
    if (active.size() < kernel.break_even) break;
    size_t blocks = active.front()->runs[0].blocks;
    for (const Job* job : active) blocks = std::min(blocks, job->runs[0].blocks);
    const bool narrow = active.size() <= kernel.narrow_lanes;
    RunTogether(narrow ? kernel.narrow : kernel.wide,
                narrow ? kernel.narrow_lanes : kernel.wide_lanes, active, blocks);
    std::erase_if(active, [](Job* job) { return !job->HasBlocks(); });
  }
  for (Job* job : active) RunAlone(*job);
  for (Job* job : waiting) RunAlone(*job);
}

// The end of a message of `size_bytes` bytes: its last bytes, the padding and the length.
struct Ending {
  std::array<uint8_t, 2 * kBlock> bytes;
  size_t blocks = 0;

  void Fill(const uint8_t* rest, size_t rest_bytes, uint64_t size_bytes) {
    blocks = rest_bytes + 9 <= kBlock ? 1 : 2;
    bytes.fill(0);
    if (rest_bytes > 0) std::memcpy(bytes.data(), rest, rest_bytes);
    bytes[rest_bytes] = 0x80;
    const uint64_t bits = size_bytes * 8;
    std::memcpy(bytes.data() + blocks * kBlock - sizeof(bits), &bits, sizeof(bits));
  }
};

Md5Digest DigestOf(const Md5State& state) {
  Md5Digest digest;
  static_assert(sizeof(digest) == sizeof(state));
  std::memcpy(digest.data(), state.data(), sizeof(digest));
  return digest;
}

const uint8_t* BytesOf(absl::string_view text) {
  return reinterpret_cast<const uint8_t*>(text.data());
}

}  // namespace

void Md5Many(absl::Span<const absl::string_view> inputs, absl::Span<Md5Digest> out) {
  if (inputs.size() < Md5BestKernel().break_even) {
    for (size_t i = 0; i < inputs.size(); ++i) out[i] = Md5Of(inputs[i]);
    return;
  }
  std::vector<Md5State> states(inputs.size(), kMd5InitialState);
  std::vector<Ending> endings(inputs.size());
  std::vector<Job> jobs(inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    const size_t blocks = inputs[i].size() / kBlock;
    const size_t rest = inputs[i].size() % kBlock;
    endings[i].Fill(BytesOf(inputs[i]) + blocks * kBlock, rest, inputs[i].size());
    jobs[i].state = &states[i];
    jobs[i].runs = {Run{BytesOf(inputs[i]), blocks},
                    Run{endings[i].bytes.data(), endings[i].blocks}};
  }
  RunAll(jobs);
  for (size_t i = 0; i < inputs.size(); ++i) out[i] = DigestOf(states[i]);
}

void Md5LaneStream::UpdateMany(absl::Span<Md5LaneStream* const> streams,
                               absl::Span<const absl::string_view> parts) {
  std::vector<Job> jobs(streams.size());
  for (size_t i = 0; i < streams.size(); ++i) {
    Md5LaneStream& stream = *streams[i];
    absl::string_view part = parts[i];
    const size_t held = stream.size_bytes_ % kBlock;
    stream.size_bytes_ += part.size();
    jobs[i].state = &stream.state_;
    if (held > 0) {
      const size_t taken = std::min(part.size(), kBlock - held);
      if (taken > 0) std::memcpy(stream.rest_.data() + held, part.data(), taken);
      part.remove_prefix(taken);
      if (held + taken == kBlock) jobs[i].runs[0] = Run{stream.rest_.data(), 1};
    }
    jobs[i].runs[1] = Run{BytesOf(part), part.size() / kBlock};
  }
  RunAll(jobs);
  for (size_t i = 0; i < streams.size(); ++i) {
    const size_t rest = streams[i]->size_bytes_ % kBlock;
    // Less than the part means that the rest began with bytes that were held, which are there.
    if (rest == 0 || rest > parts[i].size()) continue;
    std::memcpy(streams[i]->rest_.data(), parts[i].data() + parts[i].size() - rest, rest);
  }
}

void Md5LaneStream::Update(absl::string_view part) {
  Md5LaneStream* const self = this;
  UpdateMany({self}, {part});
}

Md5Digest Md5LaneStream::Finish() {
  Ending ending;
  ending.Fill(rest_.data(), size_bytes_ % kBlock, size_bytes_);
  Md5Blocks(state_, ending.bytes.data(), ending.blocks);
  const Md5Digest digest = DigestOf(state_);
  state_ = kMd5InitialState;
  size_bytes_ = 0;
  return digest;
}

std::string Md5LanesTarget() {
  const Md5Kernel kernel = Md5BestKernel();
  return absl::StrCat(kernel.target, ", ", kernel.wide_lanes, " lanes");
}

size_t Md5LaneCount() { return Md5BestKernel().wide_lanes; }

size_t Md5BreakEven() { return Md5BestKernel().break_even; }

}  // namespace muster
