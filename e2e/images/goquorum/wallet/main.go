// Command wallet sends what go-ethereum's own client sends of the usual work of a wallet.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"strings"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/ethclient"
	"github.com/ethereum/go-ethereum/rpc"
)

func main() {
	pool := x509.NewCertPool()
	if pem, err := os.ReadFile(os.Getenv("RPC_CA")); err == nil {
		pool.AppendCertsFromPEM(pem)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}
	client, err := rpc.DialHTTPWithClient(os.Getenv("RPC_URL"), &http.Client{Transport: transport})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if token, err := os.ReadFile(os.Getenv("RPC_TOKEN")); err == nil {
		client.SetHeader("authorization", "Bearer "+strings.TrimSpace(string(token)))
	}
	work(client)
}

// work asks; what the client refuses is as good as what it answers.
func work(client *rpc.Client) {
	eth, all := ethclient.NewClient(client), context.Background()
	account := common.HexToAddress("0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266")
	contract := common.HexToAddress("0x5FbDB2315678afecb367f032d93F642f64180aa3")
	message := ethereum.CallMsg{From: account, To: &contract, Data: common.FromHex("0x70a08231")}
	_, _ = eth.ChainID(all)
	_, _ = eth.BlockNumber(all)
	_, _ = eth.BalanceAt(all, account, nil)
	_, _ = eth.BlockByNumber(all, nil)
	_, _ = eth.HeaderByNumber(all, big.NewInt(0))
	_, _ = eth.SuggestGasPrice(all)
	_, _ = eth.PendingNonceAt(all, account)
	_, _ = eth.CodeAt(all, contract, nil)
	_, _ = eth.StorageAt(all, contract, common.Hash{}, nil)
	_, _ = eth.CallContract(all, message, nil)
	_, _ = eth.EstimateGas(all, message)
	_, _ = eth.FilterLogs(all, ethereum.FilterQuery{Addresses: []common.Address{contract}, Topics: [][]common.Hash{nil, {common.HexToHash("0x11")}}})
	_, _ = eth.TransactionReceipt(all, common.HexToHash("0x22"))
	_ = eth.SendTransaction(all, types.NewTransaction(0, contract, big.NewInt(1), 21000, big.NewInt(1), nil))
	_, _ = eth.NetworkID(all)
	var numbers [3]string
	var batch []rpc.BatchElem
	for number, method := range []string{"eth_blockNumber", "eth_chainId", "eth_gasPrice"} {
		batch = append(batch, rpc.BatchElem{Method: method, Result: &numbers[number]})
	}
	_ = client.BatchCall(batch)
}
