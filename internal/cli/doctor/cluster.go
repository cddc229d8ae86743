package doctor

import (
	"context"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"outrigger.dev/outrigger/internal/cli/kube"
	"outrigger.dev/outrigger/internal/doctor"
)

// cluster gathers what tells why a Pod does not reach what this computer does. What may not be read
// is not known.
func (v *visit) cluster(ctx context.Context) doctor.Cluster {
	c := doctor.Cluster{Namespace: v.o.podNamespace()}
	if version, err := v.kube.Version(ctx); err == nil {
		c.GKE = strings.Contains(version, "-gke.")
	}
	const system, agent = "kube-system", "ip-masq-agent"
	c.MasqAgent = v.kube.HasDaemonSet(ctx, system, agent)
	if data, err := v.kube.ConfigMap(ctx, system, agent); err == nil {
		c.MasqCIDRs = masqueraded(data["config"])
	}
	policies, err := v.kube.Policies(ctx, c.Namespace)
	if err != nil {
		return c
	}
	pod := podOf("", "", "").Labels
	for _, p := range policies {
		if limits(p, pod) {
			c.Policies = append(c.Policies, p.Name)
		}
	}
	return c
}

// limits tells whether a policy limits what Pods with these labels may connect to.
func limits(p kube.Policy, pod map[string]string) bool {
	if !slices.Contains(p.Spec.PolicyTypes, "Egress") {
		return false
	}
	s, err := metav1.LabelSelectorAsSelector(&p.Spec.PodSelector)
	return err == nil && s.Matches(labels.Set(pod))
}

// masqueraded reads the list of ip-masq-agent's configuration; nil: it has none.
func masqueraded(config string) []string {
	var c struct {
		CIDRs []string `yaml:"nonMasqueradeCIDRs"`
	}
	if yaml.Unmarshal([]byte(config), &c) != nil {
		return nil
	}
	return c.CIDRs
}
