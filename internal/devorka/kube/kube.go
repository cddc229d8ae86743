// Package kube is the Kubernetes door of an Orka 3 cluster.
package kube

import (
	"log/slog"
	"net/http"

	"outrigger.dev/outrigger/internal/devorka/access"
	"outrigger.dev/outrigger/internal/devorka/door"
	"outrigger.dev/outrigger/internal/devorka/inject"
	"outrigger.dev/outrigger/internal/devorka/operator"
	"outrigger.dev/outrigger/internal/devorka/store"
)

// A Config says what the door opens to.
type Config struct {
	Store    *store.Store
	Operator *operator.Operator
	Access   *access.Access
	Faults   *inject.Faults
	Log      *slog.Logger
}

// New returns the door.
func New(cfg Config) http.Handler {
	mux := http.NewServeMux()
	return door.Faulty("kube", cfg.Faults, cfg.Log, mux)
}
