#include "server/process_limits.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <new>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "storage/base/mutex.h"

namespace muster {
namespace {

// The store's tables, of which all are open, its logs, and what else a server opens.
constexpr size_t kDescriptorsKept = 512;
// What is open beside connections and still has low numbers.
constexpr size_t kDescriptorsAtStart = 64;
// Where nothing bounds them.
constexpr size_t kFilesMax = size_t{1} << 20;

std::atomic<int> end_code = EXIT_FAILURE;

void Say(absl::string_view sentence) {
  while (!sentence.empty()) {
    const ssize_t written = write(STDERR_FILENO, sentence.data(), sentence.size());
    if (written <= 0) return;
    sentence.remove_prefix(static_cast<size_t>(written));
  }
}

constexpr absl::string_view kWayOut =
    "raise the limit of the container or unit (pids.max, TasksMax, memory) or of the shell "
    "(ulimit -u, ulimit -v), and start it again; nothing acknowledged is lost\n";

// In a handler of SIGABRT; what aborted has mostly said something before.
void SayAndEndOnAbort(int) {
  Say("musterd: a library ended the process while it started, as it does when the system gives it "
      "no "
      "more threads or memory: ");
  Say(kWayOut);
  _exit(end_code);
}

// May allocate nothing: memory may be what is missing.
[[noreturn]] void SayAndEnd() {
  try {
    if (const std::exception_ptr thrown = std::current_exception()) std::rethrow_exception(thrown);
    Say("musterd: ended by a library\n");
  } catch (const std::bad_alloc&) {
    Say("musterd: the system gives this process no more memory: ");
    Say(kWayOut);
  } catch (const std::system_error& error) {
    if (error.code() == std::errc::resource_unavailable_try_again) {
      Say("musterd: the system gives this process no more threads: ");
      Say(kWayOut);
    } else {
      Say("musterd: ended by a library: ");
      Say(error.what());
      Say("\n");
    }
  } catch (const std::exception& error) {
    Say("musterd: ended by a library: ");
    Say(error.what());
    Say("\n");
  } catch (...) {
    Say("musterd: ended by a library\n");
  }
  _exit(end_code);
}

}  // namespace

size_t RaiseFileLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return kDescriptorsKept;
  rlimit raised = limit;
  raised.rlim_cur = raised.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
  return limit.rlim_cur == RLIM_INFINITY ? kFilesMax
                                         : std::min(static_cast<size_t>(limit.rlim_cur), kFilesMax);
}

size_t DescriptorsForConnections(size_t file_limit, size_t connections_max) {
  const size_t kept = std::min(kDescriptorsKept, file_limit / 2);
  return std::min(file_limit - kept, connections_max + kDescriptorsAtStart);
}

absl::Status CheckThreads(size_t count) {
  Mutex mutex;
  CondVar changed;
  bool done = false;
  std::vector<std::thread> threads;
  threads.reserve(count);
  bool enough = true;
  while (enough && threads.size() < count) {
    try {
      threads.emplace_back([&] {
        // As threads that work do: the first one takes address space of its own.
        const std::string touched(1'000, 'x');
        MutexLock lock(mutex);
        while (!done) changed.Wait(mutex);
      });
    } catch (const std::system_error&) {
      enough = false;
    }
  }
  const size_t had = threads.size();
  {
    MutexLock lock(mutex);
    done = true;
    changed.NotifyAll();
  }
  for (std::thread& thread : threads) thread.join();
  if (enough) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat(
      "a server needs up to ", count,
      " threads on this machine beside the first, and the system gives it ", had,
      ": raise the limit of the container or unit (pids.max, TasksMax) or of the shell "
      "(ulimit -u; ulimit -v bounds their stacks)"));
}

// On two cores 26 were counted in an idle one. Ours: committer, planner, ticker, watch hub, store
// readers, previewer, listener, probe, store watch, log. RocksDB's: two. gRPC's, by its sources: half
// of the cores, from 2 to 16, run callbacks; the rest are timers, and calls that take a thread each.
size_t ThreadsOfAServer() {
  const size_t cores = std::max(1u, std::thread::hardware_concurrency());
  // With all that can be asked for: certificates, policy, audit log, master keys.
  constexpr size_t kOurs = 19;
  constexpr size_t kOfRocksdb = 2;
  constexpr size_t kOfBlockingCallsAndTimers = 12;
  return kOurs + kOfRocksdb + kOfBlockingCallsAndTimers + std::clamp<size_t>(cores / 2, 2, 16) + 2;
}

void EndWithASentence(int exit_code) {
  end_code = exit_code;
  std::set_terminate(SayAndEnd);
  std::signal(SIGABRT, SayAndEndOnAbort);
}

void StartIsOver() { std::signal(SIGABRT, SIG_DFL); }

}  // namespace muster
