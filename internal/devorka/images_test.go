package devorka_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/devorka"
	"outrigger.dev/outrigger/internal/devorka/operator"
)

const images = "/api/v1/namespaces/orka-default/images"

type image struct{ Name, State, Type, Description string }

func (c *cluster) deploy(name, image string) deployed {
	c.t.Helper()
	return ok[deployed](c, http.MethodPost, vms, map[string]any{"image": image, "name": name})
}

// TestImagesAreWhatWasSaved follows the files of a VM through save, commit, copy and push.
func TestImagesAreWhatWasSaved(t *testing.T) {
	c := start(t, devorka.Config{Hosts: 4})
	const base = "sonoma-90gb-orka3-arm"
	vm := c.deploy("maker", base)
	client := login(t, vm.IP, *vm.SSH)
	sh(t, client, "mkdir -p sub && echo tools >sub/file && ln -s sub/file link && chmod 750 sub")

	ok[map[string]any](c, http.MethodPost, vms+"/maker/save", map[string]any{"imageName": "with-tools", "description": "has tools"})
	ready := func(name string) func() bool {
		return func() bool { return ok[image](c, http.MethodGet, images+"/"+name, nil).State == "Ready" }
	}
	await(t, "the image is ready", ready("with-tools"))
	if i := ok[image](c, http.MethodGet, images+"/with-tools", nil); i.Description != "has tools" || i.Type != "arm64" {
		t.Errorf("image: %+v", i)
	}
	// The VM was restarted: the connection is gone, the files are not.
	if _, err := client.NewSession(); err == nil {
		t.Error("a connection outlived the restart that saving is")
	}
	if got := sh(t, login(t, vm.IP, *vm.SSH), "cat link"); got != "tools" {
		t.Errorf("after saving: %q", got)
	}
	other := c.deploy("user", "with-tools")
	two := login(t, other.IP, *other.SSH)
	if got := sh(t, two, "cat link; stat -c %a sub"); got != "tools\n750" {
		t.Errorf("made from the image: %q", got)
	}
	if code, text := c.call(http.MethodPost, vms+"/maker/save", map[string]any{"imageName": "with-tools"}); code != http.StatusConflict {
		t.Errorf("name taken: %d %s", code, text)
	}
	if code, text := c.call(http.MethodPost, vms+"/maker/save", map[string]any{"imageName": "With_Tools"}); code != http.StatusForbidden || !strings.Contains(text, "image name must") {
		t.Errorf("bad name: %d %s", code, text)
	}

	sh(t, two, "echo more >more")
	ok[map[string]any](c, http.MethodPost, vms+"/user/commit", map[string]any{})
	await(t, "the image is ready again", ready("with-tools"))
	third := c.deploy("third", "with-tools")
	if got := sh(t, login(t, third.IP, *third.SSH), "cat more"); got != "more" {
		t.Errorf("made from the committed image: %q", got)
	}

	ok[image](c, http.MethodPost, images+"/with-tools/copy", map[string]any{"name": "copied"})
	await(t, "the copy is ready", ready("copied"))
	const ref = "registry.example.com/team/mac:1"
	if code, _ := c.call(http.MethodPost, vms, map[string]any{"image": ref, "name": "early"}); code != http.StatusInternalServerError {
		t.Errorf("an unknown reference: %d", code)
	}
	c.call(http.MethodDelete, vms+"/early", nil)
	c.call(http.MethodDelete, images+"/with-tools", nil)
	if code, text := c.call(http.MethodPost, vms, map[string]any{"image": "with-tools"}); code != http.StatusNotFound || !strings.Contains(text, "Image with-tools not found") {
		t.Errorf("deleted image: %d %s", code, text)
	}
	job := ok[struct{ JobName string }](c, http.MethodPost, vms+"/third/push", map[string]any{"imageReference": ref})
	k := c.tool(c.token)
	k.run("", "wait", "pod", "-l", "job-name="+job.JobName+",orka.macstadium.com/job.type=registry-push", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=20s")
	pulled := c.deploy("pulled", ref)
	if got := sh(t, login(t, pulled.IP, *pulled.SSH), "cat more link"); got != "more\ntools" {
		t.Errorf("made from the pushed image: %q", got)
	}
	copied := c.deploy("copied", "copied")
	if got := sh(t, login(t, copied.IP, *copied.SSH), "cat more"); got != "more" {
		t.Errorf("made from the copy: %q", got)
	}
}

// TestImageTimes: the first use of an image on a node takes long, the next ones do not.
func TestImageTimes(t *testing.T) {
	slow, quick := 500*time.Millisecond, time.Duration(0)
	c := start(t, devorka.Config{Hosts: 1, Times: &operator.Times{Uncached: slow, Cached: quick}})
	timed := func(name string) time.Duration {
		began := time.Now()
		c.deploy(name, sequoia)
		c.call(http.MethodDelete, vms+"/"+name, nil)
		return time.Since(began)
	}
	if took := timed("first"); took < slow {
		t.Errorf("the first took %s, want at least %s", took, slow)
	}
	node := func() []string {
		const path = "/apis/orka.macstadium.com/v1/namespaces/orka-default/orkanodes/mini-arm-1"
		var names []string
		for _, i := range kubeGet[struct {
			Status struct {
				Images []struct {
					Names        []string
					Size         int64
					Status       string
					ErrorMessage string
				}
			}
		}](c, path).Status.Images {
			if i.Status == "Ready" && i.Size > 0 {
				names = append(names, i.Names...)
			}
			if i.Status == "Failed" && i.ErrorMessage != "" {
				names = append(names, "failed: "+strings.Join(i.Names, " "))
			}
		}
		return names
	}
	if got := node(); len(got) != 1 || got[0] != sequoia {
		t.Errorf("cached: %v", got)
	}
	timed("second")
	ok[map[string]any](c, http.MethodPost, "/api/v1/imagecache/remove", map[string]any{"all": true})
	if got := node(); len(got) != 0 {
		t.Errorf("after imagecache remove: %v", got)
	}
	ok[map[string]any](c, http.MethodPost, "/api/v1/imagecache/add", map[string]any{"image": sequoia, "nodes": []string{"mini-arm-1"}})
	await(t, "the image is cached", func() bool { return len(node()) == 1 })
	add := func(image string) {
		t.Helper()
		ok[map[string]any](c, http.MethodPost, "/api/v1/imagecache/add", map[string]any{"image": image, "all": true})
	}
	add("ghcr.io/macstadium/orka-images/sonoma") // means :latest
	add("registry.example.com/team/none:1")
	await(t, "one is there and one failed", func() bool {
		got := strings.Join(node(), " ")
		return strings.Contains(got, "orka-images/sonoma:latest") && strings.Contains(got, "failed: registry.example.com/team/none:1")
	})
}
