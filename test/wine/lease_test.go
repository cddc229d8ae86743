package wine_test

import (
	"bytes"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/runclient"
	"outrigger.dev/outrigger/internal/wire"
)

func (h *host) acquire(t *testing.T, name string) {
	t.Helper()
	req := wire.LeaseAcquire{Name: name, Owner: "test", Expires: time.Now().Add(time.Hour)}
	if err := h.call(wire.MethodLeaseAcquire, req, nil); err != nil {
		t.Fatal(err)
	}
}

func leasesOfWhoHasTheirKey(t *testing.T, h *host) {
	defer func() { h.key = "" }()
	h.key = "ours"
	h.acquire(t, "b")
	for _, key := range []string{"", "theirs"} {
		h.key = key
		if err := h.call(wire.MethodLeaseRelease, wire.LeaseRelease{Name: "b"}, nil); !fault.Is(err, fault.NameTaken) {
			t.Errorf("with key %q: got %v, want that it is another's", key, err)
		}
		var list wire.LeaseList
		if err := h.call(wire.MethodLeaseList, nil, &list); err != nil || list.Others != 1 || len(list.Leases) != 1 {
			t.Errorf("with key %q: got %+v, %v, want lease a and another's", key, list, err)
		}
	}
	h.key = "ours"
	if err := h.call(wire.MethodLeaseRelease, wire.LeaseRelease{Name: "b"}, nil); err != nil {
		t.Error(err)
	}
}

// What a tenant leaves in the places that are looked after goes, as elsewhere; scheduled tasks are not looked after.
func homeIsPutBack(t *testing.T, h *host) {
	var was wire.HomeRecorded
	if err := h.call(wire.MethodHomeRecord, wire.HomeRecord{Sole: true}, &was); err != nil {
		t.Fatal(err)
	}
	do := func(line string) string {
		t.Helper()
		var out bytes.Buffer
		exit, err := h.run(wire.RunSpec{Argv: []string{"cmd", "/c", line}}, runclient.Streams{Out: &out})
		if err != nil || exit.Code != 0 {
			t.Fatalf("%s: %+v, %v", line, exit, err)
		}
		return out.String()
	}
	do(`echo evil>%USERPROFILE%\.gitconfig& mkdir %USERPROFILE%\.config\git& echo evil>%USERPROFILE%\.config\git\config`)
	var got wire.LeaseReleased
	req := wire.LeaseRelease{Name: "a", Clean: true, Home: was.Digest, Sole: true}
	if err := h.call(wire.MethodLeaseRelease, req, &got); err != nil || len(got.Left) > 0 {
		t.Fatalf("release: %v, left %q", err, got.Left)
	}
	h.acquire(t, "a")
	see := `if exist %USERPROFILE%\.gitconfig (echo there) else (echo gone)& if exist %USERPROFILE%\.config\git (echo there) else (echo gone)`
	if out := do(see); out != "gone\r\ngone\r\n" {
		t.Errorf("the next one sees %q", out)
	}
}
