package main

import (
	"context"
	"fmt"
	"os/exec"
	"time"
)

// startup measures what it costs that a command is executed over there at all:
// nothing is copied and the command does nothing, on a machine that was used before.
func (b *bench) startup(ctx context.Context, l line) ([]row, error) {
	const name = "bench-start"
	if out, err := b.outrigger(ctx, "vm", "create", "--on", l.host, "--name", name).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("vm create: %w\n%s", err, out)
	}
	defer func() { _ = b.outrigger(context.WithoutCancel(ctx), "vm", "delete", name).Run() }()
	// As ssh does with ControlMaster: the connection is there already.
	master := exec.CommandContext(ctx, "ssh", "-F", b.path("ssh_config"), "-M", "-S", b.path("control-"+l.host), "-N", l.host)
	if err := master.Start(); err != nil {
		return nil, err
	}
	defer func() {
		_ = master.Process.Kill()
		_ = master.Wait()
	}()
	for end := time.Now().Add(10 * time.Second); exec.CommandContext(ctx, "ssh", "-S", b.path("control-"+l.host), "-O", "check", l.host).Run() != nil; <-time.After(20 * time.Millisecond) {
		if time.Now().After(end) {
			return nil, fmt.Errorf("ssh -M: no control socket")
		}
	}
	var rows []row
	for _, t := range []struct {
		name string
		cmd  func() *exec.Cmd
	}{
		{"`outrigger run --no-sync -- true`", func() *exec.Cmd { return b.outrigger(ctx, "run", "--on", name, "--no-sync", "--", "true") }},
		{"`ssh host true`", func() *exec.Cmd {
			return exec.CommandContext(ctx, "ssh", "-F", b.path("ssh_config"), l.host, "true")
		}},
		{"`ssh host true` on an open connection", func() *exec.Cmd {
			return exec.CommandContext(ctx, "ssh", "-F", b.path("ssh_config"), "-S", b.path("control-"+l.host), l.host, "true")
		}},
	} {
		r := row{t.name, map[string][]seconds{}}
		for i := range 1 + 3*b.n {
			cmd := t.cmd()
			phase := "start"
			if i == 0 {
				phase = "warm" // the first one fills caches and is not shown
			}
			if _, err := record(ctx, r, phase, cmd); err != nil {
				return nil, err
			}
		}
		rows = append(rows, r)
	}
	return rows, nil
}
