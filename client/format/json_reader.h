// Reads JSON from a byte source piece by piece, as its caller asks for the parts.
//
// Parsers that build a tree need many times the text's size in memory; a header of 100 MB must not.
// The caller knows which shape it expects and pulls the values out; whatever it doesn't know is
// skipped, still checked.
#ifndef MUSTER_CLIENT_FORMAT_JSON_READER_H_
#define MUSTER_CLIENT_FORMAT_JSON_READER_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/format/byte_source.h"

namespace muster {

// Not thread-safe. Bad JSON is kInvalidArgument with the byte position from the beginning of the
// range; an error of the source comes back as it is. After an error the reader must not be used.
class JsonReader {
 public:
  // Values nested deeper than this are refused.
  static constexpr int kMaxDepth = 64;

  // Reads [begin, end) of `source`, which must be inside it and outlive the reader.
  JsonReader(const ByteSource& source, int64_t begin, int64_t end);

  // Consumes `wanted`, after any whitespace.
  absl::Status Expect(char wanted);

  // Inside an object or array that ends with `close`: consumes the comma between elements, or the
  // end. Returns false at the end. `first` must be true for the first call and is set to false.
  absl::StatusOr<bool> NextElement(char close, bool& first);

  // Appends the decoded string that comes next to `out`, at most `max_bytes` of it.
  absl::Status AppendString(size_t max_bytes, std::string& out);

  // An integer from 0 to 2^63 - 1, without fraction or exponent.
  absl::StatusOr<int64_t> ReadInteger();

  // Checks and drops the value that comes next.
  absl::Status SkipValue();

  // Nothing but whitespace is left.
  absl::Status ExpectEnd();

 private:
  // The next byte, or -1 at the end or after a read error.
  int PeekByte();
  int TakeByte();
  void SkipWhitespace();
  bool Refill();
  int64_t position() const;
  absl::Status Fail(absl::string_view what) const;
  absl::Status FailExpected(absl::string_view wanted);
  // Decodes a part of a string and returns false at its closing quote. `out` may grow a few bytes
  // beyond `max_size`.
  absl::StatusOr<bool> AppendStringPart(size_t max_size, std::string& out);
  // Drops a string of any length without keeping it whole.
  absl::Status SkipString();
  absl::Status AppendEscape(std::string& out);
  absl::StatusOr<uint32_t> ReadHex4();
  absl::Status AppendMultibyte(unsigned char first, std::string& out);
  absl::Status SkipNumber();
  absl::Status SkipDigits();
  absl::Status SkipWord(absl::string_view word);
  absl::Status SkipScalar(int first);

  const ByteSource& source_;
  const int64_t begin_;
  const int64_t end_;
  int64_t next_read_;
  std::vector<char> buffer_;
  size_t filled_ = 0;
  size_t used_ = 0;
  absl::Status read_error_;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_FORMAT_JSON_READER_H_
