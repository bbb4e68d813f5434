// How a hostile pickle is kept from costing more than its size:
//
// 1. A value on the stack is a kind and a number. Strings are places in the pickle's own bytes;
//    containers, tuples, storages and tensors are indices into tables. Copying a value copies no
//    content, so the memo, which lets a pickle repeat a value any number of times, multiplies
//    nothing.
// 2. Whatever makes something is charged for it (Charge), and stack and marks have bounds.
// 3. An operation takes only values above the last mark (Need): the values below belong to a
//    container that is still being filled.
// 4. The table of operations also names opcodes that are refused, so that a refusal can say which
//    one it was.
// 5. A name is looked up in torch_globals.h when it is pushed, and called only by the few rules of
//    its role there. Nothing is imported, and no other name ever gets onto the stack.
#include "client/torch/pickle_reader.h"

#include <algorithm>
#include <array>
#include <limits>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "storage/base/error_info.h"
#include "storage/base/quote.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

using Kind = PickleValue::Kind;
using Role = TorchGlobal::Role;

// A name of a module or class.
constexpr size_t kMaxLineBytes = 1'024;

absl::Status BrokenPickle(absl::string_view what) {
  return MakeError(absl::StatusCode::kInvalidArgument, reasons::kPickleBroken,
                   absl::StrCat(what, "; the file is damaged, or torch did not write it"));
}

absl::Status Refused(absl::string_view name, absl::string_view what) {
  return MakeError(absl::StatusCode::kInvalidArgument, reasons::kPickleRefused,
                   absl::StrCat(what,
                                "; Muster runs nothing of a pickle and reads dicts of tensors "
                                "only: save model.state_dict() with torch"),
                   {{"name", std::string(name)}});
}

}  // namespace

// Fills a Pickle. Used once, by one thread.
class PickleMachine {
 public:
  explicit PickleMachine(absl::string_view bytes) { pickle_.bytes_ = bytes; }

  absl::StatusOr<Pickle> Run() {
    while (true) {
      const size_t begin = position_;
      uint64_t code = 0;
      absl::Status status = Number(1, code);
      if (status.ok()) status = Execute(static_cast<char>(code));
      if (!status.ok()) return Annotate(status, absl::StrCat("byte ", begin));
      if (code == '.') break;
    }
    if (position_ != pickle_.bytes_.size() || stack_.size() != 1 || !marks_.empty()) {
      return BrokenPickle(absl::StrCat("it ends with ", stack_.size(), " values and ",
                                       pickle_.bytes_.size() - position_, " bytes left"));
    }
    pickle_.root_ = stack_.back();
    return std::move(pickle_);
  }

 private:
  struct Operation {
    unsigned char code;
    absl::string_view name;
    // What it does, with the argument below; nullptr when it is refused.
    absl::Status (PickleMachine::*run)(int argument) = nullptr;
    int argument = 0;
  };
  static const Operation kOperations[];

  absl::Status Execute(char code);

  // Reading what follows an operation's code.

  absl::Status Number(int width, uint64_t& value) {
    const absl::string_view rest = Rest();
    if (rest.size() < static_cast<size_t>(width)) return BrokenPickle("it is cut short");
    value = 0;
    for (int i = width; i-- > 0;) {
      value = value << 8 | static_cast<unsigned char>(rest[static_cast<size_t>(i)]);
    }
    position_ += static_cast<size_t>(width);
    return absl::OkStatus();
  }

  // Bytes whose length stands before them, in `width` bytes.
  absl::Status Counted(int width, absl::string_view& value) {
    uint64_t size = 0;
    MUSTER_RETURN_IF_ERROR(Number(width, size));
    if (size > Rest().size()) {
      return BrokenPickle(absl::StrCat("a text of ", size, " bytes has only ", Rest().size()));
    }
    value = Rest().substr(0, size);
    position_ += size;
    return absl::OkStatus();
  }

  absl::Status Line(absl::string_view& line) {
    const absl::string_view rest = Rest().substr(0, kMaxLineBytes + 1);
    const size_t end = rest.find('\n');
    if (end == absl::string_view::npos) return BrokenPickle("a name does not end");
    line = rest.substr(0, end);
    position_ += end + 1;
    return absl::OkStatus();
  }

  absl::string_view Rest() const { return pickle_.bytes_.substr(position_); }

  // The stack.

