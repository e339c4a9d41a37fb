module quorum.security/e2e/scripted

go 1.26.0

require github.com/ethereum/go-ethereum v1.10.3

require (
	github.com/btcsuite/btcd v0.20.1-beta // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)
