package main

import (
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
)

// pair loads a key pair as Tessera does from PEM: RSA, PKCS#8, not encrypted, and nothing else.
func pair(certificatePath, keyPath string) (tls.Certificate, error) {
	content, err := os.ReadFile(keyPath)
	if err != nil {
		return tls.Certificate{}, err
	}
	block, _ := pem.Decode(content)
	if block == nil || block.Type != "PRIVATE KEY" {
		return tls.Certificate{}, fmt.Errorf("%s: not an unencrypted PKCS#8 key in PEM (BEGIN PRIVATE KEY)", keyPath)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("%s: not PKCS#8", keyPath)
	}
	if _, ok := key.(*rsa.PrivateKey); !ok {
		return tls.Certificate{}, fmt.Errorf("%s: not an RSA key", keyPath)
	}
	chain, err := os.ReadFile(certificatePath)
	if err != nil {
		return tls.Certificate{}, err
	}
	loaded, err := tls.X509KeyPair(chain, content)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("%s and %s do not belong together", certificatePath, keyPath)
	}
	return loaded, nil
}

// pool holds authorities by subject, as Tessera does: two with one subject overwrite each other.
func pool(files []string) (*x509.CertPool, error) {
	bySubject := map[string]*x509.Certificate{}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		found := false
		for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
			certificate, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("%s: not a certificate", file)
			}
			bySubject[certificate.Subject.String()] = certificate
			found = true
		}
		if !found {
			return nil, fmt.Errorf("%s holds no certificate", file)
		}
	}
	all := x509.NewCertPool()
	for _, certificate := range bySubject {
		all.AddCert(certificate)
	}
	return all, nil
}

func serverTLS(ssl SSL) (*tls.Config, error) {
	own, err := pair(ssl.ServerCertificatePath, ssl.ServerKeyPath)
	if err != nil {
		return nil, err
	}
	trusted, err := pool(ssl.ServerTrustCertificates)
	if err != nil {
		return nil, err
	}
	auth := tls.RequireAndVerifyClientCert
	if ssl.ClientAuth != nil && !*ssl.ClientAuth {
		auth = tls.NoClientCert
	}
	return &tls.Config{Certificates: []tls.Certificate{own}, ClientCAs: trusted, ClientAuth: auth,
		MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}, nil
}

func clientTLS(ssl SSL) (*tls.Config, error) {
	own, err := pair(ssl.ClientCertificatePath, ssl.ClientKeyPath)
	if err != nil {
		return nil, err
	}
	trusted, err := pool(ssl.ClientTrustCertificates)
	return &tls.Config{Certificates: []tls.Certificate{own}, RootCAs: trusted, MinVersion: tls.VersionTLS12}, err
}

// nameMatches is the server's check that it is asked by a name in its certificate.
func nameMatches(config *tls.Config, name string) error {
	leaf, err := x509.ParseCertificate(config.Certificates[0].Certificate[0])
	if err != nil {
		return errors.New("own certificate cannot be read")
	}
	return leaf.VerifyHostname(name)
}
