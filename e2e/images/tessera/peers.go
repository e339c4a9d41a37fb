package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Network is what a manager knows of the others. The URLs that it knows are those of its configuration, read once: with peer
// discovery off nothing adds to them while it runs.
type Network struct {
	configuration *Configuration
	own           string
	keys          []string
	known         []string
	client        *http.Client

	mu sync.Mutex
	// asked are the URLs that are told who we are: one that cannot be reached goes, until it speaks up, or until
	// none of those in the configuration is left.
	asked map[string]bool
	// at says where the manager with a public key is, as it has said itself.
	at map[string]string
}

// partyInfo is what managers tell each other. The real one is binary.
type partyInfo struct {
	URL   string   `json:"url"`
	Keys  []string `json:"keys"`
	Peers []string `json:"peers"`
}

func newNetwork(c *Configuration, keys []string) (*Network, error) {
	network := &Network{configuration: c, keys: keys, asked: map[string]bool{}, at: map[string]string{}}
	for _, server := range c.ServerConfigs {
		if server.App != "P2P" {
			continue
		}
		config, err := clientTLS(server.SSL)
		if err != nil {
			return nil, err
		}
		network.own = normal(server.ServerAddress)
		network.client = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
	}
	for _, peer := range *c.Peer {
		if url := normal(peer.URL); url != network.own {
			network.known = append(network.known, url)
		}
	}
	return network, nil
}

func normal(url string) string { return strings.TrimSuffix(url, "/") + "/" }

func (n *Network) toPeers() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /partyinfo", n.hear)
	mux.HandleFunc("GET /partyinfo", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, n.info()) })
	mux.HandleFunc("POST /partyinfo/validate", n.prove)
	mux.HandleFunc("POST /push", func(w http.ResponseWriter, r *http.Request) {
		// also from a manager that is not known: the real one does not look
		payload, err := read(w, r)
		if err != nil {
			return
		}
		hash, err := keep(r.Context(), n.configuration, payload)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, hash)
	})
	return mux
}

// hear takes note of a manager that says who it is, if it is known and its keys are its own.
func (n *Network) hear(w http.ResponseWriter, r *http.Request) {
	body, err := read(w, r)
	if err != nil {
		return
	}
	var told partyInfo
	if err := json.Unmarshal(body, &told); err != nil {
		http.Error(w, "not a party's information", http.StatusBadRequest)
		return
	}
	url := normal(told.URL)
	if n.configuration.Features.EnableRemoteKeyValidation && !n.proves(url, told.Keys) {
		http.Error(w, "No validated keys found for peer "+url, http.StatusInternalServerError)
		return
	}
	if n.configuration.DisablePeerDiscovery && !slices.Contains(n.known, url) {
		http.Error(w, url+" is not a known peer", http.StatusForbidden)
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, key := range told.Keys {
		if n.at[key] != url {
			log.Printf("peer %s has the key %s", url, key)
		}
		n.at[key] = url
	}
	for _, peer := range append(told.Peers, url) {
		n.asked[normal(peer)] = true
	}
}

// proves asks a URL itself whether it has the keys: whoever tells of another's is not believed. The real one has it open
// something that is locked with each.
func (n *Network) proves(url string, keys []string) bool {
	for _, key := range keys {
		said, err := n.post(url+"partyinfo/validate", []byte(key))
		if err != nil || said.status != http.StatusOK {
			return false
		}
	}
	return len(keys) > 0
}

func (n *Network) prove(w http.ResponseWriter, r *http.Request) {
	if key, err := read(w, r); err == nil && !slices.Contains(n.keys, string(key)) {
		http.Error(w, "not a key of this manager", http.StatusBadRequest)
	}
}

func (n *Network) info() partyInfo {
	n.mu.Lock()
	defer n.mu.Unlock()
	info := partyInfo{URL: n.own, Keys: n.keys, Peers: []string{n.own}}
	for _, url := range n.at {
		if !slices.Contains(info.Peers, url) {
			info.Peers = append(info.Peers, url)
		}
	}
	return info
}

// where says where the manager with a public key is, as far as is known.
func (n *Network) where(key string) (string, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	url, known := n.at[key]
	return url, known
}

// broadcast tells the others who we are, every five seconds, and notes in the log where what they say to it changes.
func (n *Network) broadcast(ctx context.Context) {
	last := map[string]string{}
	for tick := time.NewTicker(5 * time.Second); ; {
		info, err := json.Marshal(n.info())
		if err != nil {
			log.Println("peers:", err)
		}
		for _, url := range n.due() {
			said, err := n.post(url+"partyinfo", info)
			word := "up"
			switch {
			case err != nil:
				word = err.Error()
				n.lose(url)
			case said.status != http.StatusOK:
				word = fmt.Sprintf("%d %s", said.status, strings.TrimSpace(said.body))
			}
			if last[url] != word {
				log.Printf("peer %s: %s", url, word)
				last[url] = word
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (n *Network) due() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !slices.ContainsFunc(n.known, func(url string) bool { return n.asked[url] }) {
		for _, url := range n.known {
			n.asked[url] = true
		}
	}
	var due []string
	for url := range n.asked {
		if url != n.own {
			due = append(due, url)
		}
	}
	slices.Sort(due)
	return due
}

func (n *Network) lose(url string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.asked, url)
	for key, at := range n.at {
		if at == url {
			delete(n.at, key)
		}
	}
}

type said struct {
	status int
	body   string
}

func (n *Network) post(url string, body []byte) (said, error) {
	response, err := n.client.Post(url, "application/octet-stream", bytes.NewReader(body))
	if err != nil {
		return said{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	return said{response.StatusCode, string(text)}, err
}

// read reads a body, and has answered where that fails.
func read(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
	return body, err
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
