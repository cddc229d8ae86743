package rest

import (
	"net/http"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"outrigger.dev/outrigger/internal/devorka/orkav1"
	"outrigger.dev/outrigger/internal/devorka/store"
)

// A Node is one as this door lists it.
type Node struct {
	Name              string   `json:"name"`
	Namespace         string   `json:"namespace"`
	NodeIP            string   `json:"nodeIP"`
	AvailableCPU      int      `json:"availableCpu"`
	AvailableMemory   string   `json:"availableMemory"`
	AvailableGPU      int      `json:"availableGpu"`
	AllocatableCPU    int64    `json:"allocatableCpu"`
	AllocatableMemory string   `json:"allocatableMemory"`
	AllocatableGPU    int64    `json:"allocatableGpu"`
	NodeType          string   `json:"nodeType"`
	Phase             string   `json:"phase"`
	OrkaTags          []string `json:"orkaTags"`
}

// A VMConfig is a template as this door lists it.
type VMConfig struct {
	Name           string   `json:"name"`
	CPU            int      `json:"cpu"`
	Image          string   `json:"image"`
	Memory         *float64 `json:"memory,omitempty"`
	Type           string   `json:"type"`
	NetBoost       *bool    `json:"netBoost,omitempty"`
	GPUPassthrough *bool    `json:"gpuPassthrough,omitempty"`
	Scheduler      *string  `json:"scheduler,omitempty"`
	Tag            *string  `json:"tag,omitempty"`
	TagRequired    *bool    `json:"tagRequired,omitempty"`
}

func (s *server) objectRoutes(mux *http.ServeMux) {
	const ns, n = "/api/v1/namespaces", "/api/v1/namespaces/{ns}"
	s.handle(mux, "GET "+ns, store.Namespaces, "list", func(c *call) error {
		all, _ := s.Store.List(store.Namespaces, "")
		return list(c, all, namespaceItem)
	})
	s.handle(mux, "POST "+ns, store.Namespaces, "", s.createNamespace)
	s.handle(mux, "GET "+n, store.Namespaces, "", func(c *call) error {
		o, err := s.Store.Get(store.Namespaces, "", c.ns)
		if err != nil {
			return err
		}
		return c.json(namespaceItem(o))
	})
	s.handle(mux, "DELETE "+n, store.Namespaces, "", s.deleteNamespace)

	s.handle(mux, "GET "+n+"/vmconfigs", store.Configs, "list", func(c *call) error {
		all, _ := s.Store.List(store.Configs, c.ns)
		return list(c, all, configItem)
	})
	s.handle(mux, "POST "+n+"/vmconfigs", store.Configs, "", s.createConfig)
	s.handle(mux, "GET "+n+"/vmconfigs/{name}", store.Configs, "", func(c *call) error {
		o, err := s.Store.Get(store.Configs, c.ns, c.name())
		if err != nil {
			return err
		}
		return c.json(configItem(o))
	})
	s.handle(mux, "DELETE "+n+"/vmconfigs/{name}", store.Configs, "", func(c *call) error {
		_, err := s.Store.Delete(store.Configs, c.ns, c.name())
		return err
	})

	s.handle(mux, "GET "+n+"/nodes", store.Nodes, "list", func(c *call) error {
		all, _ := s.Store.List(store.Nodes, "")
		all = slices.DeleteFunc(all, func(o *store.Object) bool { return store.Spec[orkav1.NodeSpec](o).Namespace != c.ns })
		return list(c, all, nodeItem)
	})
	node := func(change func(spec *orkav1.NodeSpec, value string), field string) func(*call) error {
		return func(c *call) error {
			req := map[string]string{}
			if err := c.read(&req); err != nil {
				return err
			}
			if req[field] == "" {
				return failed(http.StatusBadRequest, metav1.StatusReasonBadRequest, "%s is required", field)
			}
			_, err := s.Store.Update(store.Nodes, defaultNamespace, c.name(), func(o *store.Object) error {
				change(store.Spec[orkav1.NodeSpec](o), req[field])
				return nil
			})
			if err != nil {
				return err
			}
			return c.done()
		}
	}
	s.handle(mux, "POST "+n+"/nodes/{name}/tag", store.Nodes, "update", node(func(spec *orkav1.NodeSpec, tag string) {
		if !slices.Contains(spec.Tags, tag) {
			spec.Tags = append(spec.Tags, tag)
		}
	}, "tag"))
	s.handle(mux, "POST "+n+"/nodes/{name}/untag", store.Nodes, "update", node(func(spec *orkav1.NodeSpec, tag string) {
		spec.Tags = slices.DeleteFunc(spec.Tags, func(t string) bool { return t == tag })
	}, "tag"))
	s.handle(mux, "POST "+n+"/nodes/{name}/namespace", store.Nodes, "update", func(c *call) error {
		var req struct{ Namespace string }
		if err := c.read(&req); err != nil {
			return err
		}
		if req.Namespace == "" {
			return failed(http.StatusBadRequest, metav1.StatusReasonBadRequest, "namespace is required")
		}
		if err := s.Operator.MoveNode(c.name(), req.Namespace); err != nil {
			return err
		}
		return c.done()
	})
}

func namespaceItem(o *store.Object) map[string]any {
	return map[string]any{"name": o.Name, "customPods": o.Labels[orkav1.LabelCustomPods] == "true"}
}

func (s *server) createNamespace(c *call) error {
	var req struct {
		Name             string
		EnableCustomPods bool
	}
	if err := c.read(&req); err != nil {
		return err
	}
	o := &store.Object{ObjectMeta: meta("", req.Name)}
	if req.EnableCustomPods {
		o.Labels = map[string]string{orkav1.LabelCustomPods: "true"}
	}
	if _, err := s.Operator.CreateNamespace(o); err != nil {
		return err
	}
	return c.done()
}

func (s *server) deleteNamespace(c *call) error {
	if _, err := s.Operator.DeleteNamespace(c.ns); err != nil {
		return err
	}
	return c.done()
}

func configItem(o *store.Object) VMConfig {
	s := store.Spec[orkav1.ConfigSpec](o)
	return VMConfig{
		Name: o.Name, CPU: s.CPU, Image: s.Image, Memory: s.Memory, Type: o.Labels[orkav1.LabelArch], NetBoost: s.NetBoost,
		GPUPassthrough: s.GPUPassthrough, Scheduler: s.Scheduler, Tag: s.Tag, TagRequired: s.TagRequired,
	}
}

func (s *server) createConfig(c *call) error {
	var req struct {
		orkav1.ConfigSpec
		Name string `json:"name"`
	}
	if err := c.read(&req); err != nil {
		return err
	}
	o, err := s.Operator.CreateConfig(&store.Object{ObjectMeta: meta(c.ns, req.Name), Spec: &req.ConfigSpec}, c.user.Name)
	if err != nil {
		return err
	}
	return c.json(configItem(o))
}

func nodeItem(o *store.Object) Node {
	spec, st := store.Spec[orkav1.NodeSpec](o), store.Status[orkav1.NodeStatus](o)
	return Node{
		Name: o.Name, Namespace: spec.Namespace, NodeIP: st.NodeIP, AvailableCPU: st.AvailableCPU, AvailableMemory: st.AvailableMemory,
		AvailableGPU: st.AvailableGPU, AllocatableCPU: st.AllocatableCPU, AllocatableMemory: st.AllocatableMemory, AllocatableGPU: st.AllocatableGPU,
		NodeType: st.NodeType, Phase: st.Phase, OrkaTags: append([]string{}, spec.Tags...),
	}
}
