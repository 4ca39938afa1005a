// etcd_load drives an etcd cluster with closed-loop clients and prints one JSON line,
// in the shape of `kvapp bench --json`, so that the two can be compared on one machine.
// Puts go to the leader, gets to all nodes in turn, as those of `kvapp bench` do.
//
// Every client has its own connection and one request in flight, unless -pipeline says more.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/clientv3"
)

func main() {
	leader := flag.String("leader", "127.0.0.1:2379", "where puts go")
	endpoints := flag.String("endpoints", "127.0.0.1:2379", "comma-separated: where gets go, in turn")
	clients := flag.Int("clients", 1, "connections")
	pipeline := flag.Int("pipeline", 1, "requests in flight on each connection")
	workload := flag.String("workload", "put", "put or get (linearizable)")
	valueBytes := flag.Int("value-bytes", 256, "value size")
	keys := flag.Int("keys", 100000, "key space")
	seconds := flag.Float64("seconds", 5, "measured time")
	warmup := flag.Float64("warmup", 1, "time before measuring starts")
	flag.Parse()
	if *workload != "put" && *workload != "get" {
		fmt.Fprintln(os.Stderr, "-workload is put or get, not", *workload)
		os.Exit(2)
	}

	all := strings.Split(*endpoints, ",")
	value := strings.Repeat("x", *valueBytes)
	conns := make([]*clientv3.Client, *clients)
	for i := range conns {
		endpoint := *leader
		if *workload == "get" {
			endpoint = all[i%len(all)]
		}
		c, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, DialTimeout: 5 * time.Second})
		if err != nil {
			fmt.Fprintln(os.Stderr, "cannot connect:", err)
			os.Exit(1)
		}
		conns[i] = c
	}
	if *workload == "get" {
		var wg sync.WaitGroup
		for w := 0; w < 32; w++ {
			wg.Add(1)
			go func(w int) {
				defer wg.Done()
				for k := w; k < *keys && k < 1000; k += 32 {
					_, err := conns[w%len(conns)].Put(context.Background(), fmt.Sprintf("key%08d", k), value)
					if err != nil {
						fmt.Fprintln(os.Stderr, "cannot write what is to be read:", err)
						os.Exit(1)
					}
				}
			}(w)
		}
		wg.Wait()
		if *keys > 1000 {
			*keys = 1000
		}
	}

	start := time.Now().Add(time.Duration(*warmup * float64(time.Second)))
	end := start.Add(time.Duration(*seconds * float64(time.Second)))
	var errors int64
	var mu sync.Mutex
	var latencies []float64
	var wg sync.WaitGroup
	for i := 0; i < *clients**pipeline; i++ {
		wg.Add(1)
		go func(i int) {
			defer wg.Done()
			c := conns[i%*clients]
			random := rand.New(rand.NewSource(int64(i)))
			own := make([]float64, 0, 4096)
			for {
				key := fmt.Sprintf("key%08d", random.Intn(*keys))
				t0 := time.Now()
				if t0.After(end) {
					break
				}
				var err error
				if *workload == "put" {
					_, err = c.Put(context.Background(), key, value)
				} else {
					_, err = c.Get(context.Background(), key)
				}
				t1 := time.Now()
				if err != nil {
					atomic.AddInt64(&errors, 1)
				} else if t0.After(start) && t1.Before(end) {
					own = append(own, float64(t1.Sub(t0).Nanoseconds())/1e6)
				}
			}
			mu.Lock()
			latencies = append(latencies, own...)
			mu.Unlock()
		}(i)
	}
	wg.Wait()
	sort.Float64s(latencies)
	at := func(p float64) float64 {
		if len(latencies) == 0 {
			return 0
		}
		i := int(p * float64(len(latencies)))
		if i >= len(latencies) {
			i = len(latencies) - 1
		}
		return latencies[i]
	}
	json.NewEncoder(os.Stdout).Encode(map[string]interface{}{
		"system": "etcd", "workload": *workload, "clients": *clients, "pipeline": *pipeline,
		"valueBytes": *valueBytes, "seconds": *seconds, "operations": len(latencies),
		"operationsPerSecond": float64(len(latencies)) / *seconds, "errors": errors,
		"latencyMilliseconds": map[string]float64{"p50": at(.5), "p90": at(.9), "p99": at(.99), "p999": at(.999), "max": at(1)},
	})
}
