// load drives a cluster of etcd or of kvapp in a closed loop and prints one JSON line, in the shape of
// `kvapp bench --json`. One program for both, with the same clock and the same counting, so that what is compared
// are the servers.
//
// Puts go to the leader, gets to all nodes in turn. An operation counts when it begins and ends within the measured time.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"sort"
	"strings"
	"sync"
	"time"
)

// What is to be done.
type plan struct {
	workload    string // put or get, linearizable
	endpoints   []string
	connections int
	pipeline    int // requests in flight on each connection
	value       string
	keys        int // drawn from so many, evenly
}

// Where a connection belongs.
func (p plan) endpoint(connection int, leader string) string {
	if p.workload == "get" {
		return p.endpoints[connection%len(p.endpoints)]
	}
	return leader
}

// The measured time.
type window struct{ start, end time.Time }

// What one loop found.
type tally struct {
	milliseconds []float64
	errors       int
}

func (t *tally) count(w window, began, ended time.Time) {
	if began.After(w.start) && ended.Before(w.end) {
		t.milliseconds = append(t.milliseconds, float64(ended.Sub(began).Nanoseconds())/1e6)
	}
}

// Gets read so many keys at most, which are written first.
const readKeysMax = 1000

// Connects, writes what is to be read, and returns the loops that make the load, to be run beside each other.
var systems = map[string]func(plan) []func(window) tally{"etcd": prepareEtcd, "kvapp": prepareKvapp}

func main() {
	system := flag.String("system", "kvapp", "etcd or kvapp")
	endpoints := flag.String("endpoints", "", "comma-separated addresses of all nodes")
	connections := flag.Int("connections", 1, "connections")
	pipeline := flag.Int("pipeline", 1, "requests in flight on each connection")
	workload := flag.String("workload", "put", "put or get (linearizable)")
	valueBytes := flag.Int("value-bytes", 256, "value size")
	keys := flag.Int("keys", 100000, "key space; gets read at most 1000")
	seconds := flag.Float64("seconds", 5, "measured time")
	warmup := flag.Float64("warmup", 1, "time before measuring starts")
	flag.Parse()
	prepare := systems[*system]
	if prepare == nil || *workload != "put" && *workload != "get" || *endpoints == "" {
		fail("-system is etcd or kvapp, -workload put or get, and -endpoints names the nodes")
	}
	if *workload == "get" && *keys > readKeysMax {
		*keys = readKeysMax
	}
	loops := prepare(plan{
		workload: *workload, endpoints: strings.Split(*endpoints, ","), connections: *connections,
		pipeline: *pipeline, value: strings.Repeat("x", *valueBytes), keys: *keys,
	})

	start := time.Now().Add(duration(*warmup))
	w := window{start, start.Add(duration(*seconds))}
	tallies := make([]tally, len(loops))
	var wg sync.WaitGroup
	for i := range loops {
		wg.Add(1)
		go func(i int) {
			defer wg.Done()
			tallies[i] = loops[i](w)
		}(i)
	}
	wg.Wait()

	var all tally
	for _, t := range tallies {
		all.milliseconds = append(all.milliseconds, t.milliseconds...)
		all.errors += t.errors
	}
	sort.Float64s(all.milliseconds)
	at := func(p float64) float64 {
		if len(all.milliseconds) == 0 {
			return 0
		}
		return all.milliseconds[int(p*float64(len(all.milliseconds)-1))]
	}
	json.NewEncoder(os.Stdout).Encode(map[string]interface{}{
		"system": *system, "workload": *workload, "clients": *connections, "pipeline": *pipeline,
		"valueBytes": *valueBytes, "seconds": *seconds, "operations": len(all.milliseconds),
		"operationsPerSecond": float64(len(all.milliseconds)) / *seconds, "errors": all.errors,
		"latencyMilliseconds": map[string]float64{"p50": at(.5), "p90": at(.9), "p99": at(.99), "p999": at(.999), "max": at(1)},
	})
}

func duration(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }

func keyName(number int) string { return fmt.Sprintf("key%08d", number) }

func fail(what ...interface{}) {
	fmt.Fprintln(os.Stderr, what...)
	os.Exit(1)
}
