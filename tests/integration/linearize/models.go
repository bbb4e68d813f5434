package main

import "github.com/anishathalye/porcupine"

// The sequential behaviour of one resource each, as proto/muster/v1 has it. An unknown outcome changes the state as its
// success does, or comes last of all and thereby changes nothing that anybody sees.
var models = map[string]porcupine.Model{
	"node":    {Init: func() interface{} { return nodeState{} }, Step: stepNode},
	"version": {Init: func() interface{} { return versionState{} }, Step: stepVersion},
	"shard":   {Init: func() interface{} { return shardState{} }, Step: stepShard},
}

// number is an epoch or a uid. Each is greater than all that the resource had before; until somebody learns of
// it, that is all that is known.
type number struct {
	value int64
	known bool
}

// next is the number that a creation gave, where `told` is 0 when nobody learned it.
func (n number) next(told int64) (number, bool) {
	if told == 0 {
		return number{n.value, false}, true
	}
	return number{told, true}, told > n.value
}

// is says whether this can be the number, and what is known then.
func (n number) is(seen int64) (number, bool) {
	if n.known {
		return n, n.value == seen
	}
	return number{seen, true}, seen > n.value
}

// --- a node: RegisterNode, DeregisterNode, Heartbeat, GetNode

type nodeState struct {
	exists bool
	// Also of a node that is gone: the last one.
	epoch number
}

func stepNode(state, in, out interface{}) (bool, interface{}) {
	node, call, told := state.(nodeState), in.(input), out.(output)
	if told.Error == "NODE_UNKNOWN" {
		return !node.exists, node
	}
	ok := true
	switch call.Op {
	case "register":
		node.exists = true
		node.epoch, ok = node.epoch.next(told.Epoch)
		return ok && told.Error == "", node
	case "get":
		node.epoch, ok = node.epoch.is(told.Epoch)
		return ok && node.exists, node
	case "deregister", "heartbeat":
		if told.Error == "NODE_FENCED" {
			node.epoch, ok = node.epoch.is(told.Epoch)
			return ok && node.exists && told.Epoch != call.Epoch, node
		}
		if told.Unknown {
			// Where it was refused it changed nothing, as if it had come last.
			if epoch, fits := node.epoch.is(call.Epoch); fits && node.exists {
				return true, nodeState{call.Op == "heartbeat", epoch}
			}
			return true, node
		}
		node.epoch, ok = node.epoch.is(call.Epoch)
		ok = ok && node.exists && told.Error == ""
		node.exists = call.Op == "heartbeat"
		return ok, node
	}
	return false, node
}

// --- a model version of one shard: CreateModelVersion, AddShards, CommitModelVersion, DeleteModelVersion, GetModelVersion

type versionState struct {
	exists, committed bool
	shards            int64
	uid               number
}

func stepVersion(state, in, out interface{}) (bool, interface{}) {
	version, call, told := state.(versionState), in.(input), out.(output)
	if told.Error == "VERSION_UNKNOWN" {
		return !version.exists, version
	}
	switch call.Op {
	case "create":
		return stepCreate(version, told)
	case "get":
		uid, ok := version.uid.is(told.UID)
		seen := versionState{true, told.State == "COMMITTED", told.Shards, uid}
		version.uid = uid
		return ok && version == seen, version
	case "add":
		if told.Error == "VERSION_COMMITTED" {
			return version.exists && version.committed, version
		}
		// The shard again is accepted, also by what is committed.
		if version.exists {
			version.shards = 1
		}
		return told.Unknown || (version.exists && told.Error == ""), version
	case "commit":
		complete := version.exists && version.shards == 1
		if told.Error == "VERSION_INCOMPLETE" {
			return version.exists && !complete, version
		}
		if complete {
			version.committed = true
		}
		return told.Unknown || (complete && told.Error == ""), version
	case "delete":
		ok := told.Unknown || (version.exists && told.Error == "")
		return ok, versionState{uid: version.uid}
	}
	return false, version
}

func stepCreate(version versionState, told output) (bool, interface{}) {
	if told.Error == "VERSION_EXISTS" {
		return version.exists, version
	}
	if version.exists {
		return told.Unknown, version
	}
	uid, ok := version.uid.next(told.UID)
	return ok && told.Error == "", versionState{exists: true, uid: uid}
}

// --- a shard's readiness on its one node: ReportShards, GetShardStatus, and RegisterNode, which resets it

type shardState struct {
	epoch number
	// "" stands for PENDING, with which it begins.
	state string
}

func stepShard(state, in, out interface{}) (bool, interface{}) {
	shard, call, told := state.(shardState), in.(input), out.(output)
	ok := true
	switch call.Op {
	case "register":
		shard.epoch, ok = shard.epoch.next(told.Epoch)
		shard.state = ""
		return ok && told.Error == "", shard
	case "status":
		seen := told.State
		if seen == "PENDING" {
			seen = ""
		}
		return told.Error == "" && seen == shard.state, shard
	case "report":
		if told.Error == "NODE_FENCED" {
			shard.epoch, ok = shard.epoch.is(told.Epoch)
			return ok && told.Epoch != call.Epoch, shard
		}
		if told.Unknown && shard.epoch.known && shard.epoch.value != call.Epoch {
			return true, shard
		}
		epoch, fits := shard.epoch.is(call.Epoch)
		if told.Unknown && !fits {
			return true, shard
		}
		return fits && told.Error == "", shardState{epoch, call.State}
	}
	return false, shard
}