  absl::Status Push(PickleValue value) {
    if (stack_.size() == kMaxPickleStack) {
      return BrokenPickle(absl::StrCat("more than ", kMaxPickleStack, " values are on its stack"));
    }
    stack_.push_back(value);
    return absl::OkStatus();
  }

  // Only what was pushed after the last mark can be taken.
  absl::Status Need(size_t count) const {
    if (stack_.size() - (marks_.empty() ? 0 : marks_.back()) >= count) return absl::OkStatus();
    return BrokenPickle("it takes more values than it has");
  }

  absl::Status Pop(PickleValue& value) {
    MUSTER_RETURN_IF_ERROR(Need(1));
    value = stack_.back();
    stack_.pop_back();
    return absl::OkStatus();
  }

  // Where the values since the last mark begin.
  absl::Status PopMark(size_t& begin) {
    if (marks_.empty()) return BrokenPickle("it takes a mark that was not set");
    begin = marks_.back();
    marks_.pop_back();
    return absl::OkStatus();
  }

  absl::Status Charge(size_t count) {
    if (count > kMaxPickleObjects - objects_) {
      return BrokenPickle(absl::StrCat("it makes more than ", kMaxPickleObjects, " objects"));
    }
    objects_ += count;
    return absl::OkStatus();
  }

  // Operations.

  absl::Status Protocol(int) {
    uint64_t version = 0;
    MUSTER_RETURN_IF_ERROR(Number(1, version));
    if (version >= 2 && version <= 4) return absl::OkStatus();
    return BrokenPickle(absl::StrCat("it is of protocol ", version, ", known are 2 to 4"));
  }

  // A hint how much follows.
  absl::Status Frame(int) {
    absl::string_view ignored;
    const size_t begin = position_;
    MUSTER_RETURN_IF_ERROR(Counted(8, ignored));
    position_ = begin + 8;
    return absl::OkStatus();
  }

  absl::Status Mark(int) {
    if (marks_.size() == kMaxPickleStack) {
      return BrokenPickle(absl::StrCat("more than ", kMaxPickleStack, " marks are on its stack"));
    }
    marks_.push_back(stack_.size());
    return absl::OkStatus();
  }

  absl::Status PushOther(int width) {
    uint64_t ignored = 0;
    MUSTER_RETURN_IF_ERROR(Number(width, ignored));
    return Push({});
  }

  absl::Status PushBool(int value) { return Push({Kind::kBool, 0, value}); }

  absl::Status PushUnsigned(int width) {
    uint64_t value = 0;
    MUSTER_RETURN_IF_ERROR(Number(width, value));
    return Push({Kind::kInt, 0, static_cast<int64_t>(value)});
  }

  absl::Status PushInt32(int) {
    uint64_t value = 0;
    MUSTER_RETURN_IF_ERROR(Number(4, value));
    return Push({Kind::kInt, 0, static_cast<int32_t>(static_cast<uint32_t>(value))});
  }

  // Little end first, in two's complement, of any length.
  absl::Status PushLong(int width) {
    absl::string_view bytes;
    MUSTER_RETURN_IF_ERROR(Counted(width, bytes));
    if (bytes.size() > 8) return Push({});
    const bool negative = !bytes.empty() && (bytes.back() & 0x80) != 0;
    uint64_t value = negative ? ~uint64_t{0} : 0;
    for (size_t i = bytes.size(); i-- > 0;) {
      value = value << 8 | static_cast<unsigned char>(bytes[i]);
    }
    return Push({Kind::kInt, 0, static_cast<int64_t>(value)});
  }

  absl::Status PushString(int width) {
    absl::string_view text;
    MUSTER_RETURN_IF_ERROR(Counted(width, text));
    return Push({Kind::kString, static_cast<uint32_t>(text.size()),
                 static_cast<int64_t>(position_ - text.size())});
  }

  absl::Status PushBytes(int width) {
    absl::string_view ignored;
    MUSTER_RETURN_IF_ERROR(Counted(width, ignored));
    return Push({});
  }

  absl::Status PushContainer(int kind) {
    MUSTER_RETURN_IF_ERROR(Charge(1));
    pickle_.containers_.emplace_back();
    return Push({static_cast<Kind>(kind), 0, static_cast<int64_t>(pickle_.containers_.size() - 1)});
  }

