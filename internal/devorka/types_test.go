package devorka_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"outrigger.dev/outrigger/internal/devorka"
	"outrigger.dev/outrigger/internal/devorka/operator"
)

// The fields that the published Go types always send: those without omitempty.
var always = map[string][]string{
	"virtualmachineinstances": {"memory", "nodeName", "hostIP", "ip", "portWarnings", "startTime", "errorMessage"},
	"orkanodes": {
		"nodeIP", "availableCpu", "availableMemory", "availableGpu", "allocatableCpu", "allocatableMemory", "allocatableGpu",
		"nodeType", "phase", "kubeletVersion", "containerRuntimeVersion", "osVersion",
	},
}

func TestStatusHasEveryPublishedField(t *testing.T) {
	c := start(t, devorka.Config{})
	c.deploy("a", sequoia)
	for plural, fields := range always {
		items := kubeGet[struct {
			Items []struct{ Status map[string]any }
		}](c, strings.Replace(instances, "virtualmachineinstances", plural, 1)).Items
		if len(items) != 1 {
			t.Fatalf("%s: %v", plural, items)
		}
		for _, f := range fields {
			v, there := items[0].Status[f]
			if !there || v == "" && !slices.Contains([]string{"portWarnings", "errorMessage"}, f) {
				t.Errorf("%s: status.%s is %v", plural, f, v)
			}
		}
	}
	st := kubeGet[struct{ Status struct{ IP, HostIP string } }](c, instances+"/a").Status
	if st.IP != st.HostIP {
		t.Errorf("NAT: a client dials %s, the ports are at %s", st.IP, st.HostIP)
	}
}

func TestConsoleIsWhereItIsWanted(t *testing.T) {
	c := start(t, devorka.Config{IntelHosts: 1})
	for name, spec := range map[string]map[string]any{
		"off": {"image": sequoia, "vncConsole": false},
		"gpu": {"image": "90gbventurassh.img", "gpuPassthrough": true},
	} {
		spec["name"] = name
		if vm := ok[deployed](c, http.MethodPost, vms, spec); vm.VNC != nil || vm.SSH == nil || vm.Screenshare == nil {
			t.Errorf("%s: %+v", name, vm)
		}
	}
	if vm := c.deploy("on", sequoia); vm.VNC == nil {
		t.Errorf("by default: %+v", vm)
	}
}

func TestSaveWantsAName(t *testing.T) {
	c := start(t, devorka.Config{})
	c.deploy("a", sequoia)
	before := len(ok[struct{ Items []image }](c, http.MethodGet, images, nil).Items)
	for _, body := range []map[string]any{{}, {"name": "x"}, {"imagename_": "x"}, {"imageName": ""}} {
		code, text := c.call(http.MethodPost, vms+"/a/save", body)
		if code != http.StatusBadRequest || !strings.Contains(text, "imageName is required") {
			t.Errorf("%v: %d %s", body, code, text)
		}
	}
	if after := len(ok[struct{ Items []image }](c, http.MethodGet, images, nil).Items); after != before {
		t.Errorf("%d images, there were %d", after, before)
	}
}

// TestSizesOfZeroAreNone: Go's clients cannot leave a Quantity out.
func TestSizesOfZeroAreNone(t *testing.T) {
	c := start(t, devorka.Config{})
	const kube = "/apis/orka.macstadium.com/v1/namespaces/orka-default/images/"
	for name, size := range map[string]any{"text": "0", "number": 0, "unit": "0Gi", "none": ""} {
		ok[map[string]any](c, http.MethodPost, images, map[string]any{"name": name, "size": size})
		if got := kubeGet[struct{ Spec map[string]any }](c, kube+name).Spec["size"]; got != "90G" {
			t.Errorf("%s: size %v", name, got)
		}
	}
	ok[map[string]any](c, http.MethodPost, images, map[string]any{"name": "own", "size": "40G"})
	if got := kubeGet[struct{ Spec map[string]any }](c, kube+"own").Spec["size"]; got != "40G" {
		t.Errorf("size %v", got)
	}
	if code, text := c.call(http.MethodPost, images, map[string]any{"name": "odd", "size": "big"}); code != http.StatusForbidden {
		t.Errorf("no size: %d %s", code, text)
	}
}

