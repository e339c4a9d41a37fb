package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
)

// Configuration is the part of Tessera's file that this stand-in knows. The real one drops unknown fields
// with a warning; here they are refused, so that nothing is written that means nothing.
type Configuration struct {
	Mode                 string         `json:"mode"`
	UseWhiteList         bool           `json:"useWhiteList"`
	JDBC                 JDBC           `json:"jdbc"`
	ServerConfigs        []Server       `json:"serverConfigs"`
	Peer                 *[]Peer        `json:"peer"`
	DisablePeerDiscovery bool           `json:"disablePeerDiscovery"`
	Keys                 Keys           `json:"keys"`
	AlwaysSendTo         []string       `json:"alwaysSendTo"`
	BootstrapNode        bool           `json:"bootstrapNode"`
	Features             Features       `json:"features"`
	Encryptor            map[string]any `json:"encryptor"`
}

type Features struct {
	EnableRemoteKeyValidation   bool `json:"enableRemoteKeyValidation"`
	EnablePrivacyEnhancements   bool `json:"enablePrivacyEnhancements"`
	EnableMultiplePrivateStates bool `json:"enableMultiplePrivateStates"`
}

type JDBC struct {
	URL              string `json:"url"`
	Username         string `json:"username"`
	Password         string `json:"password"`
	AutoCreateTables bool   `json:"autoCreateTables"`
	FetchSize        int    `json:"fetchSize"`
}

type Peer struct {
	URL string `json:"url"`
}

type Server struct {
	App               string            `json:"app"`
	ServerAddress     string            `json:"serverAddress"`
	BindingAddress    string            `json:"bindingAddress"`
	CommunicationType string            `json:"communicationType"`
	SSL               SSL               `json:"sslConfig"`
	Properties        map[string]string `json:"properties"`
}

type SSL struct {
	TLS                       string   `json:"tls"`
	Type                      string   `json:"sslConfigType"`
	Generate                  bool     `json:"generateKeyStoreIfNotExisted"`
	ClientAuth                *bool    `json:"clientAuth"`
	ServerTrustMode           string   `json:"serverTrustMode"`
	ServerKeyPath             string   `json:"serverTlsKeyPath"`
	ServerCertificatePath     string   `json:"serverTlsCertificatePath"`
	ServerTrustCertificates   []string `json:"serverTrustCertificates"`
	ClientTrustMode           string   `json:"clientTrustMode"`
	ClientKeyPath             string   `json:"clientTlsKeyPath"`
	ClientCertificatePath     string   `json:"clientTlsCertificatePath"`
	ClientTrustCertificates   []string `json:"clientTrustCertificates"`
	EnvironmentVariablePrefix string   `json:"environmentVariablePrefix"`
	ExcludeCipherSuites       []string `json:"excludeCipherSuites"`
}

type Keys struct {
	PasswordFile string           `json:"passwordFile"`
	Passwords    []string         `json:"passwords"`
	KeyData      []KeyData        `json:"keyData"`
	VaultConfigs []map[string]any `json:"keyVaultConfigs"`
}

type KeyData struct {
	PrivateKeyPath string `json:"privateKeyPath"`
	PublicKeyPath  string `json:"publicKeyPath"`
}

// Read reads and checks a file; every fault at once.
func Read(path string) (*Configuration, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	var c Configuration
	if err := decoder.Decode(&c); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if decoder.More() {
		return nil, fmt.Errorf("%s: something follows the configuration", path)
	}
	return &c, errors.Join(c.faults()...)
}

func (c *Configuration) faults() []error {
	var faults []error
	fault := func(format string, arguments ...any) { faults = append(faults, fmt.Errorf(format, arguments...)) }
	if c.Peer == nil {
		fault("peer: may not be null")
	}
	apps := map[string]int{}
	for i := range c.ServerConfigs {
		server := &c.ServerConfigs[i]
		apps[server.App]++
		for _, err := range server.faults() {
			fault("serverConfigs[%d] (%s): %w", i, server.App, err)
		}
	}
	if apps["P2P"] != 1 {
		fault("serverConfigs: exactly one P2P server must be configured, there are %d", apps["P2P"])
	}
	if apps["Q2T"] == 0 && !c.BootstrapNode {
		fault("serverConfigs: at least one Q2T server must be configured")
	}
	if len(c.Keys.Passwords) > 0 {
		fault("keys.passwords: for security reasons, passwords should not be provided directly in the config")
	}
	if c.Keys.PasswordFile != "" {
		if _, err := os.Stat(c.Keys.PasswordFile); err != nil {
			fault("keys.passwordFile: %w", err)
		}
	}
	if len(c.Keys.KeyData) == 0 {
		fault("keys.keyData: at least one key must be provided")
	}
	if _, err := parseJDBC(c.JDBC); err != nil {
		fault("jdbc.url: %w", err)
	}
	return faults
}

