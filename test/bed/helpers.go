//go:build linux

package main

import (
	"fmt"
	"os"
)

// helper runs what bed starts itself as: the provisioner of volumes, and the first
// process of a machine.
func helper(name string, args []string) bool {
	var err error
	switch {
	case name == "storage" && len(args) == 2:
		err = runStorage(args[0], args[1])
	case name == "machine" && len(args) == 1:
		err = runMachine(args[0])
	default:
		return false
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "bed %s: %v\n", name, err)
		os.Exit(1)
	}
	return true
}
