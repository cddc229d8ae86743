// Package door is what both doors of a cluster have in common: answers, errors as
// Kubernetes words them, bounded requests, and the faults that strike requests.
package door

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"outrigger.dev/outrigger/internal/devorka/inject"
)

// maxBody is what a request may carry: that of a kube-apiserver.
const maxBody = 3 << 20

// Body reads the body of a request.
func Body(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return nil, apierrors.NewRequestEntityTooLargeError(err.Error())
	}
	return b, nil
}

// Read decodes the body of a request; none leaves v as it is.
func Read(w http.ResponseWriter, r *http.Request, v any) error {
	b, err := Body(w, r)
	if err != nil || len(b) == 0 {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	return nil
}

// JSON answers with v.
func JSON(w http.ResponseWriter, code int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		Fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(append(b, '\n')) // a client that has left needs no answer
}

// Fail answers with an error: a Status of Kubernetes.
func Fail(w http.ResponseWriter, err error) {
	var s apierrors.APIStatus
	if !errors.As(err, &s) {
		s = apierrors.NewInternalError(err)
	}
	st := s.Status()
	st.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	JSON(w, int(st.Code), st)
}

// Done answers with a Status that says Success.
func Done(w http.ResponseWriter, details *metav1.StatusDetails) {
	JSON(w, http.StatusOK, metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusSuccess, Details: details,
	})
}

// Faulty lets armed faults strike the requests that come through a door.
func Faulty(name string, faults *inject.Faults, log *slog.Logger, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f, hit := faults.Request(inject.Slow, name, r); hit {
			t := time.NewTimer(time.Duration(f.Delay))
			defer t.Stop()
			select {
			case <-t.C:
			case <-r.Context().Done():
				return
			}
		}
		if _, hit := faults.Request(inject.Refuse, name, r); hit {
			log.Info("fault: refused", "method", r.Method, "path", r.URL.Path)
			panic(http.ErrAbortHandler)
		}
		if f, hit := faults.Request(inject.Error, name, r); hit {
			Fail(w, failure(f))
			return
		}
		if _, hit := faults.Request(inject.Lost, name, r); hit && r.URL.Query().Get("watch") != "" {
			panic(http.ErrAbortHandler) // nothing to carry out
		} else if hit {
			next.ServeHTTP(&nowhere{header: http.Header{}}, r)
			log.Info("fault: answer lost", "method", r.Method, "path", r.URL.Path)
			panic(http.ErrAbortHandler)
		}
		next.ServeHTTP(w, r)
	})
}

func failure(f inject.Fault) error {
	code, text := f.Status, f.Message
	if code == 0 {
		code = http.StatusInternalServerError
	}
	if text == "" {
		text = "an error on the server has prevented the request from succeeding"
	}
	reason := metav1.StatusReasonInternalError
	switch code {
	case http.StatusServiceUnavailable:
		reason = metav1.StatusReasonServiceUnavailable
	case http.StatusTooManyRequests:
		reason = metav1.StatusReasonTooManyRequests
	case http.StatusUnauthorized:
		reason = metav1.StatusReasonUnauthorized
	case http.StatusForbidden:
		reason = metav1.StatusReasonForbidden
	case http.StatusNotFound:
		reason = metav1.StatusReasonNotFound
	case http.StatusConflict:
		reason = metav1.StatusReasonConflict
	}
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: int32(code), Reason: reason, Message: text, //nolint:gosec // an HTTP status code, see inject
	}}
}

// nowhere takes an answer that is to be lost.
type nowhere struct{ header http.Header }

func (n *nowhere) Header() http.Header         { return n.header }
func (n *nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (n *nowhere) WriteHeader(int)             {}
func (n *nowhere) Flush()                      {}
