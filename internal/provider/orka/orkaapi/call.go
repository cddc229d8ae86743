package orkaapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"outrigger.dev/outrigger/internal/sanitize"
)

// maxAnswer bounds what is read of one answer: a list of ten thousand VMs has 4 MiB.
const maxAnswer = 32 << 20

// A Refusal is an answer that is no success.
type Refusal struct {
	Code    int
	Reason  string // of a Kubernetes Status
	Message string // Orka's own words, on one line
	After   time.Duration
}

// Error returns Orka's own words with the status code.
func (r *Refusal) Error() string {
	text := http.StatusText(r.Code)
	if r.Message == "" || r.Message == text {
		return fmt.Sprintf("%d %s", r.Code, text)
	}
	return fmt.Sprintf("%d %s: %s", r.Code, text, r.Message)
}

// Code returns the status code that err carries, 0 if it is no [Refusal].
func Code(err error) int {
	var r *Refusal
	if errors.As(err, &r) {
		return r.Code
	}
	return 0
}

// IsNotFound tells whether the server says that a thing does not exist.
func IsNotFound(err error) bool { return Code(err) == http.StatusNotFound }

// errNotJSON is of answers that no Orka gives.
var errNotJSON = errors.New("the answer is not JSON")

// A wrongShape is an answer in JSON that is not of the published type: no Orka's, or that of a version we do not know.
type wrongShape struct{ field, value string }

func (w *wrongShape) Error() string {
	return fmt.Sprintf("the answer is not as Orka's API is published: field %q is a JSON %s", w.field, w.value)
}

func (w *wrongShape) Is(target error) bool { return target == errNotJSON }

// once makes one request and decodes the answer into out, unless that is nil or
// the answer is empty. A token that is refused is read again, if there is another.
func (d door) once(ctx context.Context, method, path string, query url.Values, in, out any) error {
	token := d.who.current()
	err := d.try(ctx, method, path, query, in, out, token.Reveal())
	if Code(err) != http.StatusUnauthorized || token.Empty() {
		return err
	}
	changed, rerr := d.who.renew(ctx, token)
	if rerr != nil {
		return rerr
	}
	if !changed {
		return err
	}
	return d.try(ctx, method, path, query, in, out, d.who.current().Reveal())
}

func (d door) try(ctx context.Context, method, path string, query url.Values, in, out any, token string) error {
	resp, err := d.send(ctx, method, path, query, in, token)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return refusal(resp)
	}
	return decode(resp.Body, out)
}

func (d door) send(ctx context.Context, method, path string, query url.Values, in any, token string) (*http.Response, error) {
	target := d.base + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", agent())
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := d.http.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // the URL is in our own text already
		}
		return nil, err
	}
	d.who.heard(resp.Header)
	d.log.Debug("orka", "method", method, "path", path, "status", resp.StatusCode)
	return resp, nil
}

func decode(body io.Reader, out any) error {
	b, err := io.ReadAll(io.LimitReader(body, maxAnswer+1))
	if err != nil {
		return err
	}
	if len(b) > maxAnswer {
		return fmt.Errorf("the answer has more than %d bytes", maxAnswer)
	}
	if out == nil || len(bytes.TrimSpace(b)) == 0 {
		return nil
	}
	err = json.Unmarshal(b, out)
	var other *json.UnmarshalTypeError
	if errors.As(err, &other) {
		return &wrongShape{other.Field, other.Value}
	}
	if err != nil {
		return fmt.Errorf("%w: %q", errNotJSON, oneLine(b))
	}
	return nil
}

// refusal reads the Kubernetes Status of an answer, or whatever else it says.
func refusal(resp *http.Response) *Refusal {
	r := &Refusal{Code: resp.StatusCode}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		r.After = time.Duration(s) * time.Second
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		r.Message = err.Error()
		return r
	}
	var status struct {
		Reason  Text `json:"reason"`
		Message Text `json:"message"`
		Error   Text `json:"error"`
	}
	if json.Unmarshal(b, &status) == nil {
		r.Reason, r.Message = oneLine([]byte(status.Reason)), oneLine([]byte(status.Message))
		if r.Message == "" {
			r.Message = oneLine([]byte(status.Error))
		}
		return r
	}
	if !bytes.Contains(b, []byte("<html")) && !bytes.Contains(b, []byte("<!DOCTYPE")) {
		r.Message = oneLine(b)
	}
	return r
}

// maxWords is how much of Orka's words is shown.
const maxWords = 500

func oneLine(b []byte) string {
	return sanitize.Words(string(b), maxWords)
}
