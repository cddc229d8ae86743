// Bench compares Outrigger with the tools that people use instead, side by side in
// one run: a folder copied to a machine for the first time, again with nothing
// changed, with one file in a hundred changed, and a build's output copied back;
// over loopback and over a round trip of 40 ms. It prints Markdown tables.
//
// Every tool talks to the same OpenSSH server of its own, started here, and
// writes to a file system in memory, so that disks are not what is measured.
//
//	make bench                     a tenth of each data set, a few minutes
//	make bench FULL=1              the whole of them, most of an hour
//	make bench BENCHFLAGS='-sets A -rtt 0'
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// options are the flags.
type options struct {
	bin   string
	dir   string
	sets  string
	tools string
	scale float64
	full  bool
	rtt   time.Duration
	mbit  float64
	n     int
	limit time.Duration
	keep  bool
}

func main() {
	var o options
	flag.StringVar(&o.bin, "bin", "bin", "`folder` with outrigger and its agents")
	flag.StringVar(&o.dir, "dir", "/dev/shm", "`folder` for all data, in memory")
	flag.StringVar(&o.sets, "sets", "A,B,C", "data sets: A many files as in an app, B more and smaller ones, C few large ones")
	flag.StringVar(&o.tools, "tools", "outrigger,rsync,tar,scp", "tools to compare; the first is what the others are compared with")
	flag.Float64Var(&o.scale, "scale", 0.1, "size of the data sets, 1 is all of them")
	flag.BoolVar(&o.full, "full", false, "the same as -scale 1")
	flag.DurationVar(&o.rtt, "rtt", 40*time.Millisecond, "round trip of the long line; 0 leaves it out")
	flag.Float64Var(&o.mbit, "mbit", 500, "bandwidth of the long line in Mbit/s, 0 for no limit")
	flag.IntVar(&o.n, "n", 3, "repetitions; medians are shown")
	flag.DurationVar(&o.limit, "limit", 2*time.Minute, "how long one copy may take before it is given up")
	flag.BoolVar(&o.keep, "keep", false, "leave the data where it is")
	flag.Parse()
	if o.full {
		o.scale = 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	bin, err := filepath.Abs(o.bin)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(o.dir, "outrigger-bench-")
	if err != nil {
		return err
	}
	if !o.keep {
		defer os.RemoveAll(dir)
	}
	b := &bench{options: o, dir: dir, bin: bin}
	lines, stop, err := b.open(ctx)
	if err != nil {
		return err
	}
	defer stop()

	fmt.Print(b.header())
	for _, line := range lines {
		rows, err := b.startup(ctx, line)
		if err != nil {
			return err
		}
		fmt.Print(startupTable(line, rows))
	}
	for set := range strings.SplitSeq(o.sets, ",") {
		for _, line := range lines {
			rows, size, err := b.sync(ctx, set, line)
			if err != nil {
				return err
			}
			fmt.Print(syncTable(set, size, line, rows))
		}
	}
	return nil
}
