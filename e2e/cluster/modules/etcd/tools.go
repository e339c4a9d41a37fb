//go:build bed

// Package bed pins the program that `bed build` makes of this module.
package bed

import _ "go.etcd.io/etcd/server/v3"
