module quorum.security/e2e/dialer

go 1.24.0