func TestClusterInfoNamesADomain(t *testing.T) {
	for want, names := range map[string][]string{"localhost": nil, "orka.example.com": {"orka.example.com", "other.example.com"}} {
		c := start(t, devorka.Config{Names: names})
		if got := ok[struct{ APIDomain string }](c, http.MethodGet, "/api/v1/cluster-info", nil).APIDomain; got != want {
			t.Errorf("apiDomain %q, want %q", got, want)
		}
	}
}

func TestPushIsSelectedByEitherLabel(t *testing.T) {
	c := start(t, devorka.Config{})
	c.deploy("a", sequoia)
	body := map[string]any{"imageReference": "registry.example.com/mac:1"}
	job := ok[struct{ JobName string }](c, http.MethodPost, vms+"/a/push", body).JobName
	for _, label := range []string{"job-name", "batch.kubernetes.io/job-name"} {
		const pods = "/api/v1/namespaces/orka-default/pods?labelSelector="
		await(t, "the Pod with label "+label+" succeeds", func() bool {
			items := kubeGet[struct {
				Items []struct{ Status struct{ Phase string } }
			}](c, pods+label+"%3D"+job).Items
			return len(items) == 1 && items[0].Status.Phase == "Succeeded"
		})
	}
}

// TestPagesWithoutAToken are what a browser and a Prometheus ask for.
func TestPagesWithoutAToken(t *testing.T) {
	c := start(t, devorka.Config{})
	c.deploy("a", sequoia)
	for path, want := range map[string]string{
		"/api/v1/swagger": "POST /api/v1/namespaces/{ns}/vms", "/api/v1/swagger/": "<pre>", "/metrics": `{phase="Running"} 1`,
	} {
		code, text, err := c.try(http.MethodGet, path, "", nil)
		if err != nil || code != http.StatusOK || !strings.Contains(text, want) {
			t.Errorf("%s: %d %s (%v)", path, code, text, err)
		}
	}
}

// TestNodesBelongToNodes: an OrkaNode is owned by Kubernetes' Node of its name.
func TestNodesBelongToNodes(t *testing.T) {
	c := start(t, devorka.Config{})
	type object struct {
		Metadata struct {
			Name, UID       string
			OwnerReferences []struct{ Kind, Name, UID string }
		}
	}
	orka := kubeGet[object](c, strings.Replace(instances, "virtualmachineinstances", "orkanodes/mini-arm-1", 1)).Metadata
	node := kubeGet[object](c, "/api/v1/nodes/mini-arm-1").Metadata
	owners := orka.OwnerReferences
	if len(owners) != 1 || owners[0].Kind != "Node" || node.UID == "" || owners[0].UID != node.UID {
		t.Errorf("%+v is not owned by %+v", orka, node)
	}
}

// TestFailedVMsAreDropped: one possible cluster keeps none; who waits for the deploy still learns why.
func TestFailedVMsAreDropped(t *testing.T) {
	c := start(t, devorka.Config{Doubts: operator.Doubts{DropFailed: true}})
	c.arm(`{"kind": "fails", "message": "no luck"}`)
	code, text := c.call(http.MethodPost, vms, map[string]any{"image": sequoia, "name": "a"})
	if code != http.StatusInternalServerError || !strings.Contains(text, "no luck") {
		t.Errorf("deploy: %d %s", code, text)
	}
	await(t, "the VM is gone", func() bool { return len(ok[listed](c, http.MethodGet, vms, nil).Items) == 0 })
}

// TestCopiesKeepTheirDescription unless they get their own.
func TestCopiesKeepTheirDescription(t *testing.T) {
	c := start(t, devorka.Config{})
	const of = images + "/sonoma-90gb-orka3-arm"
	ok[map[string]any](c, http.MethodPost, of+"/description", map[string]any{"description": "with tools"})
	for name, description := range map[string]string{"same": "", "other": "another"} {
		ok[map[string]any](c, http.MethodPost, of+"/copy", map[string]any{"name": name, "description": description})
		want := description
		if want == "" {
			want = "with tools"
		}
		if got := ok[image](c, http.MethodGet, images+"/"+name, nil).Description; got != want {
			t.Errorf("%s: description %q, want %q", name, got, want)
		}
	}
}
