//go:build unix

// Package chaos breaks the engine at random and looks at what is left: the
// connection at random bytes, the client, the agent and the machine at random
// moments. Each case is drawn from a seed that its name tells, so a failure can be
// had again with -run.
package chaos

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"outrigger.dev/outrigger/test/program"
	"outrigger.dev/outrigger/test/sshd"
)

var bin string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	flag.Parse()
	// The cases mostly wait, for a connection to come back.
	if err := flag.Set("test.parallel", "6"); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		return 1
	}
	var err error
	if bin, err = os.MkdirTemp("", "outrigger-bin-"); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		return 1
	}
	defer os.RemoveAll(bin)
	if err := os.Chmod(bin, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		return 1
	}
	if err := program.Build(context.Background(), bin); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		return 1
	}
	return m.Run()
}

// A place is one user's home here, with a project in it.
type place struct {
	home, project string
}

func newPlace(t *testing.T) *place {
	t.Helper()
	p := &place{home: t.TempDir()}
	p.project = filepath.Join(p.home, "project")
	if err := os.Mkdir(p.project, 0o755); err != nil {
		t.Fatal(err)
	}
	return p
}

// command is outrigger with these arguments in the project's folder.
func (p *place) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "outrigger"), args...)
	cmd.Dir = p.project
	cmd.Env = append(os.Environ(), "HOME="+p.home, "XDG_STATE_HOME=", "XDG_CONFIG_HOME=", "OUTRIGGER_STATE_DIR=", "OUTRIGGER_CONFIG=")
	return cmd
}

// hostConfig is a configuration with one host behind port.
func hostConfig(t *testing.T, srv *sshd.Server, port, slots int) string {
	t.Helper()
	return fmt.Sprintf(`
default: host
run: {absence: 1m}
providers:
  host:
    ssh:
      hosts:
        - {name: host, address: 127.0.0.1, port: %d, user: %s, slots: %d, keyFiles: [%q], hostKeys: [%q]}
`, port, srv.User, slots, srv.Clients[0].File(t, t.TempDir(), ""), srv.HostKeys[0].Line())
}

func (p *place) writeConfig(t *testing.T, text string) {
	t.Helper()
	dir := filepath.Join(p.home, ".config", "outrigger")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// fill puts random files into the project and returns them.
func (p *place) fill(t *testing.T, rnd *rand.Rand) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for i := range 20 + rnd.IntN(60) {
		name := fmt.Sprintf("d%d/f%d", rnd.IntN(6), i)
		files[name] = content(rnd, rnd.IntN(40<<10))
	}
	files["big"] = content(rnd, 1<<20)
	for name, b := range files {
		path := filepath.Join(p.project, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func content(rnd *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return b
}

// tree reads the project back.
func (p *place) tree(t *testing.T) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	err := filepath.WalkDir(p.project, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(p.project, path)
		if err != nil {
			return err
		}
		files[rel], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func sameTree(t *testing.T, want, got map[string][]byte) {
	t.Helper()
	for name, b := range want {
		if g, ok := got[name]; !ok {
			t.Errorf("%s is missing", name)
		} else if !bytes.Equal(b, g) {
			t.Errorf("%s: %d bytes that differ from the %d wanted", name, len(g), len(b))
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s should not be there", name)
		}
	}
}

// left lists what either side remembers of a run.
func (p *place) left(t *testing.T, farHome string) (all []string) {
	t.Helper()
	for _, pattern := range []string{
		filepath.Join(p.home, ".local/state/outrigger/ledger/*"),
		filepath.Join(p.home, ".local/state/outrigger/runs/*"),
		filepath.Join(p.home, ".local/state/outrigger/workspaces/*"),
		filepath.Join(p.home, ".local/state/outrigger/local/*"),
		filepath.Join(p.home, ".local/state/outrigger/qemu/machines/*"),
		filepath.Join(farHome, ".outrigger/leases/[^.]*"),
	} {
		left, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, left...)
	}
	return all
}
