#include "server/registry/row_keys.h"

#include <cstddef>
#include <utility>

namespace muster {
namespace {

class KeyWriter {
 public:
  explicit KeyWriter(char kind) : key_(1, kind) {}

  KeyWriter& U64(uint64_t value) { return Number(value, 8); }
  KeyWriter& U32(uint32_t value) { return Number(value, 4); }
  KeyWriter& Char(char c) {
    key_.push_back(c);
    return *this;
  }
  KeyWriter& Text(absl::string_view text) {
    key_.append(text.data(), text.size());
    return *this;
  }
  std::string Done() { return std::move(key_); }

 private:
  KeyWriter& Number(uint64_t value, int bytes) {
    for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) {
      key_.push_back(static_cast<char>(value >> shift & 0xff));
    }
    return *this;
  }

  std::string key_;
};

uint64_t ReadNumber(absl::string_view bytes) {
  uint64_t value = 0;
  for (const char c : bytes) value = value << 8 | static_cast<uint8_t>(c);
  return value;
}

}  // namespace

std::string RevisionKey() { return "!revision"; }
std::string VersionKey(VersionUid version) { return KeyWriter('v').U64(version.value).Done(); }
std::string ShardKey(VersionUid version, ShardIndex shard) {
  return KeyWriter('s').U64(version.value).U32(shard.value).Done();
}
std::string PiecesKey(VersionUid version, ShardIndex shard, uint32_t chunk) {
  return KeyWriter('p').U64(version.value).U32(shard.value).U32(chunk).Done();
}
std::string TensorsKey(VersionUid version, ShardIndex shard, uint32_t start) {
  return KeyWriter('t').U64(version.value).U32(shard.value).U32(start).Done();
}
std::string CompanionKey(VersionUid version, absl::string_view path) {
  return KeyWriter('c').U64(version.value).Text(path).Done();
}
std::string InventoryKey(NodeUid node) { return KeyWriter('i').U64(node.value).Done(); }
std::string NodeKey(NodeUid node) { return KeyWriter('n').U64(node.value).Done(); }
std::string AssemblyKey(AssemblyUid assembly) { return KeyWriter('a').U64(assembly.value).Done(); }
std::string MemberKey(AssemblyUid assembly, NodeUid node) {
  return KeyWriter('b').U64(assembly.value).Char('m').U64(node.value).Done();
}
std::string AssignmentKey(AssemblyUid assembly, Generation directory, NodeUid node) {
  return KeyWriter('b').U64(assembly.value).Char('p').U64(directory.value).U64(node.value).Done();
}
std::string ReadinessKey(AssemblyUid assembly, NodeUid node) {
  return KeyWriter('b').U64(assembly.value).Char('r').U64(node.value).Done();
}
std::string EventLogKey() { return "!events"; }
std::string EventsKey(Revision revision, uint32_t part) {
  return KeyWriter('e').U64(revision.value).U32(part).Done();
}
std::string EventRunKey(Revision last) { return KeyWriter('k').U64(last.value).Done(); }
std::string LocationHealthKey(VersionUid version, ShardIndex shard, absl::string_view uri) {
  return KeyWriter('h').U64(version.value).U32(shard.value).Text(uri).Done();
}
std::string JoinTokenKey(absl::string_view id) { return KeyWriter('j').Text(id).Done(); }
std::string EnrolledNameKey(absl::string_view node) { return KeyWriter('m').Text(node).Done(); }
std::string RequestKey(int64_t expire_time_us, absl::string_view request_id) {
  return KeyWriter('q').U64(static_cast<uint64_t>(expire_time_us)).Text(request_id).Done();
}

