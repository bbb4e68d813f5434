#!/usr/bin/env python3
"""Each kind of break is found, and additions are not: small protos, compiled, before and after."""

import pathlib
import sys
import tempfile
import unittest

import descriptors
import proto_compat

PROTOC = "protoc"

BEFORE = """
syntax = "proto3";
package muster.v1;
service S {
  rpc Get(GetRequest) returns (GetResponse);
  rpc Watch(GetRequest) returns (stream GetResponse);
}
enum Color { COLOR_UNSPECIFIED = 0; RED = 1; }
message GetRequest {
  string name = 1;
  optional uint64 epoch = 2;
  repeated uint32 shards = 3;
  Color color = 4;
  oneof what { string text = 5; bytes data = 6; }
  map<string, string> labels = 7;
  reserved 9;
  reserved "old";
  message Inner { enum Kind { KIND_UNSPECIFIED = 0; A = 1; } Kind kind = 1; }
  Inner inner = 8;
}
message GetResponse { uint64 revision = 1; }
"""


def contract(text):
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory) / "muster/v1/a.proto"
        path.parent.mkdir(parents=True)
        path.write_text(text)
        return descriptors.read(descriptors.compile_protos(PROTOC, pathlib.Path(directory)))


class ProtoCompatTest(unittest.TestCase):
    def expect(self, old, new, *finding):
        """Putting `new` in the place of `old` is found, by all the words of `finding`; by nothing where there is none."""
        self.assertIn(old, BEFORE)
        found = proto_compat.findings(contract(BEFORE), contract(BEFORE.replace(old, new)))
        if not finding:
            self.assertEqual(found, [])
            return
        self.assertTrue(any(all(word in line for word in finding) for line in found), found)

    def test_additions_break_nothing(self):
        self.expect("uint64 revision = 1;", "uint64 revision = 1; string more = 2;")
        self.expect("RED = 1;", "RED = 1; BLUE = 2;")
        self.expect("service S {", "service T {} service S { rpc Put(GetRequest) returns (GetResponse);")
        self.expect("message GetResponse", "message Other {} message GetResponse")

    def test_fields(self):
        self.expect("string name = 1;", "", "GetRequest.name", "gone")
        self.expect("string name = 1;", "reserved 1;", "GetRequest.name", "gone")
        self.expect("string name = 1;", 'reserved 1; reserved "name";')
        self.expect("string name = 1;", "string title = 1;", "GetRequest.name", "title now")
        self.expect("string name = 1;", "string name = 10;", "GetRequest.name", "number 1 became 10")
        self.expect("string name = 1;", "bytes name = 1;", "GetRequest.name", "string became bytes")
        self.expect("Color color = 4;", "Inner color = 4;", "GetRequest.color", "type enum .muster.v1.Color became message")
        self.expect("repeated uint32 shards", "uint32 shards", "GetRequest.shards", "repeated became single")
        self.expect("optional uint64 epoch", "uint64 epoch", "GetRequest.epoch", "presence")
        self.expect("oneof what { string text = 5; bytes data = 6; }", "string text = 5; bytes data = 6;", "text", "presence")
        self.expect("map<string, string> labels", "map<string, uint32> labels", "LabelsEntry.value", "string became uint32")
        self.expect("Kind kind = 1;", "uint32 kind = 1;", "Inner.kind", "type")

    def test_reserved(self):
        self.expect("reserved 9;", "string fresh = 9;", "number 9 is no longer reserved")
        self.expect('reserved "old";', "string old = 10;", "name old is no longer reserved")

    def test_messages_enums_and_services(self):
        self.expect("message GetResponse {", "message Answer {} message GetResponseTwo {} message GetResponse {")
        renamed = BEFORE.replace("GetResponse", "Answer")
        found = proto_compat.findings(contract(BEFORE), contract(renamed))
        self.assertTrue(any("message .muster.v1.GetResponse is gone" in line for line in found), found)
        self.assertTrue(any("S.Get:" in line for line in found), found)
        self.expect("RED = 1;", "", "Color.RED is gone")
        self.expect("RED = 1;", "RED = 2;", "Color.RED", "number 1 became 2")
        self.expect("A = 1;", "", "Inner.Kind.A is gone")
        gone = BEFORE.replace("enum Color { COLOR_UNSPECIFIED = 0; RED = 1; }", "").replace("Color color = 4;", "")
        self.assertTrue(any("enum .muster.v1.Color is gone" in line for line in proto_compat.findings(contract(BEFORE), contract(gone))))
        self.expect("rpc Get(GetRequest) returns (GetResponse);", "", "S.Get is gone")
        self.expect("returns (stream GetResponse)", "returns (GetResponse)", "S.Watch", "server_streams=True", "server_streams=False")
        self.expect("service S {", "service T {", "service .muster.v1.S is gone")

    def test_released_set_is_whole(self):
        released = descriptors.read(proto_compat.RELEASED.read_bytes())
        self.assertIn("ReportShards", released.services[".muster.v1.AssemblyService"])
        self.assertIn("epoch", released.messages[".muster.v1.ReportShardsRequest"].fields)
        self.assertIn("generation", released.messages[".muster.store.AssemblyRow"].fields)
        self.assertGreater(len(released.messages), 100)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        PROTOC = sys.argv.pop(1)
    unittest.main()
