"""Identities and policies of a secured server."""

import hashlib
import json
import secrets

import grpc

from harness.certificates import credentials

CLUSTER = "test"


class Token:
    """A bearer token; `line` is what a policy says of it."""

    def __init__(self, name, who, expires=None):
        self.text = f"mst_{name}_{secrets.token_urlsafe(32)}"
        kind, _, owner = who.partition("/")
        self.line = {"id": name, kind: owner, "sha256": hashlib.sha256(self.text.encode()).hexdigest()}
        if expires:
            self.line["expires"] = expires

    def credentials(self, authority):
        """For Python's gRPC."""
        return grpc.composite_channel_credentials(credentials(authority), grpc.access_token_call_credentials(self.text))


class PolicyFile:
    """A policy that is written whole, as tools do it."""

    def __init__(self, path, **policy):
        self.path = path
        self.policy = policy
        self.write()

    def write(self, **changes):
        self.policy |= changes
        staged = self.path.with_suffix(".new")
        staged.write_text(json.dumps(self.policy), encoding="utf-8")
        staged.rename(self.path)


def grant(who, role, *on, **more):
    return {"who": who, "role": role, "on": list(on), **more}


def user(authority, name):
    return authority.issue(f"user-{name}", f"URI:spiffe://{CLUSTER}/user/{name}")


def node(authority, name):
    return authority.issue(f"node-{name}", f"URI:spiffe://{CLUSTER}/node/{name}")
