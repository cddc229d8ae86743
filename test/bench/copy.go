package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// A tool copies a folder to the server and a build's output back.
type tool struct {
	name string
	// up returns the shell command that makes far (on the server) like near; "" where the tool cannot.
	up func(b *bench, host, near, far string) string
	// back returns the shell command that copies far (on the server) to near.
	back func(b *bench, host, far, near string) string
	// again tells that a second copy can make use of the first.
	again bool
}

// tools are those that people use. Flags are the fastest that are exact.
var tools = map[string]tool{
	"scp": {
		name: "`scp -rp`",
		up: func(b *bench, host, near, far string) string {
			return fmt.Sprintf("scp -F %s -rpq %s/. %s:%s/", b.path("ssh_config"), near, host, far)
		},
		back: func(b *bench, host, far, near string) string {
			return fmt.Sprintf("scp -F %s -rpq %s:%s/. %s/", b.path("ssh_config"), host, far, near)
		},
	},
	"rsync": {
		name: "`rsync -a --delete`", again: true,
		up: func(b *bench, host, near, far string) string {
			return fmt.Sprintf("rsync -a --delete -e 'ssh -F %s' %s/ %s:%s/", b.path("ssh_config"), near, host, far)
		},
		back: func(b *bench, host, far, near string) string {
			return fmt.Sprintf("rsync -a -e 'ssh -F %s' %s:%s/ %s/", b.path("ssh_config"), host, far, near)
		},
	},
	"tar": {
		name: "`tar \\| ssh tar`",
		up: func(b *bench, host, near, far string) string {
			return fmt.Sprintf("tar -c -C %s . | ssh -F %s %s tar -x -C %s", near, b.path("ssh_config"), host, far)
		},
		back: func(b *bench, host, far, near string) string {
			return fmt.Sprintf("ssh -F %s %s tar -c -C %s . | tar -x -C %s", b.path("ssh_config"), host, far, near)
		},
	},
}

// A row is what one tool did: seconds by phase.
type row struct {
	tool  string
	times map[string][]seconds
}

// seconds is a time, or a limit that was reached.
type seconds struct {
	value float64
	over  bool
}

// sync measures a data set over a line with all tools.
func (b *bench) sync(ctx context.Context, set string, l line) ([]row, size, error) {
	s, ok := shapes[set]
	if !ok {
		return nil, size{}, fmt.Errorf("-sets: %q: want A, B or C", set)
	}
	near, far, out := b.path("near"), b.path("far", "copy"), b.path("out")
	fresh := func() error {
		for _, dir := range []string{near, far, out, b.path("in")} {
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
		}
		if err := newWriter(1).tree(near, s, b.scale); err != nil {
			return err
		}
		return newWriter(2).output(out, b.scale)
	}
	var rows []row
	var sz size
	for name := range strings.SplitSeq(b.tools, ",") {
		r := row{name, map[string][]seconds{}}
		for i := range b.n {
			if err := fresh(); err != nil {
				return nil, size{}, err
			}
			var err error
			if sz, err = measure(near); err != nil {
				return nil, size{}, err
			}
			fmt.Fprintf(os.Stderr, "bench: set %s, %s, %s, %d of %d\n", set, l.name, name, i+1, b.n)
			if name == "outrigger" {
				err = b.ours(ctx, l, r, i)
			} else if t, ok := tools[name]; ok {
				r.tool = t.name
				err = b.theirs(ctx, t, l, r, i)
			} else {
				err = fmt.Errorf("-tools: %q: want outrigger, rsync, tar or scp", name)
			}
			if err != nil {
				return nil, size{}, fmt.Errorf("%s: %w", name, err)
			}
			if r.over() {
				break // once over the limit is enough to know
			}
		}
		rows = append(rows, r)
	}
	return rows, sz, nil
}

func (r row) over() bool {
	for _, times := range r.times {
		for _, t := range times {
			if t.over {
				return true
			}
		}
	}
	return false
}

