// Agent is the agent of deliver's tests: it greets and answers each request
// with its own arguments.
package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"

	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/wire"
)

func main() {
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(verb string, args []string) error {
	switch verb {
	case "version":
		return version(args)
	case "serve":
		return serve()
	}
	return fmt.Errorf("unknown verb %q", verb)
}

func serve() error {
	conn := wire.NewConn(stdio{os.Stdin, os.Stdout})
	if err := conn.Greet("test", machine.Platform{OS: runtime.GOOS, Arch: runtime.GOARCH}); err != nil {
		return err
	}
	if err := conn.Flush(); err != nil {
		return err
	}
	for {
		if _, err := conn.Recv(); err != nil {
			return nil // the client has left
		}
		if err := conn.Respond(os.Args[1:], nil); err != nil {
			return err
		}
	}
}

func version(args []string) error {
	if !slices.Contains(args, "--digest") {
		fmt.Println("test")
		return nil
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	content, err := os.ReadFile(exe)
	if err != nil {
		return err
	}
	fmt.Printf("%x\n", sha256.Sum256(content))
	return nil
}

type stdio struct {
	io.Reader
	io.Writer
}

func (stdio) Close() error { return nil }
