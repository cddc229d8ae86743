package doctor_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"outrigger.dev/outrigger/internal/doctor"
)

func prefix(t *testing.T, s string) netip.Prefix {
	t.Helper()
	p, err := netip.ParsePrefix(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func addr(t *testing.T, s string) netip.Addr {
	t.Helper()
	a, err := netip.ParseAddr(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestTheConfigMapIsWhole(t *testing.T) {
	got := doctor.ConfigMap(doctor.NotMasqueraded([]string{"10.221.184.0/21", "172.16.0.0/12"}, []string{"10.221.188.20"}))
	want := `apiVersion: v1
kind: ConfigMap
metadata:
  name: ip-masq-agent
  namespace: kube-system
data:
  config: |
    nonMasqueradeCIDRs:
    - 10.221.184.0/22
    - 10.221.189.0/24
    - 10.221.190.0/23
    - 172.16.0.0/12
    masqLinkLocal: false
    resyncInterval: 60s
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
