package kube

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"outrigger.dev/outrigger/internal/devorka/door"
	"outrigger.dev/outrigger/internal/devorka/store"
)

// body reads an object of the request's kind.
func (c *call) body() (*store.Object, error) {
	types := []string{"application/json", "application/yaml"}
	if own[c.kind] != nil {
		types = append(types, protobufType)
	}
	b, err := c.bytes(types...)
	if err != nil {
		return nil, err
	}
	return c.decode(b)
}

// protobufType is how kubectl create and typed clients write objects of Kubernetes' own kinds.
const protobufType = "application/vnd.kubernetes.protobuf"

// own are the types of the kinds that are Kubernetes' own: what may come in protobuf.
var own = map[*store.Kind]func() interface{ Unmarshal([]byte) error }{
	store.Namespaces:      func() interface{ Unmarshal([]byte) error } { return new(corev1.Namespace) },
	store.ServiceAccounts: func() interface{ Unmarshal([]byte) error } { return new(corev1.ServiceAccount) },
}

// bytes reads the body as JSON, if it is of one of those types.
func (c *call) bytes(types ...string) ([]byte, error) {
	b, err := door.Body(c.w, c.r)
	if err != nil {
		return nil, err
	}
	got, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil && c.r.Header.Get("Content-Type") != "" {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	if got == "" {
		got = types[0]
	}
	if !slices.Contains(types, got) {
		return nil, &apierrors.StatusError{ErrStatus: metav1.Status{
			Status: metav1.StatusFailure, Code: http.StatusUnsupportedMediaType, Reason: metav1.StatusReasonUnsupportedMediaType,
			Message: "the body of the request was in an unknown format - accepted media types include: " + strings.Join(types, ", "),
		}}
	}
	if got == protobufType {
		v := own[c.kind]()
		if err := unpack(b, v); err != nil {
			return nil, err
		}
		return json.Marshal(v)
	}
	if strings.HasSuffix(got, "yaml") {
		if b, err = yaml.YAMLToJSON(b); err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
	}
	return b, nil
}

func (c *call) groupKind() schema.GroupKind {
	return schema.GroupKind{Group: c.kind.Group, Kind: c.kind.Kind}
}

func (c *call) decode(b []byte) (*store.Object, error) {
	strict := c.r.URL.Query().Get("fieldValidation") == "Strict"
	o, err := c.kind.Decode(b, strict)
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrong):
		var named struct{ Metadata metav1.ObjectMeta }
		_ = json.Unmarshal(b, &named) // of an object whose metadata does not fit either no name is known
		return nil, apierrors.NewInvalid(c.groupKind(), named.Metadata.Name, field.ErrorList{
			field.Invalid(field.NewPath(wrong.Field), wrong.Value, fmt.Sprintf("%s in body must be of type %s: %q", wrong.Field, wrong.Type, wrong.Value)),
		})
	case err != nil && strict && strings.Contains(err.Error(), "unknown field"):
		return nil, apierrors.NewBadRequest(fmt.Sprintf("%s in version %q cannot be handled as a %s: strict decoding error: %s",
			c.kind.Kind, c.kind.Version, c.kind.Kind, strings.TrimPrefix(err.Error(), "json: ")))
	case err != nil:
		return nil, apierrors.NewBadRequest(err.Error())
	}
	if o.Kind != "" && (o.Kind != c.kind.Kind || o.APIVersion != c.kind.APIVersion()) {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("%s, Kind=%s in the body does not match the expected %s, Kind=%s", o.APIVersion, o.Kind, c.kind.APIVersion(), c.kind.Kind))
	}
	if o.Namespace == "" {
		o.Namespace = c.namespace
	}
	if o.Namespace != c.namespace {
		return nil, apierrors.NewBadRequest("the namespace of the provided object does not match the namespace sent on the request")
	}
	if c.name != "" && o.Name != c.name {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("the name of the object (%s) does not match the name on the URL (%s)", o.Name, c.name))
	}
	return o, nil
}

func (c *call) dry() bool { return slices.Contains(c.r.URL.Query()["dryRun"], metav1.DryRunAll) }

// checkMeta is what an API server checks of any object before its webhooks are asked.
func (c *call) checkMeta(o *store.Object) error {
	path := field.NewPath("metadata", "name")
	if o.Name == "" && o.GenerateName == "" {
		return apierrors.NewInvalid(c.groupKind(), "", field.ErrorList{field.Required(path, "name or generateName is required")})
	}
	if o.Name == "" {
		return nil
	}
	if problems := validation.IsDNS1123Subdomain(o.Name); len(problems) > 0 {
		return apierrors.NewInvalid(c.groupKind(), o.Name, field.ErrorList{field.Invalid(path, o.Name, strings.Join(problems, ", "))})
	}
	return nil
}
