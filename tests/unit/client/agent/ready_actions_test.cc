#include "client/agent/ready_actions.h"

#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/error_info.h"
#include "tests/support/await.h"
#include "tests/support/fake_channel.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace muster {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr char kAssembly[] = "assemblies/demo";

// An assembly that the test makes READY, views that are not made, and what came of it all.
class ReadyActionsTest : public testing::Test, public ReadyObserver {
 protected:
  using Send = FakeChannel::Send<v1::WatchAssemblyResponse>;

  ReadyActionsTest() {
    assembly_.set_name(kAssembly);
    assembly_.set_model_version("models/llama/versions/v1");
    assembly_.set_policy(v1::Assembly::FULL);
    assembly_.set_state(v1::Assembly::LOADING);
    channel_.OnUnary<v1::GetAssemblyRequest, v1::GetAssemblyResponse>(
        "/muster.v1.AssemblyService/GetAssembly",
        [this](const auto&, v1::GetAssemblyResponse& response, const CallOptions&) {
          MutexLock lock(mutex_);
          if (down_) return absl::UnavailableError("down");
          *response.mutable_assembly() = assembly_;
          return absl::OkStatus();
        });
    channel_.OnStream<v1::WatchAssemblyRequest, v1::WatchAssemblyResponse>(
        "/muster.v1.AssemblyService/WatchAssembly",
        [this](const auto&, const Send& send, const CallOptions& call) -> absl::Status {
          const std::stop_callback wake(call.stop, [this] { Change([] {}); });
          MutexLock lock(mutex_);
          ++watches_;
          changed_.NotifyAll();
          const auto ends = [&] {
            return assembly_.state() == v1::Assembly::READY || call.stop.stop_requested();
          };
          AwaitOrFail(mutex_, changed_, "READY, or the watch's end", ends, kPatienceOfFakes);
          if (call.stop.stop_requested()) return absl::CancelledError("stopped");
          v1::WatchAssemblyResponse response;
          *response.mutable_assembly() = assembly_;
          send(response);
          return absl::OkStatus();
        });
  }

  void OnView(const std::string& assembly, const ViewSummary& summary) override {
    Change([&] { log_.push_back(absl::StrCat("view of ", assembly, " at ", summary.path)); });
  }
  void OnOffline(const NotedAssembly& noted) override {
    Change([&] { log_.push_back(absl::StrCat("offline ", noted.assembly().name())); });
  }
  void OnNoteFailed(const std::string& assembly, const absl::Status&) override {
    Change([&] { log_.push_back(absl::StrCat("not noted ", assembly)); });
  }
  void OnReadyFailed(const std::string&, const absl::Status& status, bool again) override {
    Change([&] { log_.push_back(absl::StrCat(ReasonOf(status), again ? " again" : " no more")); });
  }
  void OnCommand(const std::string&, const std::string& model_version,
                 const absl::StatusOr<int>& exit_code) override {
    Change([&] {
      log_.push_back(absl::StrCat("ran for ", model_version, ": ", exit_code.value_or(-1)));
    });
  }

  void Start(const ReadyOptions& options) {
    actions_ = std::make_unique<ReadyActions>(
        client_, clock_, *random_, *this,
        [this](Client& client, const ViewOptions& view) -> absl::StatusOr<ViewSummary> {
          const bool of_a_note = &client != &client_;
          absl::Status result;
          Change([&] {
            views_.push_back(view);
            if (view_results_.empty()) return;
            result = view_results_.front();
            view_results_.erase(view_results_.begin());
          });
          if (!result.ok()) return result;
          return ViewSummary{.path = view.directory + (of_a_note ? " by a note" : "")};
        },
        [](const std::string&) {
          v1::Shard shard;
          shard.set_index(3);
          return std::vector<v1::Shard>{shard};
        },
        options);
  }

  template <typename Do>
  void Change(const Do& change) {
    MutexLock lock(mutex_);
    change();
    changed_.NotifyAll();
  }

