package orkaapi_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider/orka/orkaapi"
)

func jwt(payload string) machine.Secret {
	enc := base64.RawURLEncoding.EncodeToString
	return machine.NewSecret(enc([]byte(`{"alg":"RS256"}`)) + "." + enc([]byte(payload)) + ".c2lnbmF0dXJl")
}

func TestExpires(t *testing.T) {
	for payload, want := range map[string]string{
		`{"exp":1764072000}`:   "2025-11-25T12:00:00Z",
		`{"exp":1764072000.5}`: "2025-11-25T12:00:00Z",
		`{"sub":"x"}`:          "",
		`{"exp":"soon"}`:       "",
		`{"exp":-1}`:           "",
		`{"exp":1e300}`:        "",
		`not JSON`:             "",
	} {
		got := ""
		if end, ok := orkaapi.Expires(jwt(payload)); ok {
			got = end.Format(time.RFC3339)
		}
		if got != want {
			t.Errorf("%s: ends %q, want %q", payload, got, want)
		}
	}
	for _, token := range []string{"", "opaque", "a.b", "a.!.c"} {
		if end, ok := orkaapi.Expires(machine.NewSecret(token)); ok {
			t.Errorf("%q ends %v", token, end)
		}
	}
}

func FuzzExpires(f *testing.F) {
	f.Add("a.b.c")
	f.Fuzz(func(_ *testing.T, token string) { orkaapi.Expires(machine.NewSecret(token)) })
}

// server answers every request with handle, and returns a client of it.
func server(t *testing.T, handle http.HandlerFunc) *orkaapi.Client {
	t.Helper()
	s := httptest.NewServer(handle)
	t.Cleanup(s.Close)
	c, err := orkaapi.New(orkaapi.Options{Endpoint: s.URL, Token: jwt(`{"exp":1764072000}`)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The examples are MacStadium's own, with what others have been seen to send.
func TestGenerousReading(t *testing.T) {
	const quickStart = `{"name":"vm-l4qgb","ip":"10.221.189.13","cpu":3,"deployDate":"2023-10-10T19:56:21Z",
		"image":"ghcr.io/macstadium/orka-images/sequoia:latest","gpuPassthrough":false,"memory":"4.80Gi",
		"node":"mini-arm-13","screenshare":5901,"ssh":8822,"status":"Running","vnc":5999}`
	full := orkaapi.VM{
		Name: "vm-l4qgb", Phase: orkaapi.Running, Node: "mini-arm-13", Host: "10.221.189.13", SSH: 8822, CPU: 3,
		Image: "ghcr.io/macstadium/orka-images/sequoia:latest", Created: time.Date(2023, 10, 10, 19, 56, 21, 0, time.UTC),
	}
	for _, tt := range []struct {
		name, body string
		want       orkaapi.VM
	}{
		{"the quick start's", quickStart, full},
		{"a port as text", `{"name":"x","status":"Running","ip":"10.0.0.1","ssh":"9281","vnc":"N/A"}`, orkaapi.VM{Name: "x", Phase: orkaapi.Running, Host: "10.0.0.1", SSH: 9281}},
		{"pending", `{"name":"x","status":"Pending"}`, orkaapi.VM{Name: "x", Phase: orkaapi.Pending}},
		{"fields of the future", `{"name":"x","status":"Pending","ssh":null,"new":{"a":[1]},"portWarnings":null}`, orkaapi.VM{Name: "x", Phase: orkaapi.Pending}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := server(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, `{"items":[%s],"more":1}`, tt.body) })
			all, err := c.REST("orka-default").List(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]orkaapi.VM{tt.want}, all); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestDeployInBothDoorsWords(t *testing.T) {
	yes, no := true, false
	d := orkaapi.Deploy{
		Name: "mac-a", Image: "sequoia", CPU: 4, MemoryGB: 7.5, Node: "mini-1", Scheduler: "most-allocated", Tag: "fast", TagRequired: true,
		ReservedPorts: "9000:80,9001:81/udp", NetBoost: &yes, LegacyIO: &no, GPU: &yes, VNCConsole: &no, ISO: "i.iso", SystemSerial: "ABCD1234",
		DisplayWidth: 1920, DisplayHeight: 1080, DisplayDPI: 96, Metadata: map[string]string{"k": "v"},
		Labels: map[string]string{"l": "1"}, Annotations: map[string]string{"a": "2"}, Minutes: 15,
	}
	common := map[string]any{
		"image": "sequoia", "cpu": 4.0, "memory": 7.5, "scheduler": "most-allocated", "tag": "fast", "tagRequired": true,
		"reservedPorts": "9000:80,9001:81/udp", "netBoost": true, "legacyIO": false, "gpuPassthrough": true, "vncConsole": false,
		"iso": "i.iso", "systemSerial": "ABCD1234", "displayWidth": 1920.0, "displayHeight": 1080.0, "displayDPI": 96.0,
		"customVMMetadata": map[string]any{"k": "v"},
	}
	with := func(more map[string]any) map[string]any {
		out := map[string]any{}
		for _, m := range []map[string]any{common, more} {
			for k, v := range m {
				out[k] = v
			}
		}
		return out
	}
	var got map[string]any
	c := server(t, func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got = nil
		if err := json.Unmarshal(b, &got); err != nil {
			t.Error(err)
		}
	})
	if err := c.REST("orka-default").Deploy(t.Context(), d); err != nil { // the answer is empty
		t.Fatal(err)
	}
	if diff := cmp.Diff(with(map[string]any{"name": "mac-a", "node": "mini-1", "timeout": 15.0}), got); diff != "" {
		t.Errorf("REST (-want +got):\n%s", diff)
	}
	k, err := c.Kube(orkaapi.Info{APIEndpoint: c.Endpoint}, "orka-default")
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Deploy(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"apiVersion": "orka.macstadium.com/v1", "kind": "VirtualMachineInstance",
		"metadata": map[string]any{"name": "mac-a", "labels": map[string]any{"l": "1"}, "annotations": map[string]any{"a": "2"}},
		"spec":     with(map[string]any{"nodeName": "mini-1"}),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Kubernetes (-want +got):\n%s", diff)
	}
}

// A token is judged by the clock of those who made it.
func TestClockSkew(t *testing.T) {
	for name, ahead := range map[string]time.Duration{"none": 0, "an hour ahead": time.Hour, "a day behind": -24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			c := server(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))
				fmt.Fprint(w, `{}`)
			})
			if _, err := c.Info(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := c.Skew() - ahead; got.Abs() > 3*time.Second {
				t.Errorf("skew %v, want %v", c.Skew(), ahead)
			}
		})
	}
}

