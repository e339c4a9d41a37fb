// Command geth-real stands in for a client of QBFT where the tests want a chain that moves, and one that stands still when
// too few validators are there. It has no blocks, only their number. To the operator, the sidecars and the kubelet it is
// what GoQuorum is; to another of its kind it speaks a protocol of lines.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

// Flags that say nothing to it, and take a value.
var valued = strings.Fields("networkid nat syncmode gcmode cache maxpeers verbosity vmodule txpool.accountslots " +
	"txpool.globalslots txpool.accountqueue txpool.globalqueue txpool.lifetime")

// Flags that say nothing to it, and take none.
var bare = strings.Fields("nodiscover ipcdisable snapshot log.json")

type options struct {
	datadir, key, metricsAddress string
	port, metricsPort            int
	metrics                      bool
}

func main() {
	o, words, err := read(os.Args[1:])
	switch {
	case err != nil:
	case len(words) == 2 && words[0] == "init":
		err = initialise(o.datadir, words[1])
	case len(words) > 0:
		err = fmt.Errorf("invalid command: %q", words[0])
	default:
		err = run(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "Fatal:", err)
		os.Exit(1)
	}
}

// read takes the flags of the operator's that mean something without JSON-RPC, which it does not have.
func read(words []string) (o options, rest []string, err error) {
	flags := flag.NewFlagSet("geth", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&o.datadir, "datadir", "", "")
	flags.StringVar(&o.key, "nodekey", "", "")
	flags.StringVar(&o.metricsAddress, "metrics.addr", "", "")
	flags.IntVar(&o.port, "port", 30303, "")
	flags.IntVar(&o.metricsPort, "metrics.port", 6060, "")
	flags.BoolVar(&o.metrics, "metrics", false, "")
	for _, name := range valued {
		flags.String(name, "", "")
	}
	for _, name := range bare {
		flags.Bool(name, false, "")
	}
	err = flags.Parse(words)
	return o, flags.Args(), err
}

// initialise does what `geth init` does with a data directory: one of another chain is refused.
func initialise(datadir, file string) error {
	genesis, err := readGenesis(file)
	if err != nil {
		return fmt.Errorf("invalid genesis file: %w", err)
	}
	directory := filepath.Join(datadir, "geth")
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return err
	}
	if there, err := readGenesis(filepath.Join(directory, "genesis.json")); err == nil && there.first != genesis.first {
		return fmt.Errorf("Failed to write genesis block: database contains incompatible genesis (have %s, new %s)", there.first, genesis.first)
	}
	if err := write(filepath.Join(directory, "genesis.json"), genesis.text); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(directory, "head")); errors.Is(err, os.ErrNotExist) {
		return write(filepath.Join(directory, "head"), []byte("0"))
	}
	return nil
}

func run(o options) error {
	node, err := open(o)
	if err != nil {
		return err
	}
	failed := make(chan error, 3)
	if err := node.listen(o.port, failed); err != nil {
		return err
	}
	if o.metrics {
		if err := node.serve(o.metricsAddress, o.metricsPort, failed); err != nil {
			return err
		}
	}
	go func() { failed <- node.live() }()
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGTERM, syscall.SIGINT)
	select {
	case <-asked:
		return nil
	case err := <-failed:
		return err
	}
}

// write puts a file in place as a whole.
func write(file string, content []byte) error {
	if err := os.WriteFile(file+".new", content, 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}