  std::vector<std::string> AwaitLog(size_t lines) {
    MutexLock lock(mutex_);
    AwaitOrFail(mutex_, changed_, absl::StrCat("line ", lines, " of the log"),
                [&] { return log_.size() >= lines; });
    return log_;
  }

  void AwaitWatch() MUSTER_REQUIRES(mutex_) {
    AwaitOrFail(mutex_, changed_, "a watch of the assembly", [&] { return watches_ > 0; });
  }

  // Everything that was begun has ended.
  std::vector<std::string> LogAtEnd() {
    actions_.reset();
    MutexLock lock(mutex_);
    return log_;
  }

  static ReadyOptions WithView() {
    ReadyOptions options;
    options.views[kAssembly].directory = "/view";
    return options;
  }

  FakeClock clock_;
  const std::unique_ptr<Random> random_ = NewSeededRandom(1);
  FakeChannel channel_;
  Client client_{std::make_unique<ForwardingChannel>(channel_), *random_};
  TemporaryDirectory directory_;
  Mutex mutex_;
  CondVar changed_;
  v1::Assembly assembly_;
  bool down_ = false;
  int watches_ = 0;
  std::vector<absl::Status> view_results_;
  std::vector<ViewOptions> views_;
  std::vector<std::string> log_;
  std::unique_ptr<ReadyActions> actions_;
};

TEST_F(ReadyActionsTest, ViewAppearsWhenTheNodeIsReadyUnderFull) {
  Start(WithView());

  actions_->Ready(kAssembly);

  EXPECT_THAT(AwaitLog(1), ElementsAre("view of assemblies/demo at /view"));
  MutexLock lock(mutex_);
  EXPECT_EQ(views_[0].model_version, "models/llama/versions/v1");
  EXPECT_FALSE(views_[0].only_shards.has_value());
  EXPECT_EQ(watches_, 0);
}

TEST_F(ReadyActionsTest, OtherPoliciesWaitForTheAssembly) {
  assembly_.set_policy(v1::Assembly::BALANCED);
  ReadyOptions options = WithView();
  options.views[kAssembly].partial = true;
  Start(options);

  actions_->Ready(kAssembly);
  {
    MutexLock lock(mutex_);
    AwaitWatch();
    EXPECT_THAT(views_, IsEmpty());
    assembly_.set_state(v1::Assembly::READY);
    changed_.NotifyAll();
  }

  EXPECT_THAT(AwaitLog(1), ElementsAre("view of assemblies/demo at /view"));
  MutexLock lock(mutex_);
  EXPECT_THAT(*views_[0].only_shards, ElementsAre(3u));
}

TEST_F(ReadyActionsTest, WhoseReadinessCountsCanBeChosen) {
  assembly_.set_policy(v1::Assembly::BALANCED);
  ReadyOptions options = WithView();
  options.when = ReadyOptions::When::kNode;
  Start(options);
  actions_->Ready(kAssembly);
  AwaitLog(1);

  assembly_.set_policy(v1::Assembly::FULL);
  options.when = ReadyOptions::When::kAssembly;
  Start(options);
  actions_->Ready(kAssembly);
  MutexLock lock(mutex_);
  AwaitWatch();
}

TEST_F(ReadyActionsTest, ViewThatIsNamedLaterAppearsWhereTheModelWasReady) {
  ReadyOptions options;
  options.command = "true";
  Start(options);
  actions_->Ready(kAssembly);
  AwaitLog(1);

  actions_->SetViews(WithView().views);
  EXPECT_THAT(AwaitLog(2).back(), "view of assemblies/demo at /view");
  actions_->SetViews(WithView().views);
  ReadyOptions::Views elsewhere = WithView().views;
  elsewhere[kAssembly].directory = "/elsewhere";
  actions_->SetViews(elsewhere);
  EXPECT_THAT(AwaitLog(3).back(), "view of assemblies/demo at /elsewhere")
      << "equal views are not made twice";
  actions_->SetViews({});
  EXPECT_THAT(LogAtEnd(), SizeIs(3));
}

