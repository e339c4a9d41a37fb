package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
)

// genesis is what a chain goes by.
type genesis struct {
	text []byte
	// what tells the first block from others: everything but config
	first      string
	period     time.Duration
	validators map[common.Address]bool
}

// extra is the layout of QBFT.
type extra struct {
	Vanity     []byte
	Validators []common.Address
	Vote       rlp.RawValue
	Round      rlp.RawValue
	Seals      rlp.RawValue
}

func readGenesis(file string) (*genesis, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var read struct {
		Config struct {
			QBFT struct {
				Period     uint64           `json:"blockperiodseconds"`
				Validators []common.Address `json:"validators"`
			} `json:"qbft"`
		} `json:"config"`
		Extra hexutil.Bytes `json:"extraData"`
	}
	var block map[string]any
	if err := json.Unmarshal(text, &read); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &block); err != nil {
		return nil, err
	}
	delete(block, "config")
	sorted, err := json.Marshal(block)
	if err != nil {
		return nil, err
	}
	validators := read.Config.QBFT.Validators
	if len(validators) == 0 {
		var named extra
		if err := rlp.DecodeBytes(read.Extra, &named); err != nil {
			return nil, fmt.Errorf("extraData: %w", err)
		}
		validators = named.Validators
	}
	period := time.Duration(max(read.Config.QBFT.Period, 1)) * time.Second
	g := &genesis{text: text, first: crypto.Keccak256Hash(sorted).Hex(), period: period, validators: map[common.Address]bool{}}
	for _, validator := range validators {
		g.validators[validator] = true
	}
	return g, nil
}

// quorum of QBFT: how many of the validators must agree on a block.
func (g *genesis) quorum() int { return (2*len(g.validators) + 2) / 3 }