std::string AllShardsPrefix(VersionUid version) { return KeyWriter('s').U64(version.value).Done(); }
std::string AllPiecesPrefix(VersionUid version) { return KeyWriter('p').U64(version.value).Done(); }
std::string AllTensorsPrefix(VersionUid version) {
  return KeyWriter('t').U64(version.value).Done();
}
std::string AllCompanionsPrefix(VersionUid version) {
  return KeyWriter('c').U64(version.value).Done();
}
std::string AllLocationHealthPrefix(VersionUid version) {
  return KeyWriter('h').U64(version.value).Done();
}
std::string AssemblyRowsPrefix(AssemblyUid assembly) {
  return KeyWriter('b').U64(assembly.value).Done();
}
std::string PlanDirectoryPrefix(AssemblyUid assembly, Generation directory) {
  return KeyWriter('b').U64(assembly.value).Char('p').U64(directory.value).Done();
}

std::string PrefixEnd(absl::string_view prefix) {
  std::string end(prefix);
  while (!end.empty() && static_cast<uint8_t>(end.back()) == 0xff) end.pop_back();
  if (!end.empty()) end.back() = static_cast<char>(static_cast<uint8_t>(end.back()) + 1);
  return end;
}

std::optional<std::pair<VersionUid, ShardIndex>> ParseShardKey(absl::string_view key) {
  if (key.size() != 13 || key[0] != 's') return std::nullopt;
  return std::pair(VersionUid(ReadNumber(key.substr(1, 8))),
                   ShardIndex(static_cast<uint32_t>(ReadNumber(key.substr(9, 4)))));
}

std::optional<std::pair<VersionUid, ShardIndex>> ParseLocationHealthKey(absl::string_view key) {
  if (key.size() < 14 || key[0] != 'h') return std::nullopt;
  return std::pair(VersionUid(ReadNumber(key.substr(1, 8))),
                   ShardIndex(static_cast<uint32_t>(ReadNumber(key.substr(9, 4)))));
}

std::optional<VersionUid> ParseCompanionKey(absl::string_view key) {
  if (key.size() < 10 || key[0] != 'c') return std::nullopt;
  return VersionUid(ReadNumber(key.substr(1, 8)));
}

std::optional<NodeUid> ParseInventoryKey(absl::string_view key) {
  if (key.size() != 9 || key[0] != 'i') return std::nullopt;
  return NodeUid(ReadNumber(key.substr(1)));
}

std::optional<AssemblyRowKey> ParseAssemblyRowKey(absl::string_view key) {
  if (key.size() < 10 || key[0] != 'b') return std::nullopt;
  AssemblyRowKey parsed;
  parsed.assembly = AssemblyUid(ReadNumber(key.substr(1, 8)));
  parsed.kind = key[9];
  if (parsed.kind == 'p' && key.size() == 26) {
    parsed.directory = Generation(ReadNumber(key.substr(10, 8)));
    parsed.node = NodeUid(ReadNumber(key.substr(18, 8)));
    return parsed;
  }
  if ((parsed.kind != 'm' && parsed.kind != 'r') || key.size() != 18) return std::nullopt;
  parsed.node = NodeUid(ReadNumber(key.substr(10, 8)));
  return parsed;
}

std::optional<Revision> ParseEventsKey(absl::string_view key) {
  if (key.size() != 13 || key[0] != 'e') return std::nullopt;
  return Revision(ReadNumber(key.substr(1, 8)));
}

std::optional<Revision> ParseEventRunKey(absl::string_view key) {
  if (key.size() != 9 || key[0] != 'k') return std::nullopt;
  return Revision(ReadNumber(key.substr(1, 8)));
}

std::optional<TensorsRowKey> ParseTensorsKey(absl::string_view key) {
  if (key.size() != 17 || key[0] != 't') return std::nullopt;
  return TensorsRowKey{VersionUid(ReadNumber(key.substr(1, 8))),
                       ShardIndex(static_cast<uint32_t>(ReadNumber(key.substr(9, 4)))),
                       static_cast<uint32_t>(ReadNumber(key.substr(13, 4)))};
}

}  // namespace muster
