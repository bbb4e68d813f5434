// How shards arrive:
//
// 1. The load's own thread plans: which shards, whether each is described in a way that can be
//    used, whether a cache has room. `planned_` is set once that is known, and the plan never
//    changes after it. An error of the plan is the load's.
// 2. A crew takes the shards in their order. Each thread asks for its shard's piece list ahead of
//    time, but begins the transfer only in its turn, so that shards come roughly in order whatever
//    the server answers first. A shard whose list could not be had takes its turn too, or all
//    behind it would wait for ever.
// 3. A shard's error is its own, and the others continue. After a cancellation the shards that
//    never began get an error as well: when the load has ended, every item has a result.
// 4. What arrives is recorded first, then delivered to the callbacks by one thread at a time, in
//    the order of arrival and with no lock held (TellArrivals). A thread that finds another one
//    delivering leaves its shard to it and takes the next. All are delivered before the load ends.
// 5. Progress is counted under mutex_ and reported under progress_order_, which is taken first: the
//    numbers never go back between two calls of different threads.
#include "client/loading/model_load.h"

#include <algorithm>
#include <map>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/assemble/shard_files.h"
#include "client/cache/checked_shard.h"
#include "client/cache/shard_decoder.h"
#include "client/encoding/encoding_name.h"
#include "client/encoding/frame_decoder.h"
#include "client/hash/parallel.h"
#include "client/keys/server_keys.h"
#include "client/sdk/pieces.h"
#include "storage/base/error_info.h"
#include "storage/base/limits.h"
#include "storage/base/mutex.h"
#include "storage/base/quote.h"
#include "storage/base/reasons.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

absl::Status CheckCommitted(const v1::ModelVersion& version) {
  if (version.state() == v1::ModelVersion::COMMITTED) return absl::OkStatus();
  return MakeError(
      absl::StatusCode::kFailedPrecondition, reasons::kVersionNotCommitted,
      absl::StrCat(ShortModelVersionName(version.name()), " is not committed and can't be loaded"),
      {{"state", v1::ModelVersion::State_Name(version.state())}});
}

// Of what the server sent only what Puller and LoadedShard don't check.
absl::Status CheckShard(const v1::Shard& shard, uint32_t index) {
  const auto size = shard.size_bytes();
  const int64_t content = ContentBytesOf(shard);
  if (shard.index() != index || size < 1 || size > kMaxShardSizeBytes || content < 1 ||
      content > kMaxShardSizeBytes) {
    return MakeError(
        absl::StatusCode::kDataLoss, reasons::kDescriptionBroken,
        absl::StrCat("shard ", index, " is described as shard ", shard.index(), " with ", size,
                     " bytes; the server's description of it can't "
                     "be used"));
  }
  return Annotate(ParseEncoding(shard.encoding()).status(), absl::StrCat("shard ", index));
}

// Of shards that are encrypted with keys of the server's, the server gives those.
LoadOptions WithServerKeys(Client& client, LoadOptions options) {
  options.keys = NewServerKeys(client, std::move(options.keys));
  return options;
}

std::string ContextOf(const v1::Shard& shard) { return absl::StrCat("shard ", shard.index()); }

}  // namespace

// One thread plans and then is the first of the crew that loads. A shard that has come is recorded
// at once; whoever recorded it also makes the calls for it, unless another of the crew is at that
// already and finds it in arrived_.
class ModelLoad::Run {
 public:
  Run(Client& client, const ObjectStoreRegistry& stores, Clock& clock, Random& random,
      LoadOptions options)
      : client_(client),
        options_(WithServerKeys(client, std::move(options))),
        forward_(options_.stop, [this] { Cancel(); }),
        puller_(stores, clock, random, options_.puller),
        stored_(options_.puller.memory_budget_bytes),
        thread_([this] { Main(); }) {}
  ~Run() { Cancel(); }

  void Cancel() { stop_.request_stop(); }
  absl::Status Wait();
  absl::StatusOr<LoadedShard> AwaitShard(uint32_t index);
  absl::StatusOr<LoadedTensor> AwaitTensor(absl::string_view name);
  std::vector<LoadedShard> Loaded() const;
  LoadProgress progress() const;

 private:
  using Result = absl::StatusOr<LoadedShard>;

