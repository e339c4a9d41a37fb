package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
)

// seen is the chain of the first of four validators that is connected with so many of the others, each at a block.
func seen(t *testing.T, own uint64, others ...uint64) *chain {
	t.Helper()
	g := &genesis{period: time.Second, validators: map[common.Address]bool{}}
	for i := byte(0); i < 4; i++ {
		g.validators[common.Address{i}] = true
	}
	c := &chain{genesis: g, file: filepath.Join(t.TempDir(), "head"), validates: true, head: own, peers: map[*peer]bool{}}
	for i, head := range others {
		// two connections are one client, and a member is none of those who agree
		c.joins(&peer{id: "a", address: common.Address{byte(i + 1)}, head: head})
		c.joins(&peer{id: "b", address: common.Address{byte(i + 1)}, head: head})
	}
	c.joins(&peer{id: "m", address: common.Address{9}, head: own})
	return c
}

func TestBlocksComeWhileAQuorumIsAtTheLastOne(t *testing.T) {
	for _, one := range []struct {
		others []uint64
		comes  bool
	}{
		{nil, false},
		{[]uint64{50}, false},
		{[]uint64{50, 50}, true},
		{[]uint64{50, 49}, true},
		{[]uint64{50, 48}, false}, // it catches up
		{[]uint64{50, 50, 3}, true},
		{[]uint64{50, 3, 3}, false},
	} {
		c := seen(t, 50, one.others...)
		if err := c.step(c.since.Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		if (c.head == 51) != one.comes {
			t.Errorf("%v: block %d", one.others, c.head)
		}
	}
}

func TestOneBlockAPeriodAndOneAStepWhileItCatchesUp(t *testing.T) {
	c := seen(t, 50, 50, 50)
	began := c.since
	for _, one := range []struct {
		after time.Duration
		head  uint64
	}{{999 * time.Millisecond, 50}, {time.Second, 51}, {1999 * time.Millisecond, 51}} {
		if err := c.step(began.Add(one.after)); err != nil || c.head != one.head {
			t.Errorf("after %s: block %d, %v", one.after, c.head, err)
		}
	}
	c = seen(t, 0, 50, 50, 50)
	for i := uint64(1); i <= 50; i++ {
		if err := c.step(c.since); err != nil || c.head != i {
			t.Fatalf("block %d after %d steps, %v", c.head, i, err)
		}
	}
	if text, err := os.ReadFile(c.file); err != nil || string(text) != "50" {
		t.Errorf("%q is kept, %v", text, err)
	}
}

func TestWhoIsNoValidatorTakesBlocksAndMakesNone(t *testing.T) {
	c := seen(t, 50, 50, 50, 50)
	c.validates = false
	if err := c.step(c.since.Add(time.Hour)); err != nil || c.head != 50 {
		t.Errorf("block %d, %v", c.head, err)
	}
}

func TestADataDirectoryKeepsItsChain(t *testing.T) {
	directory, genesis := t.TempDir(), filepath.Join(t.TempDir(), "genesis.json")
	put := func(period, timestamp string) {
		text := `{"config":{"qbft":{"blockperiodseconds":` + period + `,"validators":["0x5cbdd86a2fa8dc4bddd8a8f69dba48572eec07fb"]}},"timestamp":"` + timestamp + `"}`
		if err := os.WriteFile(genesis, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("1", "0x0")
	if err := initialise(directory, genesis); err != nil {
		t.Fatal(err)
	}
	c, err := openChain(directory, common.HexToAddress("0x5cbdd86a2fa8dc4bddd8a8f69dba48572eec07fb"))
	if err != nil || !c.validates || c.head != 0 {
		t.Fatalf("%+v, %v", c, err)
	}
	// the one validator of its chain
	if err := c.step(c.since.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	put("2", "0x0")
	if err := initialise(directory, genesis); err != nil {
		t.Fatal(err)
	}
	if c, err = openChain(directory, common.Address{}); err != nil || c.head != 1 || c.genesis.period != 2*time.Second || c.validates {
		t.Errorf("%+v, %v", c, err)
	}
	put("1", "0x1")
	if err := initialise(directory, genesis); err == nil {
		t.Error("a chain with another first block is taken")
	}
}
