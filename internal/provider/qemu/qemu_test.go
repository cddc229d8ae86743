package qemu_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider"
	"outrigger.dev/outrigger/internal/provider/providertest"
	"outrigger.dev/outrigger/internal/provider/qemu"
	"outrigger.dev/outrigger/internal/provider/qemu/qemutest"
	"outrigger.dev/outrigger/internal/reach"
)

const me machine.Owner = "qemu-test"

func TestContract(t *testing.T) {
	providertest.Run(t, func(t *testing.T) providertest.Place {
		t.Helper()
		state := qemutest.State(t)
		return providertest.Place{
			Open: func(t *testing.T) provider.Provider {
				t.Helper()
				return qemutest.Open(t, state, qemu.Config{Max: 3})
			},
			Max:  3,
			Left: func(t *testing.T) []string { return left(t, state) },
		}
	})
}

// left returns what of machines is in a state folder.
func left(t *testing.T, state string) []string {
	t.Helper()
	var all []string
	for _, pattern := range []string{"machines/*", "new-*"} {
		found, err := filepath.Glob(filepath.Join(state, "qemu", pattern))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, found...)
	}
	return append(all, processes(t, state)...)
}

// processes returns the command lines of the processes that use a file in a
// state folder: QEMU and what builds images.
func processes(t *testing.T, state string) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			continue // it ended meanwhile
		}
		if line := string(b); strings.Contains(line, state+"/") {
			all = append(all, filepath.Base(filepath.Dir(file))+": "+strings.ReplaceAll(line, "\x00", " "))
		}
	}
	return all
}

// create makes a machine that the test deletes when it is over.
func create(t *testing.T, p *qemu.Provider, spec machine.Spec) machine.Machine {
	t.Helper()
	if spec.Name == "" {
		spec.Name = machine.NewName("t")
	}
	spec.Owner = me
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // the test's own is over
		defer cancel()
		if err := p.Delete(ctx, spec.Name); err != nil {
			t.Error(err)
		}
	})
	m, err := p.Create(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	if m.State != machine.Running {
		t.Fatalf("machine %s is %s after it was made", m.Name, m.State)
	}
	return m
}

func dial(t *testing.T, m machine.Machine) *reach.Client {
	t.Helper()
	c, err := reach.Dial(t.Context(), m.Endpoint, reach.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// sh runs a command on a machine and returns what it printed.
func sh(t *testing.T, c *reach.Client, command string) string {
	t.Helper()
	out, exit, err := c.Output(t.Context(), command, nil)
	if err != nil || exit != 0 {
		t.Fatalf("%s: exit code %d, %v, printed %q", command, exit, err, out)
	}
	return strings.TrimSpace(string(out))
}
