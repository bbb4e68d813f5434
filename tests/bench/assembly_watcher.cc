// Prints a line for each state of an assembly: seconds since 1970, state, replicas ready and required.

#include <chrono>
#include <cstdio>
#include <string>

#include "tests/bench/api_client.h"

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: assembly_watcher HOST:PORT assemblies/NAME\n");
    return 2;
  }
  const auto stub =
      muster::v1::AssemblyService::NewStub(muster::bench::Connect(argv[1], 1).front());
  grpc::ClientContext context;
  muster::v1::WatchAssemblyRequest request;
  request.set_name(argv[2]);
  const auto stream = stub->WatchAssembly(&context, request);
  muster::v1::WatchAssemblyResponse message;
  while (stream->Read(&message)) {
    if (message.progress()) continue;
    const muster::v1::Assembly& assembly = message.assembly();
    const double now =
        std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
    std::printf("%.6f %s %llu %llu\n", now,
                muster::v1::Assembly::State_Name(assembly.state()).c_str(),
                static_cast<unsigned long long>(assembly.replicas_ready()),
                static_cast<unsigned long long>(assembly.replicas_required()));
    std::fflush(stdout);
  }
  muster::bench::Check(stream->Finish(), "WatchAssembly");
  return 0;
}
