// Linearize checks recorded histories: whether the calls on each resource can have taken place one after the other, each
// between its begin and its end. The search is Porcupine's; the models of the resources are in models.go.
//
// Usage: linearize FILE...
//
// A history has one JSON object a line:
//
//	{"model": "node", "key": "nodes/n1", "client": 3, "op": "register", "call": 17, "return": 25, "in": {}, "out": {"epoch": 7}}
//
// `call` and `return` are times of one clock. A call whose outcome is unknown has no "out": it may have taken place at any
// time after `call`, or not at all. Prints one line for each resource; exit code 0: all are linearizable, 1: one is not,
// 2: the history can't be read, 3: no answer within 10 s a resource.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"sort"
	"time"

	"github.com/anishathalye/porcupine"
)

const timeout = 10 * time.Second

// input is what a call asked for.
type input struct {
	Op    string
	Epoch int64
	State string
}

// output is what the caller got.
type output struct {
	Unknown bool
	// "" where the call succeeded, else the reason of the error.
	Error  string
	Epoch  int64
	UID    int64
	State  string
	Shards int64
}

type line struct {
	Model  string  `json:"model"`
	Key    string  `json:"key"`
	Client int     `json:"client"`
	Op     string  `json:"op"`
	Call   int64   `json:"call"`
	Return int64   `json:"return"`
	In     input   `json:"in"`
	Out    *output `json:"out"`
}

type resource struct {
	model, key string
}

func read(path string, histories map[resource][]porcupine.Operation) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	scanner := bufio.NewScanner(file)
	for number := 1; scanner.Scan(); number++ {
		var entry line
		if err := json.Unmarshal(scanner.Bytes(), &entry); err != nil {
			return fmt.Errorf("%s:%d: %w", path, number, err)
		}
		if _, known := models[entry.Model]; !known {
			return fmt.Errorf("%s:%d: there is no model %q", path, number, entry.Model)
		}
		entry.In.Op = entry.Op
		operation := porcupine.Operation{ClientId: entry.Client, Input: entry.In, Call: entry.Call, Return: entry.Return}
		if entry.Out == nil {
			operation.Output, operation.Return = output{Unknown: true}, math.MaxInt64
		} else {
			operation.Output = *entry.Out
		}
		at := resource{entry.Model, entry.Key}
		histories[at] = append(histories[at], operation)
	}
	return scanner.Err()
}

func main() {
	histories := map[resource][]porcupine.Operation{}
	for _, path := range os.Args[1:] {
		if err := read(path, histories); err != nil {
			fmt.Fprintln(os.Stderr, "linearize:", err)
			os.Exit(2)
		}
	}
	if len(histories) == 0 {
		fmt.Fprintln(os.Stderr, "linearize: no history; usage: linearize FILE...")
		os.Exit(2)
	}
	resources := make([]resource, 0, len(histories))
	for at := range histories {
		resources = append(resources, at)
	}
	sort.Slice(resources, func(a, b int) bool {
		return resources[a].model+resources[a].key < resources[b].model+resources[b].key
	})
	code := 0
	for _, at := range resources {
		result := porcupine.CheckOperationsTimeout(models[at.model], histories[at], timeout)
		fmt.Printf("%s %s: %d calls, %s\n", at.model, at.key, len(histories[at]), result)
		switch result {
		case porcupine.Illegal:
			code = 1
		case porcupine.Unknown:
			if code == 0 {
				code = 3
			}
		}
	}
	os.Exit(code)
}
