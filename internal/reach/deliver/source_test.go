package deliver

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
)

func TestFirstFolderThatHoldsAgentsCounts(t *testing.T) {
	linux := machine.Platform{OS: "linux", Arch: "amd64"}
	one, first := sourceOf(t, linux, []byte("one"))
	two, _ := sourceOf(t, linux, []byte("two"))
	got, err := Dirs(t.TempDir(), filepath.Join(t.TempDir(), "absent"), one.dirs[0], two.dirs[0]).builds()
	if err != nil || len(got) != 1 || got[0].digest != first || got[0].platform != linux {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestFindSource(t *testing.T) {
	src, err := FindSource(func(name string) string {
		if name == "OUTRIGGER_AGENTS" {
			return "/opt/agents"
		}
		return ""
	})
	if err != nil || len(src.dirs) != 1 || src.dirs[0] != "/opt/agents" {
		t.Errorf("with OUTRIGGER_AGENTS: %v, %v", src.dirs, err)
	}
	src, err = FindSource(func(string) string { return "" })
	exe, exeErr := os.Executable()
	if err != nil || exeErr != nil || src.dirs[0] != filepath.Join(filepath.Dir(exe), "agents") || !strings.HasSuffix(src.dirs[1], filepath.Join("libexec", "outrigger", "agents")) {
		t.Errorf("beside %s: %v, %v", exe, src.dirs, err)
	}
	if _, err := (Source{}).builds(); err == nil {
		t.Error("agents from nowhere")
	}
}

func TestRecordedDigests(t *testing.T) {
	windows := machine.Platform{OS: "windows", Arch: "arm64"}
	src, digest := sourceOf(t, windows, []byte("agent"))
	dir := src.dirs[0]
	recorded := strings.Repeat("ab", 32)
	sums := filepath.Join(dir, "SHA256SUMS")
	if err := os.WriteFile(sums, []byte("# made by hand\n"+recorded+" *outrigger-agent-windows-arm64.exe\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	at := func(age time.Duration) string {
		t.Helper()
		when := time.Now().Add(-age)
		if err := os.Chtimes(sums, when, when); err != nil {
			t.Fatal(err)
		}
		got, err := Dirs(dir).builds()
		if err != nil || len(got) != 1 {
			t.Fatalf("%v, %v", got, err)
		}
		return got[0].digest
	}
	if got := at(-time.Hour); got != recorded {
		t.Errorf("a record that is newer than the agent: digest %s, want what it says", got)
	}
	if got := at(time.Hour); got != digest {
		t.Errorf("a record that is older than the agent: digest %s, want the content's", got)
	}
	// What is on record and wrong must never leave this computer.
	if err := os.Chtimes(sums, time.Now().Add(time.Hour), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	got, err := Dirs(dir).builds()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := got[0].load(); !fault.Is(err, fault.LocalFile) || !strings.Contains(fault.Remedy(err), "make build") {
		t.Errorf("load: %v", err)
	}
}