  // Of what is on the stack from `begin` on.
  absl::Status MakeTuple(size_t begin) {
    const size_t size = stack_.size() - begin;
    MUSTER_RETURN_IF_ERROR(Charge(size));
    const PickleValue tuple{Kind::kTuple, static_cast<uint32_t>(size),
                            static_cast<int64_t>(pickle_.tuples_.size())};
    const auto first = stack_.begin() + static_cast<std::ptrdiff_t>(begin);
    pickle_.tuples_.insert(pickle_.tuples_.end(), first, stack_.end());
    stack_.erase(first, stack_.end());
    return Push(tuple);
  }

  absl::Status PushTuple(int size) {
    MUSTER_RETURN_IF_ERROR(Need(static_cast<size_t>(size)));
    return MakeTuple(stack_.size() - static_cast<size_t>(size));
  }

  absl::Status PushMarkedTuple(int) {
    size_t begin = 0;
    MUSTER_RETURN_IF_ERROR(PopMark(begin));
    return MakeTuple(begin);
  }

  // Moves the values from `begin` on into the container of `kind` below them.
  absl::Status Extend(size_t begin, Kind kind) {
    const size_t count = stack_.size() - begin;
    if (begin == 0 || (!marks_.empty() && begin - 1 < marks_.back())) {
      return BrokenPickle("it takes more values than it has");
    }
    const PickleValue container = stack_[begin - 1];
    if (!container.is(kind)) {
      return Refused(KindName(container.kind), absl::StrCat("it adds to ", KindName(container.kind),
                                                            " as if it were ", KindName(kind)));
    }
    if (kind == Kind::kDict && count % 2 != 0) return BrokenPickle("a key has no value");
    MUSTER_RETURN_IF_ERROR(Charge(count));
    auto& items = pickle_.containers_[static_cast<size_t>(container.number)];
    const auto first = stack_.begin() + static_cast<std::ptrdiff_t>(begin);
    items.insert(items.end(), first, stack_.end());
    stack_.erase(first, stack_.end());
    return absl::OkStatus();
  }

  absl::Status Append(int count) {
    MUSTER_RETURN_IF_ERROR(Need(static_cast<size_t>(count)));
    return Extend(stack_.size() - static_cast<size_t>(count),
                  count == 1 ? Kind::kList : Kind::kDict);
  }

  absl::Status AppendMarked(int kind) {
    size_t begin = 0;
    MUSTER_RETURN_IF_ERROR(PopMark(begin));
    return Extend(begin, static_cast<Kind>(kind));
  }

  absl::Status Memorise(uint64_t index) {
    MUSTER_RETURN_IF_ERROR(Need(1));
    const auto [there, added] = memo_.insert_or_assign(index, stack_.back());
    return added ? Charge(1) : absl::OkStatus();
  }

  absl::Status Put(int width) {
    uint64_t index = 0;
    MUSTER_RETURN_IF_ERROR(Number(width, index));
    return Memorise(index);
  }

  absl::Status Memoize(int) { return Memorise(memo_.size()); }

  absl::Status Get(int width) {
    uint64_t index = 0;
    MUSTER_RETURN_IF_ERROR(Number(width, index));
    const auto found = memo_.find(index);
    if (found == memo_.end()) return BrokenPickle(absl::StrCat("memo ", index, " was not set"));
    return Push(found->second);
  }

  absl::Status PushGlobal(absl::string_view module, absl::string_view name) {
    const TorchGlobal* const global = FindTorchGlobal(module, name);
    if (global == nullptr) {
      const std::string full = GlobalName(module, name);
      return Refused(full, absl::StrCat("it names ", QuoteForMessage(full), " (",
                                        DescribeRefused(module, name), ")"));
    }
    const auto known = std::find(globals_.begin(), globals_.end(), global);
    const PickleValue value{Kind::kGlobal, 0, known - globals_.begin()};
    if (known == globals_.end()) globals_.push_back(global);
    return Push(value);
  }

  const TorchGlobal& GlobalOf(const PickleValue& value) const {
    return *globals_[static_cast<size_t>(value.number)];
  }

  absl::Status Global(int) {
    absl::string_view module;
    absl::string_view name;
    MUSTER_RETURN_IF_ERROR(Line(module));
    MUSTER_RETURN_IF_ERROR(Line(name));
    return PushGlobal(module, name);
  }

  absl::Status StackGlobal(int) {
    PickleValue name;
    PickleValue module;
    MUSTER_RETURN_IF_ERROR(Pop(name));
    MUSTER_RETURN_IF_ERROR(Pop(module));
    if (!name.is(Kind::kString) || !module.is(Kind::kString)) {
      return BrokenPickle("a name is not a string");
    }
    return PushGlobal(pickle_.Text(module), pickle_.Text(name));
  }

