package devorka

import (
	"context"
	"net/http"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"outrigger.dev/outrigger/internal/devorka/access"
	"outrigger.dev/outrigger/internal/devorka/door"
	"outrigger.dev/outrigger/internal/devorka/inject"
)

// withDev adds /dev/…, which no Orka has: faults on demand, and what only somebody at
// the cluster could do. It takes a token of the role orka-admin.
func (s *Server) withDev(next http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", next)
	handle := func(pattern string, f func(w http.ResponseWriter, r *http.Request) error) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			user, err := s.access.Who(r)
			if err == nil {
				err = s.access.Allow(user, access.Request{Verb: "update", Resource: "faults"})
			}
			if err == nil {
				err = f(w, r)
			}
			if err != nil {
				door.Fail(w, err)
			}
		})
	}
	handle("GET /dev/faults", func(w http.ResponseWriter, _ *http.Request) error {
		door.JSON(w, http.StatusOK, map[string]any{"items": s.faults.List()})
		return nil
	})
	handle("POST /dev/faults", func(w http.ResponseWriter, r *http.Request) error {
		var f inject.Fault
		if err := door.Read(w, r, &f); err != nil {
			return err
		}
		f, err := s.faults.Add(f)
		if err != nil {
			return apierrors.NewBadRequest(err.Error())
		}
		door.JSON(w, http.StatusCreated, f)
		return nil
	})
	handle("DELETE /dev/faults", func(w http.ResponseWriter, _ *http.Request) error {
		s.faults.Remove(0)
		door.Done(w, nil)
		return nil
	})
	handle("DELETE /dev/faults/{id}", func(w http.ResponseWriter, r *http.Request) error {
		id, err := strconv.Atoi(r.PathValue("id"))
		if err != nil || id <= 0 {
			return apierrors.NewBadRequest("the number of a fault is wanted")
		}
		s.faults.Remove(id)
		door.Done(w, nil)
		return nil
	})
	handle("POST /dev/restart", func(w http.ResponseWriter, r *http.Request) error {
		var req struct{ Down inject.Duration }
		if err := door.Read(w, r, &req); err != nil {
			return err
		}
		door.JSON(w, http.StatusAccepted, req)
		s.wg.Go(func() {
			if err := s.Restart(context.Background(), time.Duration(req.Down)); err != nil { // it is nobody's request any more
				s.cfg.Log.Error("doors do not open again", "error", err)
			}
		})
		return nil
	})
	s.devVMs(handle)
	handle("POST /dev/rotate-keys", func(w http.ResponseWriter, _ *http.Request) error {
		if err := s.RotateKeys(); err != nil {
			return err
		}
		door.Done(w, nil)
		return nil
	})
	return mux
}

// devVMs are the calls that do something to one VM, node or namespace.
func (s *Server) devVMs(handle func(string, func(http.ResponseWriter, *http.Request) error)) {
	type request struct {
		Namespace, Name, Other string
		Ready                  bool
		VMs                    int
	}
	post := func(path string, f func(request) error) {
		handle("POST /dev/"+path, func(w http.ResponseWriter, r *http.Request) error {
			var req request
			if err := door.Read(w, r, &req); err != nil {
				return err
			}
			set(&req.Namespace, "orka-default")
			if err := f(req); err != nil {
				return apierrors.NewBadRequest(err.Error())
			}
			door.Done(w, nil)
			return nil
		})
	}
	post("crash", func(q request) error { return s.operator.Crash(q.Namespace, q.Name) })
	post("mix", func(q request) error { return s.operator.Mix(q.Namespace, q.Name, q.Other) })
	post("node", func(q request) error { return s.NodeReady(q.Name, q.Ready) })
	post("quota", func(q request) error {
		s.operator.SetQuota(q.Namespace, q.VMs)
		return nil
	})
}
