#include "client/cli/server_notice.h"

#include <stop_token>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/error_info.h"
#include "storage/base/mutex.h"
#include "storage/base/reasons.h"

namespace muster {
namespace {

// Whether a server's own word came back.
bool Answered(const absl::Status& status) {
  if (absl::IsCancelled(status)) return false;
  const std::string reason = ReasonOf(status);
  if (reason == reasons::kServerUnreachable || reason == reasons::kServerTimedOut) return false;
  return !absl::IsDeadlineExceeded(status);
}

class NoticingChannel final : public Channel {
 public:
  NoticingChannel(std::unique_ptr<Channel> inner, ServerNoticeOptions options)
      : inner_(std::move(inner)), options_(std::move(options)) {}

  ~NoticingChannel() override { End(); }

  absl::Status Unary(absl::string_view method, const Message& request, Message& response,
                     const CallOptions& options) override {
    Begin();
    absl::Status status = inner_->Unary(method, request, response, options);
    Note(status);
    return status;
  }

  absl::Status Stream(absl::string_view method, const Message& request, Message& message,
                      absl::FunctionRef<bool()> on_message, const CallOptions& options) override {
    Begin();
    const auto deliver = [&] {
      End();
      return on_message();
    };
    absl::Status status = inner_->Stream(method, request, message, deliver, options);
    Note(status);
    return status;
  }

 private:
  void Begin() {
    MutexLock lock(mutex_);
    if (begun_) return;
    begun_ = true;
    timer_ = std::thread([this] { SayInTime(); });
  }

  void Note(const absl::Status& status) {
    if (Answered(status)) return End();
    MutexLock lock(mutex_);
    if (!status.ok()) last_error_ = std::string(status.message());
  }

  // Nothing is said any more.
  void End() {
    std::thread timer;
    {
      MutexLock lock(mutex_);
      begun_ = true;
      over_ = true;
      changed_.NotifyAll();
      std::swap(timer, timer_);
    }
    if (timer.joinable()) timer.join();
  }

  void SayInTime() {
    {
      MutexLock lock(mutex_);
      while (!over_ && changed_.WaitFor(mutex_, options_.after)) {
      }
      if (over_) return;
    }
    options_.say(Text());
  }

  std::string Text() {
    MutexLock lock(mutex_);
    if (!last_error_.empty()) return absl::StrCat("waiting for the server: ", last_error_);
    return absl::StrCat("waiting for the server at ", options_.servers,
                        ", which has not answered yet");
  }

  const std::unique_ptr<Channel> inner_;
  const ServerNoticeOptions options_;
  Mutex mutex_;
  CondVar changed_;
  bool begun_ MUSTER_GUARDED_BY(mutex_) = false;
  bool over_ MUSTER_GUARDED_BY(mutex_) = false;
  std::string last_error_ MUSTER_GUARDED_BY(mutex_);
  std::thread timer_ MUSTER_GUARDED_BY(mutex_);
};

}  // namespace

std::unique_ptr<Channel> NewNoticingChannel(std::unique_ptr<Channel> inner,
                                            ServerNoticeOptions options) {
  return std::make_unique<NoticingChannel>(std::move(inner), std::move(options));
}

}  // namespace muster
