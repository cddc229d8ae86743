//go:build linux

package controlchaos

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"outrigger.dev/outrigger/internal/control/manager"
	"outrigger.dev/outrigger/internal/control/pools"
	"outrigger.dev/outrigger/test/cloud"
)

var kills = flag.Int("kills", 15, "how often the controller is killed")

// controllerVariable makes this binary a controller: it holds a [setup].
const controllerVariable = "OUTRIGGER_CHAOS_CONTROLLER"

// A setup is what a controller's process is given.
type setup struct {
	Kubeconfig string
	Cloud      string
	Faults     cloud.Faults
	Elect      bool
}

func TestMain(m *testing.M) {
	if text := os.Getenv(controllerVariable); text != "" {
		if err := control(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// control is the process of a controller: the product's manager with the cloud of files.
func control(text string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var s setup
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", s.Kubeconfig)
	if err != nil {
		return err
	}
	c := &cloud.Cloud{Dir: s.Cloud, Faults: s.Faults}
	mgr, err := manager.New(ctx, config, manager.Options{
		Namespace: "default", MetricsAddress: "0", ProbeAddress: "0",
		LeaderElect: s.Elect, Lease: manager.Lease{Duration: 2 * time.Second, Renew: 1500 * time.Millisecond, Retry: 300 * time.Millisecond},
		Places:  cloud.Places{Cloud: c},
		Readier: &cloud.Readier{Takes: 20 * time.Millisecond, Fails: s.Faults.Fail},
		Times: pools.Times{
			Check: 500 * time.Millisecond, Survey: 300 * time.Millisecond, Grace: time.Second,
			Backoff: 20 * time.Millisecond, BackoffMost: 200 * time.Millisecond, Call: 2 * time.Second, Herald: 100 * time.Millisecond,
			Toleration: time.Second, LoneToleration: 3 * time.Second,
		},
		Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		return err
	}
	go func() {
		select {
		case <-mgr.Elected():
			fmt.Println("elected")
		case <-ctx.Done():
		}
	}()
	return mgr.Start(ctx)
}

// A controller is a process of control.
type controller struct {
	cmd     *exec.Cmd
	elected chan struct{} // closed when it leads
	done    chan struct{}
}

// start starts a controller, which the test's end kills.
func start(t *testing.T, s setup) *controller {
	t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.OpenFile(filepath.Join(s.Cloud, "controller.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	c := &controller{cmd: exec.Command(os.Args[0]), elected: make(chan struct{}), done: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), controllerVariable+"="+string(text))
	c.cmd.Stderr = log
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		if lines := bufio.NewScanner(out); lines.Scan() {
			close(c.elected)
		}
		_, _ = io.Copy(io.Discard, out)
		_ = c.cmd.Wait() // killed, as a rule
		log.Close()
		close(c.done)
	}()
	t.Cleanup(c.kill)
	return c
}

func (c *controller) kill() {
	_ = c.cmd.Process.Kill() // that it has ended is as well
	<-c.done
}

func (c *controller) leads() bool {
	select {
	case <-c.elected:
		return true
	default:
		return false
	}
}

func (c *controller) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}
