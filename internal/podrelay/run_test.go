//go:build linux

package podrelay_test

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"outrigger.dev/outrigger/internal/handoff"
)

func TestACommandSeesItsVolumeAndChangesIt(t *testing.T) {
	p := newPod(t)
	ws := p.at("workspace")
	c := p.container("main", view("v0", ws))
	c.plan.WorkDir = ws
	volume := c.mount("ws", ws)
	p.write(filepath.Join(volume, "in"), "hello\n")
	c.want("cat in; pwd; echo done > out; mkdir sub; echo x > sub/y", "hello\n"+ws+"\n")
	if got := p.read(filepath.Join(volume, "out")); got != "done\n" {
		t.Errorf("out is %q", got)
	}
	if got := p.read(filepath.Join(volume, "sub/y")); got != "x\n" {
		t.Errorf("sub/y is %q", got)
	}
}

func TestExitCodes(t *testing.T) {
	c := newPod(t).container("main")
	for script, want := range map[string]int{"exit 0": 0, "exit 7": 7, "exit 255": 255, "kill -KILL $$": 137, "kill -SEGV $$": 139} {
		if got := c.sh(script); got.code != want || got.errs != "" {
			t.Errorf("%s: %+v, want %d", script, got, want)
		}
	}
	if got := c.run("no-such-command"); got.code != 127 || !strings.HasPrefix(got.errs, "outrigger: ") {
		t.Errorf("no such command: %+v", got)
	}
	if got := c.run("/etc/passwd"); got.code != 126 || !strings.HasPrefix(got.errs, "outrigger: ") {
		t.Errorf("no command: %+v", got)
	}
}

func TestFilesComeBackAfterAFailure(t *testing.T) {
	p := newPod(t)
	ws := p.at("workspace")
	c := p.container("main", view("v0", ws))
	volume := c.mount("ws", ws)
	if got := c.sh("echo report > " + ws + "/report; exit 3"); got != (result{3, "", ""}) {
		t.Errorf("%+v", got)
	}
	if got := p.read(filepath.Join(volume, "report")); got != "report\n" {
		t.Errorf("report is %q", got)
	}
}

func TestAStepOnLinuxBetweenTwoOnTheMachine(t *testing.T) {
	p := newPod(t)
	ws := p.at("workspace")
	one, two := p.container("one", view("v0", ws)), p.container("two", view("v0", ws))
	one.plan.WorkDir, two.plan.WorkDir = ws, ws
	volume := one.mount("ws", ws)
	two.mount("ws", ws)
	p.write(filepath.Join(volume, "gone"), "x")
	p.write(filepath.Join(volume, "dir/gone"), "x")
	p.write(filepath.Join(volume, "changed"), "one")
	one.want("echo 1 > made; ln -s made link; chmod 700 changed; touch -d 2001-02-03 changed", "")
	// The step on Linux.
	p.must(os.RemoveAll(filepath.Join(volume, "dir")))
	p.must(os.Remove(filepath.Join(volume, "gone")))
	p.write(filepath.Join(volume, "made"), "2\n")
	p.write(filepath.Join(volume, "changed"), "two")
	two.want("ls; cat link changed; rm made; stat -c %a changed", "changed\nlink\nmade\n2\ntwo700\n")
	if _, err := os.Stat(filepath.Join(volume, "made")); !os.IsNotExist(err) {
		t.Errorf("made: %v, want it to be gone", err)
	}
}

func TestTheWorkingFolder(t *testing.T) {
	p := newPod(t)
	ws := p.at("workspace")
	t.Run("outside of all mounts it is made", func(t *testing.T) {
		c := p.container("outside")
		c.plan.WorkDir = p.at("some/where")
		c.want("pwd; ls -A", c.plan.WorkDir+"\n")
	})
	t.Run("one that the machine has is that", func(t *testing.T) {
		c := p.container("there")
		c.plan.WorkDir = "/usr/bin"
		c.want("pwd", "/usr/bin\n")
	})
	t.Run("in a mount it need not exist", func(t *testing.T) {
		c := p.container("inside", view("v0", ws))
		c.mount("ws", ws)
		c.plan.WorkDir = ws + "/a/b"
		c.want("pwd", ws+"/a/b\n")
	})
	t.Run("without one, where the relay is", func(t *testing.T) {
		c := p.container("here", view("v0", ws))
		volume := c.mount("ws", ws)
		p.must(os.MkdirAll(filepath.Join(volume, "sub"), 0o777))
		c.dir = ws + "/sub"
		c.want("pwd", ws+"/sub\n")
	})
	t.Run("without one, an empty folder", func(t *testing.T) {
		p.container("nowhere").want("ls -A", "")
	})
	t.Run("the root", func(t *testing.T) {
		c := p.container("root")
		c.plan.WorkDir = "/"
		c.want("pwd", "/\n")
	})
}