  // INST: a name as GLOBAL has it, called at once.
  absl::Status Instance(int) {
    absl::string_view module;
    absl::string_view name;
    MUSTER_RETURN_IF_ERROR(Line(module));
    MUSTER_RETURN_IF_ERROR(Line(name));
    const std::string full = GlobalName(module, name);
    return Refused(full, absl::StrCat("it calls ", QuoteForMessage(full)));
  }

  absl::Status PersistentId(int) {
    PickleValue id;
    MUSTER_RETURN_IF_ERROR(Pop(id));
    const auto items = id.is(Kind::kTuple) ? pickle_.Items(id) : absl::Span<const PickleValue>();
    if (items.size() != 5 || !items[0].is(Kind::kString) || pickle_.Text(items[0]) != "storage" ||
        !items[1].is(Kind::kGlobal) || !items[2].is(Kind::kString) || !items[4].is(Kind::kInt) ||
        items[4].number < 0) {
      return BrokenPickle("a persistent id does not name a storage");
    }
    const TorchGlobal& type = GlobalOf(items[1]);
    if (type.role != Role::kStorage && type.role != Role::kUntypedStorage) {
      return BrokenPickle(
          absl::StrCat(GlobalName(type.module, type.name), " is not a kind of storage"));
    }
    MUSTER_RETURN_IF_ERROR(Charge(1));
    pickle_.storages_.push_back({pickle_.Text(items[2]), &type, items[4].number});
    return Push({Kind::kStorage, 0, static_cast<int64_t>(pickle_.storages_.size() - 1)});
  }

  absl::Status Reduce(int) {
    PickleValue arguments;
    PickleValue callee;
    MUSTER_RETURN_IF_ERROR(Pop(arguments));
    MUSTER_RETURN_IF_ERROR(Pop(callee));
    if (!callee.is(Kind::kGlobal) || !arguments.is(Kind::kTuple)) {
      return Refused(KindName(callee.kind), absl::StrCat("it calls ", KindName(callee.kind)));
    }
    const TorchGlobal& global = GlobalOf(callee);
    const absl::Status status = Call(global, pickle_.Items(arguments));
    return Annotate(status, GlobalName(global.module, global.name));
  }

  absl::Status Call(const TorchGlobal& callee, absl::Span<const PickleValue> arguments) {
    switch (callee.role) {
      case Role::kOrderedDict:
        if (arguments.empty()) return PushContainer(static_cast<int>(Kind::kDict));
        break;
      case Role::kRebuildTensorV2:
      case Role::kRebuildTensorV3:
        return RebuildTensor(callee.role == Role::kRebuildTensorV3, arguments);
      case Role::kRebuildParameter:
        if (!arguments.empty() && arguments[0].is(Kind::kTensor)) return Push(arguments[0]);
        break;
      case Role::kSize:
        if (arguments.size() == 1 && arguments[0].is(Kind::kTuple)) return Push(arguments[0]);
        break;
      case Role::kGetLayout:
        if (arguments.size() == 1 && arguments[0].is(Kind::kString)) return Push({});
        break;
      case Role::kStorage:
      case Role::kUntypedStorage:
      case Role::kDtype:
        return Refused(GlobalName(callee.module, callee.name),
                       "it is called, but is not a function");
    }
    return BrokenPickle("it is called with arguments that torch does not write");
  }

  // storage, offset, shape, strides, requires_grad, hooks, for v3 the dtype, and metadata.
  absl::Status RebuildTensor(bool says_dtype, absl::Span<const PickleValue> arguments) {
    const size_t count = says_dtype ? 7 : 6;
    if (arguments.size() < count || arguments.size() > count + 1 ||
        !arguments[0].is(Kind::kStorage) || !arguments[1].is(Kind::kInt) ||
        !IsIntegers(arguments[2]) || !IsIntegers(arguments[3]) ||
        arguments[2].size != arguments[3].size) {
      return BrokenPickle("it is called with arguments that torch does not write");
    }
    if (arguments.size() > count) MUSTER_RETURN_IF_ERROR(CheckMetadata(arguments[count]));
    const auto storage = static_cast<uint32_t>(arguments[0].number);
    const TorchGlobal* type = pickle_.Storage(storage).type;
    if ((type->role == Role::kUntypedStorage) != says_dtype) {
      return BrokenPickle(
          "the storage and the tensor don't agree about which of them holds the dtype");
    }
    if (says_dtype) {
      if (!arguments[6].is(Kind::kGlobal) || GlobalOf(arguments[6]).role != Role::kDtype) {
        return BrokenPickle("it is called with arguments that torch does not write");
      }
      type = &GlobalOf(arguments[6]);
    }
    if (type->dtype.empty()) {
      const std::string name = GlobalName(type->module, type->name);
      return Refused(name, absl::StrCat("its dtype is ", name, ", which safetensors lacks"));
    }
    MUSTER_RETURN_IF_ERROR(Charge(1));
    pickle_.tensors_.push_back(
        {storage, type->dtype, arguments[1].number, arguments[2], arguments[3]});
    return Push({Kind::kTensor, 0, static_cast<int64_t>(pickle_.tensors_.size() - 1)});
  }

