package images

import (
	"log/slog"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"outrigger.dev/outrigger/api/v1alpha1"
)

func TestDecide(t *testing.T) {
	now := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	at := func(d time.Duration) *metav1.Time { return &metav1.Time{Time: now.Add(d)} }
	claim := func(phase v1alpha1.ClaimPhase) Claim {
		return Claim{UID: "c", Ours: true, Builds: "new", Phase: phase, Reason: "Because", Message: "so it is"}
	}
	build := func(phase v1alpha1.BuildPhase) v1alpha1.ImageBuild {
		return v1alpha1.ImageBuild{Image: "new", ClaimUID: "c", Phase: phase}
	}
	with := func(b v1alpha1.ImageBuild, kept, retry *metav1.Time) v1alpha1.ImageBuild {
		b.KeptUntil, b.RetryAt = kept, retry
		return b
	}
	leaving := claim(v1alpha1.ClaimBound)
	leaving.Leaving = true
	foreign := claim(v1alpha1.ClaimBound)
	foreign.Ours = false
	former := claim(v1alpha1.ClaimBound)
	former.Builds = "old"
	lost := claim(v1alpha1.ClaimBound)
	lost.Lost = true
	for _, tt := range []struct {
		name string
		s    Snapshot
		want Step
	}{
		{"nothing is there", Snapshot{}, Step{Do: Order}},
		{"it is there already", Snapshot{Stored: There}, Step{Do: Settle}},
		{"it is in use", Snapshot{Stored: There, Current: "new"}, Step{Do: Settle}},
		{"it was built: the machine is given back first", Snapshot{Stored: There, Current: "old", Claim: claim(v1alpha1.ClaimBound), Build: build(v1alpha1.BuildDone), Held: true}, Step{Do: Drop}},
		{"it was built: its claim goes", Snapshot{Stored: There, Current: "old", Claim: leaving, Build: build(v1alpha1.BuildDone), Held: true}, Step{Do: Wait}},
		{"it was built: its machine is being given back", Snapshot{Stored: There, Current: "old", Build: build(v1alpha1.BuildDone), Held: true}, Step{Do: Wait}},
		{"it was built: then pools use it", Snapshot{Stored: There, Current: "old", Build: build(v1alpha1.BuildDone)}, Step{Do: Settle}},
		{"it is saved, whoever does it", Snapshot{Stored: Saving, Claim: claim(v1alpha1.ClaimBound), Build: build(v1alpha1.BuildSaving)},
			Step{Do: Wait, Reason: "Saving", Message: "the provider is saving image new", Again: now.Add(5 * time.Second)}},
		{"saving failed", Snapshot{Stored: Broken, Claim: claim(v1alpha1.ClaimBound), Build: build(v1alpha1.BuildFailed)}, Step{Do: Remove}},
		{"pinned", Snapshot{Pinned: true, Stored: There, Current: "old"}, Step{Do: Settle}},
		{"pinned to none", Snapshot{Pinned: true, Current: "old"}, Step{Do: Wait, Reason: "UnknownImage", Message: "spec.use: the provider has no image new"}},

		{"its claim waits", Snapshot{Claim: claim(v1alpha1.ClaimQueued), Build: build(v1alpha1.BuildQueued)}, Step{Do: Wait, Reason: "Queued", Message: "so it is"}},
		{"its claim is not written down", Snapshot{Claim: claim(v1alpha1.ClaimQueued)}, Step{Do: Adopt}},
		{"its claim has a machine", Snapshot{Claim: claim(v1alpha1.ClaimBound), Build: build(v1alpha1.BuildQueued)}, Step{Do: Begin}},
		{"its claim is refused", Snapshot{Claim: claim(v1alpha1.ClaimFailed), Build: build(v1alpha1.BuildQueued)}, Step{Do: Fail, Reason: "Because", Message: "so it is"}},
		{"its machine is lost", Snapshot{Claim: lost, Build: build(v1alpha1.BuildQueued)}, Step{Do: Fail, Reason: "Because", Message: "so it is"}},
		{"its claim goes", Snapshot{Claim: leaving, Build: build(v1alpha1.BuildQueued)}, Step{Do: Wait}},
		{"a claim of an object of that name before", Snapshot{Claim: foreign}, Step{Do: Drop, Reason: "BuildSuperseded", Message: "image new is asked for by now, and not new"}},
		{"a claim for what was asked for before", Snapshot{Claim: former, Build: build(v1alpha1.BuildScript)}, Step{Do: Drop, Reason: "BuildSuperseded", Message: "image new is asked for by now, and not old"}},
		{"who built has ended", Snapshot{Claim: claim(v1alpha1.ClaimBound), Build: build(v1alpha1.BuildScript)},
			Step{Do: Drop, Reason: "BuildInterrupted", Message: "the controller that was building has ended: the build begins anew on another machine"}},
		{"who built has ended before it was saved", Snapshot{Claim: claim(v1alpha1.ClaimBound), Build: build(v1alpha1.BuildSaving)},
			Step{Do: Drop, Reason: "BuildInterrupted", Message: "the controller that was building has ended: the build begins anew on another machine"}},
		{"somebody deleted the claim", Snapshot{Build: build(v1alpha1.BuildScript)}, Step{Do: Order}},

		{"it failed", Snapshot{Claim: claim(v1alpha1.ClaimBound), Build: with(build(v1alpha1.BuildFailed), nil, at(time.Hour))}, Step{Do: Drop}},
		{"it failed, and is kept", Snapshot{Claim: claim(v1alpha1.ClaimBound), Build: with(build(v1alpha1.BuildFailed), at(time.Minute), at(time.Hour))},
			Step{Do: Wait, Again: now.Add(time.Minute)}},
		{"it failed, and was kept", Snapshot{Claim: claim(v1alpha1.ClaimBound), Build: with(build(v1alpha1.BuildFailed), at(-time.Second), at(time.Hour))}, Step{Do: Drop}},
		{"it is tried again later", Snapshot{Build: with(build(v1alpha1.BuildFailed), nil, at(time.Hour))}, Step{Do: Wait, Again: now.Add(time.Hour)}},
		{"it is tried again", Snapshot{Build: with(build(v1alpha1.BuildFailed), nil, at(-time.Second))}, Step{Do: Order}},
		{"it is tried again since the object was changed", Snapshot{Changed: true, Build: with(build(v1alpha1.BuildFailed), nil, at(time.Hour))}, Step{Do: Order}},
		{"another had failed", Snapshot{Build: with(v1alpha1.ImageBuild{Image: "old", Phase: v1alpha1.BuildFailed}, nil, at(time.Hour))}, Step{Do: Order}},
		{"it was deleted at the provider", Snapshot{Current: "new", Build: build(v1alpha1.BuildDone)}, Step{Do: Order}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.s.Now, tt.s.Wanted = now, "new"
			if got := Decide(tt.s); got != tt.want {
				t.Errorf("Decide:\n got %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestTail(t *testing.T) {
	said := &tail{log: slog.New(slog.DiscardHandler)}
	for _, s := range []string{"one\ntwo", " and a half\r\n", "10%\r50%\r100%\n", "\x1b[31mred\x1b[0m\n", "unended"} {
		if n, err := said.Write([]byte(s)); n != len(s) || err != nil {
			t.Fatal(n, err)
		}
	}
	if got, want := said.String(), "one\ntwo and a half\n100%\n[31mred[0m\nunended"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for range 3 * tailLines {
		_, _ = said.Write([]byte("a line\n"))
	}
	if got := len(said.lines); got != tailLines {
		t.Errorf("%d lines are kept", got)
	}
}
