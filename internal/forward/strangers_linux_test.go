package forward_test

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/forward"
)

// Who has no password can hold as many connections as it likes: who has it is
// served, and the others end.
func TestClientsWithoutAPasswordKeepNobodyOut(t *testing.T) {
	m := newMachine(t)
	web, _ := serveHere(t, echo)
	f := m.start(forward.Config{Greet: 5 * time.Second, Dial: cluster(map[string]int{"web.db": web})}, nil, nil, true)
	at := f.Proxy()
	var silent []net.Conn
	for range 600 {
		c, err := m.dial(at.Port)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		silent = append(silent, c)
	}
	served := func() error {
		c, err := m.dial(at.Port)
		if err != nil {
			return err
		}
		defer c.Close()
		password := base64.StdEncoding.EncodeToString([]byte("outrigger:" + at.Password))
		fmt.Fprintf(c, "CONNECT web.db:5432 HTTP/1.1\r\nProxy-Authorization: Basic %s\r\n\r\n", password)
		answer, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: http.MethodConnect})
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return errors.New(answer.Status)
		}
		return nil
	}
	if err := served(); err != nil {
		t.Errorf("beside 600 silent clients: %v", err)
	}
	for i, c := range silent {
		if err := c.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("silent client %d of 600 stays", i)
		}
	}
}