  bool IsIntegers(const PickleValue& tuple) const {
    if (!tuple.is(Kind::kTuple)) return false;
    const auto items = pickle_.Items(tuple);
    return std::all_of(items.begin(), items.end(),
                       [](const PickleValue& item) { return item.is(Kind::kInt); });
  }

  // Says that the tensor is the conjugate or the negative of its bytes.
  absl::Status CheckMetadata(const PickleValue& metadata) const {
    if (!metadata.is(Kind::kDict)) return absl::OkStatus();
    const auto entries = pickle_.Entries(metadata);
    for (size_t i = 0; i + 1 < entries.size(); i += 2) {
      if (entries[i + 1].is(Kind::kBool) && entries[i + 1].number == 0) continue;
      const std::string name =
          entries[i].is(Kind::kString) ? QuoteForMessage(pickle_.Text(entries[i])) : "metadata";
      return Refused(name, absl::StrCat("the tensor's ", name,
                                        " is set, which says that its bytes "
                                        "are not its values"));
    }
    return absl::OkStatus();
  }

  // Sets attributes; the only ones that torch.save writes are those of state dicts, which say nothing
  // about tensors.
  absl::Status Build(int) {
    PickleValue state;
    MUSTER_RETURN_IF_ERROR(Pop(state));
    MUSTER_RETURN_IF_ERROR(Need(1));
    if (stack_.back().is(Kind::kDict) && state.is(Kind::kDict)) return absl::OkStatus();
    return Refused(KindName(stack_.back().kind),
                   absl::StrCat("it sets the state of ", KindName(stack_.back().kind)));
  }

  absl::Status Stop(int) { return Need(1); }

  Pickle pickle_;
  size_t position_ = 0;
  std::vector<PickleValue> stack_;
  // Sizes that the stack had.
  std::vector<size_t> marks_;
  absl::flat_hash_map<uint64_t, PickleValue> memo_;
  // Each once, so that there are never more than there are known ones.
  std::vector<const TorchGlobal*> globals_;
  size_t objects_ = 0;
};

