package main

import (
	"context"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// payloads are what the client sends and asks for. They are kept and moved as they are: nothing is encrypted here.
type payloads struct {
	configuration *Configuration
	network       *Network
}

func (p *payloads) toClient() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /send", p.send)
	mux.HandleFunc("GET /transaction/{hash}", p.receive)
	return mux
}

// send keeps a payload, and has the manager of each recipient keep it.
func (p *payloads) send(w http.ResponseWriter, r *http.Request) {
	body, err := read(w, r)
	if err != nil {
		return
	}
	var sent struct {
		Payload []byte   `json:"payload"`
		To      []string `json:"to"`
	}
	if err := json.Unmarshal(body, &sent); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	for _, key := range sent.To {
		if slices.Contains(p.network.keys, key) {
			continue
		}
		url, known := p.network.where(key)
		if !known {
			http.Error(w, "Recipient not found for key: "+key, http.StatusNotFound)
			return
		}
		pushed, err := p.network.post(url+"push", sent.Payload)
		if err != nil {
			http.Error(w, err.Error(), http.StatusGone)
			return
		}
		if pushed.status != http.StatusCreated {
			http.Error(w, url+": "+strings.TrimSpace(pushed.body), http.StatusInternalServerError)
			return
		}
	}
	hash, err := keep(r.Context(), p.configuration, sent.Payload)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	answer(w, http.StatusCreated, map[string]string{"key": hash})
}

func (p *payloads) receive(w http.ResponseWriter, r *http.Request) {
	hash, err := base64.StdEncoding.DecodeString(r.PathValue("hash"))
	if err != nil {
		http.Error(w, "not a hash in base64", http.StatusBadRequest)
		return
	}
	payload, err := find(r.Context(), p.configuration, hash)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		http.Error(w, "Message with hash "+r.PathValue("hash")+" was not found", http.StatusNotFound)
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	default:
		answer(w, http.StatusOK, map[string][]byte{"payload": payload})
	}
}

// keep writes a payload to the database, by its digest.
func keep(ctx context.Context, c *Configuration, payload []byte) (string, error) {
	connection, err := connect(ctx, c.JDBC)
	if err != nil {
		return "", err
	}
	defer connection.Close(ctx)
	hash := sha512.Sum512(payload)
	_, err = connection.Exec(ctx,
		"insert into encrypted_transaction (hash, encoded_payload, timestamp) values ($1, $2, $3) on conflict do nothing",
		hash[:], payload, time.Now().UnixMilli())
	return base64.StdEncoding.EncodeToString(hash[:]), err
}

func find(ctx context.Context, c *Configuration, hash []byte) ([]byte, error) {
	connection, err := connect(ctx, c.JDBC)
	if err != nil {
		return nil, err
	}
	defer connection.Close(ctx)
	var payload []byte
	err = connection.QueryRow(ctx, "select encoded_payload from encrypted_transaction where hash = $1", hash).Scan(&payload)
	return payload, err
}
