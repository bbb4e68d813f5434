// Overload makes many more calls than a server can serve, beside a few nodes that must stay alive.
//
// Usage: overload ADDRESS SECONDS CALLERS NODES
//
// CALLERS calls of RegisterNode are in flight all the time: who is refused calls again at once, as the worst of clients do.
// NODES nodes renew their leases as an agent does, over a connection of their own. Prints one line of JSON with what they were
// told; test_overload.py judges it.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	connections = 16
	// Names that the callers register again and again, so that the server's state stays small.
	names       = 500
	callTimeout = 20 * time.Second
)

// tally is what all callers got.
type tally struct {
	sync.Mutex
	Codes           map[string]int64 `json:"codes"`
	RefusedWithHint int64            `json:"refused_with_hint"`
	Renewed         int64            `json:"renewed"`
	NotRenewed      int64            `json:"not_renewed"`
	SlowestMs       int64            `json:"slowest_heartbeat_ms"`
	RecoverMs       int64            `json:"recover_ms"`
}

func fail(what string, err error) {
	fmt.Fprintf(os.Stderr, "overload: %s: %v\n", what, err)
	os.Exit(1)
}

func hasRetryInfo(told *status.Status) bool {
	for _, detail := range told.Proto().GetDetails() {
		if strings.HasSuffix(detail.GetTypeUrl(), "/google.rpc.RetryInfo") {
			return true
		}
	}
	return false
}

// callAgain is one caller: its next call begins where the last one ends.
func (t *tally) callAgain(server *server, node string, stop *atomic.Bool) {
	request := registration(node, time.Hour)
	for !stop.Load() {
		_, err := server.call("RegisterNode", request, callTimeout)
		told := status.Convert(err)
		t.Lock()
		t.Codes[strconv.Itoa(int(told.Code()))]++
		if told.Code() == codes.ResourceExhausted && hasRetryInfo(told) {
			t.RefusedWithHint++
		}
		t.Unlock()
	}
}

// live registers a node and renews its lease until the end, each heartbeat with the agent's timeout.
func (t *tally) live(server *server, node string, stop *atomic.Bool, ended *sync.WaitGroup) {
	reply, err := server.call("RegisterNode", registration(node, 0), callTimeout)
	if err != nil {
		fail(node, err)
	}
	request := heartbeat(node, epochOf(reply))
	interval := intervalOf(reply)
	ended.Add(1)
	go func() {
		defer ended.Done()
		for !stop.Load() {
			begin := time.Now()
			_, err := server.call("Heartbeat", request, interval)
			took := time.Since(begin)
			t.Lock()
			if err == nil {
				t.Renewed++
			} else {
				t.NotRenewed++
			}
			if took.Milliseconds() > t.SlowestMs {
				t.SlowestMs = took.Milliseconds()
			}
			t.Unlock()
			time.Sleep(interval - took)
		}
	}()
}

// recoverMs is how long it takes until a normal call succeeds; -1 when none does within a minute.
func recoverMs(address string) int64 {
	server := connect(address)
	begin := time.Now()
	for time.Since(begin) < time.Minute {
		if _, err := server.call("RegisterNode", registration("nodes/afterwards", 0), 5*time.Second); err == nil {
			return time.Since(begin).Milliseconds()
		}
	}
	return -1
}

func number(text string) int {
	value, err := strconv.Atoi(text)
	if err != nil {
		fail(text, err)
	}
	return value
}

func main() {
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: overload ADDRESS SECONDS CALLERS NODES")
		os.Exit(2)
	}
	address, seconds, callers, nodes := os.Args[1], number(os.Args[2]), number(os.Args[3]), number(os.Args[4])
	told := tally{Codes: map[string]int64{}}
	var stop, stopNodes atomic.Bool
	var callersEnded, nodesEnded sync.WaitGroup
	ownConnection := connect(address)
	for i := 0; i < nodes; i++ {
		told.live(ownConnection, fmt.Sprintf("nodes/alive-%d", i), &stopNodes, &nodesEnded)
	}
	var servers []*server
	for i := 0; i < connections; i++ {
		servers = append(servers, connect(address))
	}
	for i := 0; i < callers; i++ {
		callersEnded.Add(1)
		go func(i int) {
			defer callersEnded.Done()
			told.callAgain(servers[i%connections], fmt.Sprintf("nodes/load-%d", i%names), &stop)
		}(i)
	}
	time.Sleep(time.Duration(seconds) * time.Second)
	stop.Store(true)
	recovered := recoverMs(address)
	callersEnded.Wait()
	stopNodes.Store(true)
	nodesEnded.Wait()
	told.RecoverMs = recovered
	line, err := json.Marshal(&told)
	if err != nil {
		fail("the result", err)
	}
	fmt.Println(string(line))
}
