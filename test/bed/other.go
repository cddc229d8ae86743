//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "bed: the test bed needs Linux: containers, network namespaces")
	os.Exit(1)
}
