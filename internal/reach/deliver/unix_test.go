//go:build unix

package deliver

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/test/sshd"
)

func TestAgentIsPutInPlaceOnce(t *testing.T) {
	s := sshd.Start(t, sshd.Options{Lines: []string{"LogLevel VERBOSE"}})
	c := dial(t, s.Endpoint())
	src, digest := testSource(t)
	sessions := func() int { return strings.Count(s.Log(), "Starting session: command") }

	info, a, err := speak(t.Context(), c, src, "")
	if err != nil {
		t.Fatal(err)
	}
	root := s.Home + "/.outrigger"
	want := Agent{Path: root + "/agents/" + digest + "/outrigger-agent", Platform: here, Digest: digest, Root: root}
	if diff := cmp.Diff(want, a); diff != "" {
		t.Error(diff)
	}
	if info.Root != root || info.Platform != here {
		t.Errorf("the agent says %+v", info)
	}
	if n := sessions(); n != 3 {
		t.Errorf("%d sessions on a machine without the agent, want 3: look, put, start", n)
	}
	if _, _, err := speak(t.Context(), c, src, ""); err != nil {
		t.Fatal(err)
	}
	if n := sessions(); n != 4 {
		t.Errorf("%d sessions more on a machine that has the agent, want 1", n-3)
	}
	if diff := cmp.Diff([]string{digest}, list(t, filepath.Join(root, "agents"))); diff != "" {
		t.Errorf("agents folder: %s", diff)
	}
	out, exit, err := c.Output(t.Context(), a.Command("version", "--digest"), nil)
	if strings.TrimSpace(string(out)) != digest || exit != 0 || err != nil {
		t.Errorf("Command: %q, %d, %v; want the digest", out, exit, err)
	}
}

// Whoever used the login before may have put something of theirs in the agent's place: it is replaced, not executed.
func TestWhatIsNotTheAgentIsNotExecuted(t *testing.T) {
	s := sshd.Start(t, sshd.Options{})
	c := dial(t, s.Endpoint())
	src, digest := testSource(t)
	place := s.Home + "/.outrigger/agents/" + digest
	const trojan = `printf '#!/bin/sh\ntouch ~/was-here\nexec cat\n' >`
	for _, left := range []string{
		"mkdir -p " + place + " && " + trojan + place + "/outrigger-agent && chmod 755 " + place + "/outrigger-agent",
		"cp " + place + "/outrigger-agent ~/theirs; echo more >>~/theirs; ln -sf ~/theirs " + place + "/outrigger-agent",
		"rm -r " + place + " && mkdir -p " + place + "/outrigger-agent && " + trojan + place + "/outrigger-agent/outrigger-agent",
		"rm -r " + place + " && " + trojan + place + " && chmod 755 " + place,
		"mkdir -p ~/.outrigger && mv ~/.outrigger/agents ~/else && ln -s ~/else ~/.outrigger/agents && " + trojan + "~/else/" + digest + "/outrigger-agent",
	} {
		if out, exit, err := c.Output(t.Context(), left, nil); exit != 0 || err != nil {
			t.Fatalf("%s: %d %v %s", left, exit, err, out)
		}
		info, _, err := speak(t.Context(), c, src, "")
		if err != nil || info.Platform != here {
			t.Errorf("after %s: the agent says %+v, %v", left, info, err)
		}
		if out, _, err := c.Output(t.Context(), "ls", nil); err != nil || strings.Contains(string(out), "was-here") {
			t.Fatalf("after %s: what was left was executed: %s %v", left, out, err)
		}
	}
}

// A machine that cannot tell what lies in the agent's place gets the agent anew each time.
func TestMachineWithoutAProgramForDigests(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root makes another view of the file system")
	}
	const without = `for p in sha256sum shasum openssl; do
  for d in /usr/bin /bin /usr/local/bin; do [ ! -e $d/$p ] || mount --bind /dev/null $d/$p || exit 1; done
done
exec "$@"`
	s := sshd.Start(t, sshd.Options{Enter: []string{"unshare", "--mount", "--propagation", "private", "sh", "-c", without, "sh"}})
	c := dial(t, s.Endpoint())
	src, digest := testSource(t)
	if out, exit, err := c.Output(t.Context(), "sha256sum </dev/null", nil); exit == 0 || err != nil {
		t.Fatalf("there is one: %s %v", out, err)
	}
	for range 2 {
		if info, _, err := speak(t.Context(), c, src, ""); err != nil || info.Platform != here {
			t.Fatalf("the agent says %+v, %v", info, err)
		}
		place := s.Home + "/.outrigger/agents/" + digest + "/outrigger-agent"
		left := `rm -f ` + place + ` && printf '#!/bin/sh\ntouch ~/was-here\n' >` + place + ` && chmod 755 ` + place
		if out, exit, err := c.Output(t.Context(), left, nil); exit != 0 || err != nil {
			t.Fatalf("%s %v", out, err)
		}
	}
	if out, _, err := c.Output(t.Context(), "ls", nil); err != nil || strings.Contains(string(out), "was-here") {
		t.Errorf("what was left was executed: %s %v", out, err)
	}
}

