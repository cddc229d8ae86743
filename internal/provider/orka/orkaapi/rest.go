package orkaapi

import (
	"context"
	"net/http"
	"net/url"
	"strings"
)

// Info asks where the cluster's Kubernetes API is. No token is needed.
func (c *Client) Info(ctx context.Context) (Info, error) {
	var info Info
	err := c.rest.call(ctx, http.MethodGet, "/cluster-info", nil, nil, &info)
	return info, err
}

// restVM is a VM as the REST API says it, in lists and as the answer to a deploy.
type restVM struct {
	Name         string            `json:"name"`
	IP           string            `json:"ip"`
	Node         string            `json:"node"`
	Image        string            `json:"image"`
	Status       Text              `json:"status"`
	CPU          Int               `json:"cpu"`
	SSH          Int               `json:"ssh"`
	DeployDate   Text              `json:"deployDate"`
	PortWarnings Text              `json:"portWarnings"`
	Error        Text              `json:"errorMessage"`
	Labels       map[string]string `json:"labels"`
}

func (v restVM) vm() VM {
	return VM{
		Name: v.Name, Phase: Phase(v.Status), Node: v.Node, Host: v.IP, SSH: int(v.SSH), Image: v.Image, CPU: int(v.CPU),
		Created: parseTime(string(v.DeployDate)), Error: oneLine([]byte(v.Error)), Warnings: oneLine([]byte(v.PortWarnings)), Labels: v.Labels,
	}
}

// REST is the REST API's door to the VMs of a namespace.
type REST struct {
	c         *Client
	namespace string
}

// REST returns the REST API's door.
func (c *Client) REST(namespace string) *REST { return &REST{c, namespace} }

// in is a path of the namespace.
func in(namespace string, parts ...string) string {
	escaped := []string{"/namespaces", url.PathEscape(namespace)}
	for _, p := range parts {
		escaped = append(escaped, url.PathEscape(p))
	}
	return strings.Join(escaped, "/")
}

// List returns all VMs of the namespace, whoever made them.
func (r *REST) List(ctx context.Context) ([]VM, error) {
	var list struct{ Items []restVM }
	if err := r.c.rest.call(ctx, http.MethodGet, in(r.namespace, "vms"), nil, nil, &list); err != nil {
		return nil, err
	}
	all := make([]VM, 0, len(list.Items))
	for _, v := range list.Items {
		all = append(all, v.vm())
	}
	return all, nil
}

// Get returns one VM; see [IsNotFound].
func (r *REST) Get(ctx context.Context, name string) (VM, error) {
	var v restVM
	err := r.c.rest.call(ctx, http.MethodGet, in(r.namespace, "vms", name), nil, nil, &v)
	if err == nil && v.Name == "" {
		v.Name = name
	}
	return v.vm(), err
}

// Deploy asks once and waits until the VM runs or the server gives up waiting. What the
// answer says of the VM is not believed: it is looked up.
func (r *REST) Deploy(ctx context.Context, d Deploy) error {
	return r.c.rest.once(ctx, http.MethodPost, in(r.namespace, "vms"), nil, d.rest(r.c.Fields), nil)
}

// Blocks tells that Deploy returns when the VM runs.
func (r *REST) Blocks() bool { return true }

// Delete ends a VM; one that does not exist is no error.
func (r *REST) Delete(ctx context.Context, name string) error {
	err := r.c.rest.call(ctx, http.MethodDelete, in(r.namespace, "vms", name), nil, nil, nil)
	if IsNotFound(err) {
		return nil
	}
	return err
}

// rest is the deploy in the words of the REST API.
func (d Deploy) rest(names Fields) map[string]any {
	out := map[string]any{"name": d.Name}
	put(out, "image", d.Image)
	put(out, "vmConfig", d.VMConfig)
	put(out, "node", d.Node)
	put(out, "timeout", d.Minutes)
	d.common(out, names)
	return out
}

// common puts in what both doors have. Their names differ only where names says so.
func (d Deploy) common(out map[string]any, names Fields) {
	put(out, "cpu", d.CPU)
	put(out, "memory", d.MemoryGB)
	put(out, "scheduler", d.Scheduler)
	put(out, "tag", d.Tag)
	put(out, "tagRequired", d.TagRequired)
	put(out, "reservedPorts", d.ReservedPorts)
	say(out, "netBoost", d.NetBoost)
	say(out, "legacyIO", d.LegacyIO)
	say(out, "gpuPassthrough", d.GPU)
	say(out, names[fieldVNCConsole], d.VNCConsole)
	put(out, names[fieldISO], d.ISO)
	put(out, names[fieldSerial], d.SystemSerial)
	put(out, "displayWidth", d.DisplayWidth)
	put(out, "displayHeight", d.DisplayHeight)
	put(out, names[fieldDisplayDPI], d.DisplayDPI)
	if len(d.Metadata) > 0 {
		out[names[fieldMetadata]] = d.Metadata
	}
}

// put says what is not zero.
func put[T comparable](out map[string]any, key string, value T) {
	var zero T
	if value != zero {
		out[key] = value
	}
}

// say says what somebody has decided, either way.
func say(out map[string]any, key string, value *bool) {
	if value != nil {
		out[key] = *value
	}
}

// Nodes returns the nodes that VMs of the namespace may run on.
func (c *Client) Nodes(ctx context.Context, namespace string) ([]Node, error) {
	var list struct {
		Items []struct {
			Name     string   `json:"name"`
			NodeIP   string   `json:"nodeIP"`
			FreeCPU  Int      `json:"availableCpu"`
			Phase    Text     `json:"phase"`
			OrkaTags []string `json:"orkaTags"`
		}
	}
	if err := c.rest.call(ctx, http.MethodGet, in(namespace, "nodes"), nil, nil, &list); err != nil {
		return nil, err
	}
	var all []Node
	for _, n := range list.Items {
		all = append(all, Node{n.Name, n.NodeIP, int(n.FreeCPU), strings.EqualFold(string(n.Phase), "READY"), n.OrkaTags})
	}
	return all, nil
}