// theirs measures one repetition of another tool.
func (b *bench) theirs(ctx context.Context, t tool, l line, r row, round int) error {
	near, far := b.path("near"), b.path("far", "copy")
	first, err := b.time(ctx, r, "first", t.up(b, l.host, near, far))
	if err != nil || first.over {
		return err
	}
	if t.again {
		if _, err := b.time(ctx, r, "same", t.up(b, l.host, near, far)); err != nil {
			return err
		}
		if err := newWriter(uint64(10+round)).change(near, round); err != nil {
			return err
		}
		if _, err := b.time(ctx, r, "changed", t.up(b, l.host, near, far)); err != nil {
			return err
		}
	}
	_, err = b.time(ctx, r, "back", t.back(b, l.host, b.path("out"), b.path("in")))
	return err
}

// time measures a shell command.
func (b *bench) time(ctx context.Context, r row, phase, command string) (seconds, error) {
	ctx, cancel := context.WithTimeout(ctx, b.limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-o", "pipefail", "-c", command)
	return record(ctx, r, phase, cmd)
}

// record runs cmd and notes how long it took.
func record(ctx context.Context, r row, phase string, cmd *exec.Cmd) (seconds, error) {
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.WaitDelay = time.Second // a child of the shell may hold the pipe
	begin := time.Now()
	err := cmd.Run()
	t := seconds{value: time.Since(begin).Seconds()}
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		t.over = true
	case err != nil:
		return t, fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, said.Bytes())
	}
	r.times[phase] = append(r.times[phase], t)
	return t, nil
}

// ours measures one repetition of Outrigger: whole runs on a machine that stays,
// as a user has them, from the start of the program to its end.
func (b *bench) ours(ctx context.Context, l line, r row, round int) error {
	near := b.path("near")
	name := fmt.Sprintf("bench-%s-%d", l.host, round)
	if out, err := b.outrigger(ctx, "vm", "create", "--on", l.host, "--name", name).CombinedOutput(); err != nil {
		return fmt.Errorf("vm create: %w\n%s", err, out)
	}
	defer func() {
		// Also after an interrupt: the slot of the host is held until then.
		_ = b.outrigger(context.WithoutCancel(ctx), "vm", "delete", name).Run()
	}()
	runs := []struct {
		phase   string
		prepare func() error
		argv    []string
	}{
		{"first", nil, []string{"true"}},
		{"same", nil, []string{"true"}},
		{"changed", func() error { return newWriter(uint64(10+round)).change(near, round) }, []string{"true"}},
		{"back", nil, []string{"cp", "-r", b.path("out"), "build"}},
	}
	for _, step := range runs {
		if step.prepare != nil {
			if err := step.prepare(); err != nil {
				return err
			}
		}
		ctx, cancel := context.WithTimeout(ctx, b.limit)
		cmd := b.outrigger(ctx, append([]string{"--output", "json", "run", "--on", name, "--sync", near, "--"}, step.argv...)...)
		var events bytes.Buffer
		cmd.Stdout = &events
		begin := time.Now()
		err := cmd.Run()
		took := seconds{value: time.Since(begin).Seconds(), over: errors.Is(ctx.Err(), context.DeadlineExceeded)}
		cancel()
		if err != nil && !took.over {
			return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, events.Bytes())
		}
		r.times[step.phase] = append(r.times[step.phase], took)
		if took.over {
			return nil
		}
		phase := "up"
		if step.phase == "back" {
			phase = "back"
		}
		alone, err := synced(events.Bytes(), phase)
		if err != nil {
			return err
		}
		r.times[step.phase+" alone"] = append(r.times[step.phase+" alone"], seconds{value: alone})
	}
	return nil
}

// synced finds in the events of a run how long a sync took by itself.
func synced(events []byte, phase string) (float64, error) {
	for l := range bytes.Lines(events) {
		var e struct {
			Event, Phase string
			Seconds      float64
		}
		if json.Unmarshal(l, &e) == nil && e.Event == "synced" && strings.Contains(e.Phase, phase) {
			return e.Seconds, nil
		}
	}
	return 0, fmt.Errorf("no event tells of a sync %s:\n%s", phase, events)
}
