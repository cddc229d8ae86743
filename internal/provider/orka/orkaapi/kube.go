package orkaapi

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"outrigger.dev/outrigger/internal/fault"
)

// Group and version of Orka's objects in Kubernetes.
const (
	apiVersion  = "orka.macstadium.com/v1"
	kindVM      = "VirtualMachineInstance"
	labelConfig = "orka.macstadium.com/vm-config"
)

// Kube is the Kubernetes API's door to the VMs of a namespace.
type Kube struct {
	d         door
	c         *Client
	namespace string
}

// Kube returns the Kubernetes API's door, which cluster-info describes.
func (c *Client) Kube(info Info, namespace string) (*Kube, error) {
	u, err := url.Parse(info.APIEndpoint)
	if err != nil || u.Host == "" {
		return nil, fault.New(fault.ProviderRefused, "orka: cluster-info names no Kubernetes API: apiEndpoint is %q", info.APIEndpoint)
	}
	k := &Kube{c: c, namespace: namespace}
	k.d = door{base: strings.TrimRight(info.APIEndpoint, "/"), who: c.who, log: c.Log}
	k.d.http, err = c.transport(info.CertData)
	return k, err
}

// Probe tells whether the token may look at VMs here, and whether they are of the version
// that we speak. It asks once.
func (k *Kube) Probe(ctx context.Context) error {
	return k.d.once(ctx, http.MethodGet, k.path(""), url.Values{"limit": {"1"}}, nil, &struct{}{})
}

// path is that of the namespace's VMs, or of one.
func (k *Kube) path(name string) string {
	p := "/apis/" + apiVersion + "/namespaces/" + url.PathEscape(k.namespace) + "/virtualmachineinstances"
	if name != "" {
		p += "/" + url.PathEscape(name)
	}
	return p
}

// kubeVM is a VirtualMachineInstance.
type kubeVM struct {
	Metadata struct {
		Name              string            `json:"name"`
		UID               string            `json:"uid"`
		ResourceVersion   string            `json:"resourceVersion"`
		CreationTimestamp Text              `json:"creationTimestamp"`
		DeletionTimestamp Text              `json:"deletionTimestamp"`
		Labels            map[string]string `json:"labels"`
		Annotations       map[string]string `json:"annotations"`
	} `json:"metadata"`
	Spec struct {
		Image string `json:"image"`
		CPU   Int    `json:"cpu"`
	} `json:"spec"`
	Status struct {
		Phase        Text   `json:"phase"`
		NodeName     string `json:"nodeName"`
		HostIP       string `json:"hostIP"`
		IP           string `json:"ip"`
		SSHPort      Int    `json:"sshPort"`
		PortWarnings Text   `json:"portWarnings"`
		Error        Text   `json:"errorMessage"`
	} `json:"status"`
}

func (v kubeVM) vm() VM {
	m, st := v.Metadata, v.Status
	vm := VM{
		Name: m.Name, UID: m.UID, Version: m.ResourceVersion, Phase: Phase(st.Phase), Node: st.NodeName, Host: st.HostIP,
		SSH: int(st.SSHPort), Image: v.Spec.Image, CPU: int(v.Spec.CPU), Created: parseTime(string(m.CreationTimestamp)),
		Deleting: m.DeletionTimestamp != "", Error: oneLine([]byte(st.Error)), Warnings: oneLine([]byte(st.PortWarnings)),
		Labels: m.Labels, Annotations: m.Annotations,
	}
	if st.IP != "" { // the VM's own in bridge mode, else the node's or none at all
		vm.Host, vm.Bridged = st.IP, st.IP != st.HostIP
	}
	if vm.Phase == "" {
		vm.Phase = Pending // nobody has looked at the object yet
	}
	return vm
}

