#include "client/format/json_reader.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "storage/base/quote.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

constexpr int64_t kChunkBytes = int64_t{256} << 10;

bool IsDigit(int c) { return c >= '0' && c <= '9'; }

void AppendCodePoint(uint32_t code, std::string& out) {
  if (code < 0x80) {
    out.push_back(static_cast<char>(code));
  } else if (code < 0x800) {
    out.push_back(static_cast<char>(0xC0 | (code >> 6)));
    out.push_back(static_cast<char>(0x80 | (code & 0x3F)));
  } else if (code < 0x10000) {
    out.push_back(static_cast<char>(0xE0 | (code >> 12)));
    out.push_back(static_cast<char>(0x80 | ((code >> 6) & 0x3F)));
    out.push_back(static_cast<char>(0x80 | (code & 0x3F)));
  } else {
    out.push_back(static_cast<char>(0xF0 | (code >> 18)));
    out.push_back(static_cast<char>(0x80 | ((code >> 12) & 0x3F)));
    out.push_back(static_cast<char>(0x80 | ((code >> 6) & 0x3F)));
    out.push_back(static_cast<char>(0x80 | (code & 0x3F)));
  }
}

std::string ShowByte(int c) {
  if (c < 0) return "the end";
  const char byte = static_cast<char>(c);
  return QuoteForMessage(absl::string_view(&byte, 1));
}

}  // namespace

JsonReader::JsonReader(const ByteSource& source, int64_t begin, int64_t end)
    : source_(source),
      begin_(begin),
      end_(end),
      next_read_(begin),
      buffer_(static_cast<size_t>(std::min(kChunkBytes, std::max<int64_t>(end - begin, 1)))) {}

bool JsonReader::Refill() {
  if (!read_error_.ok() || next_read_ >= end_) return false;
  const auto size = std::min(static_cast<int64_t>(buffer_.size()), end_ - next_read_);
  read_error_ = source_.Read(next_read_, absl::MakeSpan(buffer_.data(), static_cast<size_t>(size)));
  if (!read_error_.ok()) return false;
  next_read_ += size;
  filled_ = static_cast<size_t>(size);
  used_ = 0;
  return true;
}

int JsonReader::PeekByte() {
  if (used_ == filled_ && !Refill()) return -1;
  return static_cast<unsigned char>(buffer_[used_]);
}

int JsonReader::TakeByte() {
  const int c = PeekByte();
  if (c >= 0) ++used_;
  return c;
}

void JsonReader::SkipWhitespace() {
  for (int c = PeekByte(); c == ' ' || c == '\t' || c == '\n' || c == '\r'; c = PeekByte()) ++used_;
}

int64_t JsonReader::position() const {
  return next_read_ - begin_ - static_cast<int64_t>(filled_ - used_);
}

absl::Status JsonReader::Fail(absl::string_view what) const {
  if (!read_error_.ok()) return read_error_;
  return absl::InvalidArgumentError(absl::StrCat("bad JSON at byte ", position(), ": ", what));
}

absl::Status JsonReader::FailExpected(absl::string_view wanted) {
  const int found = PeekByte();
  return Fail(absl::StrCat("expected ", wanted, ", found ", ShowByte(found)));
}

absl::Status JsonReader::Expect(char wanted) {
  SkipWhitespace();
  if (PeekByte() != static_cast<unsigned char>(wanted)) return FailExpected(ShowByte(wanted));
  ++used_;
  return absl::OkStatus();
}

absl::StatusOr<bool> JsonReader::NextElement(char close, bool& first) {
  SkipWhitespace();
  const int c = PeekByte();
  if (c == close) {
    ++used_;
    return false;
  }
  if (first) {
    first = false;
    if (c < 0) return FailExpected(ShowByte(close));
    return true;
  }
  if (c != ',') return FailExpected(absl::StrCat("\",\" or ", ShowByte(close)));
  ++used_;
  SkipWhitespace();
  if (PeekByte() == close) return FailExpected("an element after the comma");
  return true;
}

