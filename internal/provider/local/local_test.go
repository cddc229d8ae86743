//go:build linux || darwin

package local_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider"
	"outrigger.dev/outrigger/internal/provider/local"
	"outrigger.dev/outrigger/internal/provider/providertest"
	"outrigger.dev/outrigger/internal/reach"
)

// TestMain lets the test binary be the server of the machines, as the CLI is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == local.ServeCommand {
		os.Exit(local.ServeMain(os.Args[2:]))
	}
	os.Exit(m.Run())
}

func open(t *testing.T, state string) provider.Provider {
	t.Helper()
	p, err := local.New("local", local.Config{}, state, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestContract(t *testing.T) {
	providertest.Run(t, func(t *testing.T) providertest.Place {
		state := t.TempDir()
		return providertest.Place{
			Open: func(t *testing.T) provider.Provider { return open(t, state) },
			Left: func(t *testing.T) []string {
				files, err := filepath.Glob(filepath.Join(state, "local", "*"))
				if err != nil {
					t.Fatal(err)
				}
				hidden, err := filepath.Glob(filepath.Join(state, "local", ".*"))
				if err != nil {
					t.Fatal(err)
				}
				return append(append(files, hidden...), processesOf(t, state)...)
			},
		}
	})
}

// processesOf returns the command lines that name state or carry its mark.
func processesOf(t *testing.T, state string) []string {
	t.Helper()
	procs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, p := range procs {
		line, err := os.ReadFile(filepath.Join(p, "cmdline"))
		if err != nil {
			continue // ended
		}
		environ, err := os.ReadFile(filepath.Join(p, "environ"))
		if err != nil {
			continue
		}
		if strings.Contains(string(line), state) || strings.Contains(string(environ), local.Marker+"="+state) {
			found = append(found, p+" "+strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}

// await waits for a fact.
func await(t *testing.T, what string, fact func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !fact(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// made makes a machine and logs in.
func made(t *testing.T, p provider.Provider, spec machine.Spec) (machine.Machine, *reach.Client) {
	t.Helper()
	m, err := p.Create(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Delete(context.WithoutCancel(t.Context()), spec.Name); err != nil {
			t.Errorf("Delete: %v", err)
		}
	})
	c, err := reach.Dial(t.Context(), m.Endpoint, reach.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return m, c
}

func output(t *testing.T, c *reach.Client, command string) string {
	t.Helper()
	out, exit, err := c.Output(t.Context(), command, nil)
	if err != nil || exit != 0 {
		t.Fatalf("%s: exit %d, %v", command, exit, err)
	}
	return strings.TrimSpace(string(out))
}

func TestImagesAreUnknown(t *testing.T) {
	_, err := open(t, t.TempDir()).Create(t.Context(), machine.Spec{Name: "a", Image: "debian"})
	if !fault.Is(err, fault.UnknownImage) {
		t.Errorf("got %v, want a fault of kind UnknownImage", err)
	}
}