func TestTheEnvironmentIsWhatTheContainerDeclares(t *testing.T) {
	c := newPod(t).container("main")
	c.plan.Env = []string{"DECLARED", "LINES"}
	c.env = []string{"DECLARED=a b", "LINES=1\n2", "OTHER=x"}
	c.want(`echo "$DECLARED/$LINES/$OTHER/$OUTRIGGER_PLAN"; case $PATH in /container/*) echo path;; esac; case $HOME in /container/*) echo home;; esac`, "a b/1\n2//\n")
	c.env = append(c.env, "OUTRIGGER_FROM_OTHER=y", "OUTRIGGER_FROM_HOME=/home", "OUTRIGGER_FROM_OUTRIGGER_ROOT=r")
	c.want(`echo "$DECLARED/$OTHER/$HOME/$OUTRIGGER_PLAN/$OUTRIGGER_ROOT"; case $PATH in /container/*) echo path;; esac`, "a b/y//home//r\n")
}

func TestStdin(t *testing.T) {
	c := newPod(t).container("main")
	c.plan.Stdin = true
	content := strings.Repeat("0123456789abcdef", 1<<16)
	cmd := c.command("relay", "run", "--", "sha256sum")
	cmd.Stdin = strings.NewReader(content)
	want := fmt.Sprintf("%x  -\n", sha256.Sum256([]byte(content)))
	if got := c.finish(cmd); got != (result{0, want, ""}) {
		t.Errorf("%+v, want %s", got, want)
	}
	c.plan.Stdin = false
	cmd = c.command("relay", "run", "--", "cat")
	cmd.Stdin = strings.NewReader(content)
	if got := c.finish(cmd); got != (result{}) {
		t.Errorf("a container without stdin: %d bytes, %+v", len(got.out), got.errs)
	}
}

// counter counts and hashes what is written to it.
type counter struct {
	n   int64
	sum io.Writer
}

func (c *counter) Write(b []byte) (int, error) {
	c.n += int64(len(b))
	return c.sum.Write(b)
}

func TestALargeLogArrivesAsItWasWritten(t *testing.T) {
	c := newPod(t).container("main")
	const size = 100 << 20
	// openssl-free and quick: the same bytes can be had here.
	script := fmt.Sprintf("yes 'line of a log, \\r\\0 and so on' | head -c %d; echo the end >&2", size)
	cmd := c.command("relay", "run", "--", "/bin/sh", "-c", script)
	sum := sha256.New()
	out := &counter{sum: sum}
	cmd.Stdout = out
	got := c.finish(cmd)
	if got.code != 0 || got.errs != "the end\n" || out.n != size {
		t.Fatalf("%+v, %d bytes", got, out.n)
	}
	line := []byte("line of a log, \\r\\0 and so on\n")
	want := sha256.New()
	for left := size; left > 0; left -= len(line) {
		want.Write(line[:min(left, len(line))])
	}
	if string(sum.Sum(nil)) != string(want.Sum(nil)) {
		t.Error("the bytes differ")
	}
}

func TestWhatIsNeverCopied(t *testing.T) {
	p := newPod(t)
	token := "/var/run/secrets/kubernetes.io/serviceaccount"
	ws := p.at("workspace")
	c := p.container("main", view("v0", ws, token, "/tekton/run", "/tekton/bin"), handoff.View{ID: "v1", Mounts: []handoff.Mount{{Path: token}}, Up: true})
	c.mount("ws", ws)
	for name, path := range map[string]string{"token": token, "run": "/tekton/run/0", "bin": "/tekton/bin"} {
		p.write(filepath.Join(c.mount(name, path), "token"), "a secret of the Pod")
	}
	c.want("grep -rl 'a secret of the Pod' $HOME "+p.base+"; grep -rl 'PRIVATE KEY' $HOME; true", "")
}
