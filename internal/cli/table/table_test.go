package table_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"outrigger.dev/outrigger/internal/cli/table"
)

func TestColumnsLineUp(t *testing.T) {
	tab := table.Table{Columns: []string{"NAME", "STATE", "IMAGE"}}
	tab.Add("short", "Running", "debian")
	tab.Add("a-much-longer-näme", "", "x")
	var b strings.Builder
	if err := tab.Write(&b); err != nil {
		t.Fatal(err)
	}
	want := `NAME                 STATE     IMAGE
short                Running   debian
a-much-longer-näme   -         x
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWhatOthersCallTheirThingsDoesNothingToTheTerminal(t *testing.T) {
	tab := table.Table{Columns: []string{"NAME", "NOTE"}}
	tab.Add("a\x1b[2J", "x\n\u202ey")
	var b strings.Builder
	if err := tab.Write(&b); err != nil {
		t.Fatal(err)
	}
	if got, want := b.String(), "NAME       NOTE\n"+`a\x1b[2J   x\n\u202ey`+"\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	b.Reset()
	name := "a\x1b\u009b\u202e\U000e0041"
	if err := table.JSON(&b, []string{name}); err != nil {
		t.Fatal(err)
	}
	var back []string
	if err := json.Unmarshal([]byte(b.String()), &back); err != nil || back[0] != name {
		t.Errorf("read back %q, %v", back, err)
	}
	if strings.ContainsAny(b.String(), "\x1b\u009b\u202e\U000e0041") {
		t.Errorf("JSON has what does not print: %q", b.String())
	}
}

func TestNothingToListPrintsNothingAndAnEmptyArray(t *testing.T) {
	var b strings.Builder
	if err := (&table.Table{Columns: []string{"NAME"}}).Write(&b); err != nil || b.String() != "" {
		t.Errorf("text: %q, %v", b.String(), err)
	}
	if err := table.JSON[string](&b, nil); err != nil || b.String() != "[]\n" {
		t.Errorf("JSON: %q, %v", b.String(), err)
	}
}

func TestAgeAndUntil(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		0: "0s", 119 * time.Second: "119s", 2 * time.Minute: "2m", 119 * time.Minute: "119m", 2 * time.Hour: "2h", 48 * time.Hour: "2d", -time.Hour: "0s",
	} {
		if got := table.Age(now.Add(-d), now); got != want {
			t.Errorf("Age of %s: %q, want %q", d, got, want)
		}
	}
	for d, want := range map[time.Duration]string{time.Minute: "60s", 8 * time.Hour: "8h", -time.Second: "past"} {
		if got := table.Until(now.Add(d), now); got != want {
			t.Errorf("Until in %s: %q, want %q", d, got, want)
		}
	}
	if table.Age(time.Time{}, now)+table.Until(time.Time{}, now) != "" {
		t.Error("a time that is not set has an age")
	}
}
