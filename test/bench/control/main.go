//go:build linux

// Command control measures the controller: its memory and processor time with many
// machines and a long queue, and how long a claim then takes to get a machine that is free.
//
//	go run ./test/bench/control [-machines 1000] [-queued 5000]
//
// The API server and its store are real, the controller is a process of its own, the
// provider is test/cloud: files, which answer at once.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"outrigger.dev/outrigger/internal/control/manager"
	"outrigger.dev/outrigger/test/apiserver"
	"outrigger.dev/outrigger/test/cloud"
)

var (
	machines = flag.Int("machines", 1000, "machines, of which a tenth is warm and the rest in use")
	queued   = flag.Int("queued", 5000, "claims that wait all the time")
	samples  = flag.Int("samples", 300, "claims that are measured")
	steady   = flag.Duration("steady", 30*time.Second, "how long a controller at rest is looked at")
	verbose  = flag.Bool("v", false, "show the controller's log")
)

const controllerVariable = "OUTRIGGER_BENCH_CONTROLLER"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if text := os.Getenv(controllerVariable); text != "" {
		err = control(ctx, text)
	} else {
		flag.Parse()
		err = measure(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1) //nolint:gocritic // what stop would undo ends with the process
	}
}

// A setup is what the controller's process is given.
type setup struct{ Kubeconfig, Cloud string }

// control is the controller's process: the product's manager with its defaults.
func control(ctx context.Context, text string) error {
	var s setup
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", s.Kubeconfig)
	if err != nil {
		return err
	}
	klog.SetLogger(logr.Discard())
	ctrl.SetLogger(logr.Discard())
	mgr, err := manager.New(ctx, config, manager.Options{
		Namespace: "default", MetricsAddress: "0", ProbeAddress: "0",
		Places:  cloud.Places{Cloud: &cloud.Cloud{Dir: s.Cloud}},
		Readier: &cloud.Readier{},
		Log:     slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		return err
	}
	return mgr.Start(ctx)
}

// measure does everything and prints the table.
func measure(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "outrigger-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	server, err := apiserver.New(ctx, dir)
	if err != nil {
		return err
	}
	defer server.Close()
	b, err := newBench(ctx, server, dir)
	if err != nil {
		return err
	}
	controller, err := b.startController(ctx)
	if err != nil {
		return err
	}
	defer func() {
		_ = controller.Process.Kill() // it has nothing to lose
		_ = controller.Wait()
	}()
	return b.run(ctx, controller.Process.Pid)
}

func (b *bench) startController(ctx context.Context) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(setup{b.server.Kubeconfig(), b.cloud.Dir})
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), controllerVariable+"="+string(text))
	if *verbose {
		cmd.Stderr = os.Stderr
	}
	return cmd, cmd.Start()
}
