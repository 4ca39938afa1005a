package main

import (
	"bytes"
	"encoding/json"
	"math/rand"
	"net"
	"time"
)

// A connection of kvapp answers in the order of its requests: one loop for each, which answers what a read brought
// with as many new requests in one write.
func prepareKvapp(p plan) []func(window) tally {
	leader := kvappLeader(p.endpoints)
	if p.workload == "get" {
		fillKvapp(leader, p)
	}
	loops := make([]func(window) tally, p.connections)
	for i := range loops {
		conn, random := dial(p.endpoint(i, leader)), rand.New(rand.NewSource(int64(i)))
		loops[i] = func(w window) tally { return loopKvapp(conn, random, p, w) }
	}
	return loops
}

var okStart = []byte(`{"ok":true`)

func loopKvapp(conn net.Conn, random *rand.Rand, p plan, w window) tally {
	t := tally{milliseconds: make([]float64, 0, 4096)}
	in := make([]byte, 64<<10+2*len(p.value))
	var out []byte
	began := make([]time.Time, p.pipeline) // of the requests in flight, a ring
	made, answered, rest := 0, 0, 0
	now := time.Now()
	for {
		out = out[:0]
		for ; made-answered < p.pipeline && now.Before(w.end); made++ {
			out = appendRequest(out, p.workload, keyName(random.Intn(p.keys)), p.value)
			began[made%p.pipeline] = now
		}
		if made == answered {
			return t
		}
		if len(out) > 0 {
			if _, err := conn.Write(out); err != nil {
				fail("cannot write:", err)
			}
		}
		n, err := conn.Read(in[rest:])
		if err != nil {
			fail("cannot read:", err)
		}
		now = time.Now()
		lines := in[:rest+n]
		for end := bytes.IndexByte(lines, '\n'); end >= 0; end = bytes.IndexByte(lines, '\n') {
			isFound := p.workload == "put" || end > len(p.value)
			if bytes.HasPrefix(lines, okStart) && isFound {
				t.count(w, began[answered%p.pipeline], now)
			} else {
				t.errors++
			}
			answered++
			lines = lines[end+1:]
		}
		rest = copy(in, lines)
	}
}

func appendRequest(out []byte, workload, key, value string) []byte {
	out = append(append(append(append(out, `{"op":"`...), workload...), `","key":"`...), key...)
	if workload == "put" {
		out = append(append(out, `","value":"`...), value...)
	}
	return append(out, "\"}\n"...)
}

func dial(endpoint string) net.Conn {
	conn, err := net.DialTimeout("tcp", endpoint, 5*time.Second)
	if err != nil {
		fail("cannot connect:", err)
	}
	return conn
}

func kvappLeader(endpoints []string) string {
	for _, endpoint := range endpoints {
		conn := dial(endpoint)
		var status struct{ Role string }
		_, err := conn.Write([]byte("{\"op\":\"status\"}\n"))
		if err == nil {
			err = json.NewDecoder(conn).Decode(&status)
		}
		conn.Close()
		if err == nil && status.Role == "leader" {
			return endpoint
		}
	}
	fail("no node of kvapp leads")
	return ""
}

func fillKvapp(leader string, p plan) {
	conn := dial(leader)
	defer conn.Close()
	replies := json.NewDecoder(conn)
	for k := 0; k < p.keys; k++ {
		var reply struct{ Ok bool }
		_, err := conn.Write(appendRequest(nil, "put", keyName(k), p.value))
		if err == nil {
			err = replies.Decode(&reply)
		}
		if err != nil || !reply.Ok {
			fail("cannot write what is to be read:", err)
		}
	}
}
