package rest

import (
	"fmt"
	"html"
	"net/http"
	"strings"

	"outrigger.dev/outrigger/internal/devorka/orkav1"
	"outrigger.dev/outrigger/internal/devorka/store"
)

// publicRoutes are those that need no token besides cluster-info. What the page and the metrics of a real cluster
// hold is not published.
func (s *server) publicRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/v1/swagger", s.page)
	mux.HandleFunc("GET /api/v1/swagger/{$}", s.page)
	mux.HandleFunc("GET /metrics", s.metrics)
}

// page lists the calls of this door, in place of the Swagger UI.
func (s *server) page(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = fmt.Fprintf(w, "<!DOCTYPE html>\n<title>outrigger dev orka</title>\n<h1>Calls of this Orka</h1>\n<pre>%s</pre>\n",
		html.EscapeString(strings.Join(s.calls, "\n")))
}

// metrics counts VMs by phase, as Prometheus reads it.
func (s *server) metrics(w http.ResponseWriter, _ *http.Request) {
	all, _ := s.Store.List(store.VMs, "")
	count := map[orkav1.Phase]int{}
	for _, o := range all {
		count[store.Status[orkav1.VMStatus](o).Phase]++
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	const name = "outrigger_dev_orka_virtualmachineinstances"
	_, _ = fmt.Fprintf(w, "# HELP %[1]s VMs of the cluster by phase.\n# TYPE %[1]s gauge\n", name)
	for _, phase := range []orkav1.Phase{orkav1.Pending, orkav1.Running, orkav1.Failed} {
		_, _ = fmt.Fprintf(w, "%s{phase=%q} %d\n", name, phase, count[phase])
	}
}
