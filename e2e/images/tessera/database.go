package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
)

const tables = `
create table if not exists encrypted_transaction (hash bytea primary key, encoded_payload bytea, timestamp bigint);
create table if not exists stand_in_start (id bigserial primary key, node text not null, started_at timestamptz not null default now())`

// record writes one row for this start, and gives the database a minute to appear.
func record(ctx context.Context, c *Configuration) error {
	limit, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	last := ""
	for {
		err := write(limit, c)
		if err == nil {
			log.Println("database: a row is written")
			return nil
		}
		if err.Error() != last {
			last = err.Error()
			log.Println("database: not yet:", last)
		}
		select {
		case <-limit.Done():
			return fmt.Errorf("database: not after a minute: %s", last)
		case <-time.After(time.Second):
		}
	}
}

func write(ctx context.Context, c *Configuration) error {
	connection, err := connect(ctx, c.JDBC)
	if err != nil {
		return err
	}
	defer connection.Close(ctx)
	if c.JDBC.AutoCreateTables {
		if _, err := connection.Exec(ctx, tables); err != nil {
			return err
		}
	}
	node := c.ServerConfigs[0].ServerAddress
	_, err = connection.Exec(ctx, "insert into stand_in_start (node) values ($1)", node)
	return err
}

func connect(ctx context.Context, j JDBC) (*pgx.Conn, error) {
	where, err := parseJDBC(j)
	if err != nil {
		return nil, err
	}
	trusted, err := pool([]string{where.rootCA})
	if err != nil {
		return nil, err
	}
	config, err := pgx.ParseConfig(fmt.Sprintf("host=%s port=%s dbname=%s user=%s sslmode=require", where.host, where.port, where.database, j.Username))
	if err != nil {
		return nil, err
	}
	config.Password = j.Password
	config.ConnectTimeout = 5 * time.Second
	config.TLSConfig = &tls.Config{RootCAs: trusted, ServerName: where.host, MinVersion: tls.VersionTLS12}
	config.Fallbacks = nil
	if where.cert != "" {
		own, err := certificateWithDER(where.cert, where.key)
		if err != nil {
			return nil, err
		}
		config.TLSConfig.Certificates = []tls.Certificate{own}
	}
	return pgx.ConnectConfig(ctx, config)
}

func certificateWithDER(certificatePath, keyPath string) (tls.Certificate, error) {
	chain, err := os.ReadFile(certificatePath)
	if err != nil {
		return tls.Certificate{}, err
	}
	der, err := os.ReadFile(keyPath)
	if err != nil {
		return tls.Certificate{}, err
	}
	if _, err := x509.ParsePKCS8PrivateKey(der); err != nil {
		return tls.Certificate{}, fmt.Errorf("%s is not PKCS#8 DER", keyPath)
	}
	return tls.X509KeyPair(chain, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}
