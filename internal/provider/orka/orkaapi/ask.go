package orkaapi

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Questions that change nothing and that only somebody asks who wants to know what works.

// Legacy asks for the version of an Orka older than 3, which tells it without a token
// (GET /health-check); "" for anything else.
func (c *Client) Legacy(ctx context.Context) string {
	d := c.rest
	base, err := ParseEndpoint(c.Endpoint)
	if err != nil {
		return ""
	}
	d.base = base
	var health struct {
		Version Text `json:"api_version"`
	}
	if d.try(ctx, http.MethodGet, "/health-check", nil, nil, &health, "") != nil {
		return ""
	}
	return oneLine([]byte(health.Version))
}

// NotJSON tells whether the answer was of something that is no Orka.
func NotJSON(err error) bool { return errors.Is(err, errNotJSON) }

// HasConfig tells whether Orka has a template of that name.
func (c *Client) HasConfig(ctx context.Context, name string) error {
	return c.rest.call(ctx, http.MethodGet, in(imageNamespace, "vmconfigs", name), nil, nil, nil)
}

// ImageNamespace is where Orka keeps what all namespaces share.
const ImageNamespace = imageNamespace

// Versions returns those in which the cluster serves Orka's objects.
func (k *Kube) Versions(ctx context.Context) ([]string, error) {
	var group struct {
		Versions []struct {
			Version string `json:"version"`
		} `json:"versions"`
	}
	if err := k.d.call(ctx, http.MethodGet, "/apis/orka.macstadium.com", nil, nil, &group); err != nil {
		return nil, err
	}
	var all []string
	for _, v := range group.Versions {
		all = append(all, v.Version)
	}
	return all, nil
}

// A Right is something that somebody may be allowed to do.
type Right struct {
	Verb, Group, Resource, Namespace string
}

// May asks whether the token has a right: Kubernetes' SelfSubjectAccessReview.
func (k *Kube) May(ctx context.Context, r Right) (allowed bool, reason string, err error) {
	ask := map[string]any{
		"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
		"spec": map[string]any{"resourceAttributes": map[string]any{
			"verb": r.Verb, "group": r.Group, "resource": r.Resource, "namespace": r.Namespace,
		}},
	}
	var answer struct {
		Status struct {
			Allowed bool `json:"allowed"`
			Reason  Text `json:"reason"`
		} `json:"status"`
	}
	err = k.d.call(ctx, http.MethodPost, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", nil, ask, &answer)
	return answer.Status.Allowed, oneLine([]byte(answer.Status.Reason)), err
}

// nodeImage is one of an OrkaNode's status.images: an image that the node has, fetches, or failed to fetch.
type nodeImage struct {
	Names  []string `json:"names"`
	Status Text     `json:"status"`
}

func (i nodeImage) has(image string) bool {
	ready := i.Status == "" || strings.EqualFold(string(i.Status), "Ready")
	return ready && slices.ContainsFunc(i.Names, func(name string) bool { return latest(name) == latest(image) })
}

// latest is an image's name with the tag that a reference without one has.
func latest(image string) string {
	if slash := strings.LastIndex(image, "/"); slash < 0 || strings.ContainsAny(image[slash:], ":@") {
		return image
	}
	return image + ":latest"
}

// Cached tells on how many of the nodes that are named an image is already. Nodes are
// objects of the namespace that Orka shares, whoever may use them.
func (k *Kube) Cached(ctx context.Context, image string, nodes []string) (on int, err error) {
	var list struct {
		Items []struct {
			Metadata struct {
				Name string `json:"name"`
			} `json:"metadata"`
			Status struct {
				Images []nodeImage `json:"images"`
			} `json:"status"`
		}
	}
	path := "/apis/" + apiVersion + "/namespaces/" + url.PathEscape(imageNamespace) + "/orkanodes"
	if err := k.d.call(ctx, http.MethodGet, path, nil, nil, &list); err != nil {
		return 0, err
	}
	for _, n := range list.Items {
		if slices.Contains(nodes, n.Metadata.Name) && slices.ContainsFunc(n.Status.Images, func(i nodeImage) bool { return i.has(image) }) {
			on++
		}
	}
	return on, nil
}
