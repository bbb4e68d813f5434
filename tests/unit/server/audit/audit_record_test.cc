#include "server/audit/audit_record.h"

#include <nlohmann/json.hpp>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace muster {
namespace {

TEST(AuditRecordTest, ALineSaysWhoDidWhatAndWhy) {
  AuditRecord record;
  record.time = absl::FromUnixMillis(1'796'083'200'123);
  record.actor = "user/alice";
  record.proof = "certificate";
  record.credential = "3fa2";
  record.peer = "ipv4:10.0.0.7:52110";
  record.method = "DrainNode";
  record.resources = {"nodes/n1"};
  record.rule = "grants[3]: operator on nodes/**";
  record.allowed = true;
  record.code = "OK";
  record.revision = 17;
  record.took = absl::Microseconds(1'500);

  EXPECT_EQ(AuditLine(record),
            R"({"time":"2026-12-01T00:00:00.123Z","actor":"user/alice","proof":"certificate",)"
            R"("credential":"3fa2","peer":"ipv4:10.0.0.7:52110","method":"DrainNode",)"
            R"("resources":["nodes/n1"],"allowed":true,"rule":"grants[3]: operator on nodes/**",)"
            R"("code":"OK","revision":17,"ms":1.5})"
            "\n");
}

// Names come from certificates and requests: they may try to be lines of their own.
TEST(AuditRecordTest, WhateverANameHoldsALineIsOneLineOfJson) {
  for (const std::string& name :
       {std::string("n1\n{\"actor\":\"user/admin\"}"), std::string("\"},{\"x\":\""),
        std::string("a\0b", 3), std::string("\xff\xfe"), std::string("\x1b[31mred\xe2\x80\xae")}) {
    AuditRecord record;
    record.actor = name;
    record.resources = {name};
    const std::string line = AuditLine(record);

    EXPECT_EQ(line.find('\n'), line.size() - 1);
    const auto parsed = nlohmann::json::parse(line, nullptr, false);
    ASSERT_FALSE(parsed.is_discarded()) << line;
    EXPECT_EQ(parsed["resources"].size(), 1u);
    EXPECT_FALSE(parsed.contains("x"));
  }
}

}  // namespace
}  // namespace muster
