//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"outrigger.dev/outrigger/test/built"
)

// A bed is the test bed of this computer: there is one, whoever looks at it.
type bed struct {
	checkout string // of Outrigger
	cache    string // what was built; outlives everything
	state    string // what the cluster knows; outlives down
	run      string // sockets, network namespaces, file systems; ends with down
	began    time.Time
	out      io.Writer

	kube, tekton, coredns string // folders with programs, once they are built
}

func newBed(out io.Writer) (*bed, error) {
	checkout, err := built.Checkout()
	if err != nil {
		return nil, err
	}
	cache, err := built.Cache()
	if err != nil {
		return nil, err
	}
	return &bed{
		checkout: checkout, cache: cache, state: filepath.Join(cache, "cluster"), run: "/run/outrigger-bed",
		began: time.Now(), out: out,
	}, nil
}

// lock waits until no other command is at work.
func (b *bed) lock(ctx context.Context) (unlock func(), err error) {
	if err := os.MkdirAll(b.cache, 0o755); err != nil {
		return nil, err
	}
	l := flock.New(filepath.Join(b.cache, "bed.lock"))
	if ok, err := l.TryLock(); err != nil || ok {
		return func() { _ = l.Close() }, err
	}
	b.say("another bed command is at work: waiting for it")
	if _, err := l.TryLockContext(ctx, 200*time.Millisecond); err != nil {
		return nil, err
	}
	return func() { _ = l.Close() }, nil
}

// say tells what was reached, and when.
func (b *bed) say(format string, args ...any) {
	fmt.Fprintf(b.out, "[%6.1fs] %s\n", time.Since(b.began).Seconds(), fmt.Sprintf(format, args...))
}

func (b *bed) in(parts ...string) string {
	return filepath.Join(append([]string{b.state}, parts...)...)
}

func (b *bed) kubeconfig(user string) string { return b.in("pki", user+".kubeconfig") }

// command runs a program and returns what it wrote; its error has what it wrote there.
func command(ctx context.Context, name string, args ...string) (string, error) {
	return feed(ctx, "", name, args...)
}

// feed is command with standard input.
func feed(ctx context.Context, input, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = strings.NewReader(input), &stderr
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("%s %s: %w: %s", filepath.Base(name), strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return string(out), nil
}

// kubectl runs kubectl as admin.
func (b *bed) kubectl(ctx context.Context, args ...string) (string, error) {
	return command(ctx, filepath.Join(b.kube, "kubectl"), append([]string{"--kubeconfig", b.kubeconfig("admin")}, args...)...)
}

// apply applies YAML.
func (b *bed) apply(ctx context.Context, yaml string) error {
	_, err := feed(ctx, yaml, filepath.Join(b.kube, "kubectl"), "--kubeconfig", b.kubeconfig("admin"),
		"apply", "--server-side", "--force-conflicts", "-f", "-")
	return err
}

// write writes a file if its content is another; kube-proxy ends when its configuration is written.
func write(file, content string, mode os.FileMode) error {
	if old, err := os.ReadFile(file); err == nil && string(old) == content {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	draft := file + ".draft"
	if err := os.WriteFile(draft, []byte(content), mode); err != nil {
		return err
	}
	return os.Rename(draft, file)
}

// await asks until the answer is nil. It gives up when the context ends, after
// limit, or when one of the daemons has ended.
func (b *bed) await(ctx context.Context, what string, limit time.Duration, daemons []string, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(150 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		for _, name := range daemons {
			if b.find(name) == 0 {
				return fmt.Errorf("%s: %s ended:\n%s", what, name, b.tail(name))
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s: %w: %w", what, ctx.Err(), err)
		}
	}
}
