#include "server/policy_file.h"

#include <sys/stat.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/access/policy_text.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"
#include "storage/files/posix_file.h"

namespace muster {
namespace {

std::string StateOf(const std::string& path) {
  struct stat info = {};
  if (stat(path.c_str(), &info) != 0) return "none";
  return absl::StrCat(info.st_dev, ":", info.st_ino, ":", info.st_size, ":", info.st_mtim.tv_sec,
                      ".", info.st_mtim.tv_nsec, ":", info.st_ctim.tv_sec, ".",
                      info.st_ctim.tv_nsec);
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Policy>> ReadPolicyFile(const std::string& path) {
  MUSTER_ASSIGN_OR_RETURN(
      const OpenedFile file,
      OpenRegularFile(path, absl::StrCat("\"", path, "\""), absl::StatusCode::kInvalidArgument));
  if (file.info.st_size > static_cast<int64_t>(kMaxPolicyBytes)) {
    return MakeError(absl::StatusCode::kInvalidArgument, reasons::kPolicyInvalid,
                     absl::StrCat("\"", path, "\" has ", file.info.st_size,
                                  " bytes; a policy has at most ", kMaxPolicyBytes));
  }
  std::string text(static_cast<size_t>(file.info.st_size), '\0');
  MUSTER_RETURN_IF_ERROR(ReadAt(file.fd.get(), path, 0, absl::MakeSpan(text)));
  absl::StatusOr<std::shared_ptr<const Policy>> policy = Policy::Parse(text);
  if (!policy.ok()) return Annotate(policy.status(), absl::StrCat("\"", path, "\""));
  return policy;
}

PolicyFile::PolicyFile(std::string path, Clock& clock, Observer observer, absl::Duration interval)
    : path_(std::move(path)), clock_(clock), observer_(std::move(observer)), interval_(interval) {}

PolicyFile::~PolicyFile() {
  {
    MutexLock lock(mutex_);
    stopped_ = true;
    stop_changed_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
}

absl::StatusOr<std::shared_ptr<const Policy>> PolicyFile::Load() {
  seen_ = read_ = StateOf(path_);
  MUSTER_ASSIGN_OR_RETURN(std::shared_ptr<const Policy> policy, ReadPolicyFile(path_));
  digest_ = policy->digest();
  return policy;
}

void PolicyFile::Look() {
  const std::string state = StateOf(path_);
  // Whoever writes it is given until the next look.
  const bool settled = state == std::exchange(seen_, state);
  if (!settled || state == read_) return;
  read_ = state;
  absl::StatusOr<std::shared_ptr<const Policy>> policy = ReadPolicyFile(path_);
  if (!policy.ok()) return observer_.refused(policy.status());
  if ((*policy)->digest() == digest_) return;
  digest_ = (*policy)->digest();
  observer_.changed(*std::move(policy));
}

void PolicyFile::Start() {
  thread_ = std::thread([this] { Run(); });
}

void PolicyFile::Run() {
  while (true) {
    Look();
    MutexLock lock(mutex_);
    const absl::Duration next = clock_.Monotonic() + interval_;
    while (!stopped_ && clock_.Monotonic() < next) {
      stop_changed_.WaitFor(mutex_, next - clock_.Monotonic());
    }
    if (stopped_) return;
  }
}

}  // namespace muster
