//go:build unix

package deliver

import (
	"os"
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

// The command must mean the same to cmd.exe and to PowerShell. That it does
// what it should was seen under Wine's cmd; here its form is held.
func TestWindowsCommand(t *testing.T) {
	builds := []build{
		{platform: machine.Platform{OS: "windows", Arch: "amd64"}, digest: "aa"},
		{platform: machine.Platform{OS: "windows", Arch: "arm64"}, digest: "bb"},
		{platform: machine.Platform{OS: "linux", Arch: "amd64"}, digest: "cc"},
	}
	got, err := windows{}.start(builds, `C:/og`, "n0nce", "serve")
	if err != nil {
		t.Fatal(err)
	}
	say := func(what string) string {
		return `echo outrigger-agent n0nce ` + what + ` - ;Windows %PROCESSOR_ARCHITECTURE%;C:\og`
	}
	branch := func(digest string) string {
		dir := `C:\og\agents\` + digest
		exe := dir + `\outrigger-agent.exe`
		return `if exist ` + exe + ` (type nul>` + dir + `\used& ` + say("here") + `& ` + exe + ` serve --root C:\og) else (` + say("absent") + `)`
	}
	want := `cmd /c "if %PROCESSOR_ARCHITECTURE%==ARM64 (` + branch("bb") + `) else (` + branch("aa") + `)"`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, inner, _ := strings.Cut(got, `"`); strings.Count(inner, `"`) != 1 || strings.ContainsAny(inner, "$`'") {
		t.Errorf("quotes or dollars inside, which the two shells read in two ways: %s", got)
	}
}

func TestWindowsRoot(t *testing.T) {
	for root, want := range map[string]string{
		"": ".outrigger", "~/og": "og", "og/x": `og\x`, `C:\og`: `C:\og`, "D:/a-b_c.d": `D:\a-b_c.d`,
	} {
		if got, err := windowsRoot(root); got != want || err != nil {
			t.Errorf("windowsRoot(%q) = %q, %v; want %q", root, got, err, want)
		}
	}
	for _, root := range []string{`C:\Program Files`, `C:\a"b`, "a&b", "a%TEMP%", "a(b)", "a\nb", "a;b"} {
		if _, err := windowsRoot(root); !fault.Is(err, fault.Config) {
			t.Errorf("windowsRoot(%q): got %v, want a fault of kind Config", root, err)
		}
	}
}

func TestUploadThroughSFTP(t *testing.T) {
	s := sshd.Start(t, sshd.Options{})
	c := dial(t, s.Endpoint())
	src, digest := sourceOf(t, machine.Platform{OS: "windows", Arch: "amd64"}, []byte(strings.Repeat("agent ", 1<<18)))
	builds, err := src.builds()
	if err != nil {
		t.Fatal(err)
	}
	said := announce{system: "Windows AMD64", root: s.Home + `\og`}
	agents := filepath.Join(s.Home, "og", "agents")
	var wg sync.WaitGroup
	for range 3 { // and again over what is there
		wg.Go(func() {
			if err := (windows{}).place(t.Context(), c, builds[0], said); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	got, err := digestOf(filepath.Join(agents, digest, "outrigger-agent.exe"))
	if got != digest || err != nil {
		t.Errorf("digest %s, %v; want %s", got, err, digest)
	}
	if diff := cmp.Diff([]string{"outrigger-agent.exe"}, list(t, filepath.Join(agents, digest))); diff != "" {
		t.Errorf("agent's folder: %s", diff)
	}
	// An agent that nobody used for long goes, one without the mark is new.
	for _, name := range []string{"old", "new"} {
		if out, exit, err := c.Output(t.Context(), "mkdir "+agents+"/"+name+" && touch "+agents+"/"+name+"/used", nil); exit != 0 || err != nil {
			t.Fatalf("%s %v", out, err)
		}
	}
	when := time.Now().Add(-agentAge - time.Hour)
	if err := os.Chtimes(filepath.Join(agents, "old", "used"), when, when); err != nil {
		t.Fatal(err)
	}
	if err := (windows{}).place(t.Context(), c, builds[0], said); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{digest, "new"}, list(t, agents)); diff != "" {
		t.Errorf("agents folder: %s", diff)
	}
}

func TestUploadFails(t *testing.T) {
	src, _ := sourceOf(t, machine.Platform{OS: "windows", Arch: "amd64"}, []byte("agent"))
	builds, err := src.builds()
	if err != nil {
		t.Fatal(err)
	}
	s := sshd.Start(t, sshd.Options{})
	err = windows{}.place(t.Context(), dial(t, s.Endpoint()), builds[0], announce{root: "/proc/none"})
	if !fault.Is(err, fault.AgentUnfit) || !strings.Contains(err.Error(), "/proc/none") {
		t.Errorf("a folder that cannot be: %v", err)
	}
	s = sshd.Start(t, sshd.Options{Lines: []string{"Subsystem sftp /bin/false"}})
	err = windows{}.place(t.Context(), dial(t, s.Endpoint()), builds[0], announce{root: "x"})
	if !fault.Is(err, fault.AgentUnfit) || !strings.Contains(err.Error(), "no file transfer") {
		t.Errorf("a machine without SFTP: %v", err)
	}
}
