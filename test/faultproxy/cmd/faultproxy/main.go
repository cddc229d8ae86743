// Faultproxy puts a bad network between a client and a server.
//
//	faultproxy -target 127.0.0.1:22 -listen 127.0.0.1:2222 -delay 20ms -mbit 100
//	faultproxy -target 127.0.0.1:22 -listen 127.0.0.1:2222 -seed 7 -every 1000000 -kinds cut,vanish
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"outrigger.dev/outrigger/test/faultproxy"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "faultproxy:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	var cfg faultproxy.Config
	var mbit float64
	var kinds string
	fs := flag.NewFlagSet("faultproxy", flag.ContinueOnError)
	fs.StringVar(&cfg.Target, "target", "", "`host:port` of the server")
	fs.StringVar(&cfg.Listen, "listen", "", "`host:port` to listen on (default a free port of 127.0.0.1)")
	fs.DurationVar(&cfg.Link.Delay, "delay", 0, "latency one way")
	fs.Float64Var(&mbit, "mbit", 0, "bandwidth each way in Mbit/s, 0 for no limit")
	fs.Uint64Var(&cfg.Plan.Seed, "seed", 1, "seed of the faults")
	fs.Int64Var(&cfg.Plan.Every, "every", 0, "mean `bytes` between two faults, 0 for none")
	fs.StringVar(&kinds, "kinds", "cut", "faults to draw from: cut, finish, vanish, pause")
	fs.DurationVar(&cfg.Plan.Pause, "pause", time.Second, "how long a pause lasts")
	fs.IntVar(&cfg.Plan.Max, "max", 0, "faults in all, 0 for no limit")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if cfg.Target == "" {
		return fmt.Errorf("no -target: want host:port")
	}
	cfg.Link.BytesPerSec = int64(mbit * 1e6 / 8)
	for k := range strings.SplitSeq(kinds, ",") {
		switch kind := faultproxy.Kind(k); kind {
		case faultproxy.Cut, faultproxy.Finish, faultproxy.Vanish, faultproxy.Pause:
			cfg.Plan.Kinds = append(cfg.Plan.Kinds, kind)
		default:
			return fmt.Errorf("-kinds: %q: want cut, finish, vanish or pause", k)
		}
	}
	cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	p, err := faultproxy.Start(cfg)
	if err != nil {
		return err
	}
	fmt.Println(p.Addr())
	<-ctx.Done()
	return p.Close()
}
