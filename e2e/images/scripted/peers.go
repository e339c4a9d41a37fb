package main

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
)

// A connection begins with a line `hello FIRST ID` from either side: the chain, and the public key. Then each says
// `head NUMBER` again and again. Nobody proves who he is.
const (
	tells  = 250 * time.Millisecond
	silent = 5 * time.Second
	redial = 2 * time.Second
)

type node struct {
	*chain
	datadir, id string
	static      []enode
}

type enode struct{ id, address string }

func open(o options) (*node, error) {
	key, err := crypto.LoadECDSA(o.key)
	if err != nil {
		return nil, fmt.Errorf("Option \"nodekey\": %w", err)
	}
	chain, err := openChain(o.datadir, crypto.PubkeyToAddress(key.PublicKey))
	if err != nil {
		return nil, err
	}
	n := &node{chain: chain, datadir: o.datadir, id: hex.EncodeToString(crypto.FromECDSAPub(&key.PublicKey)[1:])}
	// once, as geth does
	n.static, err = n.list("static-nodes.json")
	return n, err
}

func (n *node) list(name string) (nodes []enode, err error) {
	text, err := os.ReadFile(filepath.Join(n.datadir, name))
	if err != nil {
		return nil, err
	}
	var urls []string
	if err := json.Unmarshal(text, &urls); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for _, text := range urls {
		parsed, err := url.Parse(text)
		if err != nil || parsed.User == nil {
			return nil, fmt.Errorf("%s: %q is no enode URL", name, text)
		}
		nodes = append(nodes, enode{id: parsed.User.Username(), address: parsed.Host})
	}
	return nodes, nil
}

// admits looks at the list at each connection, as --permissioned has it.
func (n *node) admits(id string) bool {
	nodes, err := n.list("permissioned-nodes.json")
	if err != nil {
		log.Println("ERROR", err)
		return false
	}
	for _, node := range nodes {
		if node.id == id {
			return true
		}
	}
	return false
}

func (n *node) listen(port int, failed chan<- error) error {
	listener, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
	if err != nil {
		return err
	}
	log.Printf("INFO Started P2P networking self=enode://%s@127.0.0.1:%d?discport=0", n.id, port)
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				failed <- err
				return
			}
			go n.talk(connection, "")
		}
	}()
	for _, to := range n.static {
		go n.dial(to)
	}
	return nil
}

// dial keeps a connection with a client, whoever of the two began it.
func (n *node) dial(to enode) {
	for ; ; time.Sleep(redial) {
		if n.has(to.id) || !n.admits(to.id) {
			continue
		}
		if connection, err := net.DialTimeout("tcp", to.address, silent); err == nil {
			n.talk(connection, to.id)
		}
	}
}

// talk ends with the connection. Whoever looks whether the port is open says nothing, and is nobody.
func (n *node) talk(connection net.Conn, expected string) {
	defer connection.Close()
	lines := bufio.NewReaderSize(connection, 512)
	hear := func() (words []string) {
		_ = connection.SetReadDeadline(time.Now().Add(silent))
		line, err := lines.ReadSlice('\n')
		if err != nil {
			return nil
		}
		return strings.Fields(string(line))
	}
	if _, err := fmt.Fprintf(connection, "hello %s %s\n", n.genesis.first, n.id); err != nil {
		return
	}
	hello := hear()
	if len(hello) != 3 || hello[0] != "hello" {
		return
	}
	first, id := hello[1], hello[2]
	public, err := hex.DecodeString(id)
	if err != nil || len(public) != 64 || first != n.genesis.first || expected != "" && id != expected || !n.admits(id) {
		log.Printf("WARN refused peer=%.16s expected=%.16s", id, expected)
		return
	}
	other := &peer{id: id}
	other.address.SetBytes(crypto.Keccak256(public)[12:])
	n.joins(other)
	defer n.leaves(other)
	_, peers := n.figures()
	log.Printf("INFO Peer connected id=%.16s peers=%d", id, peers)
	go n.tell(connection)
	for {
		said := hear()
		if len(said) != 2 || said[0] != "head" {
			break
		}
		head, err := strconv.ParseUint(said[1], 10, 64)
		if err != nil {
			break
		}
		n.hears(other, head)
	}
	log.Printf("INFO Peer left id=%.16s", id)
}

// tell says the last block until the connection is closed.
func (n *node) tell(connection net.Conn) {
	for ; ; time.Sleep(tells) {
		head, _ := n.figures()
		_ = connection.SetWriteDeadline(time.Now().Add(silent))
		if _, err := fmt.Fprintf(connection, "head %d\n", head); err != nil {
			_ = connection.Close()
			return
		}
	}
}
