package main

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A caller of JSON-RPC, with a token that is read for each call, since the kubelet renews it.
type caller struct {
	url    string
	token  string
	config *tls.Config
}

func (c caller) request(method string) (*http.Request, error) {
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q,"params":[]}`, method)
	request, err := http.NewRequest(http.MethodPost, c.url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	if err := c.sign(request.Header); err != nil {
		return nil, err
	}
	return request, nil
}

func (c caller) sign(header http.Header) error {
	if c.token == "" {
		return nil
	}
	token, err := os.ReadFile(c.token)
	header.Set("Authorization", "Bearer "+string(bytes.TrimSpace(token)))
	return err
}

// call prints the status and the answer.
func (c caller) call(method string) error {
	client := http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{TLSClientConfig: c.config}}
	request, err := c.request(method)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, 4<<20))
	fmt.Println(response.StatusCode, strings.TrimSpace(string(answer)))
	return err
}

// steady calls at a rate, whatever becomes of the calls before, every other one over a connection of its own,
// and prints how many went well and what became of the others.
func (c caller) steady(method string, rate int, lasting time.Duration) error {
	kept := &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{TLSClientConfig: c.config, MaxIdleConnsPerHost: 16}}
	fresh := &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{TLSClientConfig: c.config.Clone(), DisableKeepAlives: true}}
	var well, failed atomic.Int64
	var waiting sync.WaitGroup
	tick := time.NewTicker(time.Second / time.Duration(rate))
	end := time.After(lasting)
	for number := 0; ; number++ {
		select {
		case <-end:
			waiting.Wait()
			fmt.Printf("well %d failed %d\n", well.Load(), failed.Load())
			return nil
		case <-tick.C:
		}
		client := kept
		if number%2 == 0 {
			client = fresh
		}
		waiting.Add(1)
		go func() {
			defer waiting.Done()
			if err := c.once(client, method); err != nil {
				failed.Add(1)
				fmt.Println(time.Now().Format(time.RFC3339Nano), err)
				return
			}
			well.Add(1)
		}()
	}
}

func (c caller) once(client *http.Client, method string) error {
	request, err := c.request(method)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err == nil && (response.StatusCode != http.StatusOK || !bytes.Contains(answer, []byte(`"result"`))) {
		err = fmt.Errorf("%d %s", response.StatusCode, answer)
	}
	return err
}

// socket opens a WebSocket, prints the answer to one call, and then what it ends with.
func (c caller) socket(method string) error {
	at, err := url.Parse(c.url)
	if err != nil {
		return err
	}
	connection, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", at.Host, c.config)
	if err != nil {
		return err
	}
	defer connection.Close()
	header := http.Header{}
	if err := c.sign(header); err != nil {
		return err
	}
	key := make([]byte, 16)
	_, _ = rand.Read(key)
	fmt.Fprintf(connection, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\nAuthorization: %s\r\n\r\n",
		at.Host, base64.StdEncoding.EncodeToString(key), header.Get("Authorization"))
	answer, err := head(connection)
	if err != nil || !strings.HasPrefix(answer, "HTTP/1.1 101") {
		return fmt.Errorf("no WebSocket: %q %v", answer, err)
	}
	call := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q,"params":["newHeads"]}`, method)
	// masked with zeros, which leaves the text as it is
	frame := append([]byte{0x81, 0x80 | byte(len(call)), 0, 0, 0, 0}, call...)
	if _, err := connection.Write(frame); err != nil {
		return err
	}
	for {
		code, text, err := next(connection)
		switch {
		case err != nil:
			fmt.Println("broken off", time.Now().Format(time.RFC3339Nano))
			return err
		case code == 1:
			fmt.Println(string(text))
		case code == 8 && len(text) >= 2:
			fmt.Println("closed", binary.BigEndian.Uint16(text), string(text[2:]))
			return nil
		}
	}
}

func head(connection io.Reader) (string, error) {
	var head []byte
	one := make([]byte, 1)
	for !bytes.HasSuffix(head, []byte("\r\n\r\n")) && len(head) < 8192 {
		if _, err := io.ReadFull(connection, one); err != nil {
			return string(head), err
		}
		head = append(head, one[0])
	}
	return string(head), nil
}

// next gives a frame of a server: kind and payload.
func next(connection io.Reader) (byte, []byte, error) {
	begin := make([]byte, 2)
	if _, err := io.ReadFull(connection, begin); err != nil {
		return 0, nil, err
	}
	size := uint64(begin[1] & 0x7f)
	if more := map[uint64]int{126: 2, 127: 8}[size]; more > 0 {
		length := make([]byte, 8)
		if _, err := io.ReadFull(connection, length[8-more:]); err != nil {
			return 0, nil, err
		}
		size = binary.BigEndian.Uint64(length)
	}
	if size > 1<<20 {
		return 0, nil, errors.New("a frame of more than a megabyte")
	}
	payload := make([]byte, size)
	_, err := io.ReadFull(connection, payload)
	return begin[0] & 0x0f, payload, err
}