absl::Status JsonReader::AppendString(size_t max_bytes, std::string& out) {
  MUSTER_RETURN_IF_ERROR(Expect('"'));
  const size_t start = out.size();
  while (true) {
    MUSTER_ASSIGN_OR_RETURN(const bool more, AppendStringPart(start + max_bytes, out));
    if (!more) return absl::OkStatus();
    if (out.size() - start > max_bytes) {
      return Fail(absl::StrCat("a string is longer than ", max_bytes, " bytes"));
    }
  }
}

absl::Status JsonReader::SkipString() {
  MUSTER_RETURN_IF_ERROR(Expect('"'));
  std::string part;
  while (true) {
    MUSTER_ASSIGN_OR_RETURN(const bool more, AppendStringPart(buffer_.size(), part));
    if (!more) return absl::OkStatus();
    part.clear();
  }
}

absl::StatusOr<bool> JsonReader::AppendStringPart(size_t max_size, std::string& out) {
  if (PeekByte() < 0) return Fail("the text ends inside a string");
  // Plain ASCII, nearly everything, goes over in runs; one byte beyond the limit is enough to break
  // it.
  const size_t room = max_size - out.size() + 1;
  const size_t stop = filled_ - used_ > room ? used_ + room : filled_;
  size_t run = used_;
  while (run < stop && buffer_[run] >= 0x20 && buffer_[run] != '"' && buffer_[run] != '\\') ++run;
  out.append(buffer_.data() + used_, run - used_);
  used_ = run;
  if (used_ == stop) return true;
  const auto c = static_cast<unsigned char>(TakeByte());
  if (c == '"') return false;
  if (c == '\\') {
    MUSTER_RETURN_IF_ERROR(AppendEscape(out));
  } else if (c >= 0x80) {
    MUSTER_RETURN_IF_ERROR(AppendMultibyte(c, out));
  } else {
    return Fail("a control character in a string must be escaped");
  }
  return true;
}

absl::Status JsonReader::AppendMultibyte(unsigned char first, std::string& out) {
  const Utf8Lead lead = ClassifyUtf8Lead(first);
  if (lead.length == 0) return Fail("a string is not valid UTF-8");
  out.push_back(static_cast<char>(first));
  for (int k = 1; k < lead.length; ++k) {
    const int c = TakeByte();
    const int low = k == 1 ? lead.second_min : 0x80;
    const int high = k == 1 ? lead.second_max : 0xBF;
    if (c < low || c > high) return Fail("a string is not valid UTF-8");
    out.push_back(static_cast<char>(c));
  }
  return absl::OkStatus();
}

absl::StatusOr<uint32_t> JsonReader::ReadHex4() {
  uint32_t value = 0;
  for (int i = 0; i < 4; ++i) {
    const int c = TakeByte();
    int digit;
    if (IsDigit(c)) {
      digit = c - '0';
    } else if (c >= 'a' && c <= 'f') {
      digit = c - 'a' + 10;
    } else if (c >= 'A' && c <= 'F') {
      digit = c - 'A' + 10;
    } else {
      return Fail("\\u needs four hex digits");
    }
    value = value * 16 + static_cast<uint32_t>(digit);
  }
  return value;
}

absl::Status JsonReader::AppendEscape(std::string& out) {
  constexpr absl::string_view kNames = "\"\\/bfnrt";
  constexpr absl::string_view kBytes = "\"\\/\b\f\n\r\t";
  const int c = TakeByte();
  if (c != 'u') {
    const size_t i = c < 0 ? absl::string_view::npos : kNames.find(static_cast<char>(c));
    if (i == absl::string_view::npos) return Fail("unknown escape in a string");
    out.push_back(kBytes[i]);
    return absl::OkStatus();
  }
  MUSTER_ASSIGN_OR_RETURN(uint32_t code, ReadHex4());
  if (code >= 0xDC00 && code <= 0xDFFF) return Fail("half of a surrogate pair in a string");
  if (code >= 0xD800 && code <= 0xDBFF) {
    if (TakeByte() != '\\' || TakeByte() != 'u')
      return Fail("half of a surrogate pair in a string");
    MUSTER_ASSIGN_OR_RETURN(const uint32_t low, ReadHex4());
    if (low < 0xDC00 || low > 0xDFFF) return Fail("half of a surrogate pair in a string");
    code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
  }
  AppendCodePoint(code, out);
  return absl::OkStatus();
}

