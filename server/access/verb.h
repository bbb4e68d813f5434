// What a caller may do to a resource, and the roles that name sets of it.
//
// Thread-safe: values and pure functions.
#ifndef MUSTER_SERVER_ACCESS_VERB_H_
#define MUSTER_SERVER_ACCESS_VERB_H_

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace muster {

// The numbers are bits of a VerbSet and are stored nowhere.
enum class Verb : uint8_t {
  // See it, and what is in it.
  kRead,
  // Create a model version, add to it, commit it, change its locations.
  kPublish,
  // Delete a model version.
  kDelete,
  // Create, change and delete an assembly.
  kAssemble,
  // Make a node a member of an assembly, and look at the assembly.
  kJoin,
  // Drain, update and remove a node, and let moves continue.
  kOperate,
  // Speak as a node: register it, renew its lease, watch its assignments, report for it.
  kReport,
  // Sign a model version.
  kSign,
  // Change who may do what, and look at the server itself.
  kAdmin,
};
inline constexpr int kVerbCount = 9;

class VerbSet {
 public:
  constexpr VerbSet() = default;
  constexpr VerbSet(std::initializer_list<Verb> verbs) {
    for (const Verb verb : verbs) Add(verb);
  }
  static constexpr VerbSet All() { return VerbSet((1u << kVerbCount) - 1); }

  constexpr void Add(Verb verb) { bits_ |= 1u << static_cast<unsigned>(verb); }
  constexpr bool Has(Verb verb) const { return (bits_ >> static_cast<unsigned>(verb) & 1u) != 0; }
  constexpr bool empty() const { return bits_ == 0; }

  friend constexpr VerbSet operator|(VerbSet a, VerbSet b) { return VerbSet(a.bits_ | b.bits_); }
  friend constexpr VerbSet operator&(VerbSet a, VerbSet b) { return VerbSet(a.bits_ & b.bits_); }
  friend constexpr bool operator==(VerbSet, VerbSet) = default;

 private:
  constexpr explicit VerbSet(unsigned bits) : bits_(static_cast<uint16_t>(bits)) {}

  uint16_t bits_ = 0;
};

// "read", "publish" and so on, as policies spell them.
absl::string_view VerbName(Verb verb);
std::optional<Verb> VerbOf(absl::string_view name);
// "read, publish"; in the order of the enum.
std::string VerbNames(VerbSet verbs);

// The verbs of "reader", "publisher", "operator", "node" or "admin"; nothing for another name.
std::optional<VerbSet> RoleVerbs(absl::string_view role);
// "reader, publisher, …", for messages.
std::string RoleNames();

}  // namespace muster

#endif  // MUSTER_SERVER_ACCESS_VERB_H_
