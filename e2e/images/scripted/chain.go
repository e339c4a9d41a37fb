package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
)

// pace is how often a client looks whether it takes a block, and so at what rate it catches up.
const pace = 200 * time.Millisecond

// chain is the number of its last block. Blocks come while a quorum of the genesis' validators, itself among them, is at the
// last one or at the one before; a validator that catches up is none of those.
type chain struct {
	genesis   *genesis
	file      string
	validates bool

	lock  sync.Mutex
	head  uint64
	since time.Time
	peers map[*peer]bool
}

// peer is a connection with another client. There may be two with the same.
type peer struct {
	id      string
	address common.Address
	head    uint64
}

func openChain(datadir string, own common.Address) (*chain, error) {
	directory := filepath.Join(datadir, "geth")
	genesis, err := readGenesis(filepath.Join(directory, "genesis.json"))
	if err != nil {
		return nil, fmt.Errorf("no chain in %s: %w", datadir, err)
	}
	c := &chain{genesis: genesis, file: filepath.Join(directory, "head"), validates: genesis.validators[own], since: time.Now(), peers: map[*peer]bool{}}
	text, err := os.ReadFile(c.file)
	if err != nil {
		return nil, err
	}
	c.head, err = strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	return c, err
}

// live takes blocks until one cannot be written.
func (c *chain) live() error {
	for now := range time.Tick(pace) {
		if err := c.step(now); err != nil {
			return err
		}
	}
	return nil
}

// step takes one block if there is one, or makes one with the others.
func (c *chain) step(now time.Time) error {
	c.lock.Lock()
	defer c.lock.Unlock()
	highest := c.head
	for peer := range c.peers {
		highest = max(highest, peer.head)
	}
	if highest == c.head && !(c.validates && now.Sub(c.since) >= c.genesis.period && c.agree() >= c.genesis.quorum()) {
		return nil
	}
	c.head, c.since = c.head+1, now
	return write(c.file, []byte(strconv.FormatUint(c.head, 10)))
}

// agree counts the validators that can take part in the next block.
func (c *chain) agree() int {
	there := map[common.Address]bool{}
	for peer := range c.peers {
		if c.genesis.validators[peer.address] && peer.head+1 >= c.head {
			there[peer.address] = true
		}
	}
	return len(there) + 1
}

func (c *chain) joins(p *peer) {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.peers[p] = true
}

func (c *chain) leaves(p *peer) {
	c.lock.Lock()
	defer c.lock.Unlock()
	delete(c.peers, p)
}

func (c *chain) hears(p *peer, head uint64) {
	c.lock.Lock()
	defer c.lock.Unlock()
	p.head = head
}

// figures are its last block, and how many clients it is connected with.
func (c *chain) figures() (head uint64, peers int) {
	c.lock.Lock()
	defer c.lock.Unlock()
	ids := map[string]bool{}
	for peer := range c.peers {
		ids[peer.id] = true
	}
	return c.head, len(ids)
}

// has says whether a client is connected.
func (c *chain) has(id string) bool {
	c.lock.Lock()
	defer c.lock.Unlock()
	for peer := range c.peers {
		if peer.id == id {
			return true
		}
	}
	return false
}