TEST_F(ReadyActionsTest, EndStopsWaiting) {
  assembly_.set_policy(v1::Assembly::BALANCED);
  Start(WithView());
  actions_->Ready(kAssembly);
  {
    MutexLock lock(mutex_);
    AwaitWatch();
  }

  EXPECT_THAT(LogAtEnd(), IsEmpty());
}

TEST_F(ReadyActionsTest, WhatMayPassIsTriedAgain) {
  view_results_ = {MakeError(absl::StatusCode::kResourceExhausted, "NO_SPACE", "full"),
                   MakeError(absl::StatusCode::kUnavailable, "DOWN", "down")};
  Start(WithView());

  actions_->Ready(kAssembly);

  EXPECT_THAT(AwaitLog(3),
              ElementsAre("NO_SPACE again", "DOWN again", "view of assemblies/demo at /view"));
}

TEST_F(ReadyActionsTest, WhatPeopleHaveToSetRightWaitsForTheNextReady) {
  view_results_ = {MakeError(absl::StatusCode::kFailedPrecondition, "VIEW_INCOMPLETE", "part")};
  Start(WithView());

  actions_->Ready(kAssembly);
  EXPECT_THAT(AwaitLog(1), ElementsAre("VIEW_INCOMPLETE no more"));
  actions_->Ready(kAssembly);

  EXPECT_THAT(AwaitLog(2),
              ElementsAre("VIEW_INCOMPLETE no more", "view of assemblies/demo at /view"));
}

TEST_F(ReadyActionsTest, CommandKnowsWhatIsReadyAndRunsOnce) {
  ReadyOptions options = WithView();
  const std::string out = directory_.Join("out");
  options.command =
      absl::StrCat("echo $MUSTER_MODEL_VERSION $MUSTER_ASSEMBLY $MUSTER_VIEW >> ", out);
  Start(options);

  actions_->Ready(kAssembly);
  EXPECT_THAT(AwaitLog(2), ElementsAre("view of assemblies/demo at /view", "ran for llama@v1: 0"));
  actions_->Ready(kAssembly);
  AwaitLog(3);

  EXPECT_THAT(LogAtEnd(), ElementsAre("view of assemblies/demo at /view", "ran for llama@v1: 0",
                                      "view of assemblies/demo at /view"));
  std::ostringstream text;
  text << std::ifstream(out).rdbuf();
  EXPECT_EQ(text.str(), "llama@v1 demo /view\n");
}

TEST_F(ReadyActionsTest, NextModelVersionRunsTheCommandAgain) {
  ReadyOptions options;
  options.command = "true";
  Start(options);
  actions_->Ready(kAssembly);
  AwaitLog(1);
  Change([this] { assembly_.set_model_version("models/llama/versions/v2"); });

  actions_->Ready(kAssembly);

  EXPECT_THAT(AwaitLog(2), ElementsAre("ran for llama@v1: 0", "ran for llama@v2: 0"));
}

TEST_F(ReadyActionsTest, CommandThatFailsIsRunAgainAsOftenAsAsked) {
  ReadyOptions options;
  options.command = "exit 7";
  options.command_retries = 2;
  Start(options);

  actions_->Ready(kAssembly);

  const std::string line = "ran for llama@v1: 7";
  EXPECT_THAT(AwaitLog(3), ElementsAre(line, line, line));
  EXPECT_EQ(LogAtEnd().size(), 3u);
}

TEST_F(ReadyActionsTest, ViewThatFailsRunsNoCommand) {
  view_results_ = {MakeError(absl::StatusCode::kFailedPrecondition, "VIEW_INCOMPLETE", "part")};
  ReadyOptions options = WithView();
  options.command = "true";
  Start(options);

  actions_->Ready(kAssembly);
  AwaitLog(1);

  EXPECT_THAT(LogAtEnd(), ElementsAre("VIEW_INCOMPLETE no more"));
}

