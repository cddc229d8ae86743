// Command soak runs the tests that draw their cases from seeds for hours, and counts. It goes on
// where it was stopped, keeps the output of what failed, and ends with a summary.
//
//	soak -state DIR [-only NAME,...] [-for DURATION] [-fresh]
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"outrigger.dev/outrigger/test/soak"
)

// progress is what is known of a campaign.
type progress struct {
	Next   uint64   `json:"next"` // the first seed that was not tried
	Tried  int      `json:"tried"`
	Failed []uint64 `json:"failed,omitempty"`
	// Counted are what happened, such as kills of each kind of process, and how often.
	Counted map[string]int `json:"counted,omitempty"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ok, err := run(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
	}
	if err != nil || !ok {
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context) (ok bool, err error) {
	dir := flag.String("state", "", "folder for progress, test programs and outputs of failures")
	only := flag.String("only", "", "names of campaigns, with commas between; default: all")
	limit := flag.Duration("for", 0, "end after this time; default: when all seeds were tried")
	fresh := flag.Bool("fresh", false, "forget what was tried, and begin with the first seed")
	flag.Parse()
	if *dir == "" {
		return false, errors.New("no -state: want a folder for progress")
	}
	if *limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, *limit)
		defer cancel()
	}
	chosen, err := choose(*only)
	if err != nil {
		return false, err
	}
	s, err := open(*dir, *fresh)
	if err != nil {
		return false, err
	}
	// In turn, so that one that is stopped early has tried something of each.
	for left := true; left && ctx.Err() == nil; {
		left = false
		for _, c := range chosen {
			if s.Campaigns[c.name].Tried >= c.total || ctx.Err() != nil {
				continue
			}
			left = true
			if err := s.step(ctx, c); err != nil {
				return false, err
			}
		}
	}
	return s.summary(chosen), nil
}

// state is what is kept between two soaks.
type state struct {
	Campaigns map[string]progress `json:"campaigns"`

	dir   string
	built map[string]string // package to its test program
}

func open(dir string, fresh bool) (*state, error) {
	s := &state{Campaigns: map[string]progress{}, dir: dir, built: map[string]string{}}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	b, err := os.ReadFile(s.file())
	switch {
	case fresh || errors.Is(err, fs.ErrNotExist):
		return s, nil
	case err != nil:
		return nil, err
	}
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("%s: %w", s.file(), err)
	}
	return s, nil
}

func (s *state) file() string { return filepath.Join(s.dir, "progress.json") }

func (s *state) save() error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	draft := s.file() + ".new"
	if err := os.WriteFile(draft, b, 0o644); err != nil {
		return err
	}
	return os.Rename(draft, s.file())
}

// step tries the next seeds of c.
func (s *state) step(ctx context.Context, c campaign) error {
	program, err := s.build(ctx, c)
	if err != nil {
		return err
	}
	p := s.Campaigns[c.name]
	count := min(c.chunk, c.total-p.Tried)
	start := time.Now()
	cmd := exec.CommandContext(ctx, program, "-test.run", "^"+c.test+"$", "-test.timeout", "1h")
	cmd.Dir = c.pkg
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %d", soak.Variable, p.Next, count))
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return nil // these seeds are tried again
	}
	failed := failedSeeds(out)
	if err != nil {
		log := filepath.Join(s.dir, fmt.Sprintf("%s-%d.log", c.name, p.Next))
		if werr := os.WriteFile(log, out, 0o644); werr != nil {
			return werr
		}
		if len(failed) == 0 {
			return fmt.Errorf("%s: seeds %d to %d: no seed is named as failed, but the test is (%w): see %s",
				c.name, p.Next, p.Next+uint64(count)-1, err, log)
		}
		fmt.Printf("%-11s FAILED: seeds %v, see %s\n", c.name, failed, log)
	}
	p.Next += uint64(count)
	p.Tried += count
	p.Failed = append(p.Failed, failed...)
	p.count(out)
	s.Campaigns[c.name] = p
	fmt.Printf("%-11s seeds %d to %d in %s: %d of %d tried, %d failed\n", c.name, p.Next-uint64(count), p.Next-1,
		time.Since(start).Round(time.Second), p.Tried, c.total, len(p.Failed))
	return s.save()
}

// build makes the test program of a package, once for each soak.
func (s *state) build(ctx context.Context, c campaign) (string, error) {
	if program, ok := s.built[c.pkg]; ok {
		return program, nil
	}
	program, err := filepath.Abs(filepath.Join(s.dir, strings.ReplaceAll(strings.TrimPrefix(c.pkg, "./"), "/", "-")+".test"))
	if err != nil {
		return "", err
	}
	args := []string{"test", "-c", "-o", program}
	if c.inside {
		args = append(args, "-race")
	}
	cmd := exec.CommandContext(ctx, "go", append(args, c.pkg)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the tests of %s: %w: %s", c.pkg, err, out)
	}
	s.built[c.pkg] = program
	return program, nil
}

// count adds up what the test says that happened.
func (p *progress) count(out []byte) {
	if p.Counted == nil {
		p.Counted = map[string]int{}
	}
	for line := range bytes.Lines(out) {
		if what, ok := bytes.CutPrefix(line, []byte(soak.Counted)); ok {
			p.Counted[string(bytes.TrimSpace(what))]++
		}
	}
}

var failedSeed = regexp.MustCompile(`(?m)^\s*--- FAIL: Test\w+/seed=(\d+)\b`)

func failedSeeds(out []byte) []uint64 {
	var seeds []uint64
	for _, m := range failedSeed.FindAllSubmatch(out, -1) {
		if n, err := strconv.ParseUint(string(m[1]), 10, 64); err == nil && !slices.Contains(seeds, n) {
			seeds = append(seeds, n)
		}
	}
	return seeds
}

// summary prints what was tried, and tells whether none failed.
func (s *state) summary(chosen []campaign) bool {
	ok := true
	for _, c := range chosen {
		p := s.Campaigns[c.name]
		fmt.Printf("%-11s %d of %d tried, %d failed", c.name, p.Tried, c.total, len(p.Failed))
		if len(p.Failed) > 0 {
			ok = false
			fmt.Printf(": seeds %v; once more: %s='SEED 1' go test -race -run '^%s$' %s", p.Failed, soak.Variable, c.test, c.pkg)
		}
		fmt.Println()
		for _, what := range slices.Sorted(maps.Keys(p.Counted)) {
			fmt.Printf("%-11s %6d times: %s\n", "", p.Counted[what], what)
		}
	}
	return ok
}
