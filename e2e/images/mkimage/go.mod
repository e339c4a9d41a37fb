module quorum.security/e2e/mkimage

go 1.24.0