func TestFaultsHaveOrkasOwnWords(t *testing.T) {
	for _, tt := range []struct {
		name, body string
		code       int
		kind       fault.Kind
		want       string
	}{
		{"a webhook", `{"kind":"Status","message":"VM config name must be a valid DNS-1035 label","code":403}`, 403, fault.ProviderRefused, "orka: x: 403 Forbidden: VM config name must be a valid DNS-1035 label"},
		{"no JSON", "nothing\nto see", 400, fault.ProviderRefused, "orka: x: 400 Bad Request: nothing to see"},
		{"a proxy's page", "<html><body>Bad Gateway</body></html>", 502, fault.ProviderDown, "orka: x: 502 Bad Gateway"},
		{"no body", "", 500, fault.ProviderDown, "orka: x: 500 Internal Server Error"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := server(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tt.code)
				fmt.Fprint(w, tt.body)
			})
			err := c.Fault("x", c.REST("orka-default").Deploy(t.Context(), orkaapi.Deploy{}))
			if !fault.Is(err, tt.kind) || err.Error() != tt.want {
				t.Errorf("got %v (%s)\nwant %s (%s)", err, fault.Of(err), tt.want, tt.kind)
			}
		})
	}
}

func TestARedirectDoesNotGetTheToken(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("asked for %s with %q", r.URL, r.Header.Get("Authorization"))
	}))
	defer other.Close()
	c := server(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL+r.URL.Path, http.StatusFound)
	})
	_, err := c.REST("orka-default").List(t.Context())
	if err := c.Fault("list", err); !fault.Is(err, fault.ProviderRefused) {
		t.Errorf("got %v", err)
	}
}

func TestParseEndpoint(t *testing.T) {
	for in, want := range map[string]string{
		"http://10.221.188.20":              "http://10.221.188.20",
		"http://10.221.188.20/":             "http://10.221.188.20",
		"https://x.orka.app/api/v1/":        "https://x.orka.app",
		"https://x.orka.app/api/v1/swagger": "https://x.orka.app",
		" https://x.orka.app:8443 ":         "https://x.orka.app:8443",
		"10.221.188.20":                     "",
		"ftp://x":                           "",
		"":                                  "",
		"https://user:secret@x.orka.app":    "",
		"https://x.orka.app/?token=secret":  "",
	} {
		got, err := orkaapi.ParseEndpoint(in)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("ParseEndpoint(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
}

func TestEveryDoubtIsNamed(t *testing.T) {
	keys := map[string]bool{}
	for _, d := range orkaapi.Doubts {
		if d.Assumed == "" || d.Doubt == "" || d.Key != "" && keys[d.Key] {
			t.Errorf("doubt %+v", d)
		}
		keys[d.Key] = true
	}
	if got := (orkaapi.Fields{"metdata": "x"}).Unknown(); got != "metdata" {
		t.Errorf("an unknown field: %q", got)
	}
}
