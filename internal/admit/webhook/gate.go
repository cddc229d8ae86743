package webhook

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"time"
)

// What the server does for whoever can connect to it, which in many clusters is every Pod: the API
// server asks without a password.
const (
	// maxBody bounds a question. The API server takes no object of more than 3 MiB.
	maxBody = 4 << 20
	// answerLimit is shorter than the API server waits ([seconds]): a late answer is for nobody.
	answerLimit = 8 * time.Second
	// bodyLimit is how long a question may take to arrive.
	bodyLimit = 3 * time.Second
	// readers is how many questions are read at a time: maxBody each.
	readers = 32
	// answerers is how many are answered at a time. Decoded, a Pod takes about ten times the memory
	// of its text.
	answerers = 4
)

// A gate lets a few questions at a time through to next, each read before, with a deadline.
type gate struct {
	next             http.Handler
	readers, answers places
}

func newGate(next http.Handler) *gate {
	return &gate{next: next, readers: make(places, readers), answers: make(places, answerers)}
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), answerLimit)
	defer cancel()
	if r.ContentLength > maxBody {
		http.Error(w, "question too large", http.StatusRequestEntityTooLarge)
		return
	}
	body, code := g.read(ctx, w, r)
	if code != 0 {
		http.Error(w, http.StatusText(code), code)
		return
	}
	if !g.answers.take(ctx) {
		http.Error(w, "busy", http.StatusServiceUnavailable)
		return
	}
	defer g.answers.leave()
	r = r.WithContext(ctx)
	r.Body = io.NopCloser(bytes.NewReader(body))
	g.next.ServeHTTP(w, r)
}

// read returns the question, or the code of the answer that there is instead.
func (g *gate) read(ctx context.Context, w http.ResponseWriter, r *http.Request) ([]byte, int) {
	if !g.readers.take(ctx) {
		return nil, http.StatusServiceUnavailable
	}
	defer g.readers.leave()
	limited := http.MaxBytesReader(w, r.Body, maxBody)
	deadline := http.NewResponseController(w)
	if err := deadline.SetReadDeadline(time.Now().Add(bodyLimit)); err != nil {
		return nil, http.StatusInternalServerError // no server of ours does not know of deadlines
	}
	body, err := io.ReadAll(limited)
	if err != nil {
		return nil, http.StatusBadRequest
	}
	if err := deadline.SetReadDeadline(time.Time{}); err != nil {
		return nil, http.StatusInternalServerError
	}
	return body, 0
}

// places are so many as it has room for.
type places chan struct{}

func (p places) take(ctx context.Context) bool {
	select {
	case p <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (p places) leave() { <-p }
