package loginenv

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     []string
		ok       bool
	}{
		{"the profile talks before and after", "hello\n" + marker + "A=1\x00B=x\ny\x00SHLVL=2\x00SSH_TTY=x" + marker + "bye\n", []string{"A=1", "B=x\ny"}, true},
		{"cut off", "hello\n" + marker + "A=1\x00B=", nil, false},
		{"nothing", "hello\n", nil, false},
		{"what is no variable is left out", marker + "=x\x00novalue\x00A=" + marker, []string{"A="}, true},
	} {
		got, ok := parse([]byte(tt.in))
		if diff := cmp.Diff(tt.want, got); diff != "" || ok != tt.ok {
			t.Errorf("%s: ok is %t, want %t; (-want +got):\n%s", tt.name, ok, tt.ok, diff)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("x" + marker + "A=1" + marker))
	f.Add([]byte(marker))
	f.Fuzz(func(t *testing.T, in []byte) { parse(in) }) // only a panic is wrong here
}
