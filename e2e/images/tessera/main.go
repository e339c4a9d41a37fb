// Command tessera stands in for the Tessera transaction manager: it reads its real configuration, refuses
// what the real one refuses, answers over mutual TLS, and writes to PostgreSQL over verified TLS. It tells
// its peers who it is, and moves payloads to them, which it does not encrypt.
package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	log.SetFlags(log.LstdFlags | log.LUTC)
	if err := run(); err != nil {
		log.Fatalln("tessera:", err)
	}
}

func run() error {
	path, err := configFile(os.Args[1:])
	if err != nil {
		return err
	}
	configuration, err := Read(path)
	if err != nil {
		return err
	}
	var keys []string
	for _, pair := range configuration.Keys.KeyData {
		key, err := checkKey(pair, configuration.Keys.PasswordFile)
		if err != nil {
			return fmt.Errorf("keys.keyData: %w", err)
		}
		keys = append(keys, key)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := record(ctx, configuration); err != nil {
		return err
	}
	network, err := newNetwork(configuration, keys)
	if err != nil {
		return err
	}
	answers := map[string]http.Handler{"P2P": network.toPeers(), "Q2T": (&payloads{configuration, network}).toClient()}
	failed := make(chan error, len(configuration.ServerConfigs))
	for _, server := range configuration.ServerConfigs {
		if err := listen(server, answers[server.App], failed); err != nil {
			return err
		}
	}
	go network.broadcast(ctx)
	select {
	case <-ctx.Done():
		log.Println("ending")
		return nil
	case err := <-failed:
		return err
	}
}

func configFile(arguments []string) (string, error) {
	for i, argument := range arguments {
		name, value, has := strings.Cut(strings.TrimLeft(argument, "-"), "=")
		if name != "configfile" && name != "config-file" {
			continue
		}
		if has {
			return value, nil
		}
		if i+1 < len(arguments) {
			return arguments[i+1], nil
		}
	}
	return "", errors.New("-configfile FILE is missing")
}

// checkKey reads a key pair in Tessera's formats, and gives the public half. A locked key is not opened here: that it has a
// password is all that is asked.
func checkKey(key KeyData, passwordFile string) (string, error) {
	content, err := os.ReadFile(key.PublicKeyPath)
	if err != nil {
		return "", err
	}
	public := strings.TrimSpace(string(content))
	if decoded, err := base64.StdEncoding.DecodeString(public); err != nil || len(decoded) != 32 {
		return "", fmt.Errorf("%s: not 32 bytes in base64", key.PublicKeyPath)
	}
	return public, checkPrivate(key, passwordFile)
}

func checkPrivate(key KeyData, passwordFile string) error {
	private, err := os.ReadFile(key.PrivateKeyPath)
	if err != nil {
		return err
	}
	var file struct {
		Type string `json:"type"`
		Data struct {
			Bytes string `json:"bytes"`
		} `json:"data"`
	}
	if err := json.Unmarshal(private, &file); err != nil {
		return fmt.Errorf("%s: not Tessera's JSON", key.PrivateKeyPath)
	}
	switch file.Type {
	case "unlocked":
		if decoded, err := base64.StdEncoding.DecodeString(file.Data.Bytes); err != nil || len(decoded) != 32 {
			return fmt.Errorf("%s: data.bytes is not 32 bytes in base64", key.PrivateKeyPath)
		}
	case "argon2sbox":
		if passwordFile == "" {
			return fmt.Errorf("%s is locked and there is no passwordFile", key.PrivateKeyPath)
		}
	default:
		return fmt.Errorf("%s: type %q is unknown", key.PrivateKeyPath, file.Type)
	}
	return nil
}

// listen serves on all interfaces, whatever host stands in the address: so does the real one.
func listen(server Server, answers http.Handler, failed chan<- error) error {
	config, err := serverTLS(server.SSL)
	if err != nil {
		return err
	}
	address := server.BindingAddress
	if address == "" {
		address = server.ServerAddress
	}
	parsed, err := url.Parse(address)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", ":"+parsed.Port())
	if err != nil {
		return err
	}
	http := &http.Server{TLSConfig: config, Handler: handler(answers, func(name string) error { return nameMatches(config, name) }),
		ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	log.Printf("%s server on port %s, mutual TLS", server.App, parsed.Port())
	go func() { failed <- http.ServeTLS(listener, "", "") }()
	return nil
}

func handler(answers http.Handler, matches func(string) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if name := r.TLS.ServerName; name != "" && matches(name) != nil {
			http.Error(w, "Invalid SNI", http.StatusBadRequest)
			return
		}
		switch {
		case r.URL.Path == "/upcheck" && (r.Method == http.MethodGet || r.Method == http.MethodHead):
			_, _ = io.WriteString(w, "I'm up!")
		case r.URL.Path == "/version" && r.Method == http.MethodGet:
			_, _ = io.WriteString(w, "24.4.2")
		case r.URL.Path == "/version/api" && r.Method == http.MethodGet:
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `["v1","v2","2.1","3.0","4.0"]`)
		case answers != nil:
			answers.ServeHTTP(w, r)
		default:
			http.NotFound(w, r)
		}
	})
}
