package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// askManager is GoQuorum's own question at start: /upcheck must say 200, then the version is asked.
func askManager(flags map[string]string) error {
	if flags["ptm.url"] != "" && flags["ptm.socket"] != "" {
		return errors.New("HTTP URL and socket must not both be given")
	}
	if flags["ptm.socket"] != "" {
		return errors.New("a socket is not supported by this stand-in")
	}
	config, err := managerTLS(flags)
	if err != nil {
		return err
	}
	client := &http.Client{Timeout: seconds(flags["ptm.timeout"]), Transport: &http.Transport{TLSClientConfig: config}}
	url := strings.TrimSuffix(flags["ptm.url"], "/")
	for _, path := range []string{"/upcheck", "/version", "/version/api"} {
		response, err := client.Get(url + path)
		if err != nil {
			return err
		}
		_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 1<<20))
		_ = response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("%s answers %s", path, response.Status)
		}
	}
	return nil
}

// seconds: what is not written is no limit at all, as in the client.
func seconds(text string) time.Duration {
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return time.Duration(n) * time.Second
}

func managerTLS(flags map[string]string) (*tls.Config, error) {
	switch flags["ptm.tls.mode"] {
	case "", "off":
		return nil, nil
	case "strict":
	default:
		return nil, fmt.Errorf("invalid value for TLS mode: %q", flags["ptm.tls.mode"])
	}
	if !strings.Contains(flags["ptm.url"], "https") {
		return nil, errors.New("connection is configured with TLS but HTTPS url is not specified")
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	for _, file := range strings.Split(flags["ptm.tls.rootca"], ",") {
		if file == "" {
			continue
		}
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", file)
		}
	}
	config := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	certificate, key := flags["ptm.tls.clientcert"], flags["ptm.tls.clientkey"]
	if (certificate == "") != (key == "") {
		return nil, errors.New("client certificate and key must be given together")
	}
	if certificate != "" {
		pair, err := tls.LoadX509KeyPair(certificate, key)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}