TEST_F(ReadyActionsTest, LostServerIsWaitedFor) {
  down_ = true;
  ReadyOptions options;
  options.command = "true";
  Start(options);

  actions_->Ready(kAssembly);
  AwaitLog(1);
  Change([this] { down_ = false; });

  MutexLock lock(mutex_);
  AwaitOrFail(mutex_, changed_, "the command to run",
              [&] { return !log_.empty() && log_.back() == "ran for llama@v1: 0"; });
}

std::shared_ptr<const NotedAssembly> NoteOf(const v1::Assembly& assembly, Random& random) {
  node::AssemblyNote note;
  *note.mutable_assembly() = assembly;
  note.mutable_model_version()->set_name(assembly.model_version());
  note.add_held()->set_shard(5);
  return *NotedAssembly::Make(note, random);
}

TEST_F(ReadyActionsTest, WithoutAServerWhatIsNotedIsVerifiedAndServedOnce) {
  down_ = true;
  ReadyOptions options = WithView();
  options.views[kAssembly].partial = true;
  const std::string out = directory_.Join("out");
  options.command = absl::StrCat("echo offline=$MUSTER_OFFLINE >> ", out);
  options.verify = [](const NotedAssembly&, const std::stop_token&) { return absl::OkStatus(); };
  int notes = 0;
  options.note = [&notes](const v1::Assembly&, bool whole, const std::stop_token&) {
    notes += whole ? 1 : 100;
    return absl::OkStatus();
  };
  Start(options);

  actions_->ReadyOffline(NoteOf(assembly_, *random_));
  EXPECT_THAT(AwaitLog(3),
              ElementsAre("offline assemblies/demo", "view of assemblies/demo at /view by a note",
                          "ran for llama@v1: 0"));
  {
    MutexLock lock(mutex_);
    EXPECT_THAT(*views_[0].only_shards, ElementsAre(5u));
  }

  // The server is back, and the node is READY for it.
  Change([this] { down_ = false; });
  actions_->Ready(kAssembly);
  EXPECT_EQ(AwaitLog(4).back(), "view of assemblies/demo at /view");
  EXPECT_THAT(LogAtEnd(), SizeIs(4));
  EXPECT_EQ(notes, 1);
  std::ostringstream text;
  text << std::ifstream(out).rdbuf();
  EXPECT_EQ(text.str(), "offline=1\n");
}

TEST_F(ReadyActionsTest, WhatIsNotVerifiedIsNotServed) {
  ReadyOptions options = WithView();
  options.command = "true";
  options.verify = [](const NotedAssembly&, const std::stop_token&) {
    return MakeError(absl::StatusCode::kFailedPrecondition, "VIEW_INCOMPLETE", "part");
  };
  Start(options);
  actions_->ReadyOffline(NoteOf(assembly_, *random_));
  AwaitLog(1);
  EXPECT_THAT(LogAtEnd(), ElementsAre("VIEW_INCOMPLETE no more"));
}

TEST_F(ReadyActionsTest, WithoutAServerAPartOfAModelServesOnlyIfTheAssemblyWasReady) {
  ReadyOptions options;
  options.command = "true";
  options.verify = [](const NotedAssembly&, const std::stop_token&) { return absl::OkStatus(); };
  assembly_.set_policy(v1::Assembly::BALANCED);
  Start(options);
  actions_->ReadyOffline(NoteOf(assembly_, *random_));
  EXPECT_THAT(AwaitLog(1), ElementsAre(" no more"));

  assembly_.set_state(v1::Assembly::READY);
  actions_->ReadyOffline(NoteOf(assembly_, *random_));
  EXPECT_THAT(AwaitLog(3),
              ElementsAre(" no more", "offline assemblies/demo", "ran for llama@v1: 0"));
}

TEST_F(ReadyActionsTest, NoteThatFailsHoldsNothingUp) {
  ReadyOptions options = WithView();
  options.note = [](const v1::Assembly&, bool, const std::stop_token&) {
    return absl::ResourceExhaustedError("full");
  };
  Start(options);
  actions_->Ready(kAssembly);
  EXPECT_THAT(AwaitLog(2),
              ElementsAre("view of assemblies/demo at /view", "not noted assemblies/demo"));
}

}  // namespace
}  // namespace muster