const PickleMachine::Operation PickleMachine::kOperations[] = {
    {0x80, "PROTO", &PickleMachine::Protocol},
    {0x95, "FRAME", &PickleMachine::Frame},
    {'(', "MARK", &PickleMachine::Mark},
    {'.', "STOP", &PickleMachine::Stop},
    {'N', "NONE", &PickleMachine::PushOther, 0},
    {0x88, "NEWTRUE", &PickleMachine::PushBool, 1},
    {0x89, "NEWFALSE", &PickleMachine::PushBool, 0},
    {'K', "BININT1", &PickleMachine::PushUnsigned, 1},
    {'M', "BININT2", &PickleMachine::PushUnsigned, 2},
    {'J', "BININT", &PickleMachine::PushInt32},
    {0x8A, "LONG1", &PickleMachine::PushLong, 1},
    {0x8B, "LONG4", &PickleMachine::PushLong, 4},
    {'G', "BINFLOAT", &PickleMachine::PushOther, 8},
    {'X', "BINUNICODE", &PickleMachine::PushString, 4},
    {0x8C, "SHORT_BINUNICODE", &PickleMachine::PushString, 1},
    {0x8D, "BINUNICODE8", &PickleMachine::PushString, 8},
    {'C', "SHORT_BINBYTES", &PickleMachine::PushBytes, 1},
    {'B', "BINBYTES", &PickleMachine::PushBytes, 4},
    {0x8E, "BINBYTES8", &PickleMachine::PushBytes, 8},
    {')', "EMPTY_TUPLE", &PickleMachine::PushTuple, 0},
    {0x85, "TUPLE1", &PickleMachine::PushTuple, 1},
    {0x86, "TUPLE2", &PickleMachine::PushTuple, 2},
    {0x87, "TUPLE3", &PickleMachine::PushTuple, 3},
    {'t', "TUPLE", &PickleMachine::PushMarkedTuple},
    {']', "EMPTY_LIST", &PickleMachine::PushContainer, static_cast<int>(Kind::kList)},
    {'a', "APPEND", &PickleMachine::Append, 1},
    {'e', "APPENDS", &PickleMachine::AppendMarked, static_cast<int>(Kind::kList)},
    {'}', "EMPTY_DICT", &PickleMachine::PushContainer, static_cast<int>(Kind::kDict)},
    {'s', "SETITEM", &PickleMachine::Append, 2},
    {'u', "SETITEMS", &PickleMachine::AppendMarked, static_cast<int>(Kind::kDict)},
    {'q', "BINPUT", &PickleMachine::Put, 1},
    {'r', "LONG_BINPUT", &PickleMachine::Put, 4},
    {0x94, "MEMOIZE", &PickleMachine::Memoize},
    {'h', "BINGET", &PickleMachine::Get, 1},
    {'j', "LONG_BINGET", &PickleMachine::Get, 4},
    {'c', "GLOBAL", &PickleMachine::Global},
    {0x93, "STACK_GLOBAL", &PickleMachine::StackGlobal},
    {'i', "INST", &PickleMachine::Instance},
    {'Q', "BINPERSID", &PickleMachine::PersistentId},
    {'R', "REDUCE", &PickleMachine::Reduce},
    {'b', "BUILD", &PickleMachine::Build},
    {'o', "OBJ"},
    {0x81, "NEWOBJ"},
    {0x92, "NEWOBJ_EX"},
    {0x82, "EXT1"},
    {0x83, "EXT2"},
    {0x84, "EXT4"},
    {'P', "PERSID"},
    {0x8F, "EMPTY_SET"},
    {0x90, "ADDITEMS"},
    {0x91, "FROZENSET"},
    {0x96, "BYTEARRAY8"},
};

absl::Status PickleMachine::Execute(char code) {
  static const std::array<const Operation*, 256> kByCode = [] {
    std::array<const Operation*, 256> table{};
    for (const Operation& operation : kOperations) table[operation.code] = &operation;
    return table;
  }();
  const auto number = static_cast<unsigned char>(code);
  const Operation* const operation = kByCode[number];
  if (operation != nullptr && operation->run != nullptr) {
    return (this->*operation->run)(operation->argument);
  }
  const std::string name =
      operation != nullptr ? std::string(operation->name) : absl::StrFormat("0x%02x", number);
  return Refused(name, absl::StrCat("it uses the operation ", name));
}

absl::string_view Pickle::Text(const PickleValue& string) const {
  return bytes_.substr(static_cast<size_t>(string.number), string.size);
}

absl::Span<const PickleValue> Pickle::Items(const PickleValue& value) const {
  const auto index = static_cast<size_t>(value.number);
  if (value.is(Kind::kTuple)) {
    return absl::MakeConstSpan(tuples_).subspan(index, value.size);
  }
  return containers_[index];
}

absl::Span<const PickleValue> Pickle::Entries(const PickleValue& dict) const {
  return containers_[static_cast<size_t>(dict.number)];
}

const PickleTensor& Pickle::Tensor(const PickleValue& tensor) const {
  return tensors_[static_cast<size_t>(tensor.number)];
}

absl::StatusOr<Pickle> ReadPickle(absl::string_view bytes) {
  if (bytes.size() > static_cast<size_t>(kMaxPickleBytes)) {
    return BrokenPickle(
        absl::StrCat("it has ", bytes.size(), " bytes, at most ", kMaxPickleBytes, " are read"));
  }
  return PickleMachine(bytes).Run();
}

absl::string_view KindName(PickleValue::Kind kind) {
  switch (kind) {
    case Kind::kBool:
      return "a bool";
    case Kind::kInt:
      return "a number";
    case Kind::kString:
      return "a string";
    case Kind::kTuple:
      return "a tuple";
    case Kind::kList:
      return "a list";
    case Kind::kDict:
      return "a dict";
    case Kind::kGlobal:
      return "a name";
    case Kind::kStorage:
      return "a storage";
    case Kind::kTensor:
      return "a tensor";
    case Kind::kOther:
      break;
  }
  return "a value";
}

}  // namespace muster