  struct Item {
    int64_t done_bytes = 0;
    // Unset while the shard is on its way.
    std::optional<Result> result;
  };

  void Main();
  absl::Status Plan();
  absl::StatusOr<std::vector<v1::Shard>> Choose();
  absl::Status CheckRoom() const;
  void LoadAll();
  Result Load(size_t item, const std::stop_token& stop);
  absl::StatusOr<PullShard> Describe(const v1::Shard& shard, const std::stop_token& stop);
  absl::StatusOr<ShardMemory> IntoMemory(const PullShard& shard, const std::stop_token& stop,
                                         const PullProgress& progress);
  absl::Status Decode(const PullShard& shard, ShardMemorySink& sink, const std::stop_token& stop,
                      const PullProgress& progress);
  absl::StatusOr<ShardMemory> IntoCache(const PullShard& shard, const std::stop_token& stop,
                                        const PullProgress& progress);
  void AwaitTurn(size_t item);
  void Warn(const PullResult& pull) const;
  void Progress(size_t item, int64_t done_bytes);
  void Arrive(size_t item, Result result);
  void Record(size_t item, Result result);
  void TellArrivals();
  std::optional<std::pair<size_t, Result>> NextArrival();
  void Tell(size_t item, const Result& result) const;
  absl::Status FirstError() const MUSTER_REQUIRES(mutex_);

  Client& client_;
  const LoadOptions options_;
  std::stop_source stop_;
  const std::stop_callback<std::function<void()>> forward_;
  Puller puller_;
  // Stored bytes of encoded shards that are being loaded.
  MemoryBudget stored_;

  // Set by Plan, before planned_; not changed afterwards.
  std::string model_version_;
  std::vector<v1::Shard> shards_;

  // Held while on_progress runs, so that calls come in the order of what they report.
  Mutex progress_order_;
  mutable Mutex mutex_;
  CondVar changed_;
  bool planned_ MUSTER_GUARDED_BY(mutex_) = false;
  // By position in shards_.
  std::vector<Item> items_ MUSTER_GUARDED_BY(mutex_);
  std::map<uint32_t, size_t> item_of_shard_ MUSTER_GUARDED_BY(mutex_);
  // The item whose transfer may begin now.
  size_t turn_ MUSTER_GUARDED_BY(mutex_) = 0;
  LoadProgress progress_ MUSTER_GUARDED_BY(mutex_);
  // Items in the order in which they came, and how many of them the callbacks have received.
  std::vector<size_t> arrived_ MUSTER_GUARDED_BY(mutex_);
  size_t told_ MUSTER_GUARDED_BY(mutex_) = 0;
  bool telling_ MUSTER_GUARDED_BY(mutex_) = false;
  // Set at the end.
  std::optional<absl::Status> ended_ MUSTER_GUARDED_BY(mutex_);
  // Last, since it uses all of the above.
  std::jthread thread_;
};

void ModelLoad::Run::Main() {
  absl::Status status = Plan();
  if (status.ok()) LoadAll();
  MutexLock lock(mutex_);
  ended_ = status.ok() ? FirstError() : status;
  changed_.NotifyAll();
}

absl::Status ModelLoad::Run::Plan() {
  MUSTER_ASSIGN_OR_RETURN(model_version_, FullModelVersionName(options_.model_version));
  MUSTER_ASSIGN_OR_RETURN(shards_, Choose());
  MUSTER_RETURN_IF_ERROR(CheckRoom());
  MutexLock lock(mutex_);
  items_.resize(shards_.size());
  progress_.shards_total = shards_.size();
  for (size_t item = 0; item < shards_.size(); ++item) {
    item_of_shard_[shards_[item].index()] = item;
    progress_.total_bytes += ContentBytesOf(shards_[item]);
  }
  planned_ = true;
  changed_.NotifyAll();
  return absl::OkStatus();
}

