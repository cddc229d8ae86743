package orkaapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"outrigger.dev/outrigger/internal/provider/orka/orkaapi"
)

// kubeServer answers every request to the Kubernetes API with body.
func kubeServer(t *testing.T, body string) *orkaapi.Kube {
	t.Helper()
	c := server(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) })
	k, err := c.Kube(orkaapi.Info{APIEndpoint: c.Endpoint}, "orka-default")
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestCachedImagesAsPublished: the shape of OrkaNode.status.images is that of MacStadium's published Go types.
func TestCachedImagesAsPublished(t *testing.T) {
	const node = `{"metadata":{"name":"%s"},"spec":{"tags":[],"namespace":"orka-default"},"status":{"nodeIP":"10.221.188.35",
		"images":%s,"kubeletVersion":"v1.33.2","containerRuntimeVersion":"x","osVersion":"15.6"}}`
	images := map[string]string{
		"a": `[{"names":["ghcr.io/team/mac:latest","ghcr.io/team/mac@sha256:1f"],"size":90000000000,"spaceUsed":26000000000,"status":"Ready"}]`,
		"b": `[{"names":["ghcr.io/team/mac"],"status":"Ready"},{"names":["old.img"],"status":"Failed","errorMessage":"no"}]`,
		"c": `[{"names":["ghcr.io/team/mac:latest"],"status":"Caching"}]`,
		"d": `[{"status":"Ready"}]`,
		"e": `null`,
	}
	var items, all []string
	for name, i := range images {
		items, all = append(items, fmt.Sprintf(node, name, i)), append(all, name)
	}
	k := kubeServer(t, `{"items":[`+strings.Join(items, ",")+`]}`)
	for image, want := range map[string]int{
		"ghcr.io/team/mac": 2, "ghcr.io/team/mac:latest": 2, "ghcr.io/team/mac:1": 0, "ghcr.io/team/mac@sha256:1f": 1, "old.img": 0,
	} {
		if on, err := k.Cached(t.Context(), image, all); err != nil || on != want {
			t.Errorf("%s: on %d nodes, want %d (%v)", image, on, want, err)
		}
	}
	if on, err := k.Cached(t.Context(), "ghcr.io/team/mac", []string{"b", "c"}); err != nil || on != 1 {
		t.Errorf("on %d of b and c, want 1 (%v)", on, err)
	}
}

// TestAnotherShapeIsSaidToBeOne: JSON that does not fit is no missing JSON.
func TestAnotherShapeIsSaidToBeOne(t *testing.T) {
	k := kubeServer(t, `{"items":[{"metadata":{"name":"a"},"status":{"images":"none"}}]}`)
	_, err := k.Cached(t.Context(), "x", []string{"a"})
	if err == nil || strings.Contains(err.Error(), "is not JSON") || !strings.Contains(err.Error(), "images") {
		t.Errorf("error %v, want one that names the field", err)
	}
}

// TestAddressOfAVM: status.ip is what is dialled; it is the node's own address in NAT mode, or is empty there.
func TestAddressOfAVM(t *testing.T) {
	for _, tt := range []struct {
		hostIP, ip, host string
		bridged          bool
	}{
		{"10.221.189.13", "10.221.189.13", "10.221.189.13", false},
		{"10.221.189.13", "", "10.221.189.13", false},
		{"10.221.189.13", "10.221.190.85", "10.221.190.85", true},
	} {
		k := kubeServer(t, fmt.Sprintf(`{"metadata":{"name":"a"},"status":{"phase":"Running","hostIP":%q,"ip":%q,"sshPort":8822}}`, tt.hostIP, tt.ip))
		vm, err := k.Get(t.Context(), "a")
		if err != nil || vm.Host != tt.host || vm.Bridged != tt.bridged {
			t.Errorf("%+v: %+v (%v)", tt, vm, err)
		}
	}
}
