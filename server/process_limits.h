// What the system allows this process: open files, threads, memory.
//
// Thread-safe.
#ifndef MUSTER_SERVER_PROCESS_LIMITS_H_
#define MUSTER_SERVER_PROCESS_LIMITS_H_

#include <cstddef>

#include "absl/status/status.h"

namespace muster {

// Raises the limit of open files as far as the process may, and returns it.
size_t RaiseFileLimit();

// The descriptors that connections may have, out of `file_limit` of them: those below this number. What
// is above stays free for the store.
size_t DescriptorsForConnections(size_t file_limit, size_t connections_max);

// Makes `count` threads, and lets them end. kResourceExhausted, with how many there were, when the
// system gives fewer: then a library that needs one later would end the process without a word.
absl::Status CheckThreads(size_t count);

// Threads that a server on this machine has at most, those of its libraries included.
size_t ThreadsOfAServer();

// Has an exception that nobody catches, as the libraries throw it when a thread or memory can't be had,
// end the process with one sentence on stderr and `exit_code`, instead of an abort.
// Until StartIsOver an abort ends it in the same way: gRPC aborts when it can't have the threads with
// which it starts.
void EndWithASentence(int exit_code);

// From now on an abort is an abort: a bug, with a core dump.
void StartIsOver();

}  // namespace muster

#endif  // MUSTER_SERVER_PROCESS_LIMITS_H_