// In shard order, each once, and described in a way that can be used.
absl::StatusOr<std::vector<v1::Shard>> ModelLoad::Run::Choose() {
  CallOptions call;
  call.stop = stop_.get_token();
  v1::GetModelVersionRequest request;
  request.set_name(model_version_);
  MUSTER_ASSIGN_OR_RETURN(const auto response, client_.GetModelVersion(request, call));
  const v1::ModelVersion& version = response.model_version();
  MUSTER_RETURN_IF_ERROR(CheckCommitted(version));
  std::optional<std::vector<uint32_t>> indices = options_.shards;
  if (indices.has_value()) {
    std::sort(indices->begin(), indices->end());
    indices->erase(std::unique(indices->begin(), indices->end()), indices->end());
  }
  MUSTER_ASSIGN_OR_RETURN(std::vector<v1::Shard> shards,
                          ChooseShards(client_, model_version_, indices, call));
  const size_t expected = indices.has_value() ? indices->size() : version.shard_count();
  if (shards.size() != expected) {
    return MakeError(absl::StatusCode::kDataLoss, reasons::kDescriptionBroken,
                     absl::StrCat(ShortModelVersionName(model_version_), " has ", expected,
                                  " shards and ", shards.size(), " are listed"));
  }
  for (size_t i = 0; i < shards.size(); ++i) {
    const uint32_t index = indices.has_value() ? (*indices)[i] : static_cast<uint32_t>(i);
    const absl::Status status = CheckShard(shards[i], index);
    if (!status.ok()) return Annotate(status, ShortModelVersionName(model_version_));
  }
  return shards;
}

absl::Status ModelLoad::Run::CheckRoom() const {
  if (options_.place != LoadPlace::kCache) return absl::OkStatus();
  if (options_.cache == nullptr) {
    return absl::InvalidArgumentError("a load into the cache needs LoadOptions::cache");
  }
  return options_.cache->CheckRoom(WantedOf(shards_));
}

void ModelLoad::Run::LoadAll() {
  // A shard's failure stays its own, so the only error is a cancellation; shards that were not
  // begun then are told of it below.
  RunInParallel(shards_.size(), std::max<size_t>(options_.shards_at_once, 1), stop_.get_token(),
                [this](size_t item, const std::stop_token& stop) {
                  Arrive(item, Load(item, stop));
                  return absl::OkStatus();
                })
      .IgnoreError();
  for (size_t item = 0; item < shards_.size(); ++item) {
    {
      MutexLock lock(mutex_);
      if (items_[item].result.has_value()) continue;
    }
    Arrive(item,
           Annotate(absl::CancelledError("the load was cancelled"), ContextOf(shards_[item])));
  }
}

ModelLoad::Run::Result ModelLoad::Run::Load(size_t item, const std::stop_token& stop) {
  const v1::Shard& shard = shards_[item];
  const absl::StatusOr<PullShard> described = Describe(shard, stop);
  AwaitTurn(item);
  if (!described.ok()) return Annotate(described.status(), ContextOf(shard));
  const int64_t size = ContentBytesOf(shard);
  const PullProgress progress = [this, item, size](int64_t done_bytes) {
    Progress(item, std::min(done_bytes, size));
  };
  absl::StatusOr<ShardMemory> memory = options_.place == LoadPlace::kCache
                                           ? IntoCache(*described, stop, progress)
                                           : IntoMemory(*described, stop, progress);
  if (!memory.ok()) return Annotate(memory.status(), ContextOf(shard));
  Result loaded = LoadedShard::Make(shard, *std::move(memory));
  if (!loaded.ok()) return Annotate(loaded.status(), ContextOf(shard));
  return loaded;
}

absl::StatusOr<PullShard> ModelLoad::Run::Describe(const v1::Shard& shard,
                                                   const std::stop_token& stop) {
  PullShard described{shard, {}};
  CallOptions call;
  call.stop = stop;
  MUSTER_ASSIGN_OR_RETURN(described.pieces, FetchPieces(client_, shard, call));
  return described;
}

// The crew takes items in their order, so those before this one have all been taken.
void ModelLoad::Run::AwaitTurn(size_t item) {
  MutexLock lock(mutex_);
  while (turn_ != item) changed_.Wait(mutex_);
  ++turn_;
  changed_.NotifyAll();
}

absl::StatusOr<ShardMemory> ModelLoad::Run::IntoMemory(const PullShard& shard,
                                                       const std::stop_token& stop,
                                                       const PullProgress& progress) {
  const int64_t size = ContentBytesOf(shard.shard);
  absl::StatusOr<std::unique_ptr<ShardMemorySink>> sink =
      options_.place == LoadPlace::kSharedMemory
          ? ShardMemorySink::MakeShared(
                size, absl::StrCat("muster-", ShortModelVersionName(model_version_), "-",
                                   shard.shard.index()))
          : ShardMemorySink::MakePrivate(size);
  MUSTER_RETURN_IF_ERROR(sink.status());
  if (!shard.shard.encoding().empty()) {
    MUSTER_RETURN_IF_ERROR(Decode(shard, **sink, stop, progress));
    return (*sink)->Finish();
  }
  const PullResult result = puller_.Pull(shard, **sink, stop, progress);
  Warn(result);
  MUSTER_RETURN_IF_ERROR(result.status);
  return (*sink)->Finish();
}