func (s *Server) faults() []error {
	var faults []error
	fault := func(format string, arguments ...any) { faults = append(faults, fmt.Errorf(format, arguments...)) }
	switch s.App {
	case "P2P", "Q2T", "ThirdParty", "ENCLAVE":
	default:
		fault("app: %q is not supported", s.App)
	}
	if s.CommunicationType != "" && s.CommunicationType != "REST" {
		fault("communicationType: %q, only REST is supported", s.CommunicationType)
	}
	for _, address := range []string{s.ServerAddress, s.BindingAddress} {
		if parsed, err := url.Parse(address); address != "" && (err != nil || parsed.Scheme != "https" || parsed.Port() == "") {
			fault("address %q: not an https URL with a port", address)
		}
	}
	ssl := s.SSL
	if ssl.TLS != "STRICT" {
		fault("sslConfig.tls: %q, only STRICT is accepted here", ssl.TLS)
	}
	if ssl.Generate {
		fault("sslConfig.generateKeyStoreIfNotExisted: self-signed stores are refused")
	}
	half := func(name, mode, key, certificate string, trusted []string) {
		if mode != "CA" && mode != "WHITELIST" {
			fault("sslConfig.%sTrustMode: %q, only CA and WHITELIST are accepted here", name, mode)
		}
		if mode == "CA" && len(trusted) == 0 {
			fault("sslConfig.%sTrustCertificates: trust mode CA needs certificates", name)
		}
		if _, err := pair(certificate, key); err != nil {
			fault("sslConfig: %w", err)
		}
		if _, err := pool(trusted); err != nil {
			fault("sslConfig.%sTrustCertificates: %w", name, err)
		}
	}
	switch ssl.Type {
	case "SERVER_ONLY", "SERVER_AND_CLIENT", "":
		half("server", ssl.ServerTrustMode, ssl.ServerKeyPath, ssl.ServerCertificatePath, ssl.ServerTrustCertificates)
	case "CLIENT_ONLY":
	default:
		fault("sslConfig.sslConfigType: %q is unknown", ssl.Type)
	}
	if ssl.Type != "SERVER_ONLY" {
		half("client", ssl.ClientTrustMode, ssl.ClientKeyPath, ssl.ClientCertificatePath, ssl.ClientTrustCertificates)
	}
	return faults
}

// connection is where the database is and how it is reached.
type connection struct {
	host, port, database string
	rootCA, cert, key    string
}

// parseJDBC reads the URL as PostgreSQL's Java driver does, which reads keys as PKCS#8 DER alone.
func parseJDBC(j JDBC) (*connection, error) {
	rest, ok := strings.CutPrefix(j.URL, "jdbc:postgresql://")
	if !ok {
		return nil, fmt.Errorf("only jdbc:postgresql:// is supported here")
	}
	parsed, err := url.Parse("postgres://" + rest)
	if err != nil {
		return nil, errors.New("not a URL")
	}
	query := parsed.Query()
	if mode := query.Get("sslmode"); mode != "verify-full" {
		return nil, fmt.Errorf("sslmode is %q, only verify-full is accepted here", mode)
	}
	c := &connection{host: parsed.Hostname(), port: parsed.Port(), database: strings.TrimPrefix(parsed.Path, "/"),
		rootCA: query.Get("sslrootcert"), cert: query.Get("sslcert"), key: query.Get("sslkey")}
	for name, file := range map[string]string{"sslrootcert": c.rootCA, "sslcert": c.cert, "sslkey": c.key} {
		if file == "" && (name == "sslrootcert" || j.Password == "") {
			return nil, fmt.Errorf("%s is missing", name)
		}
		if file == "" {
			continue
		}
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if name == "sslkey" && bytes.Contains(content, []byte("-----BEGIN")) {
			return nil, fmt.Errorf("sslkey: %s is PEM; the driver reads PKCS#8 DER", file)
		}
	}
	return c, nil
}
