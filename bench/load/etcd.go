package main

import (
	"context"
	"math/rand"
	"sync"
	"time"

	"go.etcd.io/etcd/clientv3"
)

// etcd's own client puts the requests of many callers on one connection: a loop for each request in flight.
func prepareEtcd(p plan) []func(window) tally {
	leader := etcdLeader(p.endpoints)
	clients := make([]*clientv3.Client, p.connections)
	for i := range clients {
		clients[i] = connectEtcd(p.endpoint(i, leader))
	}
	if p.workload == "get" {
		fillEtcd(clients, p)
	}
	loops := make([]func(window) tally, p.connections*p.pipeline)
	for i := range loops {
		client, random := clients[i%len(clients)], rand.New(rand.NewSource(int64(i)))
		loops[i] = func(w window) tally { return loopEtcd(client, random, p, w) }
	}
	return loops
}

func loopEtcd(client *clientv3.Client, random *rand.Rand, p plan, w window) tally {
	t := tally{milliseconds: make([]float64, 0, 4096)}
	for {
		key := keyName(random.Intn(p.keys))
		began := time.Now()
		if began.After(w.end) {
			return t
		}
		var err error
		if p.workload == "put" {
			_, err = client.Put(context.Background(), key, p.value)
		} else {
			_, err = client.Get(context.Background(), key)
		}
		if err != nil {
			t.errors++
			continue
		}
		t.count(w, began, time.Now())
	}
}

func connectEtcd(endpoint string) *clientv3.Client {
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, DialTimeout: 5 * time.Second})
	if err != nil {
		fail("cannot connect:", err)
	}
	return client
}

func etcdLeader(endpoints []string) string {
	for _, endpoint := range endpoints {
		client := connectEtcd(endpoint)
		status, err := client.Status(context.Background(), endpoint)
		client.Close()
		if err == nil && status.Leader == status.Header.MemberId {
			return endpoint
		}
	}
	fail("no node of etcd leads")
	return ""
}

func fillEtcd(clients []*clientv3.Client, p plan) {
	const workers = 32
	var wg sync.WaitGroup
	for worker := 0; worker < workers; worker++ {
		wg.Add(1)
		go func(worker int) {
			defer wg.Done()
			for k := worker; k < p.keys; k += workers {
				_, err := clients[worker%len(clients)].Put(context.Background(), keyName(k), p.value)
				if err != nil {
					fail("cannot write what is to be read:", err)
				}
			}
		}(worker)
	}
	wg.Wait()
}