absl::StatusOr<int64_t> JsonReader::ReadInteger() {
  SkipWhitespace();
  if (PeekByte() == '-') return Fail("expected an integer that is not negative, found \"-\"");
  if (!IsDigit(PeekByte())) return FailExpected("an integer");
  uint64_t value = 0;
  const bool leading_zero = PeekByte() == '0';
  int digits = 0;
  for (; IsDigit(PeekByte()); ++digits) {
    const auto digit = static_cast<uint64_t>(TakeByte() - '0');
    constexpr auto kMax = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
    if (value > (kMax - digit) / 10) return Fail("an integer is larger than 2^63 - 1");
    value = value * 10 + digit;
  }
  if (leading_zero && digits > 1) return Fail("an integer has a leading zero");
  const int next = PeekByte();
  if (next == '.' || next == 'e' || next == 'E') {
    return Fail("expected an integer, found a number with a fraction or exponent");
  }
  return static_cast<int64_t>(value);
}

absl::Status JsonReader::SkipDigits() {
  if (!IsDigit(PeekByte())) return FailExpected("a digit");
  while (IsDigit(PeekByte())) ++used_;
  return absl::OkStatus();
}

absl::Status JsonReader::SkipNumber() {
  if (PeekByte() == '-') ++used_;
  if (PeekByte() == '0') {
    ++used_;
  } else {
    MUSTER_RETURN_IF_ERROR(SkipDigits());
  }
  if (PeekByte() == '.') {
    ++used_;
    MUSTER_RETURN_IF_ERROR(SkipDigits());
  }
  if (PeekByte() == 'e' || PeekByte() == 'E') {
    ++used_;
    if (PeekByte() == '+' || PeekByte() == '-') ++used_;
    MUSTER_RETURN_IF_ERROR(SkipDigits());
  }
  return absl::OkStatus();
}

absl::Status JsonReader::SkipWord(absl::string_view word) {
  for (const char wanted : word) {
    if (PeekByte() != wanted) return FailExpected(QuoteForMessage(word));
    ++used_;
  }
  return absl::OkStatus();
}

absl::Status JsonReader::SkipScalar(int first) {
  if (first == 't') return SkipWord("true");
  if (first == 'f') return SkipWord("false");
  if (first == 'n') return SkipWord("null");
  if (first == '-' || IsDigit(first)) return SkipNumber();
  if (first != '"') return FailExpected("a value");
  return SkipString();
}

absl::Status JsonReader::SkipValue() {
  // A loop with its own stack, so that nesting can't exhaust the thread's.
  std::string open;
  bool first = false;
  while (true) {
    if (!open.empty()) {
      MUSTER_ASSIGN_OR_RETURN(const bool more, NextElement(open.back(), first));
      if (!more) {
        open.pop_back();
        first = false;
        if (open.empty()) return absl::OkStatus();
        continue;
      }
      if (open.back() == '}') {
        MUSTER_RETURN_IF_ERROR(SkipString());
        MUSTER_RETURN_IF_ERROR(Expect(':'));
      }
    }
    SkipWhitespace();
    const int c = PeekByte();
    if (c == '{' || c == '[') {
      ++used_;
      open.push_back(c == '{' ? '}' : ']');
      first = true;
      if (open.size() > kMaxDepth) return Fail(absl::StrCat("nested deeper than ", kMaxDepth));
      continue;
    }
    MUSTER_RETURN_IF_ERROR(SkipScalar(c));
    if (open.empty()) return absl::OkStatus();
  }
}

absl::Status JsonReader::ExpectEnd() {
  SkipWhitespace();
  if (PeekByte() >= 0) return FailExpected("the end");
  return read_error_;
}

}  // namespace muster
