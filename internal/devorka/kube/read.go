package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"outrigger.dev/outrigger/internal/devorka/door"
	"outrigger.dev/outrigger/internal/devorka/inject"
	"outrigger.dev/outrigger/internal/devorka/store"
)

func (s *server) get(c *call) error {
	o, err := s.Store.Get(c.kind, c.namespace, c.name)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, o)
}

// answer sends an object, as a table if that is what the client can print.
func (c *call) answer(code int, o *store.Object) error {
	if c.wantsTable() {
		t, err := table(c.kind, []*store.Object{o}, o.ResourceVersion)
		if err != nil {
			return err
		}
		door.JSON(c.w, code, t)
		return nil
	}
	door.JSON(c.w, code, o)
	return nil
}

func (s *server) list(c *call) error {
	sel, err := c.selection()
	if err != nil {
		return err
	}
	all, version := s.Store.List(c.kind, c.namespace)
	found := make([]*store.Object, 0, len(all))
	for _, o := range all {
		if sel.has(o) {
			found = append(found, o)
		}
	}
	if c.wantsTable() {
		t, err := table(c.kind, found, version)
		if err != nil {
			return err
		}
		door.JSON(c.w, http.StatusOK, t)
		return nil
	}
	door.JSON(c.w, http.StatusOK, listOf(c.kind, found, version))
	return nil
}

func listOf(k *store.Kind, all []*store.Object, version string) any {
	return struct {
		metav1.TypeMeta `json:",inline"`
		metav1.ListMeta `json:"metadata"`
		Items           []*store.Object `json:"items"`
	}{metav1.TypeMeta{Kind: k.Kind + "List", APIVersion: k.APIVersion()}, metav1.ListMeta{ResourceVersion: version}, all}
}

// watchLimit is how long a watch lasts that says nothing of it, and bookmarkEvery how
// often one that wants bookmarks gets one.
const (
	watchLimit    = 30 * time.Minute
	bookmarkEvery = time.Minute
)

// A stream is one watch.
type stream struct {
	*call
	s       *server
	sel     selection
	from    *store.Watch
	initial int // changes that are to come of what there was; -1: nobody wants to know
	marks   bool
}

func (s *server) watch(c *call) error {
	sel, err := c.selection()
	if err != nil {
		return err
	}
	q := c.r.URL.Query()
	limit := watchLimit
	if t := q.Get("timeoutSeconds"); t != "" {
		n, err := strconv.Atoi(t)
		if err != nil || n < 0 {
			return apierrors.NewBadRequest("timeoutSeconds must be a number of seconds")
		}
		if n > 0 {
			limit = time.Duration(n) * time.Second
		}
	}
	x := &stream{call: c, s: s, sel: sel, initial: -1, marks: q.Get("allowWatchBookmarks") == "true"}
	since := q.Get("resourceVersion")
	if q.Get("sendInitialEvents") == "true" {
		if q.Get("resourceVersionMatch") != string(metav1.ResourceVersionMatchNotOlderThan) {
			return apierrors.NewBadRequest("sendInitialEvents requires resourceVersionMatch NotOlderThan")
		}
		since = ""
	}
	x.from, err = s.Store.Watch(c.kind, c.namespace, since)
	c.w.Header().Set("Content-Type", "application/json")
	if err != nil {
		if !apierrors.IsResourceExpired(err) {
			return err
		}
		return x.fail(err)
	}
	defer x.from.Close()
	if q.Get("sendInitialEvents") == "true" {
		x.initial = x.from.Initial
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), limit)
	defer cancel()
	if f, cut := s.Faults.Request(inject.Cut, "kube", c.r); cut {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(f.Delay))
		defer cancel()
	}
	c.w.WriteHeader(http.StatusOK)
	if err := x.flush(); err != nil {
		return nil //nolint:nilerr // the client has left
	}
	x.run(ctx)
	return nil
}

// run sends changes until the watch or the client has ended.
func (x *stream) run(ctx context.Context) {
	if x.initial == 0 && x.endInitial() != nil {
		return
	}
	for {
		mark, cancel := context.WithTimeout(ctx, bookmarkEvery)
		e, err := x.from.Next(mark)
		cancel()
		switch {
		case err == nil:
			err = x.change(e)
			if err == nil && x.initial > 0 {
				if x.initial--; x.initial == 0 {
					err = x.endInitial()
				}
			}
		case ctx.Err() != nil || errors.Is(err, store.ErrClosed):
			return
		case x.marks:
			err = x.bookmark(nil)
		default:
			err = nil
		}
		if err != nil {
			return // the client has left
		}
	}
}

// change sends one, as those who select see it.
func (x *stream) change(e store.Event) error {
	was, is := x.sel.has(e.Old), x.sel.has(e.Object) && e.Type != store.Deleted
	switch {
	case is && was:
		return x.send(store.Modified, e.Object)
	case is:
		return x.send(store.Added, e.Object)
	case was:
		return x.send(store.Deleted, e.Object)
	}
	return nil
}

func (x *stream) send(what store.EventType, o *store.Object) error {
	if x.wantsTable() {
		t, err := table(x.kind, []*store.Object{o}, o.ResourceVersion)
		if err != nil {
			return err
		}
		return x.write(string(what), t)
	}
	return x.write(string(what), o)
}

// endInitial says that all there was has been sent.
func (x *stream) endInitial() error {
	x.initial = -1
	return x.bookmark(map[string]string{metav1.InitialEventsAnnotationKey: "true"})
}

// bookmark says up to which change everything has been sent. All that the store had
// when it was asked for its number is in the queue, so an empty queue is up to it.
func (x *stream) bookmark(notes map[string]string) error {
	version := x.from.Version
	if notes == nil {
		version = x.s.Store.Version()
		if x.from.Pending() > 0 {
			return nil
		}
	}
	return x.write("BOOKMARK", map[string]any{
		"kind": x.kind.Kind, "apiVersion": x.kind.APIVersion(),
		"metadata": metav1.ObjectMeta{ResourceVersion: version, Annotations: notes},
	})
}

func (x *stream) fail(err error) error {
	var st apierrors.APIStatus
	if !errors.As(err, &st) {
		return err
	}
	status := st.Status()
	status.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	_ = x.write("ERROR", status) // a client that has left needs no answer
	return nil
}

func (x *stream) write(what string, object any) error {
	var b bytes.Buffer
	err := json.NewEncoder(&b).Encode(struct {
		Type   string `json:"type"`
		Object any    `json:"object"`
	}{what, object})
	if err != nil {
		return err
	}
	if _, err := x.w.Write(b.Bytes()); err != nil {
		return err
	}
	return x.flush()
}

func (c *call) flush() error { return http.NewResponseController(c.w).Flush() }
