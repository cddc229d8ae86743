package rest

import (
	"net/http"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"outrigger.dev/outrigger/internal/devorka/orkav1"
	"outrigger.dev/outrigger/internal/devorka/store"
)

// An Image is one as this door lists it.
type Image struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	Type        string `json:"type"`
	State       string `json:"state"`
	Size        any    `json:"size,omitempty"`
	Error       string `json:"errorMessage,omitempty"`
}

func imageItem(o *store.Object) Image {
	spec, st := store.Spec[orkav1.ImageSpec](o), store.Status[orkav1.ImageStatus](o)
	i := Image{Name: o.Name, Description: o.Annotations[orkav1.NoteDescribed], Type: o.Labels[orkav1.LabelArch], Size: spec.Size}
	if st != nil {
		i.State, i.Error = st.State, st.ErrorMessage
	}
	return i
}

func (s *server) imageRoutes(mux *http.ServeMux) {
	const n = "/api/v1/namespaces/{ns}"
	s.handle(mux, "GET "+n+"/images", store.Images, "list", func(c *call) error {
		all, _ := s.Store.List(store.Images, c.ns)
		return list(c, all, imageItem)
	})
	s.handle(mux, "GET "+n+"/images/{name}", store.Images, "", func(c *call) error {
		o, err := s.Store.Get(store.Images, c.ns, c.name())
		if err != nil {
			return err
		}
		return c.json(imageItem(o))
	})
	s.handle(mux, "DELETE "+n+"/images/{name}", store.Images, "", func(c *call) error {
		if _, err := s.Store.Get(store.Images, c.ns, c.name()); err != nil {
			return err
		}
		_, err := s.Operator.DeleteImage(c.name())
		return err
	})
	create := func(c *call, name, description string, spec orkav1.ImageSpec) error {
		o := &store.Object{ObjectMeta: meta(c.ns, name), Spec: &spec}
		o.Annotations = map[string]string{orkav1.NoteDescribed: description}
		made, err := s.Operator.CreateImage(o, c.user.Name)
		if err != nil {
			return err
		}
		return c.json(imageItem(made))
	}
	// The bodies of these are not documented: fields are named as elsewhere.
	s.handle(mux, "POST "+n+"/images", store.Images, "", func(c *call) error {
		var req struct {
			Name, Description string
			Size              any
		}
		if err := c.read(&req); err != nil {
			return err
		}
		return create(c, req.Name, req.Description, orkav1.ImageSpec{Size: req.Size, SourceType: orkav1.SourceGenerated})
	})
	s.handle(mux, "POST "+n+"/images/{name}/copy", store.Images, "", func(c *call) error {
		var req struct{ Name, ImageName, Description string }
		if err := c.read(&req); err != nil {
			return err
		}
		return create(c, req.Name+req.ImageName, req.Description, orkav1.ImageSpec{Source: c.name(), SourceType: orkav1.SourceLocal})
	})
	s.handle(mux, "POST "+n+"/images/{name}/description", store.Images, "update", func(c *call) error {
		var req struct{ Description string }
		if err := c.read(&req); err != nil {
			return err
		}
		o, err := s.Store.Update(store.Images, c.ns, c.name(), func(o *store.Object) error {
			notes := map[string]string{orkav1.NoteDescribed: req.Description}
			for k, v := range o.Annotations {
				if k != orkav1.NoteDescribed {
					notes[k] = v
				}
			}
			o.Annotations = notes
			return nil
		})
		if err != nil {
			return err
		}
		return c.json(imageItem(o))
	})
	s.handle(mux, "GET "+n+"/images/{name}/download", store.Images, "", notHere("disks of its machines are no files of macOS"))
	s.handle(mux, "GET "+n+"/remoteimages", store.RemoteImages, "list", func(c *call) error {
		all, _ := s.Store.List(store.RemoteImages, c.ns)
		return list(c, all, func(o *store.Object) Image {
			spec := store.Spec[orkav1.RemoteImageSpec](o)
			return Image{Name: o.Name, Description: spec.ImageName, Type: o.Labels[orkav1.LabelArch], Size: spec.Size, State: orkav1.ImageReady}
		})
	})
	s.handle(mux, "POST "+n+"/remoteimages/{name}/pull", store.Images, "create", func(c *call) error {
		var req struct{ Name, ImageName, Description string }
		if err := c.read(&req); err != nil {
			return err
		}
		name := req.Name + req.ImageName
		if name == "" {
			name = c.name()
		}
		return create(c, name, req.Description, orkav1.ImageSpec{Source: c.name(), SourceType: orkav1.SourceRemote})
	})
	for _, k := range []*store.Kind{store.ISOs, store.RemoteISOs} {
		s.handle(mux, "GET "+n+"/"+k.Plural, k, "list", func(c *call) error { return list(c, nil, imageItem) })
		s.handle(mux, n+"/"+k.Plural+"/{rest...}", k, "", notHere("its machines boot no installation media"))
	}
	for _, kind := range []string{"image", "iso"} {
		s.handle(mux, "POST "+n+"/upload/"+kind, store.Images, "create", notHere("its machines cannot boot an uploaded disk"))
	}
	s.handle(mux, "POST /api/v1/upload/cert", store.Namespaces, "update", notHere("the certificate is its own"))
	for _, prefix := range []string{"/api/v1", "/v1"} { // the notes of 3.6 print the latter
		s.handle(mux, "POST "+prefix+"/imagecache/remove", store.Nodes, "update", s.cacheRemove)
		s.handle(mux, "POST "+prefix+"/imagecache/add", store.Nodes, "update", s.cacheAdd)
	}
}

// cacheRequest is what imagecache calls take: which nodes, and which image. How the
// image is named in it is not documented.
type cacheRequest struct {
	Image, ImageName string
	Nodes, Tags      []string
	All              bool
}

func (q cacheRequest) image() string { return q.Image + q.ImageName }

func (q cacheRequest) wants(o *store.Object) bool {
	return q.All || slices.Contains(q.Nodes, o.Name) ||
		slices.ContainsFunc(store.Spec[orkav1.NodeSpec](o).Tags, func(t string) bool { return slices.Contains(q.Tags, t) })
}

func (q cacheRequest) check() error {
	if !q.All && len(q.Nodes)+len(q.Tags) == 0 {
		return failed(http.StatusBadRequest, metav1.StatusReasonBadRequest, "one of nodes, tags, all is required")
	}
	return nil
}

func (s *server) cacheRemove(c *call) error {
	var req cacheRequest
	if err := c.read(&req); err != nil {
		return err
	}
	if err := req.check(); err != nil {
		return err
	}
	if err := s.Operator.Uncache(req.image(), req.wants); err != nil {
		return err
	}
	return c.done()
}

func (s *server) cacheAdd(c *call) error {
	var req cacheRequest
	if err := c.read(&req); err != nil {
		return err
	}
	if err := req.check(); err != nil {
		return err
	}
	if strings.TrimSpace(req.image()) == "" {
		return failed(http.StatusBadRequest, metav1.StatusReasonBadRequest, "image is required")
	}
	s.Operator.Cache(req.image(), req.wants)
	return c.done()
}
