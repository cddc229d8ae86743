package podrelay

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/runclient"
	"outrigger.dev/outrigger/internal/sanitize"
)

// TestExitCodes: what is not 0 on the machine is not 0 in the container, of which the kernel keeps eight bits.
func TestExitCodes(t *testing.T) {
	for _, tt := range []struct {
		exit runclient.Exit
		want int
	}{
		{runclient.Exit{}, 0},
		{runclient.Exit{Code: 1}, 1},
		{runclient.Exit{Code: 255}, 255},
		{runclient.Exit{Code: 256}, 1},
		{runclient.Exit{Code: -256}, 1},
		{runclient.Exit{Code: 1 << 16}, 1},
		{runclient.Exit{Code: 0xC0000100}, 1},
		{runclient.Exit{Code: 0xC0000005}, 5},
		{runclient.Exit{Code: -1}, 255},
		{runclient.Exit{Signal: "KILL", SigNum: 9}, 137},
		{runclient.Exit{Signal: "ODD", SigNum: 128}, 1},
	} {
		if got := exitCode(tt.exit); got != tt.want || got&0xff != got {
			t.Errorf("%+v: %d, want %d", tt.exit, got, tt.want)
		}
	}
}

// TestRemediesAreForPods: nobody who reads a container's log has a command line of ours.
func TestRemediesAreForPods(t *testing.T) {
	for _, info := range fault.Kinds {
		for _, err := range []error{
			fault.New(info.Kind, "x"),
			fault.New(info.Kind, "x").WithRemedy("Leave it out with --exclude."),
			fault.New(info.Kind, "x").WithRemedy("Look at it with: outrigger vm list"),
		} {
			if got := remedy(err); ofCommandLine.MatchString(got) || strings.Contains(got, "--") {
				t.Errorf("%s: %q", info.Kind, got)
			}
		}
	}
	if got := remedy(fault.New(fault.Busy, "x").WithRemedy("Wait for the other container.")); got != "Wait for the other container." {
		t.Errorf("a remedy that says more: %q", got)
	}
}

func TestTheCollectorKnowsOfTheLimit(t *testing.T) {
	for text, want := range map[string]int64{"max\n": 0, "": 0, "-1": 0, "67108864\n": 48 << 20, "99999999999999999999": 0} {
		if got := collectAt(text); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}

// TestResultsThatAreLeftAreMarked where the controller looks for them, beside what is there.
func TestResultsThatAreLeftAreMarked(t *testing.T) {
	file := filepath.Join(t.TempDir(), "message")
	for before, want := range map[string]string{
		"": `[{"key":"outrigger.dev/results-left","type":3,"value":"two\\nfiles"}]`,
		`[{"key":"commit","value":"1","type":1}]`: `[{"key":"commit","type":1,"value":"1"},{"key":"outrigger.dev/results-left","type":3,"value":"two\\nfiles"}]`,
	} {
		if err := os.WriteFile(file, []byte(before), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := markResults(file, sanitize.Line("two\nfiles", maxLeft)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != want {
			t.Errorf("%q: %s, %v, want %s", before, got, err, want)
		}
	}
	if err := os.WriteFile(file, []byte("no list"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := markResults(file, "x"); err == nil {
		t.Error("what is no list is replaced")
	}
}