// List returns all VMs of the namespace, whoever made them.
func (k *Kube) List(ctx context.Context) ([]VM, error) {
	var all []VM
	query := url.Values{"limit": {"500"}}
	for {
		var list struct {
			Metadata struct{ Continue string }
			Items    []kubeVM
		}
		if err := k.d.call(ctx, http.MethodGet, k.path(""), query, nil, &list); err != nil {
			if Code(err) == http.StatusGone && query.Has("continue") { // the list is older than the server remembers
				all = nil
				query.Del("continue")
				continue
			}
			return nil, err
		}
		for _, v := range list.Items {
			all = append(all, v.vm())
		}
		if list.Metadata.Continue == "" {
			return all, nil
		}
		query.Set("continue", list.Metadata.Continue)
	}
}

// Get returns one VM; see [IsNotFound].
func (k *Kube) Get(ctx context.Context, name string) (VM, error) {
	var v kubeVM
	err := k.d.call(ctx, http.MethodGet, k.path(name), nil, nil, &v)
	return v.vm(), err
}

// Deploy makes the object, once. Orka makes the VM of it in its own time.
func (k *Kube) Deploy(ctx context.Context, d Deploy) error {
	return k.d.once(ctx, http.MethodPost, k.path(""), nil, d.object(k.c.Fields), nil)
}

// Blocks tells that Deploy returns at once.
func (k *Kube) Blocks() bool { return false }

// Delete ends a VM; one that does not exist is no error.
func (k *Kube) Delete(ctx context.Context, name string) error {
	options := map[string]any{"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
	err := k.d.call(ctx, http.MethodDelete, k.path(name), nil, options, nil)
	if IsNotFound(err) {
		return nil
	}
	return err
}

// object is the deploy as an object. The names of its spec are published, so that
// no doubt applies to them.
func (d Deploy) object(Fields) map[string]any {
	spec := map[string]any{}
	put(spec, "image", d.Image)
	put(spec, "nodeName", d.Node)
	d.common(spec, defaultFields())
	labels := maps.Clone(d.Labels)
	if d.VMConfig != "" {
		if labels == nil {
			labels = map[string]string{}
		}
		labels[labelConfig] = d.VMConfig
	}
	meta := map[string]any{"name": d.Name}
	if len(labels) > 0 {
		meta["labels"] = labels
	}
	if len(d.Annotations) > 0 {
		meta["annotations"] = d.Annotations
	}
	return map[string]any{"apiVersion": apiVersion, "kind": kindVM, "metadata": meta, "spec": spec}
}

// watchSeconds is how long the server keeps one watch open.
const watchSeconds = 300

// errStale says that a watch cannot go on from where it was: look again.
var errStale = errors.New("the watch is too old")

// Watch reports each change of one VM after version, until ctx ends or the watch
// closes, which happens at any time. Gone is reported once, and ends it.
func (k *Kube) Watch(ctx context.Context, name, version string, report func(vm VM, gone bool)) error {
	query := url.Values{
		"watch": {"true"}, "fieldSelector": {"metadata.name=" + name}, "timeoutSeconds": {strconv.Itoa(watchSeconds)},
		"allowWatchBookmarks": {"true"},
	}
	if version != "" {
		query.Set("resourceVersion", version)
	}
	resp, err := k.d.send(ctx, http.MethodGet, k.path(""), query, nil, k.d.who.current().Reveal())
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return refusal(resp)
	}
	events := json.NewDecoder(resp.Body)
	for {
		var e struct {
			Type   string          `json:"type"`
			Object json.RawMessage `json:"object"`
		}
		if err := events.Decode(&e); err != nil {
			if errors.Is(err, io.EOF) {
				return nil // closed, as watches are
			}
			return err
		}
		if e.Type == "ERROR" {
			return errStale
		}
		if e.Type != "ADDED" && e.Type != "MODIFIED" && e.Type != "DELETED" {
			continue
		}
		var v kubeVM
		if err := json.Unmarshal(e.Object, &v); err != nil {
			return err
		}
		if v.Metadata.Name != name { // a server that does not select
			continue
		}
		report(v.vm(), e.Type == "DELETED")
		if e.Type == "DELETED" {
			return nil
		}
	}
}
