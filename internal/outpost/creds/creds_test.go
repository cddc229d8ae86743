package creds_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/outpost/creds"
)

var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

func pair(t testing.TB) (creds.Signer, creds.Verifier, []byte) {
	t.Helper()
	private, public, err := creds.NewSigner()
	if err != nil {
		t.Fatal(err)
	}
	s, err := creds.ParseSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	v, err := creds.ParseVerifier(public)
	if err != nil {
		t.Fatal(err)
	}
	return s, v, public
}

func TestPass(t *testing.T) {
	s, v, public := pair(t)
	want := creds.Pass{Network: "orka", To: []string{"10.1.2.3:22"}, For: "machine mac-1", Expires: noon.Add(time.Hour)}
	pass, err := s.Sign(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := v.Verify(pass, noon)
	if err != nil || !cmp.Equal(want, got) {
		t.Errorf("%v\n%s", err, cmp.Diff(want, got))
	}
	if strings.Contains(fmt.Sprintf("%v %+v %#v", pass, pass, pass), pass.Reveal()) {
		t.Error("the pass can be printed")
	}
	if _, err := v.Verify(pass, noon.Add(time.Hour)); !fault.Is(err, fault.RouteRefused) || !strings.Contains(err.Error(), "expired at 2026-11-25T13:00:00Z") {
		t.Errorf("an hour later: %v", err)
	}
	other, _, otherPublic := pair(t)
	if forged, err := other.Sign(want); err != nil {
		t.Error(err)
	} else if _, err := v.Verify(forged, noon); !fault.Is(err, fault.RouteRefused) {
		t.Errorf("of another key: %v", err)
	} else if both, err := creds.ParseVerifier(append(otherPublic, public...)); err != nil {
		t.Error(err)
	} else if _, err := both.Verify(forged, noon); err != nil {
		t.Errorf("while keys are replaced: %v", err)
	}
}

// Whatever is changed in a pass, it is a pass no more.
func TestPassCannotBeChanged(t *testing.T) {
	s, v, _ := pair(t)
	pass, err := s.Sign(creds.Pass{Network: "orka", To: []string{"10.1.2.3:22"}, Expires: noon.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	text := pass.Reveal()
	for i := range text {
		for _, c := range []byte("A_.0") {
			changed := text[:i] + string(c) + text[i+1:]
			if changed == text {
				continue
			}
			if got, err := v.Verify(machine.NewSecret(changed), noon); err == nil {
				t.Fatalf("byte %d changed to %q: %+v", i, c, got)
			}
		}
	}
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`))
	parts := strings.Split(text, ".")
	for _, forged := range []string{none + "." + parts[1] + ".", none + "." + parts[1] + "." + parts[2], "", ".", "..", "a.b.c", strings.Repeat("x", 10000)} {
		if _, err := v.Verify(machine.NewSecret(forged), noon); !fault.Is(err, fault.RouteRefused) {
			t.Errorf("%.40q: %v", forged, err)
		}
	}
}

func TestTokens(t *testing.T) {
	east, west := creds.NewToken(), creds.NewToken()
	at := creds.Outpost{Network: "lab", Name: "east"}
	old := creds.Grant{Outpost: at, Digest: creds.DigestOf(east), Expires: noon}
	fresh := creds.Grant{Outpost: at, Digest: creds.DigestOf(west)}
	file := "# a comment\n\n" + old.Line() + "\n  " + fresh.Line()
	gs, err := creds.ParseGrants([]byte(file))
	if err != nil || !cmp.Equal(creds.Grants{old, fresh}, gs) {
		t.Fatalf("%v\n%s", err, cmp.Diff(creds.Grants{old, fresh}, gs))
	}
	if strings.Contains(file, east.Reveal()) {
		t.Error("the file holds the token")
	}
	if g, err := gs.Find(west, noon); err != nil || g.Outpost != at {
		t.Errorf("%v, %v", g, err)
	}
	if _, err := gs.Find(east, noon); !fault.Is(err, fault.RouteRefused) || !strings.Contains(err.Error(), "lab/east expired at") {
		t.Errorf("expired: %v", err)
	}
	if _, err := gs.Find(creds.NewToken(), noon); !fault.Is(err, fault.RouteRefused) {
		t.Errorf("unknown: %v", err)
	}
	if err := gs[:1].Holds(fresh, noon); !fault.Is(err, fault.RouteRefused) || !strings.Contains(err.Error(), "withdrawn") {
		t.Errorf("withdrawn: %v", err)
	}
}

func TestMistakesInTheFileOfTokens(t *testing.T) {
	digest := "sha256:" + strings.Repeat("ab", 32)
	for line, says := range map[string]string{
		"lab/east":                      "has 1 words",
		"lab " + digest:                 "want NETWORK/NAME",
		"Lab/east " + digest:            `network "Lab"`,
		"lab/ " + digest:                `outpost ""`,
		"lab/east sha256:ab":            "the digest of lab/east",
		"lab/east md5:ab":               "the digest of lab/east",
		"lab/east " + digest + " later": `expiry "later"`,
		"lab/east " + digest + " 1 2":   "has 4 words",
	} {
		if _, err := creds.ParseGrants([]byte("\n" + line)); !fault.Is(err, fault.Config) || !strings.Contains(err.Error(), "line 2: ") || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want line 2 and %q", line, err, says)
		}
	}
}

// Nothing that was not signed is a pass, and nothing makes the reader fail.
func FuzzVerify(f *testing.F) {
	s, v, _ := pair(f)
	pass, err := s.Sign(creds.Pass{Network: "n", To: []string{"a:1"}, Expires: noon.Add(time.Hour)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(pass.Reveal())
	f.Fuzz(func(t *testing.T, shown string) {
		if p, err := v.Verify(machine.NewSecret(shown), noon); err == nil && shown != pass.Reveal() {
			t.Errorf("%q is a pass: %+v", shown, p)
		}
	})
}