func TestPutStartsNothing(t *testing.T) {
	s := sshd.Start(t, sshd.Options{})
	c := dial(t, s.Endpoint())
	src, digest := testSource(t)
	for range 2 {
		a, err := Put(t.Context(), c, src, "")
		if err != nil || a.Digest != digest {
			t.Fatalf("got %+v, %v", a, err)
		}
	}
}

func TestRootFolders(t *testing.T) {
	s := sshd.Start(t, sshd.Options{})
	c := dial(t, s.Endpoint())
	src, _ := testSource(t)
	odd := s.Dir(t) + `/it's "odd" $HOME`
	for root, want := range map[string]string{
		"~/mine": s.Home + "/mine",
		"mine/2": s.Home + "/mine/2",
		odd:      odd,
	} {
		info, a, err := speak(t.Context(), c, src, root)
		if err != nil || a.Root != want || info.Root != want {
			t.Errorf("root %q: got %q, the agent %q, %v; want %q", root, a.Root, info.Root, err, want)
		}
	}
}

// What a start-up file of the shell prints must not be taken for the agent.
func TestNoisyLogin(t *testing.T) {
	s := sshd.Start(t, sshd.Options{Lines: []string{`ForceCommand echo Welcome; printf '\001%0500d outrigger-agent' 7; eval "$SSH_ORIGINAL_COMMAND"`}})
	src, _ := testSource(t)
	if _, _, err := speak(t.Context(), dial(t, s.Endpoint()), src, ""); err != nil {
		t.Error(err)
	}
}

func TestLoginThatHangs(t *testing.T) {
	s := sshd.Start(t, sshd.Options{Lines: []string{"ForceCommand echo choose a host:; exec sleep 600"}})
	src, _ := testSource(t)
	c := dial(t, s.Endpoint())
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, _, err := speak(ctx, c, src, ""); !fault.Is(err, fault.Unreachable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want Unreachable with the deadline in it", err)
	}
}

func TestLoginShells(t *testing.T) {
	src, _ := testSource(t)
	for _, shell := range []string{"dash", "bash", "busybox sh", "zsh", "ksh", "tcsh", "fish"} {
		name, _, _ := strings.Cut(shell, " ")
		path, err := exec.LookPath(name)
		if err != nil {
			t.Logf("%s is not installed here", shell)
			continue
		}
		s := sshd.Start(t, sshd.Options{Lines: []string{`ForceCommand exec ` + path + strings.TrimPrefix(shell, name) + ` -c "$SSH_ORIGINAL_COMMAND"`}})
		if _, _, err := speak(t.Context(), dial(t, s.Endpoint()), src, "~/it's"); err != nil {
			t.Errorf("%s: %v", shell, err)
		}
	}
}

