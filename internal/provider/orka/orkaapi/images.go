package orkaapi

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// imageNamespace is where Orka keeps all images and templates, whoever uses them.
const imageNamespace = "orka-default"

// restImage is an image as the REST API says it.
type restImage struct {
	Name        string `json:"name"`
	Description Text   `json:"description"`
	Type        Text   `json:"type"`
	State       Text   `json:"state"`
	Status      Text   `json:"status"`
	Error       Text   `json:"errorMessage"`
	Created     Text   `json:"creationTimestamp"`
	Size        Text   `json:"size"`
	SpaceUsed   Text   `json:"spaceUsed"`
}

func (i restImage) image() Image {
	out := Image{
		Name: i.Name, Description: oneLine([]byte(i.Description)), Arch: string(i.Type), State: string(i.State),
		Error: oneLine([]byte(i.Error)), Created: parseTime(string(i.Created)), Bytes: quantity(string(i.SpaceUsed)),
	}
	if out.State == "" {
		out.State = string(i.Status)
	}
	if out.Bytes == 0 {
		out.Bytes = quantity(string(i.Size))
	}
	return out
}

// quantity reads a size such as "15.3G" or "4.80Gi"; what is none is 0.
func quantity(s string) int64 {
	s = strings.TrimSpace(s)
	digits := strings.TrimRight(s, "KMGTBiykmgtb ")
	var f float64
	if _, err := fmt.Sscanf(digits, "%g", &f); err != nil || f < 0 || f > 1<<40 {
		return 0
	}
	unit, step := strings.TrimSpace(s[len(digits):]), 1000.0
	if strings.Contains(unit, "i") {
		step = 1024
	}
	for i, prefix := range "KMGT" {
		if strings.HasPrefix(strings.ToUpper(unit), string(prefix)) {
			for range i + 1 {
				f *= step
			}
		}
	}
	return int64(f)
}

// Images returns the images in Orka's own storage.
func (c *Client) Images(ctx context.Context) ([]Image, error) {
	var list struct{ Items []restImage }
	if err := c.rest.call(ctx, http.MethodGet, in(imageNamespace, "images"), nil, nil, &list); err != nil {
		return nil, err
	}
	var all []Image
	for _, i := range list.Items {
		all = append(all, i.image())
	}
	return all, nil
}

// Image returns one image; see [IsNotFound].
func (c *Client) Image(ctx context.Context, name string) (Image, error) {
	var i restImage
	err := c.rest.call(ctx, http.MethodGet, in(imageNamespace, "images", name), nil, nil, &i)
	if err == nil && i.Name == "" {
		i.Name = name
	}
	return i.image(), err
}

// DeleteImage deletes an image.
func (c *Client) DeleteImage(ctx context.Context, name string) error {
	return c.rest.call(ctx, http.MethodDelete, in(imageNamespace, "images", name), nil, nil, nil)
}

// HasImage tells whether Orka has what the deploy is made from. It cannot say of an image in a
// registry, nor without the right to look: then asked is false.
func (c *Client) HasImage(ctx context.Context, d Deploy) (what string, has, asked bool) {
	kind, name := "images", d.Image
	what = "image " + d.Image
	if d.VMConfig != "" {
		kind, name, what = "vmconfigs", d.VMConfig, "VM config "+d.VMConfig
	}
	if strings.ContainsAny(name, "/:") {
		return what, false, false
	}
	err := c.rest.call(ctx, http.MethodGet, in(imageNamespace, kind, name), nil, nil, nil)
	return what, err == nil, err == nil || IsNotFound(err)
}

// MetadataURL is where a VM is told its own name.
func (c *Client) MetadataURL() string { return c.Fields[fieldMetadataPath] }

// Save makes an image of a VM, which is stopped meanwhile. It returns when the server has
// taken it on, or when it is done: see the image's state.
func (c *Client) Save(ctx context.Context, namespace, vm, image, description string) error {
	body := map[string]any{"imageName": image, "description": description}
	return c.rest.once(ctx, http.MethodPost, in(namespace, "vms", vm, "save"), nil, body, nil)
}

// Commit overwrites the image that a VM was made from with the VM.
func (c *Client) Commit(ctx context.Context, namespace, vm, description string) error {
	return c.rest.once(ctx, http.MethodPost, in(namespace, "vms", vm, "commit"), nil, map[string]any{"description": description}, nil)
}

// RemoteImages returns the names in the catalogue of remote images.
func (c *Client) RemoteImages(ctx context.Context) ([]string, error) {
	var list struct{ Items []restImage }
	if err := c.rest.call(ctx, http.MethodGet, in(imageNamespace, "remoteimages"), nil, nil, &list); err != nil {
		return nil, err
	}
	var names []string
	for _, i := range list.Items {
		names = append(names, i.Name)
	}
	return names, nil
}

// Pull copies an image from the catalogue of remote images into Orka's own storage. It returns
// when the server has taken it on: see the image's state.
func (c *Client) Pull(ctx context.Context, remote, image, description string) error {
	body := map[string]any{c.Fields[fieldPullName]: image, "description": description}
	return c.rest.once(ctx, http.MethodPost, in(imageNamespace, "remoteimages", remote, "pull"), nil, body, nil)
}

// Uncache has nodes, all for none, forget an image that they keep. They do so later.
func (c *Client) Uncache(ctx context.Context, image string, nodes []string) error {
	body := map[string]any{c.Fields[fieldUncacheImage]: image}
	if len(nodes) == 0 {
		body["all"] = true
	} else {
		body["nodes"] = nodes
	}
	d := c.rest
	d.base = strings.TrimSuffix(d.base, restPath)
	return d.call(ctx, http.MethodPost, c.Fields[fieldUncachePath], nil, body, nil)
}

// Push begins to push a VM's disk to a registry and returns the name of the job that does it.
func (c *Client) Push(ctx context.Context, namespace, vm, reference string) (job string, err error) {
	var out struct {
		JobName string `json:"jobName"`
	}
	err = c.rest.once(ctx, http.MethodPost, in(namespace, "vms", vm, "push"), nil, map[string]any{"imageReference": reference}, &out)
	return out.JobName, err
}

// Job tells how far the Pod of a push is: its phase, "" if there is none, and its words.
func (k *Kube) Job(ctx context.Context, job string) (phase, words string, err error) {
	var list struct {
		Items []struct {
			Status struct {
				Phase   Text `json:"phase"`
				Message Text `json:"message"`
			} `json:"status"`
		}
	}
	query := url.Values{"labelSelector": {"job-name=" + job}}
	if err := k.d.call(ctx, http.MethodGet, "/api/v1/namespaces/"+url.PathEscape(k.namespace)+"/pods", query, nil, &list); err != nil {
		return "", "", err
	}
	for _, pod := range list.Items { // a job tries again with another Pod
		phase, words = string(pod.Status.Phase), oneLine([]byte(pod.Status.Message))
		if phase == "Succeeded" {
			return phase, words, nil
		}
	}
	return phase, words, nil
}
