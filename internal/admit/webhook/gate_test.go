package webhook

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestGateAnswersAFewAtATime: whoever else asks waits, and nobody is turned away.
func TestGateAnswersAFewAtATime(t *testing.T) {
	const many = 5 * answerers
	entered, leave := make(chan struct{}, many), make(chan struct{})
	var now, most atomic.Int32
	s := httptest.NewServer(newGate(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if n := now.Add(1); n > most.Load() {
			most.Store(n)
		}
		defer now.Add(-1)
		if _, limited := r.Context().Deadline(); !limited {
			t.Error("an answer may take for ever")
		}
		entered <- struct{}{}
		<-leave
	})))
	defer s.Close()
	codes := make(chan int, many)
	for range many {
		go func() {
			r, err := http.Post(s.URL, "application/json", strings.NewReader("{}"))
			if err != nil {
				t.Error(err)
				codes <- 0
				return
			}
			r.Body.Close()
			codes <- r.StatusCode
		}()
	}
	for range answerers {
		<-entered
	}
	close(leave)
	for range many {
		if code := <-codes; code != http.StatusOK {
			t.Errorf("answered with %d", code)
		}
	}
	if most.Load() > answerers {
		t.Errorf("%d at a time, want at most %d", most.Load(), answerers)
	}
}

// TestGateTakesNoLargeQuestion: neither one that says so nor one that does not.
func TestGateTakesNoLargeQuestion(t *testing.T) {
	s := httptest.NewServer(newGate(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("answered") })))
	defer s.Close()
	for name, body := range map[string]io.Reader{
		"announced":     strings.NewReader(strings.Repeat("x", maxBody+1)),
		"not announced": io.MultiReader(strings.NewReader(strings.Repeat("x", maxBody)), strings.NewReader("x")),
	} {
		r, err := http.Post(s.URL, "application/json", body)
		if err != nil {
			continue // the connection was closed on us while we sent
		}
		r.Body.Close()
		if r.StatusCode/100 != 4 {
			t.Errorf("%s: answered with %d", name, r.StatusCode)
		}
	}
}

// TestGateIsNotHeldBySlowQuestions: who begins to ask and stops loses the place.
func TestGateIsNotHeldBySlowQuestions(t *testing.T) {
	answered := make(chan struct{}, 1)
	g := newGate(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { answered <- struct{}{} }))
	g.readers = make(places, 1)
	s := httptest.NewServer(g)
	defer s.Close()
	slow, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	if _, err := io.WriteString(slow, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{"); err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for len(g.readers) == 0 { // until it has the place
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal("the slow client never got the place")
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("%v, %v", r, err)
	}
	r.Body.Close()
	<-answered
}
