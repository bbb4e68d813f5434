// Encodes shards on their way to the store.
#ifndef MUSTER_CLIENT_PUBLISH_SHARD_ENCODING_H_
#define MUSTER_CLIENT_PUBLISH_SHARD_ENCODING_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "client/checkpoint/checkpoint_reader.h"
#include "client/checkpoint/cut_plan.h"
#include "client/checkpoint/shard_stream.h"
#include "client/encoding/element_runs.h"
#include "client/encoding/encoding_name.h"
#include "client/encoding/key_source.h"
#include "client/publish/shard_upload.h"
#include "muster/v1/model.pb.h"
#include "storage/object/object_store_registry.h"

namespace muster {

// What publishing may do to make shards smaller.
enum class Compression {
  kNone,
  // What makes most of a few frames of the shard, unless that saves less than 3 %.
  kAuto,
  kZstd,
  kZstdGrouped,
};
// kInvalidArgument, quoting `text`, unless it is "none", "auto", "zstd" or "zstd-grouped".
absl::StatusOr<Compression> ParseCompression(absl::string_view text);

struct EncodeOptions {
  Compression compression = Compression::kNone;
  // Set: shards are encrypted.
  std::shared_ptr<KeySource> keys;
  // Encrypt with a key that the server makes for the draft; Publish fills in `keys` and `key_id` then.
  bool server_key = false;
  // Goes to the catalogue; at most kMaxKeyIdBytes. Only with `keys`.
  std::string key_id;
  // An existing directory that has room for the stored bytes of the shards that are under way.
  std::string spool;

  // Whether shards may be stored in another way than they are.
  bool any() const { return compression != Compression::kNone || encrypts(); }
  bool encrypts() const { return keys != nullptr || server_key; }
  // Equal for options that make equally encoded shards.
  std::string Fingerprint() const;
};

// Where elements lie in a shard: its header, then its tensors. One run of bytes for a shard that is a
// range of a file, and where there are too many runs.
ElementRuns ElementRunsOf(const ShardCut& cut, absl::Span<const SourceTensor> tensors);

// How `stream` is to be stored. Reads up to four frames of it for kAuto: the same content gives the
// same answer.
absl::StatusOr<Encoding> ChooseEncoding(const ShardStream& stream, const ElementRuns& runs,
                                        const EncodeOptions& options);

// What EncodeShard encodes.
struct ContentToEncode {
  // Of the shard: "models/{model}/versions/{version}/shards/{index}".
  std::string shard_name;
  const ShardStream& stream;
  ElementRuns runs;
  Encoding encoding;
};

// The stored bytes, in a file of the spool directory that has no name. They are encoded on all cores;
// memory: 16 frames, or 64 MiB of them, twice. Reads the content once, as `reading` says. An encrypted
// object has a salt that no other has.
absl::StatusOr<ShardStream> EncodeShard(const ContentToEncode& content,
                                        const EncodeOptions& options, const ShardReading& reading);

// Whether the encoded object at `uri`, which `registered` describes, has the content of `stream`: reads
// the object's frame table alone, and all of the content. kAborted SHARD_DIFFERS: another content. The
// errors of FrameDecoder::Open.
absl::Status CheckEncodedObject(const ObjectStoreRegistry& stores, const std::string& uri,
                                const v1::Shard& registered, const ShardStream& stream,
                                const EncodeOptions& options, const ShardReading& reading);

}  // namespace muster

#endif  // MUSTER_CLIENT_PUBLISH_SHARD_ENCODING_H_
