package main

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protowire"
)

// bytesCodec passes messages on as they are: the few fields that are used here are written and read by hand, so that no
// code has to be generated. The numbers are those of proto/muster/v1/node.proto.
type bytesCodec struct{}

func (bytesCodec) Marshal(message any) ([]byte, error) { return *(message.(*[]byte)), nil }
func (bytesCodec) Unmarshal(data []byte, message any) error {
	*(message.(*[]byte)) = append([]byte(nil), data...)
	return nil
}
func (bytesCodec) Name() string { return "proto" }

// server is one connection.
type server struct {
	connection *grpc.ClientConn
}

func connect(address string) *server {
	connection, err := grpc.Dial(address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(bytesCodec{})))
	if err != nil {
		fail(address, err)
	}
	return &server{connection}
}

// call makes one call of NodeService.
func (s *server) call(method string, request []byte, timeout time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	var reply []byte
	err := s.connection.Invoke(ctx, "/muster.v1.NodeService/"+method, &request, &reply)
	return reply, err
}

func appendBytes(message []byte, field protowire.Number, value []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(message, field, protowire.BytesType), value)
}

func appendNumber(message []byte, field protowire.Number, value uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(message, field, protowire.VarintType), value)
}

// registration is a RegisterNodeRequest; a TTL of 0 leaves it to the server.
func registration(node string, ttl time.Duration) []byte {
	request := appendBytes(nil, 1, appendBytes(nil, 1, []byte(node)))
	if ttl > 0 {
		request = appendBytes(request, 2, appendNumber(nil, 1, uint64(ttl/time.Second)))
	}
	return request
}

func heartbeat(node string, epoch uint64) []byte {
	return appendNumber(appendBytes(nil, 1, []byte(node)), 2, epoch)
}

// field returns a field's number or bytes; zero values where it is not there.
func field(message []byte, wanted protowire.Number) (uint64, []byte) {
	for len(message) > 0 {
		found, kind, length := protowire.ConsumeTag(message)
		if length < 0 {
			break
		}
		message = message[length:]
		if found == wanted && kind == protowire.VarintType {
			value, _ := protowire.ConsumeVarint(message)
			return value, nil
		}
		if found == wanted && kind == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(message)
			return 0, value
		}
		if length = protowire.ConsumeFieldValue(found, kind, message); length < 0 {
			break
		}
		message = message[length:]
	}
	return 0, nil
}

// Of a RegisterNodeResponse.
func epochOf(reply []byte) uint64 {
	epoch, _ := field(reply, 2)
	return epoch
}

func intervalOf(reply []byte) time.Duration {
	_, duration := field(reply, 3)
	seconds, _ := field(duration, 1)
	nanos, _ := field(duration, 2)
	return time.Duration(seconds)*time.Second + time.Duration(nanos)
}
