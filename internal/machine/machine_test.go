package machine_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"outrigger.dev/outrigger/internal/machine"
)

func TestParseName(t *testing.T) {
	for _, ok := range []string{"a", "mac-1", "0a", strings.Repeat("x", 63), string(machine.NewName("run"))} {
		if _, err := machine.ParseName(ok); err != nil {
			t.Errorf("ParseName(%q): %v", ok, err)
		}
	}
	for _, bad := range []string{"", "-a", "a-", "A", "a_b", "a.b", "../x", "a/b", "a\n", strings.Repeat("x", 64)} {
		if _, err := machine.ParseName(bad); err == nil {
			t.Errorf("ParseName(%q): accepted", bad)
		}
	}
}

func TestSecretIsNeverPrinted(t *testing.T) {
	s := struct{ P machine.Secret }{machine.NewSecret("hunter2")}
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{string(b), fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %s %q", s, s, s, s, s.P)} {
		if strings.Contains(out, "hunter2") {
			t.Errorf("secret shows in %q", out)
		}
	}
}

func TestAddress(t *testing.T) {
	for _, tt := range []struct {
		host string
		port int
		want string
	}{
		{"mac", 0, "mac:22"},
		{"10.0.0.1", 8822, "10.0.0.1:8822"},
		{"fe80::1", 22, "[fe80::1]:22"},
		{"[::1]", 22, "[::1]:22"},
	} {
		if got := (machine.Endpoint{Host: tt.host, Port: tt.port}).Address(); got != tt.want {
			t.Errorf("Address(%s, %d) = %s, want %s", tt.host, tt.port, got, tt.want)
		}
	}
}
