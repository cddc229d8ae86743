package qemu_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider/qemu"
	"outrigger.dev/outrigger/internal/provider/qemu/guest"
	"outrigger.dev/outrigger/internal/provider/qemu/qemutest"
)

// await polls for a fact.
func await(t *testing.T, what string, fact func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !fact() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("never: %s", what)
		}
	}
}

func stateOf(t *testing.T, p *qemu.Provider, name machine.Name) machine.State {
	t.Helper()
	m, err := p.Get(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return m.State
}

// kill sends SIGKILL to the QEMU of a machine.
func kill(t *testing.T, state string, name machine.Name) {
	t.Helper()
	for _, line := range processes(t, filepath.Join(state, "qemu", "machines", string(name))) {
		pid, _, _ := strings.Cut(line, ":")
		n, err := strconv.Atoi(pid)
		if err != nil {
			t.Fatal(err)
		}
		p, err := os.FindProcess(n)
		if err == nil {
			err = p.Kill()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestHowMachinesEnd(t *testing.T) {
	state := qemutest.State(t)
	p := qemutest.Open(t, state, qemu.Config{})
	for _, tt := range []struct {
		name string
		end  func(t *testing.T, m machine.Machine)
		want machine.State
	}{
		{"its process is killed", func(t *testing.T, m machine.Machine) {
			t.Helper()
			kill(t, state, m.Name)
		}, machine.Failed},
		{"its guest powers off", func(t *testing.T, m machine.Machine) {
			t.Helper()
			lastWill(t, m, "o")
		}, machine.Stopped},
		{"its kernel panics", func(t *testing.T, m machine.Machine) {
			t.Helper()
			lastWill(t, m, "c")
		}, machine.Stopped},
		{"its first process is asked to leave", func(t *testing.T, m machine.Machine) {
			t.Helper()
			sh(t, dial(t, m), "kill -TERM 1; kill -KILL 1; true")
		}, machine.Running},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := create(t, p, machine.Spec{})
			tt.end(t, m)
			await(t, fmt.Sprintf("the machine is %s", tt.want), func() bool { return stateOf(t, p, m.Name) == tt.want })
			if strings.Contains(tt.name, "panics") {
				tail, err := p.ConsoleTail(t.Context(), m.Name, 4000)
				if err != nil || !strings.Contains(tail, "Kernel panic") {
					t.Errorf("console: %q, %v, want the panic", tail, err)
				}
			}
			// The name is the machine's until it is deleted.
			again, err := p.Create(t.Context(), machine.Spec{Name: m.Name, Owner: me})
			if err != nil || again.State != tt.want {
				t.Errorf("create of its name: %s, %v, want what is there: %s", again.State, err, tt.want)
			}
			if err := p.Delete(t.Context(), m.Name); err != nil {
				t.Error(err)
			}
			if l := left(t, state); len(l) > 0 {
				t.Errorf("left over: %q", l)
			}
		})
	}
}

// TestNeverBoots: a guest that never comes up ends with what it said, and with
// nothing left running.
func TestNeverBoots(t *testing.T) {
	for _, tt := range []struct {
		name  string
		init  string
		limit time.Duration
		want  []string // in the text and detail of the fault
	}{
		{"its init ends", "#!/missing\n", 2 * time.Minute, []string{"the guest ended itself", "Kernel panic"}},
		{"its kernel is none", "", 2 * time.Minute, []string{"and printed nothing"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			state := qemutest.State(t)
			spoil(t, state, tt.init)
			p := qemutest.Open(t, state, qemu.Config{BootTimeout: tt.limit, Snapshot: qemu.SnapshotNever})
			name := machine.NewName("t")
			_, err := p.Create(t.Context(), machine.Spec{Name: name, Owner: me})
			if !fault.Is(err, fault.BootTimeout) {
				t.Fatalf("%v, want BootTimeout", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(detailed(err), want) {
					t.Errorf("the fault says %q, want %q in it", detailed(err), want)
				}
			}
			if running := processes(t, state); len(running) > 0 {
				t.Errorf("still running: %q", running)
			}
			if got := stateOf(t, p, name); got != machine.Creating {
				t.Errorf("the machine is %s, want Creating: the next Create tries again", got)
			}
			if err := p.Delete(t.Context(), name); err != nil {
				t.Error(err)
			}
		})
	}
}

// spoil replaces what the image boots.
func spoil(t *testing.T, state, init string) {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(state, "qemu", "images", "debian-*"))
	if err != nil || len(dirs) != 1 {
		t.Fatalf("image folders: %q, %v", dirs, err)
	}
	replace := func(name string, write func(*os.File) error) {
		// The old file is shared with other tests.
		path := filepath.Join(dirs[0], name)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(write(f), f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if init == "" {
		// An endless loop where a BIOS would start it: QEMU refuses what is no kernel at all.
		replace("kernel", func(f *os.File) error { _, err := f.Write(loopingKernel()); return err })
		return
	}
	replace("initrd", func(f *os.File) error {
		return guest.WriteInitrd(f, []guest.InitFile{{Path: "init", Mode: 0o755, Content: []byte(init)}})
	})
}

// loopingKernel is a Multiboot image of one instruction: jump to itself.
func loopingKernel() []byte {
	const magic, flags, address = 0x1badb002, 1 << 16, 0x100000
	sum := uint32(magic + flags)
	words := []uint32{magic, flags, -sum, address, address, address + 0x1000, address + 0x1000, address + 32}
	b := make([]byte, 0x1000)
	for i, w := range words {
		for j := range 4 {
			b[i*4+j] = byte(w >> (8 * j))
		}
	}
	copy(b[32:], []byte{0xeb, 0xfe})
	return b
}

// TestResumeFails: a saved guest that cannot be used costs time, no machine.
func TestResumeFails(t *testing.T) {
	state := qemutest.State(t)
	p := qemutest.Open(t, state, qemu.Config{})
	saved, err := filepath.Glob(filepath.Join(state, "qemu", "snapshots", "*", "state"))
	if err != nil || len(saved) == 0 {
		t.Fatalf("no saved guest: %v", err)
	}
	for _, file := range saved {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, b[:len(b)/2], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // the second does not try again
		m := create(t, p, machine.Spec{})
		if got := sh(t, dial(t, m), "hostname"); got != string(m.Name) {
			t.Errorf("%s calls itself %s", m.Name, got)
		}
	}
}

// crashEnv makes the test binary a client that is killed.
const crashEnv = "OUTRIGGER_TEST_CREATE"

// TestClientIsKilled kills a client at many moments while it makes its machine,
// with and without the work of saving a guest first. A second client of the
// same name gets the machine; without one, Delete and List leave nothing.
func TestClientIsKilled(t *testing.T) {
	if spec, ok := os.LookupEnv(crashEnv); ok {
		state, name, _ := strings.Cut(spec, "|")
		_, err := qemutest.Open(t, state, qemu.Config{}).Create(t.Context(), machine.Spec{Name: machine.Name(name), Owner: me})
		t.Fatalf("lived until the end: %v", err)
	}
	state := qemutest.State(t)
	for i, ms := range []int{20, 80, 150, 250, 400, 700, 1200, 2500, 4000} {
		after := time.Duration(ms) * time.Millisecond
		t.Run(after.String(), func(t *testing.T) {
			if i%3 == 0 {
				if err := os.RemoveAll(filepath.Join(state, "qemu", "snapshots")); err != nil {
					t.Fatal(err)
				}
			}
			p := qemutest.Open(t, state, qemu.Config{})
			name := machine.NewName("t")
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestClientIsKilled$")
			cmd.Env = append(os.Environ(), crashEnv+"="+state+"|"+string(name))
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			// Where in its work it dies is left to chance on purpose.
			timer := time.AfterFunc(after, func() { cmd.Process.Kill() })
			defer timer.Stop()
			_ = cmd.Wait() // it was killed, or made the machine and failed on purpose

			if i%2 == 0 {
				m := create(t, p, machine.Spec{Name: name})
				if got := sh(t, dial(t, m), "hostname"); got != string(name) {
					t.Errorf("%s calls itself %s", name, got)
				}
			}
			if err := p.Delete(t.Context(), name); err != nil {
				t.Fatal(err)
			}
			machines, err := p.List(t.Context(), "")
			if err != nil || len(machines) > 0 {
				t.Errorf("machines left: %v, %v", machines, err)
			}
			if l := left(t, state); len(l) > 0 {
				t.Errorf("left over: %q", l)
			}
		})
	}
}

// TestClientIsKilledWhileSaving: the machine goes on, whether or not there is
// an image, and can be saved again.
func TestClientIsKilledWhileSaving(t *testing.T) {
	if spec, ok := os.LookupEnv(crashEnv); ok {
		f := strings.Split(spec, "|")
		_, err := qemutest.Open(t, f[0], qemu.Config{}).SaveImage(t.Context(), machine.Name(f[1]), f[2])
		t.Fatalf("lived until the end: %v", err)
	}
	state := qemutest.State(t)
	p := qemutest.Open(t, state, qemu.Config{})
	m := create(t, p, machine.Spec{})
	c := dial(t, m)
	for i, ms := range []int{100, 300, 500, 800, 1200, 2000} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestClientIsKilledWhileSaving$")
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s|%s|killed-%d", crashEnv, state, m.Name, i))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// Where in its work it dies is left to chance on purpose.
		timer := time.AfterFunc(time.Duration(ms)*time.Millisecond, func() { cmd.Process.Kill() })
		_ = cmd.Wait() // it was killed, or saved the machine and failed on purpose
		timer.Stop()
		sh(t, c, fmt.Sprintf("echo %d >> /root/log && sync", i))
	}
	if _, err := p.SaveImage(t.Context(), m.Name, "last"); err != nil {
		t.Fatal(detailed(err))
	}
	checkDisks(t, state)
	second := create(t, p, machine.Spec{Image: "last"})
	if got := sh(t, dial(t, second), "tr '\\n' ' ' < /root/log"); got != "0 1 2 3 4 5" {
		t.Errorf("the log in the image is %q", got)
	}
}

// TestDeleteWhileMade: it is as if the deletion had come first. The machine that
// was being made is gone, and the client that made it gets a new one.
func TestDeleteWhileMade(t *testing.T) {
	state := qemutest.State(t)
	p := qemutest.Open(t, state, qemu.Config{Snapshot: qemu.SnapshotNever})
	name := machine.NewName("t")
	made := make(chan error)
	go func() {
		_, err := p.Create(t.Context(), machine.Spec{Name: name, Owner: me})
		made <- err
	}()
	var first []string
	await(t, "a guest", func() bool {
		first = slices.DeleteFunc(processes(t, state), func(line string) bool { return !strings.Contains(line, "qemu-system") })
		return len(first) > 0
	})
	if err := qemutest.Open(t, state, qemu.Config{}).Delete(t.Context(), name); err != nil {
		t.Error(err)
	}
	if err := <-made; err != nil {
		t.Error(err)
	}
	if now := processes(t, state); len(now) != 1 || now[0] == first[0] {
		t.Errorf("running: %q, want one machine that is not %q", now, first)
	}
	if err := p.Delete(t.Context(), name); err != nil {
		t.Error(err)
	}
	if l := left(t, state); len(l) > 0 {
		t.Errorf("left over: %q", l)
	}
}

// TestCancelled: a client that gives up leaves a machine that can be deleted, and no process.
func TestCancelled(t *testing.T) {
	state := qemutest.State(t)
	p := qemutest.Open(t, state, qemu.Config{Snapshot: qemu.SnapshotNever})
	name := machine.NewName("t")
	ctx, cancel := context.WithCancel(t.Context())
	made := make(chan error)
	go func() {
		_, err := p.Create(ctx, machine.Spec{Name: name, Owner: me})
		made <- err
	}()
	await(t, "a process", func() bool { return len(processes(t, state)) > 0 })
	cancel()
	if err := <-made; !errors.Is(err, context.Canceled) {
		t.Errorf("create: %v, want that it was cancelled", err)
	}
	if running := processes(t, state); len(running) > 0 {
		t.Errorf("still running: %q", running)
	}
	if err := p.Delete(t.Context(), name); err != nil {
		t.Error(err)
	}
	if l := left(t, state); len(l) > 0 {
		t.Errorf("left over: %q", l)
	}
}

// lastWill has the guest's kernel do what ends it (see sysrq in the kernel's
// documentation). Whether the guest still answers is up to who is faster, so
// nobody waits for an answer.
func lastWill(t *testing.T, m machine.Machine, key string) {
	t.Helper()
	c := dial(t, m)
	if _, err := c.Stream(t.Context(), "sync; sleep 0.3; echo "+key+" > /proc/sysrq-trigger"); err != nil {
		t.Fatal(err)
	}
}
