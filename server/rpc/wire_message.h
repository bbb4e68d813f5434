// What a cursor fills, as what gRPC sends.
#ifndef MUSTER_SERVER_RPC_WIRE_MESSAGE_H_
#define MUSTER_SERVER_RPC_WIRE_MESSAGE_H_

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <memory>
#include <string>
#include <utility>

#include "server/watch/assembly_cursor.h"

namespace muster {

// A message that gRPC serialises by itself.
template <typename Message>
void ToWire(Message& message, Message& wire) {
  wire.Swap(&message);
}

// The bytes that all watchers of an assembly share are sent as they are; nobody copies them.
inline void ToWire(AssemblyMessage& message, grpc::ByteBuffer& wire) {
  grpc::Slice slices[2];
  size_t count = 0;
  if (message.shared != nullptr) {
    using Holder = std::shared_ptr<const std::string>;
    auto* holder = new Holder(message.shared);
    slices[count++] = grpc::Slice(
        const_cast<char*>((*holder)->data()), (*holder)->size(),
        [](void* held) { delete static_cast<Holder*>(held); }, holder);
  }
  if (!message.own.empty()) slices[count++] = grpc::Slice(message.own);
  wire = grpc::ByteBuffer(slices, count);
}

}  // namespace muster

#endif  // MUSTER_SERVER_RPC_WIRE_MESSAGE_H_