func TestManyClientsAtOnce(t *testing.T) {
	s := sshd.Start(t, sshd.Options{})
	src, digest := testSource(t)
	var wg sync.WaitGroup
	for range 6 {
		c := dial(t, s.Endpoint())
		wg.Go(func() {
			if _, _, err := speak(t.Context(), c, src, ""); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if diff := cmp.Diff([]string{digest}, list(t, filepath.Join(s.Home, ".outrigger", "agents"))); diff != "" {
		t.Errorf("agents folder: %s", diff)
	}
}

func TestOldAgentsGo(t *testing.T) {
	s := sshd.Start(t, sshd.Options{})
	c := dial(t, s.Endpoint())
	src, digest := testSource(t)
	agents := filepath.Join(s.Home, ".outrigger", "agents")
	age := func(path string, days int) {
		t.Helper()
		out, exit, err := c.Output(t.Context(), "mkdir -p "+filepath.Dir(path)+" && touch "+path, nil)
		if exit != 0 || err != nil {
			t.Fatalf("%s %v", out, err)
		}
		when := time.Now().AddDate(0, 0, -days)
		if err := os.Chtimes(path, when, when); err != nil {
			t.Fatal(err)
		}
	}
	age(agents+"/0000/used", 40)
	age(agents+"/1111/used", 20)
	age(agents+"/.new-1/outrigger-agent", 2)
	age(agents+"/.new-2/outrigger-agent", 2)
	when := time.Now().AddDate(0, 0, -2)
	if err := os.Chtimes(agents+"/.new-1", when, when); err != nil {
		t.Fatal(err)
	}
	if _, err := Put(t.Context(), c, src, ""); err != nil {
		t.Fatal(err)
	}
	want := []string{".new-2", "1111", digest}
	if digest < "1111" {
		want = []string{".new-2", digest, "1111"}
	}
	if diff := cmp.Diff(want, list(t, agents)); diff != "" {
		t.Errorf("agents folder: %s", diff)
	}
	// Using an agent keeps it.
	used := filepath.Join(agents, digest, "used")
	age(used, 29)
	if _, err := Put(t.Context(), c, src, ""); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(used); err != nil || time.Since(info.ModTime()) > time.Hour {
		t.Errorf("used is from %v, %v", info.ModTime(), err)
	}
}

// A machine may lack sha256sum, shasum and gzip.
func TestMachineWithFewTools(t *testing.T) {
	few := path(t, map[string]string{}, "uname", "mkdir", "cat", "chmod", "mv", "rm", "rmdir", "find", "df")
	s := sshd.Start(t, sshd.Options{Env: []string{"PATH=" + few}})
	src, _ := testSource(t)
	if _, _, err := speak(t.Context(), dial(t, s.Endpoint()), src, ""); err != nil {
		t.Error(err)
	}
}

func TestUnfitMachines(t *testing.T) {
	src, _ := testSource(t)
	garbage, _ := sourceOf(t, here, append([]byte("\x7fELF\x02\x01\x01"), bytes.Repeat([]byte{0}, 100)...))
	foreign, _ := sourceOf(t, machine.Platform{OS: "darwin", Arch: "arm64"}, []byte("x"))
	wrongSum, _ := testSource(t)
	sums := filepath.Join(wrongSum.dirs[0], "SHA256SUMS")
	if err := os.WriteFile(sums, []byte(strings.Repeat("ab", 32)+"  "+fileName(here)+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	locked := t.TempDir()
	riscv := "PATH=" + path(t, map[string]string{"uname": "echo Linux riscv64"}) + ":/usr/bin:/bin"
	for _, tt := range []struct {
		name   string
		env    string
		line   string
		src    Source
		root   string
		kind   fault.Kind
		says   string
		remedy string
	}{
		{"a processor without an agent", riscv, "", src, "", fault.AgentUnfit, `no agent runs on "Linux riscv64"`, "documentation"},
		{"a platform whose agent was not built", "", "", foreign, "", fault.LocalFile, "no agent for " + here.String() + " among those built: darwin/arm64", "make build"},
		{"no agents built at all", "", "", Dirs(t.TempDir()), "", fault.LocalFile, "none in ", "make build"},
		{"an agent that is not what is on record", "", "", wrongSum, "", fault.LocalFile, "is on record", "make build"},
		{"an agent that is no program", "", "", garbage, "", fault.AgentUnfit, "cannot execute", "root folder"},
		{"a folder that is somebody else's", "", "", src, locked + "/x", fault.AgentUnfit, "Permission denied", "root folder"},
		{"no shell", "", "ForceCommand echo no shell for you; exit 1", src, "", fault.AgentUnfit, "no shell for you", "runs the command"},
		{"a login that never stops talking", "", "ForceCommand yes", src, "", fault.AgentUnfit, "prints something else", "runs the command"},
		{"a file transfer account", "", "ForceCommand internal-sftp", src, "", fault.AgentUnfit, "", "SFTP alone"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := sshd.Options{}
			if tt.env != "" {
				o.Env = []string{tt.env}
			}
			if tt.line != "" {
				o.Lines = []string{tt.line}
			}
			s := sshd.Start(t, o)
			_, _, err := speak(t.Context(), dial(t, s.Endpoint()), tt.src, tt.root)
			if !fault.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.says) || !strings.Contains(fault.Remedy(err), tt.remedy) {
				t.Errorf("want %s with %q and the remedy %q, got %s: %v\n%s", tt.kind, tt.says, tt.remedy, fault.Of(err), err, fault.Remedy(err))
			}
			if left := list(t, filepath.Join(s.Home, ".outrigger", "agents")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestFullOrForbiddingFileSystem(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a file system")
	}
	src, _ := testSource(t)
	for _, tt := range []struct {
		name, options string
		kind          fault.Kind
		says          string
	}{
		{"full", "size=1m,mode=777", fault.DiskFull, "No space left"},
		{"noexec", "noexec,mode=777", fault.AgentUnfit, "cannot execute"},
		{"read-only", "ro", fault.AgentUnfit, "Read-only"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := sshd.Start(t, sshd.Options{})
			root := s.Dir(t)
			if out, err := exec.Command("mount", "-t", "tmpfs", "-o", tt.options, "tmpfs", root).CombinedOutput(); err != nil {
				t.Skipf("mount: %v: %s", err, out)
			}
			t.Cleanup(func() {
				await(t, "the file system is unmounted", func() bool { return exec.Command("umount", root).Run() == nil })
			})
			c := dial(t, s.Endpoint())
			_, _, err := speak(t.Context(), c, src, root)
			if !fault.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("want %s with %q, got %s: %v", tt.kind, tt.says, fault.Of(err), err)
			}
			if left := list(t, filepath.Join(root, "agents")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			c.Close()
		})
	}
}

// list returns the names in dir, none if it does not exist.
func list(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// path makes a folder with these scripts and links to these commands.
func path(t *testing.T, scripts map[string]string, commands ...string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "outrigger-path-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, script := range scripts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range commands {
		real, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(real, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
