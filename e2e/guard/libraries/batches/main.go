// Command batches sends the batches of go-ethereum's own client, over HTTP and WebSocket.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/rpc"
	"github.com/gorilla/websocket"
)

type told struct {
	Result json.RawMessage `json:"result,omitempty"`
	Error  string          `json:"error,omitempty"`
}

type outcome struct {
	Way   string              `json:"way"`
	Calls [][]json.RawMessage `json:"calls"`
	Got   []told              `json:"got"`
}

func main() {
	var batches [][][]json.RawMessage
	if err := json.Unmarshal([]byte(os.Getenv("RPC_BATCHES")), &batches); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	trust := &tls.Config{RootCAs: x509.NewCertPool()}
	if pem, err := os.ReadFile(os.Getenv("RPC_CA")); err == nil {
		trust.RootCAs.AppendCertsFromPEM(pem)
	}
	options := []rpc.ClientOption{
		// HTTP/2 is written into the one that the transport has
		rpc.WithHTTPClient(&http.Client{Transport: &http.Transport{TLSClientConfig: trust.Clone(), ForceAttemptHTTP2: true}}),
		rpc.WithWebsocketDialer(websocket.Dialer{TLSClientConfig: trust}),
	}
	if token, err := os.ReadFile(os.Getenv("RPC_TOKEN")); err == nil {
		options = append(options, rpc.WithHeader("authorization", "Bearer "+strings.TrimSpace(string(token))))
	}
	for _, way := range [][2]string{{"http", "RPC_URL"}, {"websocket", "RPC_WS"}} {
		client, err := rpc.DialOptions(context.Background(), os.Getenv(way[1]), options...)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		for _, calls := range batches {
			ask(client, way[0], calls)
		}
		client.Close()
	}
}

// ask prints what became of each call of a batch.
func ask(client *rpc.Client, way string, calls [][]json.RawMessage) {
	outcome := outcome{Way: way, Calls: calls}
	results := make([]json.RawMessage, len(calls))
	batch := make([]rpc.BatchElem, len(calls))
	for place, call := range calls {
		batch[place].Result = &results[place]
		_ = json.Unmarshal(call[0], &batch[place].Method)
		_ = json.Unmarshal(call[1], &batch[place].Args)
	}
	late, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	whole := client.BatchCallContext(late, batch)
	for place := range batch {
		switch err := batch[place].Error; {
		case whole != nil:
			outcome.Got = append(outcome.Got, told{Error: whole.Error()})
		case err != nil:
			outcome.Got = append(outcome.Got, told{Error: err.Error()})
		default:
			outcome.Got = append(outcome.Got, told{Result: results[place]})
		}
	}
	text, _ := json.Marshal(outcome)
	fmt.Println("mixed", string(text))
}
