// Stored objects made and read back in memory, for tests of client/encoding.
#ifndef MUSTER_TESTS_UNIT_CLIENT_ENCODING_ENCODING_FIXTURES_H_
#define MUSTER_TESTS_UNIT_CLIENT_ENCODING_ENCODING_FIXTURES_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/encoding/encoding_name.h"
#include "client/encoding/frame_decoder.h"
#include "client/encoding/frame_encoder.h"
#include "client/encoding/key_source.h"

namespace muster {

inline constexpr char kShardName[] = "models/llama/versions/v1/shards/3";

// bf16 weights of a normal distribution; an odd size ends within an element.
std::string Weights(int64_t size_bytes);

// A key whose bytes are all `byte`.
SecretKey KeyOf(uint8_t byte);

// For content in frames of 4 KiB, all of it 2-byte elements, encrypted with KeyOf(1) and a fixed salt.
EncodeRequest RequestFor(absl::string_view encoding, int64_t plain_bytes);

std::string EncodeAll(EncodeRequest request, absl::string_view content);

// What the catalogue says of an object that EncodeAll made.
DecodeRequest DescriptionOf(absl::string_view encoding, absl::string_view object,
                            int64_t plain_bytes);

absl::StatusOr<FrameDecoder> OpenObject(const DecodeRequest& request, absl::string_view object,
                                        KeySource* keys);

// The content, compared with the MD5 of every frame: kDataLoss with the frames' errors.
absl::StatusOr<std::string> DecodeAll(const DecodeRequest& request, absl::string_view object,
                                      KeySource* keys);

}  // namespace muster

#endif  // MUSTER_TESTS_UNIT_CLIENT_ENCODING_ENCODING_FIXTURES_H_
