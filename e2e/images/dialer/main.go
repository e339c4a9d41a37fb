// Command dialer speaks from inside a pod, for tests: it says what a connection comes to.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

const usage = `dialer serve ADDRESS               answers every connection
dialer cat FILE                    prints a file
dialer wait                        does nothing until it is ended
dialer tcp HOST:PORT [-timeout 2s] prints open, refused, timeout or unresolved
dialer https URL -ca FILE [-cert FILE -key FILE]
                                   prints the status and the body
dialer post URL BODY -ca FILE [-cert FILE -key FILE]
                                   the same of a body of JSON that is sent
dialer tls HOST:PORT -ca FILE [-name NAME]
                                   prints the certificates that were shown
dialer call URL METHOD -ca FILE [-token FILE] [-cert FILE -key FILE]
                                   calls JSON-RPC once, prints the status and the answer
dialer steady URL METHOD -ca FILE [-token FILE] [-rate 100] [-for 10s]
                                   calls at a rate, prints how many went well and what became of the others
dialer socket URL METHOD -ca FILE [-token FILE]
                                   calls over a WebSocket, prints what comes until it ends`

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(64)
	}
	if os.Args[1] == "wait" {
		wait()
		return
	}
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(64)
	}
	target := os.Args[2]
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	timeout := flags.Duration("timeout", 2*time.Second, "how long to try")
	ca := flags.String("ca", "", "authority to trust")
	cert := flags.String("cert", "", "certificate to show")
	key := flags.String("key", "", "its key")
	name := flags.String("name", "", "name to expect")
	token := flags.String("token", "", "file with the token to show")
	rate := flags.Int("rate", 100, "calls a second")
	lasting := flags.Duration("for", 10*time.Second, "how long to call")
	rest, method := os.Args[3:], ""
	if len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
		method, rest = rest[0], rest[1:]
	}
	_ = flags.Parse(rest)
	var err error
	switch os.Args[1] {
	case "serve":
		err = serve(target)
	case "cat":
		var content []byte
		if content, err = os.ReadFile(target); err == nil {
			_, err = os.Stdout.Write(content)
		}
	case "tcp":
		os.Exit(dial(target, *timeout))
	case "https", "post", "tls", "call", "steady", "socket":
		var config *tls.Config
		if config, err = trust(*ca, *cert, *key, *name); err != nil {
			break
		}
		caller := caller{url: target, token: *token, config: config}
		switch os.Args[1] {
		case "https":
			err = ask(http.MethodGet, target, "", config)
		case "post":
			err = ask(http.MethodPost, target, method, config)
		case "tls":
			err = show(target, config)
		case "call":
			err = caller.call(method)
		case "steady":
			err = caller.steady(method, *rate, *lasting)
		case "socket":
			err = caller.socket(method)
		}
	default:
		err = errors.New(usage)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func wait() {
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	<-end
}

func serve(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = connection.Write([]byte("hello\n"))
			_ = connection.Close()
		}
	}()
	wait()
	return nil
}

func dial(target string, timeout time.Duration) int {
	context, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	connection, err := (&net.Dialer{}).DialContext(context, "tcp", target)
	var unresolved *net.DNSError
	switch {
	case err == nil:
		_ = connection.Close()
		fmt.Println("open")
		return 0
	case errors.As(err, &unresolved):
		fmt.Println("unresolved")
		return 3
	case errors.Is(err, syscall.ECONNREFUSED):
		fmt.Println("refused")
		return 1
	default:
		fmt.Println("timeout")
		return 2
	}
}

func trust(ca, cert, key, name string) (*tls.Config, error) {
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", ca)
	}
	config := &tls.Config{RootCAs: pool, ServerName: name, MinVersion: tls.VersionTLS12}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// ask sends the path as it is written: what a server makes of odd ones is what is asked.
func ask(method, url, body string, config *tls.Config) error {
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	client := http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{TLSClientConfig: config}}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	fmt.Println("# status", response.StatusCode)
	_, err = io.Copy(os.Stdout, io.LimitReader(response.Body, 4<<20))
	return err
}

func show(target string, config *tls.Config) error {
	connection, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", target, config)
	if err != nil {
		return err
	}
	defer connection.Close()
	for _, shown := range connection.ConnectionState().PeerCertificates {
		fmt.Println(shown.Subject, "by", shown.Issuer, "until", shown.NotAfter.Format(time.RFC3339))
	}
	return nil
}
