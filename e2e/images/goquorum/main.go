// Command geth stands in front of the go-ethereum 1.10.3 that GoQuorum 24.4 is built on: it takes GoQuorum's
// flags, does what GoQuorum does at start with those that go-ethereum lacks, and runs the real client with
// the rest. It seals nothing: --mine and --miner.* are dropped, so the chain stays at block 0. Peers are
// checked once, at start, not at each connection.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
)

const real = "/usr/local/bin/geth-real"

// Flags of GoQuorum that go-ethereum does not have; true where they take a value.
var quorum = map[string]bool{
	"permissioned": false, "ptm.url": true, "ptm.socket": true, "ptm.timeout": true, "ptm.dialtimeout": true,
	"ptm.http.idletimeout": true, "ptm.http.writebuffersize": true, "ptm.http.readbuffersize": true,
	"ptm.tls.mode": true, "ptm.tls.rootca": true, "ptm.tls.clientcert": true, "ptm.tls.clientkey": true,
	"ptm.tls.insecureskipverify": false, "emitcheckpoints": false, "immutabilitythreshold": true,
	"allowedfutureblocktime": true, "multitenancy": false, "revertreason": false,
	"privatetriecache.enable": false, "privacymarker.enable": false, "authorizationlist": true,
	"istanbul.requesttimeout": true, "istanbul.blockperiod": true, "vm.calltimeout": true,
}

// Flags of go-ethereum that would seal; true where they take a value.
var sealing = map[string]bool{
	"mine": false, "miner.threads": true, "miner.gasprice": true, "miner.gaslimit": true, "miner.gastarget": true,
	"miner.etherbase": true, "miner.extradata": true, "miner.recommit": true, "miner.noverify": false, "miner.notify": true,
}

// Flags of go-ethereum that take a value, as far as they are told apart here: the next word is then theirs.
var valued = regexp.MustCompile(`^(datadir.*|nodekey.*|networkid|port|nat|syncmode|gcmode|cache.*|maxpeers|maxpendpeers|verbosity|vmodule|` +
	`metrics\.(addr|port)|http\.(addr|port|api|corsdomain|vhosts|rpcprefix)|ws\.(addr|port|api|origins|rpcprefix)|keystore|identity|` +
	`bootnodes|netrestrict|ipcpath|txpool\..*|rpc\..*|unlock|password|signer|snapshot)$`)

func main() {
	arguments, flags, err := read(os.Args[1:])
	if err != nil {
		fmt.Fprintf(os.Stderr, "Incorrect Usage. %v\n\nNAME:\n   geth - the go-ethereum command line interface\n", err)
		os.Exit(1)
	}
	if err := check(flags); err != nil {
		fmt.Fprintln(os.Stderr, "Fatal:", err)
		os.Exit(1)
	}
	err = syscall.Exec(real, append([]string{"geth"}, arguments...), os.Environ())
	fmt.Fprintln(os.Stderr, "Fatal:", err)
	os.Exit(1)
}

// read splits the flags as geth's parser does: one dash or two, a value by = or, for those that take one, in
// the next word; the first word that is no flag ends them. It gives what the real client gets, and all flags.
func read(words []string) (rest []string, flags map[string]string, err error) {
	flags = map[string]string{}
	for i := 0; i < len(words); i++ {
		word := words[i]
		if !strings.HasPrefix(word, "-") || word == "-" || word == "--" {
			return append(rest, words[i:]...), flags, nil
		}
		name, value, has := strings.Cut(strings.TrimLeft(word, "-"), "=")
		takes, ours := quorum[name]
		if !ours {
			takes, ours = sealing[name]
		}
		if !ours {
			takes = valued.MatchString(name) && name != "snapshot"
		}
		taken := []string{word}
		if takes && !has {
			if i+1 == len(words) {
				return nil, nil, fmt.Errorf("flag needs an argument: -%s", name)
			}
			i++
			value = words[i]
			taken = append(taken, value)
		}
		if !takes && ours && has && value != "true" && value != "false" {
			return nil, nil, fmt.Errorf("invalid boolean value %q for -%s", value, name)
		}
		flags[name] = value
		if !ours {
			rest = append(rest, taken...)
		}
	}
	return rest, flags, nil
}

// check does what GoQuorum does at start and go-ethereum does not.
func check(flags map[string]string) error {
	if _, on := flags["permissioned"]; on {
		if err := permissioned(filepath.Join(flags["datadir"], "permissioned-nodes.json")); err != nil {
			return err
		}
	}
	if flags["ptm.url"] == "" && flags["ptm.socket"] == "" {
		return nil
	}
	if mode, set := flags["syncmode"]; set && mode != "full" {
		return fmt.Errorf("only full sync mode is supported with a private transaction manager")
	}
	if err := askManager(flags); err != nil {
		return fmt.Errorf("Error initialising Private Transaction Manager: %w", err)
	}
	return nil
}

var enode = regexp.MustCompile(`^enode://[0-9a-f]{128}@(\[[0-9a-fA-F:]+\]|[^:]+):[0-9]+(\?discport=[0-9]+)?$`)

// permissioned: GoQuorum refuses every peer where the list cannot be read; here the start is refused.
func permissioned(path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("--permissioned: %w", err)
	}
	var nodes []string
	if err := json.Unmarshal(content, &nodes); err != nil {
		return fmt.Errorf("--permissioned: %s is not a JSON array of enode URLs: %w", path, err)
	}
	for _, node := range nodes {
		if !enode.MatchString(node) {
			return fmt.Errorf("--permissioned: %s: %q is not an enode URL", path, node)
		}
	}
	return nil
}