// Stored bytes are held in memory beside the content until that is decoded.
absl::Status ModelLoad::Run::Decode(const PullShard& shard, ShardMemorySink& sink,
                                    const std::stop_token& stop, const PullProgress& progress) {
  MUSTER_ASSIGN_OR_RETURN(const CheckedShard checked, CheckedShard::Make(shard));
  MUSTER_RETURN_IF_ERROR(
      FrameDecoder::CheckPossible(checked.encoding(), checked.key_id(), options_.keys.get()));
  // In turns, where not all fit; a shard that doesn't fit at all is alone.
  MUSTER_ASSIGN_OR_RETURN(const MemoryBudget::Share share,
                          stored_.Take(checked.size_bytes(), stop));
  const MemoryPullResult stored = puller_.PullToMemory(shard, checked.size_bytes(), stop, progress);
  Warn(stored.pull);
  MUSTER_RETURN_IF_ERROR(stored.pull.status);
  const auto read = [&stored](int64_t offset, absl::Span<char> out) {
    std::copy_n(stored.bytes.get() + offset, out.size(), out.data());
    return absl::OkStatus();
  };
  MUSTER_ASSIGN_OR_RETURN(const ShardDecoder decoder,
                          ShardDecoder::Open(checked, read, options_.keys.get(), stop));
  return decoder.Decode(sink, stop, &puller_.memory());
}

absl::StatusOr<ShardMemory> ModelLoad::Run::IntoCache(const PullShard& shard,
                                                      const std::stop_token& stop,
                                                      const PullProgress& progress) {
  CachedPullResult result = puller_.PullToCache(shard, *options_.cache, stop, progress);
  Warn(result.pull);
  MUSTER_RETURN_IF_ERROR(result.pull.status);
  if (result.entry->content().ContentKey() != ContentKeyOf(shard.shard)) {
    return MakeError(
        absl::StatusCode::kFailedPrecondition, reasons::kCacheKeepsStored,
        absl::StrCat(options_.cache->place().path,
                     ": keeps encoded shards as they are stored; open it to keep their "
                     "content, or load into memory"));
  }
  return ShardMemory::Map(*std::move(result.entry));
}

void ModelLoad::Run::Warn(const PullResult& pull) const {
  if (!options_.warn) return;
  for (const PullFailure& failure : pull.location_failures) options_.warn(failure.message);
  if (pull.rotted.has_value()) options_.warn(pull.rotted->message);
}

void ModelLoad::Run::Progress(size_t item, int64_t done_bytes) {
  MutexLock order(progress_order_);
  LoadProgress now;
  {
    MutexLock lock(mutex_);
    progress_.done_bytes += done_bytes - std::exchange(items_[item].done_bytes, done_bytes);
    now = progress_;
  }
  if (options_.on_progress) options_.on_progress(now);
}

void ModelLoad::Run::Arrive(size_t item, Result result) {
  Record(item, std::move(result));
  TellArrivals();
}

void ModelLoad::Run::Record(size_t item, Result result) {
  MutexLock order(progress_order_);
  LoadProgress now;
  {
    MutexLock lock(mutex_);
    const int64_t done_bytes = result.ok() ? static_cast<int64_t>(result->bytes().size()) : 0;
    progress_.done_bytes += done_bytes - std::exchange(items_[item].done_bytes, done_bytes);
    ++(result.ok() ? progress_.shards_loaded : progress_.shards_failed);
    items_[item].result = std::move(result);
    arrived_.push_back(item);
    now = progress_;
    changed_.NotifyAll();
  }
  if (options_.on_progress) options_.on_progress(now);
}

void ModelLoad::Run::TellArrivals() {
  {
    MutexLock lock(mutex_);
    if (std::exchange(telling_, true)) return;
  }
  while (const auto arrival = NextArrival()) Tell(arrival->first, arrival->second);
}

