package main

import (
	"fmt"
	"net"
	"net/http"
	"runtime"
	"strconv"
)

// serve answers as geth's metrics do: what the sidecar reads of them, and one number that moves while the process lives.
func (n *node) serve(address string, port int, failed chan<- error) error {
	listener, err := net.Listen("tcp", net.JoinHostPort(address, strconv.Itoa(port)))
	if err != nil {
		return err
	}
	pages := http.NewServeMux()
	pages.HandleFunc("/debug/metrics/prometheus", func(answer http.ResponseWriter, _ *http.Request) {
		head, peers := n.figures()
		var memory runtime.MemStats
		runtime.ReadMemStats(&memory)
		gauge := func(name string, value uint64) {
			fmt.Fprintf(answer, "# TYPE %s gauge\n%s %d\n\n", name, name, value)
		}
		gauge("chain_head_block", head)
		gauge("p2p_peers", uint64(peers))
		gauge("system_memory_allocs", memory.Mallocs)
	})
	go func() { failed <- http.Serve(listener, pages) }()
	return nil
}
