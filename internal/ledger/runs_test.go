package ledger_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/ledger"
	"outrigger.dev/outrigger/internal/rawpath"
)

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

func TestARunIsKnownUntilItIsRemoved(t *testing.T) {
	l := open(t, t.TempDir())
	entry, err := l.AddRun(ledger.Run{ID: "run-1", Machine: "m1", Until: noon, Client: 17})
	if err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"a second of that name": second(l.AddRun(ledger.Run{ID: "run-1"})),
		"one that is attended":  second(l.HoldRun("run-1")),
	} {
		if !fault.Is(err, fault.Busy) {
			t.Errorf("%s: %v, want Busy", what, err)
		}
	}
	if err := entry.Update(func(r *ledger.Run) { r.Until = noon.Add(time.Hour) }); err != nil {
		t.Fatal(err)
	}
	if err := entry.Release(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.AddRun(ledger.Run{ID: "run-1"}); !fault.Is(err, fault.NameTaken) {
		t.Errorf("a second of that name: %v, want NameTaken", err)
	}
	again, err := l.HoldRun("run-1")
	if err != nil || !again.Record().Until.Equal(noon.Add(time.Hour)) {
		t.Fatalf("%+v, %v", again, err)
	}
	if err := again.Remove(); err != nil {
		t.Fatal(err)
	}
	if recs, err := l.Runs(); len(recs) != 0 || err != nil {
		t.Errorf("%+v, %v, want none", recs, err)
	}
	for _, id := range []string{"run-1", "", "../ledger/m1", "RUN"} {
		if _, err := l.HoldRun(id); !fault.Is(err, fault.UnknownRun) {
			t.Errorf("run %q: %v, want UnknownRun", id, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestAMachineIsWantedAsLongAsTheLastOfItsRuns(t *testing.T) {
	l := open(t, t.TempDir())
	for id, r := range map[string]ledger.Run{
		"a": {Machine: "m1", Until: noon}, "b": {Machine: "m1", Until: noon.Add(2 * time.Hour)},
		"c": {Machine: "m2", Until: noon.Add(9 * time.Hour)},
	} {
		r.ID = id
		entry, err := l.AddRun(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = entry.Release() })
	}
	for after, want := range map[time.Duration]bool{0: true, time.Hour: true, 3 * time.Hour: false} {
		until, ok, err := l.Wanted("m1", noon.Add(after))
		if err != nil || ok != want || ok && !until.Equal(noon.Add(2*time.Hour)) {
			t.Errorf("after %s: %s, %v, %v, want %v", after, until, ok, err, want)
		}
	}
}

// What is excluded, and where the folder is, are bytes: a pattern that comes back as another one lets files through.
func TestARunKeepsEveryByte(t *testing.T) {
	l := open(t, t.TempDir())
	want := ledger.Run{ID: "run-1", Dir: "/caf\xe9", At: "/\xff", Exclude: []rawpath.Path{"caf\xe9/", "*.o"}}
	entry, err := l.AddRun(want)
	if err != nil {
		t.Fatal(err)
	}
	if err := entry.Release(); err != nil {
		t.Fatal(err)
	}
	got, err := l.GetRun("run-1")
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}