// Unset when all were announced: the thread that records the next one has to announce it.
std::optional<std::pair<size_t, ModelLoad::Run::Result>> ModelLoad::Run::NextArrival() {
  MutexLock lock(mutex_);
  if (told_ == arrived_.size()) {
    telling_ = false;
    return std::nullopt;
  }
  const size_t item = arrived_[told_++];
  return std::pair(item, *items_[item].result);
}

void ModelLoad::Run::Tell(size_t item, const Result& result) const {
  if (options_.on_shard) options_.on_shard(shards_[item].index(), result);
  if (!options_.on_tensor || !result.ok()) return;
  for (size_t i = 0; i < result->tensor_count(); ++i) options_.on_tensor(result->tensor(i));
}

absl::Status ModelLoad::Run::FirstError() const {
  for (const Item& item : items_) {
    if (!item.result->ok()) return item.result->status();
  }
  return absl::OkStatus();
}

absl::Status ModelLoad::Run::Wait() {
  MutexLock lock(mutex_);
  while (!ended_.has_value()) changed_.Wait(mutex_);
  return *ended_;
}

absl::StatusOr<LoadedShard> ModelLoad::Run::AwaitShard(uint32_t index) {
  MutexLock lock(mutex_);
  while (!planned_ && !ended_.has_value()) changed_.Wait(mutex_);
  if (!planned_) return *ended_;
  const auto item = item_of_shard_.find(index);
  if (item == item_of_shard_.end()) {
    return MakeError(absl::StatusCode::kNotFound, reasons::kShardNotLoaded,
                     absl::StrCat("shard ", index, " of ", ShortModelVersionName(model_version_),
                                  " is not among the ", items_.size(), " that are loaded"),
                     {{"shard", absl::StrCat(index)}});
  }
  while (!items_[item->second].result.has_value()) changed_.Wait(mutex_);
  return *items_[item->second].result;
}

absl::StatusOr<LoadedTensor> ModelLoad::Run::AwaitTensor(absl::string_view name) {
  MutexLock lock(mutex_);
  for (size_t seen = 0;;) {
    for (; seen < arrived_.size(); ++seen) {
      const Result& result = *items_[arrived_[seen]].result;
      if (!result.ok()) continue;
      if (auto tensor = result->Find(name)) return *std::move(tensor);
    }
    if (ended_.has_value()) break;
    changed_.Wait(mutex_);
  }
  MUSTER_RETURN_IF_ERROR(*ended_);
  return MakeError(
      absl::StatusCode::kNotFound, reasons::kTensorUnknown,
      absl::StrCat("none of the ", items_.size(), " loaded shards of ",
                   ShortModelVersionName(model_version_), " has a tensor ", QuoteForMessage(name)));
}

std::vector<LoadedShard> ModelLoad::Run::Loaded() const {
  MutexLock lock(mutex_);
  std::vector<LoadedShard> loaded;
  for (const Item& item : items_) {
    if (item.result.has_value() && item.result->ok()) loaded.push_back(**item.result);
  }
  return loaded;
}

LoadProgress ModelLoad::Run::progress() const {
  MutexLock lock(mutex_);
  return progress_;
}

std::unique_ptr<ModelLoad> ModelLoad::Start(Client& client, const ObjectStoreRegistry& stores,
                                            Clock& clock, Random& random, LoadOptions options) {
  return std::unique_ptr<ModelLoad>(
      new ModelLoad(std::make_unique<Run>(client, stores, clock, random, std::move(options))));
}

ModelLoad::ModelLoad(std::unique_ptr<Run> run) : run_(std::move(run)) {}

ModelLoad::~ModelLoad() = default;

void ModelLoad::Cancel() { run_->Cancel(); }

absl::Status ModelLoad::Wait() { return run_->Wait(); }

absl::StatusOr<LoadedShard> ModelLoad::AwaitShard(uint32_t index) {
  return run_->AwaitShard(index);
}

absl::StatusOr<LoadedTensor> ModelLoad::AwaitTensor(absl::string_view name) {
  return run_->AwaitTensor(name);
}

std::vector<LoadedShard> ModelLoad::Loaded() const { return run_->Loaded(); }

LoadProgress ModelLoad::progress() const { return run_->progress(); }

}  // namespace muster
