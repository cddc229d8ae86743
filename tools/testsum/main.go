// Testsum runs `go test -json`, shows what a person wants to see of it, and
// ends with one plain line: "N passed, N failed, N skipped".
//
// A test with subtests is not counted itself: its subtests are, unless it
// failed while all of them passed. A package that breaks outside any test (it
// does not build, it exits, it runs out of time) counts as one failure, so the
// line cannot read "0 failed" for a run that did not work.
//
// With -strict FILE a skipped test is a failure, unless FILE has its name:
// where everything is installed, a test that does not run is a mistake.
//
//	testsum [-strict FILE] -- go test -json ARGUMENT...
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

func main() {
	strict := flag.String("strict", "", "fail on skipped tests that `file` does not name")
	flag.Parse()
	if flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "testsum: no command: want testsum [-strict FILE] -- go test -json ARGUMENT...")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ok, err := run(ctx, flag.Args(), *strict)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testsum:", err)
	}
	if err != nil || !ok {
		stop()
		os.Exit(1)
	}
}

// run executes the command, prints the sum as the last line of stdout and
// tells whether every test passed.
func run(ctx context.Context, argv []string, strict string) (ok bool, err error) {
	allowed := map[string]bool{}
	if strict != "" {
		if allowed, err = readSkips(strict); err != nil {
			return false, err
		}
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // go test then ends the tests it started
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return false, err
	}
	if err := cmd.Start(); err != nil {
		return false, err
	}
	s := newSummary(os.Stdout)
	readErr := s.read(out)
	waitErr := cmd.Wait()
	if strict != "" {
		s.refuseSkips(allowed)
	}
	if waitErr != nil && s.failed == 0 {
		// go test itself broke, for instance on a pattern that matches nothing.
		s.failed++
		fmt.Printf("FAIL  %s: %v\n", argv[0], waitErr)
	}
	if s.passed+s.failed+s.skipped == 0 {
		s.failed++
		fmt.Println("FAIL  no test ran")
	}
	s.printSkips()
	fmt.Println(s.line())
	return s.failed == 0, readErr
}
